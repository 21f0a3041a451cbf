//! AWS Config's aggregator as aws-ops reads it.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use aws_ops::aggregator::{Aggregator, AggregatorPlace, Listed, Named};
use aws_ops::{Aws, ErrorClass};
use e2e::wire::Wire;
use onboarding_core::ids::{AwsAccountId, Region};
use onboarding_core::inventory::{PolicyReading, RecorderState, SourceStatus};
use sandbox::Sandbox;
use serde_json::{Value, json};

use super::{aws, wire, with_sandbox};

const SCENARIO: &str = "
clock_speed = 600
[organization]
accounts = 150
rates = false
[config]
enabled = true
regions = [\"us-east-1\", \"eu-west-1\", \"us-west-2\"]
iam_regions = [\"us-east-1\", \"eu-west-1\"]
unrecorded = 2
failing = 1
stopped = 2
untold = 1
batch = 30
";

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:*","Resource":"a b+c"}]}"#;

fn place(name: &str, region: &str) -> Result<AggregatorPlace> {
    Ok(AggregatorPlace {
        name: name.to_owned(),
        region: region.parse()?,
        role: None,
        session_name: "spot-onboarding".to_owned(),
    })
}

async fn open(aws: &Aws) -> Result<Aggregator> {
    let opened = Aggregator::open(aws, &place("organization", "us-east-1")?).await?;
    opened.context("an aggregator")
}

async fn state(sandbox: &Sandbox) -> Result<Value> {
    Ok(wire(sandbox).admin("state", None).await?["config"].clone())
}

/// The accounts that something is wrong with.
fn drawn(state: &Value, what: &str) -> Result<BTreeSet<AwsAccountId>> {
    let accounts = state[what].as_array().context("accounts")?;
    let accounts = accounts.iter().filter_map(Value::as_str);
    accounts.map(|account| Ok(account.parse()?)).collect()
}

#[test]
fn an_aggregator_tells_where_it_collects_from_and_what_is_recorded() {
    with_sandbox(SCENARIO, async |sandbox| {
        let aws = aws(&sandbox).await?;
        for elsewhere in [
            place("another", "us-east-1")?,
            place("organization", "eu-west-1")?,
        ] {
            assert!(Aggregator::open(&aws, &elsewhere).await?.is_none());
        }
        let nobody = AggregatorPlace {
            role: Some("arn:aws:iam::111122223333:role/nobody".parse()?),
            ..place("organization", "us-east-1")?
        };
        let denied = Aggregator::open(&aws, &nobody).await.unwrap_err();
        assert_eq!(denied.class(), ErrorClass::Denied, "{denied}");

        let aggregator = open(&aws).await?;
        let state = state(&sandbox).await?;
        let (unrecorded, failing) = (drawn(&state, "unrecorded")?, drawn(&state, "failing")?);
        let sources = aggregator.sources().await?;
        assert_eq!(sources.len(), 151 * 3);
        for source in &sources {
            let account = source.account.context("an account")?;
            let failed = failing.contains(&account);
            assert_eq!(source.status == SourceStatus::Failed, failed, "{source:?}");
            assert_eq!(source.error.is_some(), failed, "{source:?}");
            assert!(source.updated.is_some());
        }
        // The management account has no role yet.
        for (region, count) in [("us-east-1", 147), ("eu-west-1", 147), ("us-west-2", 0)] {
            let accounts = aggregator.accounts_with_roles(&region.parse()?).await?;
            assert_eq!(accounts.len(), count, "{region}");
            assert!(accounts.is_disjoint(&unrecorded) && accounts.is_disjoint(&failing));
        }
        let stopped = drawn(&state, "stopped")?;
        let regions = ["us-east-1".parse()?, "us-west-2".parse()?];
        let recorders = aggregator.recorders(&regions.into()).await?;
        // Each Region has one. Of four accounts there is nothing.
        assert_eq!(recorders.len(), (151 - 4) * 2);
        assert!(aggregator.recorders(&BTreeSet::new()).await?.is_empty());
        for recorder in &recorders {
            let is_stopped = recorder.state == RecorderState::Stopped;
            assert_eq!(
                is_stopped,
                stopped.contains(&recorder.account),
                "{recorder:?}"
            );
        }
        let calls = aws.api_calls();
        assert_eq!(
            calls["config:DescribeConfigurationAggregatorSourcesStatus"],
            5
        );
        assert_eq!(calls["config:GetAggregateDiscoveredResourceCounts"], 3);
        Ok(())
    });
}

#[test]
fn roles_and_policies_are_found_and_read_as_they_were_captured() {
    // One that was stopped would have seen nothing of what is made here.
    let scenario = SCENARIO.replace("stopped = 2", "stopped = 0");
    with_sandbox(&scenario, async |sandbox| {
        let aws = aws(&sandbox).await?;
        let aggregator = open(&aws).await?;
        let state = state(&sandbox).await?;
        let recorded = aggregator
            .accounts_with_roles(&"us-east-1".parse()?)
            .await?;
        for account in &recorded {
            let member = Wire::new(sandbox.endpoint(), format!("AKIA{account}ROOT"));
            let version = ("Version", "2010-05-08");
            let role = [
                version,
                ("RoleName", "Own-role"),
                ("AssumeRolePolicyDocument", TRUST),
            ];
            member.query("iam", "CreateRole", &role).await?;
            let policy = [
                version,
                ("PolicyName", "Own-policy"),
                ("PolicyDocument", POLICY),
            ];
            member.query("iam", "CreatePolicy", &policy).await?;
            let inline = [
                version,
                ("RoleName", "Own-role"),
                ("PolicyName", "inline"),
                ("PolicyDocument", POLICY),
            ];
            member.query("iam", "PutRolePolicy", &inline).await?;
        }
        let beginning = Named::Beginning("Own-".to_owned());
        let found = aggregator.roles(&beginning).await?;
        assert!(found.odd.is_empty());
        let roles = found.resources;
        // Once each, though two Regions have it.
        let accounts: BTreeSet<AwsAccountId> = roles.iter().map(|role| role.account).collect();
        assert_eq!((roles.len(), &accounts), (recorded.len(), &recorded));
        let one = Named::One(vec!["Own-role".to_owned(), "nobody".to_owned()]);
        assert_eq!(aggregator.roles(&one).await?.resources, roles);
        let arns: Vec<String> = roles
            .iter()
            .map(|role| format!("arn:aws:iam::{}:policy/Own-policy", role.account))
            .collect();
        let policies = aggregator.policies(&Named::Arns(arns)).await?.resources;
        assert_eq!(policies, aggregator.policies(&beginning).await?.resources);
        assert_eq!(policies.len(), recorded.len());

        // The sandbox processes thirty of a call: the others are asked for again.
        let region: Region = "eu-west-1".parse()?;
        let listed: Vec<&Listed> = roles.iter().collect();
        let captured = aggregator.captured_roles(&region, &listed).await?;
        assert_eq!(captured.len(), roles.len());
        for role in &roles {
            let captured = captured.get(&(role.account, role.id.clone()));
            let captured = captured.context("a role")?.as_ref();
            let captured = captured.map_err(|error| anyhow::anyhow!("{error}"))?;
            let captured = captured.as_ref().context("one that is there")?;
            assert_eq!(captured.role.arn.as_str(), &*role.arn);
            assert_eq!(captured.role.trust_policy, TRUST);
            assert_eq!(captured.inline["inline"], POLICY);
        }
        let listed: Vec<&Listed> = policies.iter().collect();
        let captured = aggregator.captured_policies(&region, &listed).await?;
        let document = PolicyReading::Document {
            version: "v1".to_owned(),
            text: POLICY.to_owned(),
        };
        assert_eq!(captured.len(), policies.len());
        assert!(
            captured
                .values()
                .all(|policy| matches!(policy, Ok(Some(policy)) if policy.document == document))
        );

        // A Region without it, and what is not there.
        let listed: Vec<&Listed> = roles.iter().take(3).collect();
        let nowhere = aggregator
            .captured_roles(&"us-west-2".parse()?, &listed)
            .await?;
        assert!(nowhere.is_empty());
        let mut gone = roles.first().context("a role")?.clone();
        gone.id = "AROAGONE".into();
        let captured = aggregator
            .captured_roles(&region, &[&gone, listed[0]])
            .await?;
        assert_eq!(captured.len(), 1);
        assert_eq!(
            state["account"],
            json!(aws.caller_identity().await?.account.to_string())
        );
        Ok(())
    });
}
