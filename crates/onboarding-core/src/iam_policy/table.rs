//! The table: each call that the runner makes, the actions that AWS asks for it, and what they can be scoped to.

/// When a permission is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Whatever is configured.
    Always,
    /// A job looks at stack sets.
    StackSetReads,
    /// A job manages stack sets.
    StackSets,
    /// A job takes out what is left of accounts that are gone (`orphan-cleanup`).
    CleanUp,
    /// A job lets CloudFormation look for drift, too (`cloudformation_drift`).
    DriftDetection,
    /// Accounts are enrolled without custom resources (`enrollment.provider = "direct"`).
    Direct,
    /// A job rolls out versions of policies (`policy-rollout`).
    Rollout,
    /// A job looks into accounts (`audit.enabled`, `aggregator`), and compares what it finds with what their stacks were given.
    Truth,
    /// A job looks at the plain stack that enrolls the management account (`profiles.management_account`).
    ManagementStackReads,
    /// A job looks into accounts, and so into the management account (`audit.enabled`, `aggregator`).
    ManagementTruth,
    /// A job manages that stack.
    ManagementStack,
    /// Such a stack makes a role without a permissions boundary.
    UnboundedRole,
    /// Such a stack makes a role with a permissions boundary (`profiles.permissions_boundary`).
    BoundedRole,
    /// Stack sets are given tags (`stack_set.tags`).
    StackSetTags,
    /// The runner may switch trusted access on (`prerequisites.activate_trusted_access`).
    TrustedAccess,
    /// Targets ask for the tags of accounts (`profiles.targets.tags`).
    AccountTags,
    /// Accounts are read through the audit role (`audit.enabled`).
    AuditRole,
    /// Stray policies are taken away through the remediation role, and stacks that were left (`remediation.enabled`).
    RemediationRole,
    /// A job reads IAM from an aggregator of AWS Config in the home account (`aggregator`).
    Aggregator,
    /// A job reads IAM from an aggregator of AWS Config in another account (`aggregator.role`).
    AggregatorRole,
    /// The provider is ours.
    Queue,
    /// The provider's queue is encrypted with a key of ours.
    QueueKey,
    /// Events of AWS wake jobs (`events.enabled`).
    Events,
    /// The Spot token is in AWS Secrets Manager.
    Secret,
    /// The Spot token is in AWS Systems Manager Parameter Store.
    Parameter,
    /// A topic is notified (`notify.sns`).
    Topics,
    /// A secret of notifications is in AWS Secrets Manager (`notify.secret`, `notify.previous_secret`, `notify.slack`).
    FurtherSecret,
    /// A secret of notifications is in AWS Systems Manager Parameter Store (`notify.secret`, `notify.previous_secret`, `notify.slack`).
    FurtherParameter,
    /// The URL of the function's state is in AWS Secrets Manager (`bootstrap.lambda.state`).
    StateSecret,
    /// The URL of the function's state is in AWS Systems Manager Parameter Store (`bootstrap.lambda.state`).
    StateParameter,
    /// The function is in a VPC (`bootstrap.lambda.subnets`).
    Vpc,
    /// The function that `runner bootstrap` deploys is the one that serves (`enrollment.served_by = "lambda"`).
    Function,
}

