//! The function's configuration: environment variables, read once at the start. A wrong one ends the function at once,
//! with a message that says what to set; docs/provider.md lists them.

use std::{collections::BTreeSet, time::Duration};

use onboarding_core::{
    custom_resource::{AdoptRule, Naming, NamingError, ServedStacks},
    desired::AccessGrant,
    ids::{AwsAccountId, OuId, Region, TopicArn},
    secret::SecretText,
    template::{Deletion, Partition, SpotPrincipal},
};
use onboarding_provider::{
    Contract, ResponseHosts,
    response_hosts::{self, InvalidHost},
    sql::{PostgresUrl, PostgresUrlError},
};
use tracing::level_filters::LevelFilter;

/// Where the Spot token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenPlace {
    /// In `SPOTINST_TOKEN` itself.
    Here(SecretText),
    /// In AWS Secrets Manager, under this name or ARN.
    Secret(String),
    /// In AWS Systems Manager's Parameter Store, under this name or ARN.
    Parameter(String),
}

/// Where the URL of the durable state is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StatePlace {
    /// In `PROVIDER_STATE_URL` itself.
    Here(PostgresUrl),
    /// In AWS Secrets Manager, under this name or ARN.
    Secret(String),
    /// In AWS Systems Manager's Parameter Store, under this name or ARN.
    Parameter(String),
}

/// The role that is in every account, and that the status of a stack is read through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditRole {
    /// Its path, which begins and ends with `/`.
    pub(crate) path: String,
    /// Its name.
    pub(crate) name: String,
}

/// Which accounts of the organization are served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Targets {
    accounts: BTreeSet<AwsAccountId>,
    units: BTreeSet<OuId>,
}

impl Targets {
    /// Whether an account is served, which is in these units, from its own up to the root. All are, when nothing is named.
    pub(crate) fn include(&self, account: AwsAccountId, lineage: &[OuId]) -> bool {
        (self.accounts.is_empty() && self.units.is_empty())
            || self.accounts.contains(&account)
            || lineage.iter().any(|unit| self.units.contains(unit))
    }
}

/// See the module documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// The Spot token.
    pub(crate) token: TokenPlace,
    /// The durable state; without it, what a process knows is lost with the process.
    pub(crate) state: Option<StatePlace>,
    /// The file with the certificates that the state's server is verified with, beside those of the URL.
    pub(crate) state_ca_file: Option<String>,
    /// What deleting a stack does to its Spot account.
    pub(crate) deletion: Deletion,
    /// How accounts are read, when they are.
    pub(crate) audit_role: Option<AuditRole>,
    /// Whom the roles let in, where it is not Spot's usual principal.
    pub(crate) spot_principal: Option<SpotPrincipal>,
    /// Where answers may go beside CloudFormation's own buckets.
    pub(crate) response_hosts: ResponseHosts,
    /// Spot's address, where it is not Spot's own.
    pub(crate) spot_url: Option<String>,
    /// The topic that templates name; without it only direct invocations are served.
    pub(crate) topic: Option<TopicArn>,
    /// The ServiceTimeout of the templates.
    pub(crate) service_timeout: Duration,
    /// What to do with accounts that somebody else has linked.
    pub(crate) adopt: AdoptRule,
    /// How Spot accounts are named.
    pub(crate) naming: Naming,
    /// The accounts that are served.
    pub(crate) targets: Targets,
    /// The stacks that are served.
    pub(crate) stacks: ServedStacks,
    /// Who may see their Spot accounts.
    pub(crate) access: BTreeSet<AccessGrant>,
}

