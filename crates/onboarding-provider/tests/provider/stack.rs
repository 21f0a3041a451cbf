//! Requests as CloudFormation sends them, and a provider to send them to.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use onboarding_core::{
    custom_resource::{ServedStacks, Status},
    ids::{AwsAccountId, ExternalId, RoleArn, StackId},
    template::Deletion,
};
use onboarding_provider::{
    AccountDetails, AccountDirectory, AdoptRule, DirectoryError, EventSink, MemoryIntents,
    Provider, ProviderSettings, ResourceRequest, ResourceResponse, events::no_events,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{
    spot::Spot,
    state::{Faulty, Writes},
};

pub(crate) const ACCOUNT: &str = "111111111111";
pub(crate) const OTHER: &str = "222222222222";

/// A directory in which all accounts but one are in scope.
#[derive(Default)]
pub(crate) struct Directory {
    /// Another account that is not in scope.
    pub(crate) left: Mutex<Option<AwsAccountId>>,
    pub(crate) details: Mutex<AccountDetails>,
    pub(crate) in_use: Mutex<Option<ExternalId>>,
    /// What every stack that is asked about says, and how often that happened.
    pub(crate) stack_status: Mutex<(Option<&'static str>, usize)>,
    /// What stacks say by their names, where not every stack says the same.
    pub(crate) stack_statuses: Mutex<BTreeMap<String, &'static str>>,
}

#[async_trait]
impl AccountDirectory for Directory {
    async fn account(
        &self,
        account: AwsAccountId,
    ) -> Result<Option<AccountDetails>, DirectoryError> {
        let in_scope = account.to_string() != "999999999999" && *self.left.lock() != Some(account);
        Ok(in_scope.then(|| self.details.lock().clone()))
    }

    fn reads_roles(&self) -> bool {
        true
    }

    async fn external_id_in_use(
        &self,
        _: AwsAccountId,
        _: &RoleArn,
    ) -> Result<Option<ExternalId>, DirectoryError> {
        Ok(self.in_use.lock().clone())
    }

    async fn stack_status(&self, stack: &StackId) -> Option<String> {
        let mut status = self.stack_status.lock();
        status.1 += 1;
        let own = self.stack_statuses.lock().get(stack.name()).copied();
        status.0.or(own).map(str::to_owned)
    }
}

/// The durable parts of a test; providers come and go.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) spot: Spot,
    pub(crate) intents: Arc<MemoryIntents>,
    pub(crate) writes: Arc<Writes>,
    pub(crate) directory: Arc<Directory>,
}

impl Home {
    pub(crate) async fn new() -> Self {
        let directory = Directory::default();
        directory.details.lock().name = Some("Payments".to_owned());
        Self {
            spot: Spot::start().await,
            intents: Arc::default(),
            writes: Arc::default(),
            directory: Arc::new(directory),
        }
    }

    pub(crate) async fn with_rule(adopt: AdoptRule) -> Self {
        let home = Self::new().await;
        home.directory.details.lock().adopt = adopt;
        home
    }

    /// Lets a stack say its status; without one, nobody can tell.
    pub(crate) fn says(&self, stack: &str, status: impl Into<Option<&'static str>>) {
        let mut statuses = self.directory.stack_statuses.lock();
        match status.into() {
            Some(status) => statuses.insert(stack.to_owned(), status),
            None => statuses.remove(stack),
        };
    }

    pub(crate) fn provider(&self) -> Provider {
        self.provider_with(settings(), no_events())
    }

    pub(crate) fn provider_with(&self, settings: ProviderSettings, events: EventSink) -> Provider {
        let state = Faulty {
            state: self.intents.clone(),
            writes: self.writes.clone(),
            died: self.spot.died.clone(),
        };
        Provider::new(
            self.spot.client(),
            Arc::new(state),
            self.directory.clone(),
            settings,
            events,
        )
    }
}

pub(crate) fn settings() -> ProviderSettings {
    ProviderSettings {
        stacks: ServedStacks::default(),
        deletion: Deletion::Reconcile,
        shared_state: true,
        listing_age: Duration::from_secs(30),
        send_window: Duration::from_millis(100),
        settle: Duration::from_millis(200),
        listing_lag: Duration::from_millis(300),
        refusal_patience: Duration::from_millis(100),
        validation_patience: Duration::from_millis(100),
        access_patience: Duration::from_secs(5),
        retry_initial: Duration::from_millis(5),
        retry_max: Duration::from_millis(50),
        fresh: Duration::from_secs(60),
        answer_margin: Duration::from_millis(100),
    }
}

/// A request of a stack named `stack` in an account.
pub(crate) fn event(stack: &str, account: &str, kind: &str, properties: Value) -> Value {
    json!({
        "RequestType": "Create",
        "RequestId": format!("{stack}-{kind}"),
        "StackId": format!("arn:aws:cloudformation:us-east-1:{account}:stack/{stack}/uuid"),
        "ResponseURL": "https://example.com/answer",
        "ResourceType": format!("Custom::{kind}"),
        "LogicalResourceId": kind,
        "ServiceToken": "arn:aws:sns:us-east-1:999999999999:spot",
        "ResourceProperties": properties,
    })
}

/// The request of an event. `Published` in it says when it was, in Unix milliseconds.
pub(crate) fn request(event: &Value) -> ResourceRequest {
    let mut request = ResourceRequest::parse(&event.to_string()).unwrap();
    request.published = event["Published"].as_i64();
    request
}

pub(crate) fn in_time() -> Timestamp {
    Timestamp::now()
        .checked_add(Duration::from_secs(20))
        .unwrap()
}

pub(crate) async fn create(provider: &Provider, kind: &str, properties: Value) -> ResourceResponse {
    provider
        .handle(
            &request(&event("stack", ACCOUNT, kind, properties)),
            in_time(),
        )
        .await
}

pub(crate) fn role(account: &str, stack: &str) -> String {
    format!("arn:aws:iam::{account}:role/{stack}-SpotRole")
}

/// The resources of a template in their order; each takes what it needs from the answers before.
pub(crate) const KINDS: [&str; 5] = [
    "SpotAccount",
    "SpotExternalId",
    "SpotLinkedCredentials",
    "RenamedSpotAccountByAlias",
    "EnableCostIntelligence",
];

pub(crate) fn properties(kind: &str, stack: &str, account: &str, spot_account: &str) -> Value {
    match kind {
        "SpotAccount" => json!({"AwsAccountId": account, "Token": "canary"}),
        "SpotLinkedCredentials" => {
            json!({"AccountId": spot_account, "IamRoleArn": role(account, stack)})
        }
        "RenamedSpotAccountByAlias" => {
            json!({"SpotAccountId": spot_account, "AwsAccountId": account})
        }
        _ => json!({"SpotAccountId": spot_account}),
    }
}

/// The Create of one resource of a stack.
pub(crate) fn create_event(stack: &str, account: &str, kind: &str, spot_account: &str) -> Value {
    event(
        stack,
        account,
        kind,
        properties(kind, stack, account, spot_account),
    )
}

/// The Delete of one resource of a stack; its RequestId is always the same.
pub(crate) fn delete(stack: &str, account: &str, kind: &str, physical_id: &str) -> Value {
    let mut delete = create_event(stack, account, kind, physical_id);
    delete["RequestType"] = json!("Delete");
    delete["RequestId"] = json!(format!("{stack}-{kind}-delete"));
    delete["PhysicalResourceId"] = json!(physical_id);
    delete
}

/// A request about another `Custom::SpotAccount` of a stack than its first one.
pub(crate) fn resource_event(stack: &str, account: &str, resource: &str, kind: &str) -> Value {
    let mut event = create_event(stack, account, "SpotAccount", "");
    event["RequestType"] = json!(kind);
    event["RequestId"] = json!(format!("{stack}-{resource}-{kind}"));
    event["LogicalResourceId"] = json!(resource);
    event
}

/// The Delete of one of them.
pub(crate) fn delete_resource(stack: &str, account: &str, resource: &str, id: &str) -> Value {
    let mut event = resource_event(stack, account, resource, "Delete");
    event["PhysicalResourceId"] = json!(id);
    event
}

/// Creates a whole stack; every request is repeated by a new provider when the old one died. Returns the Spot account.
pub(crate) async fn create_stack(home: &Home, stack: &str, account: &str) -> String {
    let mut provider = home.provider();
    let mut spot_account = String::new();
    for kind in KINDS {
        let request = request(&create_event(stack, account, kind, &spot_account));
        let response = loop {
            tokio::select! {
                response = provider.handle(&request, in_time()) => break response,
                () = home.spot.died.notified() => provider = home.provider(),
            }
        };
        assert_eq!(
            response.status,
            Status::Success,
            "{kind}: {}",
            response.reason
        );
        if kind == "SpotAccount" {
            spot_account = response.physical_resource_id;
        }
    }
    spot_account
}