impl Need {
    /// When that is, in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::StackSetReads => "a job looks at stack sets",
            Self::StackSets => "a job manages stack sets",
            Self::CleanUp => "a job of the kind `orphan-cleanup`",
            Self::DriftDetection => "a job of the kind `drift-audit` with `cloudformation_drift`",
            Self::Direct => "`enrollment.provider = \"direct\"`",
            Self::Rollout => "a job rolls out versions of policies",
            Self::Truth => "`audit.enabled`, or a job of the kind `drift-audit` with `aggregator`",
            Self::ManagementStackReads => "`profiles.management_account`",
            Self::ManagementTruth => {
                "`profiles.management_account` with `audit.enabled`, or a job of the kind `drift-audit` with `aggregator`"
            }
            Self::ManagementStack => "`profiles.management_account`, and a job manages stack sets",
            Self::UnboundedRole => {
                "`profiles.management_account` without `profiles.permissions_boundary`"
            }
            Self::BoundedRole => {
                "`profiles.management_account` with `profiles.permissions_boundary`"
            }
            Self::StackSetTags => "`stack_set.tags`",
            Self::TrustedAccess => "`prerequisites.activate_trusted_access`",
            Self::AccountTags => "`profiles.targets.tags`",
            Self::AuditRole => "`audit.enabled`",
            Self::RemediationRole => "`remediation.enabled`",
            Self::Aggregator => "a job of the kind `drift-audit` with `aggregator`",
            Self::AggregatorRole => "a job of the kind `drift-audit` with `aggregator.role`",
            Self::Queue => "`enrollment.provider = \"queue\"`",
            Self::QueueKey => "`bootstrap.encryption = \"cmk\"`",
            Self::Events => {
                "`events.enabled`, with `enrollment.provider = \"queue\"` or `events.queue_url`"
            }
            Self::Secret => "`spot.token` is in AWS Secrets Manager",
            Self::Parameter => "`spot.token` is in AWS Systems Manager",
            Self::Topics => "`notify.sns`",
            Self::FurtherSecret => {
                "`notify.secret`, `notify.previous_secret` or `notify.slack` is in AWS Secrets Manager"
            }
            Self::FurtherParameter => {
                "`notify.secret`, `notify.previous_secret` or `notify.slack` is in AWS Systems Manager"
            }
            Self::StateSecret => "`bootstrap.lambda.state` is in AWS Secrets Manager",
            Self::StateParameter => "`bootstrap.lambda.state` is in AWS Systems Manager",
            Self::Vpc => "`bootstrap.lambda.subnets`",
            Self::Function => "`enrollment.served_by = \"lambda\"` with `bootstrap.lambda`",
        }
    }
}

/// What an action can be scoped to (Service Authorization Reference of each service).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The action has no resources.
    Nothing,
    /// Accounts, units and the root of the organization.
    Organization,
    /// The stack sets of the profiles.
    StackSets,
    /// Where their operations deploy, and the types of what they deploy.
    StackSetTargets,
    /// No resources, but one service that may be let into the organization.
    StackSetsService,
    /// The role that StackSets makes for itself.
    StackSetsServiceRole,
    /// The plain stacks of the management account.
    ManagementStacks,
    /// The roles that those make.
    ManagementRoles,
    /// The same, to be read.
    ManagementRoleReads,
    /// Whatever of the account's own policies is attached to those roles, to be read.
    ManagementPolicyReads,
    /// Those of them that have no permissions boundary.
    UnboundedRoles,
    /// Those of them that have a permissions boundary, and only with it.
    BoundedRoles,
    /// What is attached to those roles: the managed policies of the same stacks.
    ManagementRolePolicies,
    /// The managed policies that those make: CloudFormation names them after the stack.
    ManagementPolicies,
    /// The stack of the home account that has the function.
    HomeStack,
    /// The audit role of any account.
    AuditRole,
    /// The remediation role of any account.
    RemediationRole,
    /// AWS's own managed policies.
    AwsPolicies,
    /// The aggregators of the home account in the Regions of those that jobs read.
    Aggregators,
    /// The roles that aggregators of other accounts are read through.
    AggregatorRoles,
    /// The provider's queue and its dead letters.
    Queue,
    /// The provider's queue alone.
    ServedQueue,
    /// The key of those queues.
    QueueKey,
    /// The wake-up queue.
    WakeUpQueue,
    /// The secret or parameter with the Spot token.
    Token,
    /// The topics that are notified.
    Topics,
    /// Its other secrets: those of notifications, and the bearer token of the daemon.
    FurtherSecrets,
    /// The same, as parameters.
    FurtherParameters,
    /// The secret or parameter with the URL of the function's state.
    State,
    /// No resources: the network interfaces by which Lambda connects a function to a VPC.
    NetworkInterfaces,
}