/// A wrong or missing variable. No text has a value that could be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error(
        "set exactly one of SPOTINST_TOKEN, SPOT_TOKEN_SECRET_ARN and SPOT_TOKEN_PARAMETER: they say where the Spot token is"
    )]
    Token,
    #[error("{name} is {value:?}; {expected}")]
    Wrong {
        name: &'static str,
        value: String,
        expected: &'static str,
    },
    #[error("PROVIDER_RENAME: {0}")]
    Naming(#[from] NamingError),
    #[error(
        "PROVIDER_DELETION is \"stack\", which needs a durable state (PROVIDER_STATE_URL): whether a stack owns a Spot account \
         is known to the state alone"
    )]
    Deletion,
    #[error(
        "PROVIDER_DELETION is \"stack\", which needs PROVIDER_AUDIT_ROLE: without a role in the accounts nobody can tell whether \
         a stack is really being deleted; or leave it at \"reconcile\""
    )]
    Unverified,
    #[error(
        "set one of PROVIDER_STATE_URL, PROVIDER_STATE_SECRET_ARN and PROVIDER_STATE_PARAMETER: they say where the state is"
    )]
    State,
    #[error(transparent)]
    ResponseHosts(#[from] InvalidHost),
    #[error("PROVIDER_STATE_URL cannot be used: {0}")]
    StateUrl(#[from] PostgresUrlError),
}

impl Config {
    /// Reads the variables. An empty one counts as not set.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let given = |name: &str| {
            let value = variable(name)?.trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        let token = match (
            given("SPOTINST_TOKEN"),
            given("SPOT_TOKEN_SECRET_ARN"),
            given("SPOT_TOKEN_PARAMETER"),
        ) {
            (Some(token), None, None) => TokenPlace::Here(SecretText::new(&token)),
            (None, Some(secret), None) => TokenPlace::Secret(secret),
            (None, None, Some(parameter)) => TokenPlace::Parameter(parameter),
            _ => return Err(ConfigError::Token),
        };
        let state = match (
            given("PROVIDER_STATE_URL"),
            given("PROVIDER_STATE_SECRET_ARN"),
            given("PROVIDER_STATE_PARAMETER"),
        ) {
            (None, None, None) => None,
            (Some(url), None, None) => Some(StatePlace::Here(url.parse()?)),
            (None, Some(secret), None) => Some(StatePlace::Secret(secret)),
            (None, None, Some(parameter)) => Some(StatePlace::Parameter(parameter)),
            _ => return Err(ConfigError::State),
        };
        let state_ca_file = given("PROVIDER_STATE_CA_FILE");
        if let Some(path) = &state_ca_file
            && (state.is_none() || !path.starts_with('/'))
        {
            return Err(wrong(
                "PROVIDER_STATE_CA_FILE",
                path,
                "it must be the path of a file, from /, and there must be a state whose server it verifies",
            ));
        }
        let deletion = given("PROVIDER_DELETION").map(|text| deletion(&text));
        let deletion = deletion.transpose()?.unwrap_or(Deletion::Reconcile);
        if deletion == Deletion::Stack && state.is_none() {
            return Err(ConfigError::Deletion);
        }
        let audit_role = given("PROVIDER_AUDIT_ROLE").map(|text| audit_role(&text));
        let audit_role = audit_role.transpose()?;
        if deletion == Deletion::Stack && audit_role.is_none() {
            return Err(ConfigError::Unverified);
        }
        Ok(Self {
            token,
            state,
            state_ca_file,
            deletion,
            audit_role,
            spot_principal: given("PROVIDER_SPOT_PRINCIPAL")
                .map(|text| spot_principal(&text))
                .transpose()?,
            response_hosts: given(response_hosts::VARIABLE)
                .map_or_else(|| Ok(ResponseHosts::default()), |text| text.parse())?,
            spot_url: given("SPOT_API_URL"),
            topic: given("PROVIDER_TOPIC_ARN")
                .map(|arn| topic(&arn))
                .transpose()?,
            service_timeout: given("PROVIDER_SERVICE_TIMEOUT")
                .map_or(Ok(Contract::default().service_timeout), |text| {
                    timeout(&text)
                })?,
            adopt: given("PROVIDER_ADOPT").map_or(Ok(AdoptRule::default()), |text| adopt(&text))?,
            naming: match given("PROVIDER_RENAME") {
                Some(rule) => rule.parse()?,
                None => Naming::default(),
            },
            targets: given("PROVIDER_TARGETS")
                .map_or(Ok(Targets::default()), |text| targets(&text))?,
            stacks: given("PROVIDER_STACKS").map_or_else(ServedStacks::default, |text| {
                ServedStacks::named(listed(&text))
            }),
            access: given("PROVIDER_ACCESS").map_or(Ok(BTreeSet::new()), |text| access(&text))?,
        })
    }
}

