//! The rate windows of Spot that processes on one state share.

use std::{sync::Arc, time::Duration};

use onboarding_core::{governor::spot::GovernorSettings, secret::SecretText};
use sandbox::{Sandbox, Scenario, SpotScenario};
use spot_api::{SpotClient, SpotSettings};

use super::{Place, on_both};
use crate::state::State;

/// Of Spot, per window.
const LIMIT: u32 = 10;
const WINDOW: Duration = Duration::from_secs(2);

on_both! {
    two_clients_share_a_limit_without_one_refusal,
    a_window_that_cannot_be_read_costs_nothing,
}

async fn spot() -> Sandbox {
    let scenario = Scenario {
        spot: SpotScenario {
            rate_limit: LIMIT,
            window: WINDOW,
            ..SpotScenario::default()
        },
        ..Scenario::default()
    };
    let address = ([127, 0, 0, 1], 0).into();
    Sandbox::start(scenario, address).await.unwrap()
}

fn client(spot: &Sandbox, state: &State) -> SpotClient {
    let settings = SpotSettings {
        base_url: spot.endpoint().to_owned(),
        governor: GovernorSettings {
            window: WINDOW,
            margin: Duration::from_millis(100),
        },
        ..SpotSettings::default()
    };
    let token = Arc::new(SecretText::new(&SpotScenario::default().token));
    let client = SpotClient::new(settings, token, None).unwrap();
    client.share_windows(Arc::new(state.database().clone()));
    client
}

async fn list(client: &SpotClient, times: usize) {
    let calls = (0..times).map(|_| client.list_accounts());
    for listed in futures_util::future::join_all(calls).await {
        listed.unwrap();
    }
}

async fn two_clients_share_a_limit_without_one_refusal(place: Place) {
    let spot = spot().await;
    let states = [place.open().await, place.open().await];
    let clients = states.each_ref().map(|state| client(&spot, state));
    tokio::join!(list(&clients[0], 10), list(&clients[1], 10));
    for client in clients {
        assert_eq!(client.windows()[0].throttled, 0);
        assert_eq!(client.windows()[0].sent, 10, "none was repeated");
    }
}

async fn a_window_that_cannot_be_read_costs_nothing(place: Place) {
    let spot = spot().await;
    let state = place.open().await;
    let client = client(&spot, &state);
    list(&client, 2).await;
    sqlx::query("UPDATE spot_windows SET value = 'of another version'")
        .execute(state.pool())
        .await
        .unwrap();
    list(&self::client(&spot, &state), 2).await;
    sqlx::query("DROP TABLE spot_windows")
        .execute(state.pool())
        .await
        .unwrap();
    // A client without permits that it took before.
    list(&self::client(&spot, &state), 2).await;
}