impl Scope {
    /// The id of the statement.
    #[must_use]
    pub fn sid(self) -> &'static str {
        match self {
            Self::Nothing => "Unscoped",
            Self::Organization => "Organization",
            Self::StackSets => "StackSets",
            Self::StackSetTargets => "StackSetTargets",
            Self::StackSetsService => "TrustedAccess",
            Self::StackSetsServiceRole => "TrustedAccessRole",
            Self::ManagementStacks => "ManagementStacks",
            Self::ManagementRoles => "ManagementRoles",
            Self::ManagementRoleReads => "ManagementRoleReads",
            Self::ManagementPolicyReads => "ManagementPolicyReads",
            Self::UnboundedRoles => "UnboundedRoles",
            Self::BoundedRoles => "BoundedRoles",
            Self::ManagementRolePolicies => "ManagementRolePolicies",
            Self::ManagementPolicies => "ManagementPolicies",
            Self::HomeStack => "HomeStack",
            Self::AuditRole => "AuditRole",
            Self::RemediationRole => "RemediationRole",
            Self::AwsPolicies => "AwsPolicies",
            Self::Aggregators => "Aggregators",
            Self::AggregatorRoles => "AggregatorRoles",
            Self::Queue | Self::ServedQueue => "Queue",
            Self::QueueKey => "QueueKey",
            Self::WakeUpQueue => "WakeUpQueue",
            Self::Token => "SpotToken",
            Self::Topics => "Topics",
            Self::FurtherSecrets => "FurtherSecrets",
            Self::FurtherParameters => "FurtherParameters",
            Self::State => "State",
            Self::NetworkInterfaces => "NetworkInterfaces",
        }
    }

    /// What the statement is scoped to, in words, and where that is wider than one thing, why it cannot be narrower.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Nothing => {
                "`*`: these actions have no resources, nor a condition that would tell ours from others"
            }
            Self::Organization => {
                "the accounts, units and root of the organization: which of them are asked about follows from the tree"
            }
            Self::StackSets => "the stack sets of the profiles, by name",
            Self::StackSetTargets => {
                "the targets of these stack sets, and any resource type: StackSets checks the types of the template, and how \
                 custom resources are named there is not documented; what a template may make in an account is the business \
                 of StackSets' own role there"
            }
            Self::StackSetsService => {
                "`*`: the action has no resources; on condition that the service is StackSets \
                 (`organizations:ServicePrincipal`)"
            }
            Self::StackSetsServiceRole => {
                "the one service-linked role of StackSets, by its full name"
            }
            Self::ManagementStacks => "the stacks of these profiles, by name",
            Self::ManagementRoles => {
                "the roles of these stacks, by name; only when CloudFormation asks for the caller (`aws:CalledVia`)"
            }
            Self::ManagementRoleReads => "the roles of these stacks, by name",
            Self::ManagementPolicyReads => {
                "the account's own policies: which one somebody attaches to the role is not known before"
            }
            Self::UnboundedRoles => {
                "such a role, by name; only when CloudFormation asks for the caller (`aws:CalledVia`)"
            }
            Self::BoundedRoles => {
                "such a role, by name; only when CloudFormation asks for the caller (`aws:CalledVia`), and only with the \
                 configured boundary (`iam:PermissionsBoundary`)"
            }
            Self::ManagementRolePolicies => {
                "the roles of these stacks, by name; only when CloudFormation asks for the caller (`aws:CalledVia`), and only \
                 policies whose names begin with the stack's (`iam:PolicyARN`)"
            }
            Self::ManagementPolicies => {
                "policies whose names begin with the stack's: CloudFormation makes the rest of them up; only when \
                 CloudFormation asks for the caller (`aws:CalledVia`)"
            }
            Self::HomeStack => "the one stack of the home account, by name",
            Self::AuditRole => {
                "the audit role, by path and name, in any account: of the organization by its own trust policy"
            }
            Self::RemediationRole => {
                "the remediation role, by path and name, in any account: of the organization by its own trust policy"
            }
            Self::AwsPolicies => {
                "AWS's own managed policies, which everybody may know: which of them somebody attaches is not known before"
            }
            Self::Aggregators => {
                "the aggregators of AWS Config in the Region: the ARN of one has an id that its name does not tell"
            }
            Self::AggregatorRoles => "the roles of `aggregator.role`, by ARN",
            Self::Queue => "the provider's queue and its dead letters, by name",
            Self::ServedQueue => "the provider's queue, by name",
            Self::WakeUpQueue => "the wake-up queue, by name",
            Self::QueueKey => {
                "any key of the account with the alias of the topic's name (`kms:ResourceAliases`), through SQS only \
                 (`kms:ViaService`): the key's id is not known before it is made"
            }
            Self::NetworkInterfaces => {
                "`*`: Lambda asks for it so; a second statement denies the same to the function's own code \
                 (`lambda:SourceFunctionArn`)"
            }
            Self::Topics => "the topics of `[[notify]]`, by ARN",
            Self::Token | Self::State | Self::FurtherSecrets | Self::FurtherParameters => {
                "the one secret or parameter; of a secret that is given by name, any with that name and the six characters \
                 that Secrets Manager appends"
            }
        }
    }
}