impl Config {
    /// The principal that Spot assumes roles with; none outside the partition `aws` unless it is configured.
    pub(crate) fn spot_principal_in(&self, region: &str) -> Option<SpotPrincipal> {
        let usual = || {
            let region = region.parse::<Region>().ok()?;
            region
                .partition()
                .parse::<Partition>()
                .ok()?
                .spot_principal()
        };
        self.spot_principal.clone().or_else(usual)
    }
}

fn spot_principal(text: &str) -> Result<SpotPrincipal, ConfigError> {
    text.parse().map_err(|_| {
        wrong(
            "PROVIDER_SPOT_PRINCIPAL",
            text,
            "it must be the ARN of an account, a role or a user",
        )
    })
}

fn wrong(name: &'static str, value: &str, expected: &'static str) -> ConfigError {
    ConfigError::Wrong {
        name,
        value: value.to_owned(),
        expected,
    }
}

fn topic(arn: &str) -> Result<TopicArn, ConfigError> {
    arn.parse().map_err(|_| {
        wrong(
            "PROVIDER_TOPIC_ARN",
            arn,
            "it must be the ARN of an SNS topic",
        )
    })
}

fn timeout(text: &str) -> Result<Duration, ConfigError> {
    let seconds = text.parse().ok();
    let seconds = seconds.filter(|seconds| (1..=3600).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        wrong(
            "PROVIDER_SERVICE_TIMEOUT",
            text,
            "it must be the templates' ServiceTimeout, 1 to 3600 seconds",
        )
    })
}

fn adopt(text: &str) -> Result<AdoptRule, ConfigError> {
    match text {
        "keep-link" => Ok(AdoptRule::KeepLink),
        "relink" => Ok(AdoptRule::Relink),
        "refuse" => Ok(AdoptRule::Refuse),
        other => Err(wrong(
            "PROVIDER_ADOPT",
            other,
            "it must be keep-link, relink or refuse",
        )),
    }
}

/// What stands between commas.
fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|one| !one.is_empty())
}

fn deletion(text: &str) -> Result<Deletion, ConfigError> {
    match text {
        "reconcile" => Ok(Deletion::Reconcile),
        "stack" => Ok(Deletion::Stack),
        other => Err(wrong(
            "PROVIDER_DELETION",
            other,
            "it must be reconcile or stack",
        )),
    }
}

/// The name of a role, with its path when it has one (IAM API reference, CreateRole).
fn audit_role(text: &str) -> Result<AuditRole, ConfigError> {
    let (path, name) = text
        .trim_start_matches('/')
        .rsplit_once('/')
        .unwrap_or(("", text));
    let is_of = |part: &str, others: &[u8]| {
        part.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
    };
    let name = name.trim_start_matches('/');
    if !(1..=64).contains(&name.len()) || !is_of(name, b"_+=,.@-") || !is_of(path, b"_+=,.@-/") {
        return Err(wrong(
            "PROVIDER_AUDIT_ROLE",
            text,
            "it must be the name of a role, with its path when it has one: reader, or /spot/reader",
        ));
    }
    let path = match path {
        "" => "/".to_owned(),
        path => format!("/{path}/"),
    };
    Ok(AuditRole {
        path,
        name: name.to_owned(),
    })
}

fn targets(text: &str) -> Result<Targets, ConfigError> {
    let mut targets = Targets::default();
    for one in listed(text) {
        if let Ok(account) = one.parse() {
            targets.accounts.insert(account);
        } else if let Ok(unit) = one.parse() {
            targets.units.insert(unit);
        } else {
            return Err(wrong(
                "PROVIDER_TARGETS",
                one,
                "it must name accounts (12 digits), organizational units (ou-...) or the root (r-...), with commas between",
            ));
        }
    }
    Ok(targets)
}

