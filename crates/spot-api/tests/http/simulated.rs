//! The client against the simulated Spot of the sandbox, which was written apart from it.

use std::{sync::Arc, time::Duration};

use onboarding_core::{governor::spot::GovernorSettings, secret::SecretText};
use sandbox::{Sandbox, Scenario, SpotScenario};
use spot_api::{ErrorClass, Product, SpotClient, SpotSettings};

async fn start(spot: SpotScenario) -> (Sandbox, SpotClient) {
    let token = Arc::new(SecretText::new(&spot.token));
    let window = spot.window;
    let scenario = Scenario {
        spot,
        ..Scenario::default()
    };
    let sandbox = Sandbox::start(scenario, ([127, 0, 0, 1], 0).into())
        .await
        .unwrap();
    let settings = SpotSettings {
        base_url: sandbox.endpoint().to_owned(),
        governor: GovernorSettings {
            window,
            ..GovernorSettings::default()
        },
        ..SpotSettings::default()
    };
    let client = SpotClient::new(settings, token, None).unwrap();
    (sandbox, client)
}

#[tokio::test]
async fn an_accounts_whole_life_works_on_the_simulated_spot() {
    let (_sandbox, client) = start(SpotScenario {
        name_needs_letter: true,
        ..SpotScenario::default()
    })
    .await;
    let before = client.list_accounts().await.unwrap().len();
    let refused = client.create_account("123456789012").await.unwrap_err();
    assert_eq!(refused.class(), ErrorClass::Invalid, "{refused}");
    let created = client.create_account("aws-123456789012").await.unwrap();
    client
        .rename_account(&created.id, "Payments")
        .await
        .unwrap();
    let listed = client.list_accounts().await.unwrap();
    assert_eq!(listed.len(), before + 1);
    let record = listed
        .iter()
        .find(|account| account.id == created.id)
        .unwrap();
    assert!(record.unlinked && &*record.name == "Payments");
    assert!(
        client
            .list_accounts_of("123456789012".parse().unwrap())
            .await
            .unwrap()
            .is_empty()
    );

    let made = client.create_external_id(&created.id).await.unwrap();
    assert!(made.max_valid_until.is_some());
    let known = client.external_id(&created.id).await.unwrap();
    assert!(known.is_none() || known == Some(made.external_id));
    let nowhere = "arn:aws:iam::123456789012:role/Nowhere".parse().unwrap();
    let refused = client
        .set_aws_credentials(&created.id, &nowhere)
        .await
        .unwrap_err();
    assert!(refused.is_role_not_assumable(), "{refused}");
    assert_eq!(client.stored_role(&created.id).await.unwrap(), None);

    client
        .validate_product(&Product::CostIntelligence, &created.id)
        .await
        .ok();
    assert!(
        client
            .set_up_product(&Product::CostIntelligence, &created.id)
            .await
            .is_err()
    );
    client.cost_intelligence().await.unwrap();
    client.billing_engine().await.unwrap();
    assert!(client.elastigroups(&created.id).await.unwrap().is_empty());
    assert!(client.ocean_clusters(&created.id).await.unwrap().is_empty());
    client.delete_account(&created.id).await.unwrap();
    assert_eq!(
        client
            .delete_account(&created.id)
            .await
            .unwrap_err()
            .class(),
        ErrorClass::NotFound
    );
}

#[tokio::test]
async fn a_wrong_token_is_denied_by_the_simulated_spot() {
    let (sandbox, _) = start(SpotScenario::default()).await;
    let settings = SpotSettings {
        base_url: sandbox.endpoint().to_owned(),
        ..SpotSettings::default()
    };
    let client = SpotClient::new(settings, Arc::new(SecretText::new("wrong")), None).unwrap();
    let error = client.list_accounts().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Denied, "{error}");
}

#[tokio::test]
async fn the_simulated_spots_rate_limit_is_kept_without_a_refusal() {
    let (_sandbox, client) = start(SpotScenario {
        rate_limit: 10,
        window: Duration::from_secs(2),
        ..SpotScenario::default()
    })
    .await;
    let callers: Vec<_> = (0..15)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.list_accounts().await })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    let window = &client.windows()[0];
    assert_eq!(
        (window.limit, window.sent, window.throttled),
        (Some(10), 15, 0)
    );
}