/// Actions that are needed together, with what they can be scoped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// When they are needed.
    pub need: Need,
    /// What they can be scoped to.
    pub scope: Scope,
    /// The actions, by service and name.
    pub actions: &'static [&'static str],
    /// The call that asks for them beside its own; none when each action has the name of the call that needs it.
    pub asked_by: Option<&'static str>,
}

/// Calls whose actions have their names.
const fn calls(need: Need, scope: Scope, actions: &'static [&'static str]) -> Permission {
    Permission {
        need,
        scope,
        actions,
        asked_by: None,
    }
}

/// What a call asks for beside its own action.
const fn also(
    asked_by: &'static str,
    need: Need,
    scope: Scope,
    actions: &'static [&'static str],
) -> Permission {
    Permission {
        need,
        scope,
        actions,
        asked_by: Some(asked_by),
    }
}

/// Changes of stack instances, which are scoped to the stack set and to where it deploys.
const INSTANCES: &[&str] = &[
    "cloudformation:CreateStackInstances",
    "cloudformation:DeleteStackInstances",
    "cloudformation:UpdateStackInstances",
    "cloudformation:UpdateStackSet",
];

/// What it changes, CloudFormation changes with the permissions of the caller.
const EXECUTE: &str = "cloudformation:ExecuteChangeSet";

const ACTIVATE: &str = "cloudformation:ActivateOrganizationsAccess";

