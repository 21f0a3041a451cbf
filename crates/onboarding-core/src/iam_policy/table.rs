//! The table: each call that the runner makes, the actions that AWS asks for it, and what they can be scoped to.

/// When a permission is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Whatever is configured.
    Always,
    /// A job manages stack sets.
    StackSets,
    /// Accounts are enrolled without custom resources (`enrollment.provider = "direct"`).
    Direct,
    /// The management account is enrolled, by a plain stack (`profiles.management_account`).
    ManagementStack,
    /// Stack sets are given tags (`stack_set.tags`).
    StackSetTags,
    /// The runner may switch trusted access on (`prerequisites.activate_trusted_access`).
    TrustedAccess,
    /// Targets ask for the tags of accounts (`profiles.targets.tags`).
    AccountTags,
    /// Accounts are read through the audit role (`audit.enabled`).
    AuditRole,
    /// The provider is ours.
    Queue,
    /// The provider's queue is encrypted with a key of ours.
    QueueKey,
    /// The Spot token is in AWS Secrets Manager.
    Secret,
    /// The Spot token is in AWS Systems Manager Parameter Store.
    Parameter,
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
    /// The managed policies that those make: CloudFormation names them after the stack.
    ManagementPolicies,
    /// The audit role of any account.
    AuditRole,
    /// The provider's queue and its dead letters.
    Queue,
    /// The provider's queue alone.
    ServedQueue,
    /// The key of those queues.
    QueueKey,
    /// The secret or parameter with the Spot token.
    Token,
}

impl Scope {
    /// The id of the statement.
    pub(super) fn sid(self) -> &'static str {
        match self {
            Self::Nothing => "Unscoped",
            Self::Organization => "Organization",
            Self::StackSets => "StackSets",
            Self::StackSetTargets => "StackSetTargets",
            Self::StackSetsService => "TrustedAccess",
            Self::StackSetsServiceRole => "TrustedAccessRole",
            Self::ManagementStacks => "ManagementStacks",
            Self::ManagementRoles => "ManagementRoles",
            Self::ManagementPolicies => "ManagementPolicies",
            Self::AuditRole => "AuditRole",
            Self::Queue | Self::ServedQueue => "Queue",
            Self::QueueKey => "QueueKey",
            Self::Token => "SpotToken",
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

/// Every call of the runner with its own identity; what it calls with the audit role is that role's business.
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
        Need::StackSets,
        Scope::Nothing,
        &[
            "cloudformation:CreateStackSet",
            "cloudformation:DescribeOrganizationsAccess",
        ],
    ),
    calls(
        Need::StackSets,
        Scope::StackSets,
        &[
            "cloudformation:DescribeStackSet",
            "cloudformation:DescribeStackSetOperation",
            "cloudformation:ListStackInstances",
            "cloudformation:ListStackSetOperationResults",
            "cloudformation:ListStackSetOperations",
            "cloudformation:StopStackSetOperation",
        ],
    ),
    calls(Need::StackSets, Scope::StackSets, INSTANCES),
    calls(Need::StackSets, Scope::StackSetTargets, INSTANCES),
    calls(
        Need::Direct,
        Scope::StackSets,
        &["cloudformation:DescribeStackInstance"],
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
            "cloudformation:DescribeStacks",
            EXECUTE,
            "cloudformation:GetTemplate",
        ],
    ),
    also(
        EXECUTE,
        Need::ManagementStack,
        Scope::ManagementRoles,
        &[
            "iam:AttachRolePolicy",
            "iam:CreateRole",
            "iam:DeleteRole",
            "iam:DeleteRolePermissionsBoundary",
            "iam:DetachRolePolicy",
            "iam:GetRole",
            "iam:PutRolePermissionsBoundary",
            "iam:TagRole",
            "iam:UntagRole",
            "iam:UpdateAssumeRolePolicy",
        ],
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
    calls(Need::AuditRole, Scope::AuditRole, &["sts:AssumeRole"]),
    calls(
        Need::Queue,
        Scope::Queue,
        &[
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:GetQueueUrl",
            "sqs:ReceiveMessage",
        ],
    ),
    also(
        "sqs:ReceiveMessage",
        Need::QueueKey,
        Scope::QueueKey,
        &["kms:Decrypt"],
    ),
    calls(
        Need::Secret,
        Scope::Token,
        &["secretsmanager:GetSecretValue"],
    ),
    calls(Need::Parameter, Scope::Token, &["ssm:GetParameter"]),
];

/// What the provider's Lambda function calls, and what Lambda calls for it to hand it the queue's messages (Lambda developer
/// guide, "Configuring an Amazon SQS queue").
pub const FUNCTION_PERMISSIONS: &[Permission] = &[
    calls(
        Need::Always,
        Scope::Organization,
        &["organizations:DescribeAccount", "organizations:ListParents"],
    ),
    calls(
        Need::Queue,
        Scope::ServedQueue,
        &[
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage",
        ],
    ),
    also(
        "sqs:ReceiveMessage",
        Need::QueueKey,
        Scope::QueueKey,
        &["kms:Decrypt"],
    ),
    calls(
        Need::Secret,
        Scope::Token,
        &["secretsmanager:GetSecretValue"],
    ),
    calls(Need::Parameter, Scope::Token, &["ssm:GetParameter"]),
];
