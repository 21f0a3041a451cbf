//! What the runner's identity in AWS must be allowed, and nothing broader: one table of the calls that it makes, and the
//! policy that follows from it and the configuration.
//!
//! Which resource an action can be scoped to is the Service Authorization Reference's word; `*` stands only where the
//! action has no resources. `sts:GetCallerIdentity` is not here: it needs no permission.

mod table;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
pub(crate) use table::NETWORK_INTERFACES;
pub use table::{FUNCTION_PERMISSIONS, Need, PERMISSIONS, Permission, Scope};

use crate::{
    ids::{AwsAccountId, OrganizationId, Region, RoleArn, StackSetName, TopicArn},
    policy::{PolicyDocument, PolicyError},
    template::{Partition, home},
};

/// What decides about the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerPolicySpec {
    /// The home Region.
    pub region: Region,
    /// The home account.
    pub account: AwsAccountId,
    /// The management account; none when it is not known, and then any account stands for it.
    pub management_account: Option<AwsAccountId>,
    /// The organization; none when it is not known, and then any organization stands for it.
    pub organization: Option<OrganizationId>,
    /// The stack sets that a job looks at; empty when no job does.
    pub stack_sets: Vec<StackSetName>,
    /// Whether a job manages them.
    pub manages_stack_sets: bool,
    /// Whether a job takes out what is left of accounts that are gone.
    pub cleans_up: bool,
    /// Whether a job lets CloudFormation look for drift.
    pub detects_drift: bool,
    /// Whether accounts are enrolled without custom resources.
    pub is_direct: bool,
    /// Whether a job rolls out versions of policies.
    pub rolls_out: bool,
    /// The plain stacks that enroll the management account.
    pub management_stacks: Vec<ManagementStackAccess>,
    /// Whether stack sets are given tags.
    pub tags_stack_sets: bool,
    /// Whether the runner may switch trusted access on.
    pub activates_trusted_access: bool,
    /// Whether targets ask for the tags of accounts.
    pub reads_account_tags: bool,
    /// The path and name of the audit role, such as `/spot-onboarding-audit`; none when accounts are not read.
    pub audit_role: Option<String>,
    /// The path and name of the remediation role; none when stray policies are left to a person.
    pub remediation_role: Option<String>,
    /// The aggregators of AWS Config that jobs read IAM from.
    pub aggregators: Vec<AggregatorAccess>,
    /// The provider's queue; none with a provider that is not ours.
    pub queue: Option<QueueAccess>,
    /// The queue of events that wake jobs; none when none do.
    pub wake_up_queue: Option<WakeUpAccess>,
    /// Where in AWS the Spot token is; none when it is somewhere else.
    pub token: Option<SecretPlace>,
    /// The topics that are notified.
    pub topics: Vec<TopicArn>,
    /// Where in AWS its other secrets are: those that notifications are signed and sent with, and the bearer token of the daemon.
    pub further_secrets: Vec<SecretPlace>,
    /// What the Lambda function needs beside the runner's own.
    pub function: FunctionAccess,
}

/// What the Lambda function needs beside the runner's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FunctionAccess {
    /// Where in AWS the URL of the state is; none without a durable state.
    pub state: Option<SecretPlace>,
    /// Whether it is in a VPC.
    pub in_vpc: bool,
    /// The stack of the home account that has it, where only it serves.
    pub stack: Option<String>,
}

/// A plain stack that enrolls the management account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagementStackAccess {
    /// Its name.
    pub name: StackSetName,
    /// The name of its role.
    pub role: String,
    /// The ARN of the role's permissions boundary.
    pub boundary: Option<String>,
}

/// An aggregator of AWS Config.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AggregatorAccess {
    /// One of the home account, in this Region.
    Home(Region),
    /// One of another account, through this role.
    Through(RoleArn),
}

/// The provider's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueAccess {
    /// Its account.
    pub account: AwsAccountId,
    /// Its name; those of its dead-letter queues begin with it.
    pub name: String,
    /// The name of the topic whose key encrypts it; none when SQS's own key does.
    pub key_of_topic: Option<String>,
}

/// The wake-up queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WakeUpAccess {
    /// Its account.
    pub account: AwsAccountId,
    /// Its name.
    pub name: String,
}

/// Where in AWS a secret text is, by name or ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    /// A secret of AWS Secrets Manager.
    Secret(String),
    /// A parameter of AWS Systems Manager Parameter Store.
    Parameter(String),
}

/// The policy, its statements in the order of the table.
///
/// # Errors
/// [`PolicyError`] when IAM would refuse it: a name has a form that no ARN can have.
pub fn document(spec: &RunnerPolicySpec) -> Result<PolicyDocument, PolicyError> {
    written(spec, PERMISSIONS)
}