/// Every call of the runner with its own identity; what it calls with the audit role or the remediation role is that role's business.
pub const PERMISSIONS: &[Permission] = &[
    calls(
        Need::Always,
        Scope::Nothing,
        &[
            "organizations:DescribeOrganization",
            "organizations:ListAccounts",
            "organizations:ListRoots",
        ],
    ),
    calls(
        Need::Always,
        Scope::Organization,
        &[
            "organizations:DescribeAccount",
            "organizations:ListAccountsForParent",
            "organizations:ListOrganizationalUnitsForParent",
            "organizations:ListParents",
        ],
    ),
    calls(
        Need::AccountTags,
        Scope::Organization,
        &["organizations:ListTagsForResource"],
    ),
    calls(
        Need::StackSetReads,
        Scope::Nothing,
        &["cloudformation:DescribeOrganizationsAccess"],
    ),
    calls(
        Need::StackSets,
        Scope::Nothing,
        &["cloudformation:CreateStackSet"],
    ),
    calls(
        Need::StackSetReads,
        Scope::StackSets,
        &[
            "cloudformation:DescribeStackSet",
            "cloudformation:ListStackInstances",
            "cloudformation:ListStackSetOperations",
        ],
    ),
    calls(
        Need::StackSets,
        Scope::StackSets,
        &[
            "cloudformation:DescribeStackSetOperation",
            "cloudformation:ListStackSetOperationResults",
            "cloudformation:StopStackSetOperation",
        ],
    ),
    calls(Need::StackSets, Scope::StackSets, INSTANCES),
    calls(Need::StackSets, Scope::StackSetTargets, INSTANCES),
    calls(
        Need::CleanUp,
        Scope::StackSets,
        &[
            "cloudformation:DeleteStackInstances",
            "cloudformation:DescribeStackInstance",
            "cloudformation:DescribeStackSetOperation",
            "cloudformation:ListStackSetOperationResults",
            "cloudformation:StopStackSetOperation",
        ],
    ),
    calls(
        Need::CleanUp,
        Scope::StackSetTargets,
        &["cloudformation:DeleteStackInstances"],
    ),
    calls(
        Need::DriftDetection,
        Scope::StackSets,
        &[
            "cloudformation:DescribeStackSetOperation",
            "cloudformation:DetectStackSetDrift",
            "cloudformation:ListStackSetOperationResults",
            "cloudformation:StopStackSetOperation",
        ],
    ),
    calls(
        Need::Direct,
        Scope::StackSets,
        &["cloudformation:DescribeStackInstance"],
    ),
    calls(
        Need::Rollout,
        Scope::StackSets,
        &["cloudformation:DescribeStackInstance"],
    ),
    calls(
        Need::Truth,
        Scope::StackSets,
        &["cloudformation:DescribeStackInstance"],
    ),
    calls(
        Need::ManagementStackReads,
        Scope::ManagementStacks,
        &[
            "cloudformation:DescribeStacks",
            "cloudformation:GetTemplate",
        ],
    ),
    calls(
        Need::ManagementTruth,
        Scope::ManagementRoleReads,
        &[
            "iam:GetRole",
            "iam:GetRolePolicy",
            "iam:ListAttachedRolePolicies",
            "iam:ListRolePolicies",
        ],
    ),
    calls(
        Need::ManagementTruth,
        Scope::ManagementPolicyReads,
        &["iam:GetPolicy", "iam:GetPolicyVersion"],
    ),
    calls(
        Need::ManagementStack,
        Scope::ManagementStacks,
        &[
            "cloudformation:CreateChangeSet",
            "cloudformation:DeleteChangeSet",
            "cloudformation:DeleteStack",
            "cloudformation:DescribeChangeSet",
            "cloudformation:DescribeStackEvents",
            EXECUTE,
        ],
    ),
    also(
        EXECUTE,
        Need::ManagementStack,
        Scope::ManagementRoles,
        &[
            "iam:DeleteRole",
            "iam:GetRole",
            "iam:TagRole",
            "iam:UntagRole",
            "iam:UpdateAssumeRolePolicy",
        ],
    ),
    // One that had a boundary before loses it.
    also(
        EXECUTE,
        Need::UnboundedRole,
        Scope::UnboundedRoles,
        &["iam:CreateRole", "iam:DeleteRolePermissionsBoundary"],
    ),
    also(
        EXECUTE,
        Need::BoundedRole,
        Scope::BoundedRoles,
        &["iam:CreateRole", "iam:PutRolePermissionsBoundary"],
    ),
    also(
        EXECUTE,
        Need::ManagementStack,
        Scope::ManagementRolePolicies,
        &["iam:AttachRolePolicy", "iam:DetachRolePolicy"],
    ),
    also(
        EXECUTE,
        Need::ManagementStack,
        Scope::ManagementPolicies,
        &[
            "iam:CreatePolicy",
            "iam:CreatePolicyVersion",
            "iam:DeletePolicy",
            "iam:DeletePolicyVersion",
            "iam:GetPolicy",
            "iam:ListPolicyVersions",
            "iam:TagPolicy",
            "iam:UntagPolicy",
        ],
    ),
    also(
        "cloudformation:CreateStackSet",
        Need::StackSetTags,
        Scope::StackSets,
        &["cloudformation:TagResource"],
    ),
    also(
        "cloudformation:UpdateStackSet",
        Need::StackSetTags,
        Scope::StackSets,
        &["cloudformation:UntagResource"],
    ),
    calls(Need::TrustedAccess, Scope::Nothing, &[ACTIVATE]),
    also(
        ACTIVATE,
        Need::TrustedAccess,
        Scope::StackSetsService,
        &["organizations:EnableAWSServiceAccess"],
    ),
    also(
        ACTIVATE,
        Need::TrustedAccess,
        Scope::StackSetsServiceRole,
        &["iam:CreateServiceLinkedRole", "iam:GetRole"],
    ),
    calls(
        Need::Function,
        Scope::HomeStack,
        &["cloudformation:DescribeStacks"],
    ),
    calls(Need::AuditRole, Scope::AuditRole, &["sts:AssumeRole"]),
    calls(
        Need::RemediationRole,
        Scope::RemediationRole,
        &["sts:AssumeRole"],
    ),
    calls(
        Need::Aggregator,
        Scope::Nothing,
        &["config:DescribeConfigurationAggregators"],
    ),
    calls(
        Need::Aggregator,
        Scope::Aggregators,
        &[
            "config:BatchGetAggregateResourceConfig",
            "config:DescribeConfigurationAggregatorSourcesStatus",
            "config:GetAggregateDiscoveredResourceCounts",
            "config:SelectAggregateResourceConfig",
        ],
    ),
    calls(
        Need::AggregatorRole,
        Scope::AggregatorRoles,
        &["sts:AssumeRole"],
    ),
    // One that denies anything is left to a person.
    calls(
        Need::RemediationRole,
        Scope::AwsPolicies,
        &["iam:GetPolicy", "iam:GetPolicyVersion"],
    ),
    calls(
        Need::Queue,
        Scope::Queue,
        &[
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:GetQueueUrl",
            "sqs:ReceiveMessage",
            "sqs:SendMessage",
        ],
    ),
    calls(
        Need::Events,
        Scope::WakeUpQueue,
        &["sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"],
    ),
    also(
        "sqs:ReceiveMessage",
        Need::QueueKey,
        Scope::QueueKey,
        &["kms:Decrypt"],
    ),
    also(
        "sqs:SendMessage",
        Need::QueueKey,
        Scope::QueueKey,
        &["kms:GenerateDataKey"],
    ),
    calls(
        Need::Secret,
        Scope::Token,
        &["secretsmanager:GetSecretValue"],
    ),
    calls(Need::Parameter, Scope::Token, &["ssm:GetParameter"]),
    calls(Need::Topics, Scope::Topics, &["sns:Publish"]),
    calls(
        Need::FurtherSecret,
        Scope::FurtherSecrets,
        &["secretsmanager:GetSecretValue"],
    ),
    calls(
        Need::FurtherParameter,
        Scope::FurtherParameters,
        &["ssm:GetParameter"],
    ),
];

