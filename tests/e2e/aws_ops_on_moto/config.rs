//! AWS Config.

use anyhow::Result;
use aws_ops::aggregator::{Aggregator, AggregatorPlace};
use serde_json::json;

use super::{ACCOUNT, assert_sent, with_moto};

fn place(name: &str) -> Result<AggregatorPlace> {
    Ok(AggregatorPlace {
        name: name.to_owned(),
        region: "eu-west-1".parse()?,
        role: None,
        session_name: "spot-onboarding".to_owned(),
    })
}

#[test]
fn an_aggregator_is_there_or_not() {
    with_moto(async |moto, aws| {
        assert!(
            Aggregator::open(&aws, &place("organization")?)
                .await?
                .is_none()
        );
        let aggregator = json!({
            "ConfigurationAggregatorName": "organization",
            "AccountAggregationSources": [{ "AccountIds": [ACCOUNT], "AllAwsRegions": true }],
        });
        moto.wire()
            .json(
                "config",
                "StarlingDoveService.PutConfigurationAggregator",
                &aggregator,
            )
            .await?;
        let mut here = place("organization")?;
        here.region = "us-east-1".parse()?;
        assert!(Aggregator::open(&aws, &here).await?.is_some());
        assert!(Aggregator::open(&aws, &place("another")?).await?.is_none());
        assert_sent(&aws, &["config:DescribeConfigurationAggregators"]);
        Ok(())
    });
}