/// What the provider's Lambda function must be allowed with the same configuration, beside writing its log.
///
/// # Errors
/// As [`document`].
pub fn function_document(spec: &RunnerPolicySpec) -> Result<PolicyDocument, PolicyError> {
    written(spec, FUNCTION_PERMISSIONS)
}

fn written(spec: &RunnerPolicySpec, table: &[Permission]) -> Result<PolicyDocument, PolicyError> {
    let mut statements: Vec<(Scope, Vec<&'static str>)> = Vec::new();
    for permission in table.iter().filter(|one| spec.has(one.need)) {
        match statements
            .iter_mut()
            .find(|(scope, _)| *scope == permission.scope)
        {
            Some((_, actions)) => actions.extend(permission.actions),
            None => statements.push((permission.scope, permission.actions.to_vec())),
        }
    }
    let statements: Vec<Value> = statements
        .into_iter()
        .map(|(scope, mut actions)| {
            actions.sort_unstable();
            actions.dedup();
            spec.statement(scope, &actions)
        })
        .collect();
    PolicyDocument::from_value(json!({"Version": "2012-10-17", "Statement": statements}))
}

impl RunnerPolicySpec {
    fn has(&self, need: Need) -> bool {
        let reads = !self.stack_sets.is_empty();
        let manages = reads && self.manages_stack_sets;
        match need {
            Need::Always => true,
            Need::StackSetReads => reads,
            Need::StackSets => manages,
            Need::CleanUp => reads && self.cleans_up,
            Need::DriftDetection => reads && self.detects_drift,
            Need::Direct => reads && self.is_direct,
            Need::Rollout => reads && self.rolls_out,
            Need::Truth => reads && self.looks_into_accounts(),
            Need::ManagementStackReads => reads && !self.management_stacks.is_empty(),
            Need::ManagementTruth => {
                reads && self.looks_into_accounts() && !self.management_stacks.is_empty()
            }
            Need::ManagementStack => manages && !self.management_stacks.is_empty(),
            Need::UnboundedRole => {
                manages
                    && self
                        .management_stacks
                        .iter()
                        .any(|stack| stack.boundary.is_none())
            }
            Need::BoundedRole => {
                manages
                    && self
                        .management_stacks
                        .iter()
                        .any(|stack| stack.boundary.is_some())
            }
            Need::StackSetTags => manages && self.tags_stack_sets,
            Need::TrustedAccess => manages && self.activates_trusted_access,
            Need::AccountTags => self.reads_account_tags,
            Need::AuditRole => self.audit_role.is_some(),
            Need::RemediationRole => self.remediation_role.is_some(),
            Need::Aggregator => !self.resources(Scope::Aggregators).is_empty(),
            Need::AggregatorRole => !self.resources(Scope::AggregatorRoles).is_empty(),
            Need::Queue => self.queue.is_some(),
            Need::QueueKey => self
                .queue
                .as_ref()
                .is_some_and(|queue| queue.key_of_topic.is_some()),
            Need::Events => self.wake_up_queue.is_some(),
            Need::Secret => matches!(self.token, Some(SecretPlace::Secret(_))),
            Need::Parameter => matches!(self.token, Some(SecretPlace::Parameter(_))),
            Need::Topics => !self.topics.is_empty(),
            Need::FurtherSecret => !self.further_secrets(true).is_empty(),
            Need::FurtherParameter => !self.further_secrets(false).is_empty(),
            Need::StateSecret => matches!(self.function.state, Some(SecretPlace::Secret(_))),
            Need::StateParameter => matches!(self.function.state, Some(SecretPlace::Parameter(_))),
            Need::Vpc => self.function.in_vpc,
            Need::Function => self.function.stack.is_some(),
        }
    }

    fn looks_into_accounts(&self) -> bool {
        self.audit_role.is_some() || !self.aggregators.is_empty()
    }

    fn statement(&self, scope: Scope, actions: &[&str]) -> Value {
        let mut statement = Map::new();
        statement.insert("Sid".into(), scope.sid().into());
        statement.insert("Effect".into(), "Allow".into());
        statement.insert("Action".into(), actions.into());
        statement.insert("Resource".into(), self.resources(scope).into());
        if let Some(condition) = self.condition(scope) {
            statement.insert("Condition".into(), condition);
        }
        Value::Object(statement)
    }

    fn partition(&self) -> Partition {
        self.region.partition().parse().unwrap_or(Partition::Aws)
    }

    /// ARNs, or `*` for actions without resources.
    fn resources(&self, scope: Scope) -> Vec<String> {
        let (partition, region, account) = (self.partition(), &self.region, self.account);
        match scope {
            Scope::Nothing | Scope::StackSetsService | Scope::NetworkInterfaces => {
                vec!["*".to_owned()]
            }
            Scope::Organization => {
                let management = wildcard(self.management_account.as_ref());
                let organization = wildcard(self.organization.as_ref());
                ["account", "ou", "root"]
                    .map(|kind| {
                        format!(
                            "arn:{partition}:organizations::{management}:{kind}/{organization}/*"
                        )
                    })
                    .into()
            }
            Scope::StackSets => {
                // A delegated administrator's stack sets are the management account's.
                let owner = wildcard(self.management_account.as_ref());
                let names = self.stack_sets.iter();
                names
                    .map(|name| {
                        format!("arn:{partition}:cloudformation:{region}:{owner}:stackset/{name}:*")
                    })
                    .collect()
            }
            // Not every form of these ARNs has a Region and an account (CloudFormation User Guide, "Controlling access with
            // IAM"), and a wildcard stands for none as well.
            Scope::StackSetTargets => {
                let names = self.stack_sets.iter();
                let mut arns: Vec<String> = names
                    .map(|name| {
                        format!("arn:{partition}:cloudformation:*:*:stackset-target/{name}:*")
                    })
                    .collect();
                arns.push(format!(
                    "arn:{partition}:cloudformation:*:*:type/resource/*"
                ));
                arns
            }
            Scope::StackSetsServiceRole => vec![format!(
                "arn:{partition}:iam::{account}:role/aws-service-role/stacksets.cloudformation.amazonaws.com/\
                 AWSServiceRoleForCloudFormationStackSetsOrgAdmin"
            )],
            Scope::ManagementStacks => {
                let names = self.management_stacks.iter();
                names.map(|stack| self.stack_arn(&stack.name)).collect()
            }
            Scope::HomeStack => {
                let names = self.function.stack.iter();
                names.map(|name| self.stack_arn(name)).collect()
            }
            Scope::ManagementRoles | Scope::ManagementRoleReads | Scope::ManagementRolePolicies => {
                self.management_roles(|_| true)
            }
            Scope::ManagementPolicyReads => {
                vec![format!("arn:{partition}:iam::{account}:policy/*")]
            }
            Scope::UnboundedRoles => self.management_roles(|stack| stack.boundary.is_none()),
            Scope::BoundedRoles => self.management_roles(|stack| stack.boundary.is_some()),
            Scope::ManagementPolicies => self.management_policies(),
            Scope::AuditRole => self.in_any_account(self.audit_role.as_ref()),
            Scope::RemediationRole => self.in_any_account(self.remediation_role.as_ref()),
            Scope::AwsPolicies => vec![format!("arn:{partition}:iam::aws:policy/*")],
            Scope::Aggregators => self.of_aggregators(|one| match one {
                AggregatorAccess::Home(region) => Some(format!(
                    "arn:{partition}:config:{region}:{account}:config-aggregator/*"
                )),
                AggregatorAccess::Through(_) => None,
            }),
            Scope::AggregatorRoles => self.of_aggregators(|one| match one {
                AggregatorAccess::Through(role) => Some(role.to_string()),
                AggregatorAccess::Home(_) => None,
            }),
            // Dead letters are listed and served by the provider, too.
            Scope::Queue => self.queues(&home::PROVIDER_QUEUE_ENDINGS),
            Scope::ServedQueue => self.queues(&[""]),
            Scope::WakeUpQueue => self
                .wake_up_queue
                .iter()
                .map(|queue| {
                    let (account, name) = (queue.account, &queue.name);
                    format!("arn:{partition}:sqs:{region}:{account}:{name}")
                })
                .collect(),
            Scope::QueueKey => self
                .queue
                .iter()
                .map(|queue| format!("arn:{partition}:kms:{region}:{}:key/*", queue.account))
                .collect(),
            Scope::Token => self.secret(self.token.as_ref()),
            Scope::State => self.secret(self.function.state.as_ref()),
            Scope::Topics => self.topics.iter().map(ToString::to_string).collect(),
            Scope::FurtherSecrets => self.further_secrets(true),
            Scope::FurtherParameters => self.further_secrets(false),
        }
    }

    /// What is allowed of the aggregators, each once.
    fn of_aggregators(&self, arn: impl Fn(&AggregatorAccess) -> Option<String>) -> Vec<String> {
        let arns: BTreeSet<String> = self.aggregators.iter().filter_map(arn).collect();
        arns.into_iter().collect()
    }

    /// A role by path and name, in whichever account.
    fn in_any_account(&self, role: Option<&String>) -> Vec<String> {
        let partition = self.partition();
        let role = role.map(|role| format!("arn:{partition}:iam::*:role{role}"));
        role.into_iter().collect()
    }

    /// A plain stack of the home account, whatever its id.
    fn stack_arn(&self, name: &impl std::fmt::Display) -> String {
        let (partition, region, account) = (self.partition(), &self.region, self.account);
        format!("arn:{partition}:cloudformation:{region}:{account}:stack/{name}/*")
    }

    /// Where the secrets of notifications are, of Secrets Manager or else of Parameter Store, each once.
    fn further_secrets(&self, of_secrets_manager: bool) -> Vec<String> {
        let places = self.further_secrets.iter();
        let ours =
            places.filter(|place| matches!(place, SecretPlace::Secret(_)) == of_secrets_manager);
        let arns: BTreeSet<String> = ours.flat_map(|place| self.secret(Some(place))).collect();
        arns.into_iter().collect()
    }

    /// Where a secret text is.
    fn secret(&self, place: Option<&SecretPlace>) -> Vec<String> {
        let (partition, region, account) = (self.partition(), &self.region, self.account);
        let arn = |place: &SecretPlace| match place {
            SecretPlace::Secret(id) | SecretPlace::Parameter(id) if id.starts_with("arn:") => {
                id.clone()
            }
            // Secrets Manager appends a hyphen and six characters to the name.
            SecretPlace::Secret(name) => {
                format!("arn:{partition}:secretsmanager:{region}:{account}:secret:{name}-??????")
            }
            SecretPlace::Parameter(name) => {
                let name = name.trim_start_matches('/');
                format!("arn:{partition}:ssm:{region}:{account}:parameter/{name}")
            }
        };
        place.map(arn).into_iter().collect()
    }

    /// The roles of some of the management account's stacks.
    fn management_roles(&self, which: impl Fn(&ManagementStackAccess) -> bool) -> Vec<String> {
        let (partition, account) = (self.partition(), self.account);
        let stacks = self.management_stacks.iter().filter(|stack| which(stack));
        stacks
            .map(|stack| format!("arn:{partition}:iam::{account}:role/{}", stack.role))
            .collect()
    }

    /// What CloudFormation names the managed policies of the management account's stacks.
    fn management_policies(&self) -> Vec<String> {
        let (partition, account) = (self.partition(), self.account);
        let stacks = self.management_stacks.iter();
        stacks
            .map(|stack| format!("arn:{partition}:iam::{account}:policy/{}-*", stack.name))
            .collect()
    }

    /// The provider's queue and those whose names end with these.
    fn queues(&self, endings: &[&str]) -> Vec<String> {
        let Some(queue) = &self.queue else {
            return Vec::new();
        };
        let (partition, region) = (self.partition(), &self.region);
        let (account, name) = (queue.account, &queue.name);
        endings
            .iter()
            .map(|ending| format!("arn:{partition}:sqs:{region}:{account}:{name}{ending}"))
            .collect()
    }

    fn condition(&self, scope: Scope) -> Option<Value> {
        match scope {
            Scope::StackSetsService => Some(json!({"StringEquals": {
                "organizations:ServicePrincipal": "member.org.stacksets.cloudformation.amazonaws.com",
            }})),
            // The runner never writes IAM as itself: CloudFormation does, with the caller's permissions (IAM User Guide,
            // "AWS global condition context keys", aws:CalledVia).
            Scope::ManagementRoles | Scope::UnboundedRoles | Scope::ManagementPolicies => {
                Some(via_cloudformation())
            }
            Scope::BoundedRoles => {
                let stacks = self.management_stacks.iter();
                let boundaries: BTreeSet<&String> =
                    stacks.filter_map(|stack| stack.boundary.as_ref()).collect();
                let mut condition = via_cloudformation();
                condition["StringEquals"] = json!({"iam:PermissionsBoundary": boundaries});
                Some(condition)
            }
            Scope::ManagementRolePolicies => {
                let mut condition = via_cloudformation();
                condition["ArnLike"] = json!({"iam:PolicyARN": self.management_policies()});
                Some(condition)
            }
            // Key ids are not known before the key is made; its alias is.
            Scope::QueueKey => {
                let topic = self.queue.as_ref()?.key_of_topic.as_ref()?;
                let suffix = match self.partition() {
                    Partition::AwsCn => "amazonaws.com.cn",
                    Partition::Aws | Partition::AwsUsGov => "amazonaws.com",
                };
                Some(json!({
                    "ForAnyValue:StringEquals": {"kms:ResourceAliases": home::key_alias(topic)},
                    "StringEquals": {"kms:ViaService": format!("sqs.{}.{suffix}", self.region)},
                }))
            }
            _ => None,
        }
    }
}

/// Only for what CloudFormation calls on behalf of who calls it.
fn via_cloudformation() -> Value {
    json!({"ForAnyValue:StringEquals": {"aws:CalledVia": "cloudformation.amazonaws.com"}})
}

fn wildcard<T: ToString>(known: Option<&T>) -> String {
    known.map_or_else(|| "*".to_owned(), ToString::to_string)
}
