//! User groups of Spot that two processes change at the same moment. Spot replaces a group's policies as a whole, so the
//! second one would write what it had read before the first one wrote.

use std::{
    collections::BTreeSet,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use e2e::{tls, wire::Wire};
use onboarding_core::{
    access::{Accounts, PolicyAccounts},
    ids::{SpotAccountId, UserGroupId},
    secret::SecretText,
};
use onboarding_provider::sql::Database;
use sandbox::{Sandbox, Scenario, SpotScenario};
use spot_api::{SharedLocks, SpotClient, SpotSettings, TokenError, TokenSource};
use tokio::{sync::Notify, time::timeout};

use super::{Place, on_both};

const LIMIT: Duration = Duration::from_secs(30);
const POLICY: &str = "pol-b1b2c3d4";

on_both! {
    a_process_reads_a_group_only_when_the_other_has_written_it,
    a_lock_is_one_holders_until_it_is_given_back_or_its_time_is_over,
}

/// A Spot token that is handed out as the last thing before a request is sent: one of the requests waits.
struct Token {
    asked: AtomicUsize,
    /// The request that waits; 0 for none.
    waits: usize,
    reached: Notify,
    go: Notify,
}

impl Token {
    fn that_waits_at(request: usize) -> Arc<Self> {
        Arc::new(Self {
            asked: AtomicUsize::new(0),
            waits: request,
            reached: Notify::new(),
            go: Notify::new(),
        })
    }
}

#[async_trait]
impl TokenSource for Token {
    async fn token(&self) -> Result<SecretText, TokenError> {
        if self.asked.fetch_add(1, Ordering::SeqCst) + 1 == self.waits {
            self.reached.notify_one();
            self.go.notified().await;
        }
        Ok(SecretText::new(&SpotScenario::default().token))
    }
}

/// The locks of the state, which tell when somebody had to wait for one.
struct Watched {
    database: Database,
    waited: Notify,
}

#[async_trait]
impl SharedLocks for Watched {
    async fn take(
        &self,
        name: &str,
        holder: &str,
        lease: Duration,
    ) -> Result<Option<Duration>, Box<dyn Error + Send + Sync>> {
        let left = self.database.take(name, holder, lease).await?;
        if left.is_some() {
            self.waited.notify_one();
        }
        Ok(left)
    }

    async fn give_back(
        &self,
        name: &str,
        holder: &str,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.database.give_back(name, holder).await
    }
}

/// A simulated Spot with one user group and two accounts that it is to see.
struct Spot {
    sandbox: Sandbox,
    group: UserGroupId,
    accounts: [SpotAccountId; 2],
}

impl Spot {
    async fn start() -> Self {
        tls::install();
        let scenario = Scenario {
            spot: SpotScenario {
                user_groups: 1,
                ..SpotScenario::default()
            },
            ..Scenario::default()
        };
        let address = ([127, 0, 0, 1], 0).into();
        let sandbox = Sandbox::start(scenario, address).await.unwrap();
        let listed = Wire::new(sandbox.endpoint(), "").admin("spot", None).await;
        let group = listed.unwrap()["user_groups"][0]["id"].clone();
        let client = client(&sandbox, Token::that_waits_at(0));
        let account = async |name: &str| client.create_account(name).await.unwrap().id;
        Self {
            group: group.as_str().unwrap().parse().unwrap(),
            accounts: [account("first").await, account("second").await],
            sandbox,
        }
    }

    fn client(&self, token: &Arc<Token>) -> SpotClient {
        client(&self.sandbox, Arc::clone(token))
    }

    async fn grant(&self, client: &SpotClient, account: usize) {
        let account = BTreeSet::from([self.accounts[account].clone()]);
        let wanted = Accounts::from([(POLICY.parse().unwrap(), account)]);
        client.grant_access(&self.group, &wanted).await.unwrap();
    }

    /// Both are seen, and what the group had from the start is still there.
    async fn assert_all_are_seen(&self) {
        let client = self.client(&Token::that_waits_at(0));
        let policies = client.user_group(&self.group).await.unwrap();
        assert_eq!(policies.len(), 3, "{policies:?}");
        let granted = policies.iter().find(|one| one.policy == POLICY).unwrap();
        let both = self.accounts.iter().map(|id| id.as_str().to_owned());
        assert_eq!(granted.accounts, PolicyAccounts::These(both.collect()));
    }
}

fn client(sandbox: &Sandbox, token: Arc<Token>) -> SpotClient {
    let settings = SpotSettings {
        base_url: sandbox.endpoint().to_owned(),
        access_recheck: Duration::from_millis(1),
        ..SpotSettings::default()
    };
    SpotClient::new(settings, token, None).unwrap()
}

async fn a_process_reads_a_group_only_when_the_other_has_written_it(place: Place) {
    let spot = Spot::start().await;
    let states = [place.open().await, place.open().await];
    // The first one has read the group, and is about to write it.
    let token = Token::that_waits_at(2);
    let (first, second) = (spot.client(&token), spot.client(&Token::that_waits_at(0)));
    first.share_locks(Arc::new(states[0].database().clone()));
    let locks = Arc::new(Watched {
        database: states[1].database().clone(),
        waited: Notify::new(),
    });
    second.share_locks(locks.clone());
    let meanwhile = async {
        token.reached.notified().await;
        tokio::join!(spot.grant(&second, 1), async {
            locks.waited.notified().await;
            token.go.notify_one();
        });
    };
    let both = async { tokio::join!(spot.grant(&first, 0), meanwhile) };
    timeout(LIMIT, both).await.expect("the second one waits");
    spot.assert_all_are_seen().await;
    // Each was read, written and read again, once.
    for client in [first, second] {
        let calls: u64 = client.calls().values().sum();
        assert_eq!(calls, 3, "{:?}", client.calls());
    }
}

async fn a_lock_is_one_holders_until_it_is_given_back_or_its_time_is_over(place: Place) {
    let states = [place.open().await, place.open().await];
    let [one, other] = states.each_ref().map(super::State::database);
    let long = Duration::from_secs(60);
    assert_eq!(one.take("a", "one", long).await.unwrap(), None);
    assert_eq!(one.take("a", "one", long).await.unwrap(), None, "prolonged");
    let left = other.take("a", "other", long).await.unwrap();
    assert!(
        left.is_some_and(|left| left > long / 2 && left <= long),
        "{left:?}"
    );
    assert_eq!(other.take("b", "other", long).await.unwrap(), None);
    other.give_back("a", "other").await.unwrap();
    assert!(other.take("a", "other", long).await.unwrap().is_some());
    one.give_back("a", "one").await.unwrap();
    // Its holder is killed.
    let short = Duration::from_millis(50);
    assert_eq!(other.take("a", "other", short).await.unwrap(), None);
    let deadline = Instant::now() + LIMIT;
    while one.take("a", "one", long).await.unwrap().is_some() {
        assert!(Instant::now() < deadline, "its time is never over");
    }
    assert!(other.take("a", "other", long).await.unwrap().is_some());
}

#[tokio::test]
async fn without_locks_a_change_that_was_overwritten_is_found_a_little_later() {
    let spot = Spot::start().await;
    // The first one writes what it has read when the second one has written, read again and found its change in place.
    let (early, late) = (Token::that_waits_at(2), Token::that_waits_at(4));
    let (first, second) = (spot.client(&early), spot.client(&late));
    let overwriting = async {
        spot.grant(&first, 0).await;
        late.go.notify_one();
    };
    let meanwhile = async {
        early.reached.notified().await;
        tokio::join!(spot.grant(&second, 1), async {
            late.reached.notified().await;
            early.go.notify_one();
        });
    };
    let both = async { tokio::join!(overwriting, meanwhile) };
    timeout(LIMIT, both).await.expect("both come to an end");
    spot.assert_all_are_seen().await;
    assert_eq!(
        second.calls()["spot:PUT /setup/access/userGroup/{userGroupId}/policyMapping"],
        2,
        "it was overwritten"
    );
}
