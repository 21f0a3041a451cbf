//! A small Spot: accounts, external IDs, links, Cost Intelligence, and faults at chosen calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::Request, response::Response};
use onboarding_core::{governor::spot::GovernorSettings, secret::SecretText};
use parking_lot::Mutex;
use serde_json::{Value, json};
use spot_api::{SpotClient, SpotSettings};
use tokio::sync::Notify;

/// What happens at a call, besides its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It has no effect, and the caller dies waiting.
    DieBefore,
    /// It has its effect, and the caller dies waiting.
    DieAfter,
    /// It has no effect, and the answer is an error.
    ErrorBefore,
    /// It has its effect, and the answer is an error.
    ErrorAfter,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) linked: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) external_ids: Vec<String>,
    pub(crate) cost_intelligence: bool,
    /// Groups that run in it.
    pub(crate) running: Vec<&'static str>,
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) accounts: Vec<Account>,
    /// Accounts ever made.
    made: usize,
    /// Ids of accounts that were deleted.
    pub(crate) deleted: Vec<String>,
    pub(crate) refuse_deletions: Option<(u16, &'static str)>,
    pub(crate) calls: Vec<String>,
    pub(crate) faults: BTreeMap<usize, Fault>,
    pub(crate) names_need_letters: bool,
    /// The external ID of linked accounts can be read.
    pub(crate) tells_external_ids: bool,
    /// That many links still fail because the role is not visible yet.
    pub(crate) not_assumable: u32,
    pub(crate) refuse_links: Option<(u16, &'static str)>,
    pub(crate) refuse_creations: Option<(u16, &'static str)>,
    pub(crate) validation_fails: bool,
    /// The access policies of the one user group; there is none without.
    pub(crate) user_group: Option<Value>,
    /// How long a listing of all accounts takes.
    pub(crate) listing_takes: Duration,
    /// How long the answer to the next call of these takes, after its effect.
    pub(crate) answers_take: BTreeMap<String, Duration>,
    /// Every call fails while this is set.
    pub(crate) down: bool,
    /// Accounts that are not listed yet.
    pub(crate) hidden: BTreeSet<String>,
    /// Accounts that are listed only when their AWS account is asked for.
    pub(crate) left_out: BTreeSet<String>,
}

impl World {
    pub(crate) fn add(&mut self, name: &str, linked: Option<&str>) -> String {
        self.made += 1;
        let id = format!("act-{}", self.made);
        self.accounts.push(Account {
            id: id.clone(),
            name: name.to_owned(),
            linked: linked.map(str::to_owned),
            role: linked.map(|linked| format!("arn:aws:iam::{linked}:role/Theirs")),
            ..Account::default()
        });
        id
    }

    pub(crate) fn account(&self, id: &str) -> &Account {
        self.accounts
            .iter()
            .find(|account| account.id == id)
            .unwrap()
    }

    /// Calls that change something.
    pub(crate) fn writes(&self) -> Vec<String> {
        let reads = |call: &&String| !call.starts_with("GET") && !call.ends_with("/validation");
        self.calls.iter().filter(reads).cloned().collect()
    }

    fn serve(&mut self, call: &str, query: &str, body: &Value) -> Response {
        let named = query.strip_prefix("accountId=").map(str::to_owned);
        let index = named.and_then(|id| self.accounts.iter().position(|account| account.id == id));
        match (call, index) {
            ("GET /setup/account/one", Some(i)) if !self.hidden.contains(&self.accounts[i].id) => {
                let account = &self.accounts[i];
                items([json!({"accountId": account.id, "name": account.name})])
            }
            ("GET /setup/account", _) => {
                let of = query.strip_prefix("cloudAccountId=");
                let listed = self.accounts.iter().filter(|account| {
                    !self.hidden.contains(&account.id)
                        && (of.is_some() || !self.left_out.contains(&account.id))
                        && of.is_none_or(|of| account.linked.as_deref() == Some(of))
                });
                items(listed.map(|account| json!({
                    "accountId": account.id, "name": account.name, "organizationId": 1,
                    "cloudProvider": account.linked.as_ref().map(|_| "AWS"), "providerExternalId": account.linked,
                })))
            }
            ("POST /setup/account", _) => {
                if let Some((status, message)) = self.refuse_creations {
                    return refused(status, message);
                }
                let name = body["account"]["name"].as_str().unwrap().to_owned();
                if self.names_need_letters && !name.contains(char::is_alphabetic) {
                    return refused(400, "the name must contain a letter");
                }
                let id = self.add(&name, None);
                items([json!({"id": id, "name": name, "organizationId": "1"})])
            }
            ("GET /setup/access/userGroup/ugr-1", _) => match &self.user_group {
                Some(policies) => items([json!({"id": "ugr-1", "policies": policies})]),
                None => refused(400, "no such group"),
            },
            ("PUT /setup/access/userGroup/ugr-1/policyMapping", _) => {
                let mut policies = body["policies"].clone();
                for policy in policies.as_array_mut().unwrap() {
                    let of_accounts = policy.get("accountIds").is_some();
                    policy["policyType"] = if of_accounts {
                        "ACCOUNT"
                    } else {
                        "ORGANIZATION"
                    }
                    .into();
                }
                self.user_group = Some(policies);
                items([])
            }
            (_, None) => refused(404, "no such account"),
            ("POST /setup/credentials/aws/externalId", Some(i)) => {
                let account = &mut self.accounts[i];
                let id = format!(
                    "spotinst:aws:extid:{}-{}",
                    account.id,
                    account.external_ids.len()
                );
                account.external_ids.push(id.clone());
                items([json!({"externalId": id, "maxValidUntil": "2099-01-01T00:00:00.000Z"})])
            }
            ("POST /setup/credentials/aws", Some(i)) => {
                if let Some((status, message)) = self.refuse_links {
                    return refused(status, message);
                }
                if self.not_assumable > 0 {
                    self.not_assumable -= 1;
                    return refused(400, "failed to assume role");
                }
                let role = body["credentials"]["iamRole"].as_str().unwrap().to_owned();
                self.accounts[i].linked = role.split(':').nth(4).map(str::to_owned);
                self.accounts[i].role = Some(role);
                items([])
            }
            ("POST /cbi/v1/setup/account", Some(i)) => {
                if self.accounts[i].cost_intelligence {
                    return refused(409, "the account is registered already");
                }
                self.accounts[i].cost_intelligence = true;
                items([])
            }
            ("POST /cbi/v1/setup/account/validation", Some(_)) => {
                let status = if self.validation_fails {
                    "failed"
                } else {
                    "success"
                };
                items([
                    json!({"id": "role", "description": "the role", "status": status, "validationInfo": "why not"}),
                ])
            }
            (call, Some(i)) if call.starts_with("DELETE /setup/account/") => {
                if let Some((status, message)) = self.refuse_deletions {
                    return refused(status, message);
                }
                let gone = self.accounts.remove(i);
                self.deleted.push(gone.id);
                items([])
            }
            ("GET /aws/ec2/group", Some(i)) => {
                let running = &self.accounts[i].running;
                items(
                    running
                        .iter()
                        .map(|name| json!({"id": "sig-1", "name": name})),
                )
            }
            ("GET /ocean/aws/k8s/cluster" | "GET /ocean/aws/ecs/cluster", Some(_)) => items([]),
            (call, Some(i)) if call.starts_with("PUT /setup/account/") => {
                self.accounts[i].name = body["account"]["name"].as_str().unwrap().to_owned();
                items([])
            }
            ("GET /setup/credentials/aws", Some(i)) => {
                items([json!({"iamRole": self.accounts[i].role})])
            }
            (call, Some(i)) if call.starts_with("GET /setup/credentials/aws/externalId/") => {
                match self.accounts[i].external_ids.last() {
                    Some(id) if self.tells_external_ids => items([json!({"externalId": id})]),
                    _ => refused(404, "not offered"),
                }
            }
            _ => refused(404, "not offered"),
        }
    }
}

fn items(items: impl IntoIterator<Item = Value>) -> Response {
    let items: Vec<Value> = items.into_iter().collect();
    answer(
        200,
        &json!({"request": {"id": "r"}, "response": {"items": items}}),
    )
}

fn refused(status: u16, message: &str) -> Response {
    answer(
        status,
        &json!({"request": {"id": "r"}, "response": {"errors": [{"code": "E", "message": message}]}}),
    )
}

fn answer(status: u16, body: &Value) -> Response {
    Response::builder()
        .status(status)
        .body(Body::from(body.to_string()))
        .unwrap()
}

/// The server, shared by all providers of a test.
#[derive(Clone)]
pub(crate) struct Spot {
    pub(crate) world: Arc<Mutex<World>>,
    /// A caller was left to die.
    pub(crate) died: Arc<Notify>,
    /// How long clients wait for an answer, and so how long a creation is in doubt, and half of how long a claim lasts.
    pub(crate) call_timeout: Duration,
    address: SocketAddr,
}

impl Spot {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let spot = Self {
            world: Arc::default(),
            died: Arc::default(),
            call_timeout: Duration::from_secs(1),
            address: listener.local_addr().unwrap(),
        };
        let served = spot.clone();
        let app = Router::new().fallback(move |request: Request| serve(served.clone(), request));
        tokio::spawn(async move { axum::serve(listener, app).await });
        spot
    }

    /// Waits until that many calls were made.
    pub(crate) async fn called(&self, times: usize) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.world.lock().calls.len() < times {
            assert!(Instant::now() < deadline, "fewer than {times} calls");
            tokio::task::yield_now().await;
        }
    }

    /// A client of its own, as another process has one.
    pub(crate) fn client(&self) -> SpotClient {
        let settings = SpotSettings {
            base_url: format!("http://{}", self.address),
            call_timeout: self.call_timeout,
            attempts: 1,
            retry_initial: Duration::from_millis(1),
            access_recheck: Duration::from_millis(1),
            governor: GovernorSettings {
                window: Duration::from_millis(100),
                margin: Duration::from_millis(1),
            },
            ..SpotSettings::default()
        };
        SpotClient::new(settings, Arc::new(SecretText::new("token")), None).unwrap()
    }
}