/// What Lambda needs of a function's role to connect it to a VPC (Lambda developer guide, "Giving Lambda functions access to
/// resources in an Amazon VPC", execution role permissions).
pub(crate) const NETWORK_INTERFACES: &[&str] = &[
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
];

/// What the provider's Lambda function calls, and what Lambda calls for it to hand it the queue's messages (Lambda developer
/// guide, "Configuring an Amazon SQS queue").
pub const FUNCTION_PERMISSIONS: &[Permission] = &[
    calls(
        Need::Always,
        Scope::Organization,
        &["organizations:DescribeAccount", "organizations:ListParents"],
    ),
    calls(Need::AuditRole, Scope::AuditRole, &["sts:AssumeRole"]),
    calls(
        Need::Queue,
        Scope::ServedQueue,
        &[
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage",
            "sqs:SendMessage",
        ],
    ),
    also(
        "sqs:ReceiveMessage",
        Need::QueueKey,
        Scope::QueueKey,
        &["kms:Decrypt"],
    ),
    also(
        "sqs:SendMessage",
        Need::QueueKey,
        Scope::QueueKey,
        &["kms:GenerateDataKey"],
    ),
    calls(
        Need::Secret,
        Scope::Token,
        &["secretsmanager:GetSecretValue"],
    ),
    calls(Need::Parameter, Scope::Token, &["ssm:GetParameter"]),
    calls(
        Need::StateSecret,
        Scope::State,
        &["secretsmanager:GetSecretValue"],
    ),
    calls(Need::StateParameter, Scope::State, &["ssm:GetParameter"]),
    also(
        "lambda:CreateFunction",
        Need::Vpc,
        Scope::NetworkInterfaces,
        NETWORK_INTERFACES,
    ),
];