fn access(text: &str) -> Result<BTreeSet<AccessGrant>, ConfigError> {
    let read = |one: &str| {
        let (user_group, policy) = one.split_once('=')?;
        Some(AccessGrant {
            user_group: user_group.trim().parse().ok()?,
            policy: policy.trim().parse().ok()?,
        })
    };
    listed(text).map(|one| {
        read(one).ok_or_else(|| {
            wrong(
                "PROVIDER_ACCESS",
                one,
                "it must name user groups and access policies (ugr-...=pol-...), with commas between",
            )
        })
    })
    .collect()
}

/// How much is logged: `RUST_LOG`, or what Lambda's advanced logging controls say, as one level. Never every trace: the
/// Lambda runtime would log whole events, with their tokens and where answers go.
pub(crate) fn log_level(variable: impl Fn(&str) -> Option<String>) -> LevelFilter {
    let level = variable("RUST_LOG").or_else(|| variable("AWS_LAMBDA_LOG_LEVEL"));
    level
        .and_then(|level| level.parse().ok())
        .unwrap_or(LevelFilter::INFO)
        .min(LevelFilter::DEBUG)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_token_is_enough() {
        let config = read(&[("SPOTINST_TOKEN", "canary"), ("PROVIDER_ADOPT", " ")]).unwrap();
        assert_eq!(config.adopt, AdoptRule::KeepLink);
        assert_eq!(config.service_timeout, Duration::from_secs(3600));
        assert!(
            config
                .targets
                .include(AwsAccountId::from_number(1).unwrap(), &[])
        );
        assert!(!format!("{config:?}").contains("canary"));
    }

    #[test]
    fn a_token_has_exactly_one_place() {
        for variables in [
            &[][..],
            &[("SPOTINST_TOKEN", "")],
            &[
                ("SPOTINST_TOKEN", "canary"),
                ("SPOT_TOKEN_PARAMETER", "/spot"),
            ],
        ] {
            let error = read(variables).unwrap_err();
            assert_eq!(error, ConfigError::Token);
        }
    }

    #[test]
    fn only_reconciling_is_right_without_a_durable_state() {
        let url = (
            "PROVIDER_STATE_URL",
            "postgres://user:canary@db.example/spot",
        );
        let secret = ("PROVIDER_STATE_SECRET_ARN", "spot/state");
        let parameter = ("PROVIDER_STATE_PARAMETER", "/spot/state");
        let with = |more: &[(&str, &str)]| read(&[&[("SPOTINST_TOKEN", "t")], more].concat());
        let stack = ("PROVIDER_DELETION", "stack");
        let role = ("PROVIDER_AUDIT_ROLE", "reader");
        assert_eq!(with(&[stack, role]).unwrap_err(), ConfigError::Deletion);
        for state in [url, secret, parameter] {
            let unverified = with(&[stack, state]).unwrap_err();
            assert_eq!(unverified, ConfigError::Unverified);
            let config = with(&[stack, state, role]).unwrap();
            assert_eq!(config.deletion, Deletion::Stack);
            assert!(!format!("{config:?}").contains("canary"));
        }
        assert_eq!(with(&[]).unwrap().deletion, Deletion::Reconcile);
        assert_eq!(with(&[url, secret]).unwrap_err(), ConfigError::State);
        assert_eq!(with(&[parameter, secret]).unwrap_err(), ConfigError::State);
        let file = ("PROVIDER_STATE_CA_FILE", "/var/task/ca.pem");
        let config = with(&[url, file]).unwrap();
        assert_eq!(config.state_ca_file.as_deref(), Some(file.1));
        for wrong in [&[file][..], &[url, ("PROVIDER_STATE_CA_FILE", "ca.pem")]] {
            let error = with(wrong).unwrap_err().to_string();
            assert!(error.contains("PROVIDER_STATE_CA_FILE"), "{error}");
        }
        let wrong = with(&[("PROVIDER_STATE_URL", "mysql://user:canary@db")]).unwrap_err();
        assert!(!format!("{wrong} {wrong:?}").contains("canary"), "{wrong}");
    }

    #[test]
    fn wrong_values_say_what_is_wanted() {
        for (name, value, wanted) in [
            ("PROVIDER_TOPIC_ARN", "spot", "SNS topic"),
            ("PROVIDER_SERVICE_TIMEOUT", "1h", "1 to 3600 seconds"),
            ("PROVIDER_SERVICE_TIMEOUT", "3601", "1 to 3600 seconds"),
            ("PROVIDER_ADOPT", "keep", "keep-link, relink or refuse"),
            ("PROVIDER_RENAME", "{nobody}", "placeholder"),
            ("PROVIDER_DELETION", "Stack", "reconcile or stack"),
            ("PROVIDER_AUDIT_ROLE", "role name", "name of a role"),
            ("PROVIDER_AUDIT_ROLE", "/spot/", "name of a role"),
            (
                "PROVIDER_TARGETS",
                "111111111111,everybody",
                "organizational units",
            ),
            ("PROVIDER_ACCESS", "ugr-1=pol-1,ugr-2", "user groups"),
        ] {
            let error = read(&[("SPOTINST_TOKEN", "t"), (name, value)]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(name) && text.contains(wanted), "{text}");
        }
    }

    #[test]
    fn an_audit_role_is_a_name_with_a_path_when_it_has_one() {
        for (text, path, name) in [
            ("reader", "/", "reader"),
            ("/reader", "/", "reader"),
            ("spot/reader", "/spot/", "reader"),
            ("/spot/audit/reader", "/spot/audit/", "reader"),
        ] {
            let role = audit_role(text).unwrap();
            assert_eq!((&*role.path, &*role.name), (path, name), "{text}");
        }
    }

    #[test]
    fn targets_are_accounts_and_units() {
        let targets = targets("111111111111, ou-abcd-11111111,").unwrap();
        let account = |number: u64| AwsAccountId::from_number(number).unwrap();
        let unit: OuId = "ou-abcd-11111111".parse().unwrap();
        let other: OuId = "ou-abcd-22222222".parse().unwrap();
        assert!(targets.include(account(111_111_111_111), &[]));
        assert!(targets.include(account(222_222_222_222), &[other.clone(), unit]));
        assert!(!targets.include(account(222_222_222_222), &[other]));
    }

    #[test]
    fn stacks_are_named_with_commas_between_and_all_without() {
        let served = |names: &str, stack: &str| {
            let config = read(&[("SPOTINST_TOKEN", "t"), ("PROVIDER_STACKS", names)]).unwrap();
            let id = format!("arn:aws:cloudformation:us-east-1:111111111111:stack/{stack}/0b1c");
            config.stacks.include(&id.parse().unwrap())
        };
        assert!(served("", "anything"));
        assert!(served("StackSet-a-*, b", "StackSet-a-0b1c"));
        assert!(served("StackSet-a-*, b", "b"));
        assert!(!served("StackSet-a-*, b", "c"));
    }

    #[test]
    fn access_is_pairs_of_groups_and_policies() {
        let grants = access("ugr-1=pol-1, ugr-1=pol-2,").unwrap();
        let policies: Vec<_> = grants.iter().map(|one| one.policy.as_str()).collect();
        assert_eq!(policies, ["pol-1", "pol-2"]);
    }

    #[test]
    fn the_log_level_is_one_level() {
        let level = |name: &'static str, value: &'static str| {
            log_level(move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(level("RUST_LOG", "debug"), LevelFilter::DEBUG);
        assert_eq!(level("RUST_LOG", "trace"), LevelFilter::DEBUG);
        assert_eq!(level("AWS_LAMBDA_LOG_LEVEL", "WARN"), LevelFilter::WARN);
        assert_eq!(level("RUST_LOG", "hyper=trace"), LevelFilter::INFO);
    }
}