async fn serve(spot: Spot, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let call = match path.strip_prefix("/setup/account/") {
        Some(_) if request.method() == "GET" => "GET /setup/account/one".to_owned(),
        _ => format!("{} {path}", request.method()),
    };
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20)
        .await
        .unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    // Cost Intelligence names its account in the body.
    let query = match body["account"]["accountId"].as_str() {
        Some(id) => format!("accountId={id}"),
        None => query,
    };
    if call == "GET /setup/account" && !query.starts_with("cloudAccountId=") {
        let takes = spot.world.lock().listing_takes;
        tokio::time::sleep(takes).await;
    }
    let (response, fault, takes) = {
        let mut world = spot.world.lock();
        let number = world.calls.len();
        world.calls.push(if query.starts_with("cloudAccountId=") {
            format!("{call}?cloudAccountId")
        } else {
            call.clone()
        });
        let fault = world.faults.remove(&number);
        let takes = world.answers_take.remove(&call);
        if world.down || matches!(fault, Some(Fault::DieBefore | Fault::ErrorBefore)) {
            (refused(503, "down"), fault, takes)
        } else {
            let response = world.serve(&call, &query, &body);
            match fault {
                Some(_) => (refused(500, "failed after all"), fault, takes),
                None => (response, None, takes),
            }
        }
    };
    tokio::time::sleep(takes.unwrap_or_default()).await;
    if matches!(fault, Some(Fault::DieBefore | Fault::DieAfter)) {
        spot.died.notify_one();
        std::future::pending::<()>().await;
    }
    response
}
