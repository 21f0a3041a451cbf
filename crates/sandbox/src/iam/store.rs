//! What IAM keeps, compact: documents that are alike are kept once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::clock::SimTime;
use crate::ids::AccountId;
use crate::world::World;

/// IAM of all accounts; an account appears when it is first used.
#[derive(Debug, Default)]
pub(crate) struct Iam {
    accounts: HashMap<AccountId, AccountIam>,
    documents: HashSet<Arc<str>>,
}

/// IAM of one account. Sorted vectors instead of maps: most accounts have two roles and one policy.
#[derive(Debug, Default)]
pub(crate) struct AccountIam {
    /// The account's alias.
    pub(crate) alias: Option<Box<str>>,
    roles: Vec<Role>,
    policies: Vec<ManagedPolicy>,
}

impl AccountIam {
    /// All roles, by name.
    pub(crate) fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.iter()
    }

    /// All customer managed policies, by path and name.
    pub(crate) fn policies(&self) -> impl Iterator<Item = &ManagedPolicy> {
        self.policies.iter()
    }

    /// Adds a role whose name is free.
    pub(crate) fn insert_role(&mut self, role: Role) {
        if let Err(at) = self.role_position(&role.name) {
            self.roles.reserve_exact(1);
            self.roles.insert(at, role);
        }
    }

    /// Takes a role away.
    pub(crate) fn remove_role(&mut self, name: &str) {
        if let Ok(at) = self.role_position(name) {
            self.roles.remove(at);
        }
    }

    /// Adds a policy whose path and name are free.
    pub(crate) fn insert_policy(&mut self, policy: ManagedPolicy) {
        if let Err(at) = self.policy_position(&policy.path, &policy.name) {
            self.policies.reserve_exact(1);
            self.policies.insert(at, policy);
        }
    }

    /// Takes a policy away.
    pub(crate) fn remove_policy(&mut self, path_and_name: &str) {
        if let Ok(at) = self.policy_position(path_and_name, "") {
            self.policies.remove(at);
        }
    }

    /// Names are unique whatever the case.
    fn role_position(&self, name: &str) -> Result<usize, usize> {
        let lower = |text: &str| text.to_ascii_lowercase();
        let wanted = lower(name);
        self.roles
            .binary_search_by(|role| lower(&role.name).cmp(&wanted))
    }

    fn policy_position(&self, path: &str, name: &str) -> Result<usize, usize> {
        self.policies.binary_search_by(|policy| {
            let present = policy.path.bytes().chain(policy.name.bytes());
            present.cmp(path.bytes().chain(name.bytes()))
        })
    }
}

/// A role.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    /// Its name.
    pub(crate) name: Box<str>,
    /// Its path, `/` mostly.
    pub(crate) path: Box<str>,
    /// `AROA…`.
    pub(crate) id: Box<str>,
    /// The trust policy, JSON text.
    pub(crate) trust: Arc<str>,
    /// The trust policy that other services still see until `trust_visible`.
    pub(crate) previous_trust: Option<Arc<str>>,
    /// From when on other services see `trust`.
    pub(crate) trust_visible: SimTime,
    /// Its description.
    pub(crate) description: Option<Arc<str>>,
    /// The longest session, in seconds.
    pub(crate) max_session: u32,
    /// When it was made.
    pub(crate) created: SimTime,
    /// ARNs of attached managed policies.
    pub(crate) attached: Vec<Arc<str>>,
    /// Inline policies: name and JSON text.
    pub(crate) inline: Vec<(Box<str>, Arc<str>)>,
    /// Tags.
    pub(crate) tags: Vec<(Box<str>, Box<str>)>,
    /// ARN of the permissions boundary.
    pub(crate) boundary: Option<Box<str>>,
    /// When it was last assumed.
    pub(crate) last_used: Option<SimTime>,
}

impl Role {
    /// `arn:aws:iam::<account>:role<path><name>`.
    pub(crate) fn arn(&self, account: AccountId) -> String {
        format!("arn:aws:iam::{account}:role{}{}", self.path, self.name)
    }
}

/// A customer managed policy.
#[derive(Clone, Debug)]
pub(crate) struct ManagedPolicy {
    /// Its name.
    pub(crate) name: Box<str>,
    /// Its path.
    pub(crate) path: Box<str>,
    /// `ANPA…`.
    pub(crate) id: Box<str>,
    /// Its description.
    pub(crate) description: Option<Arc<str>>,
    /// Versions, oldest first.
    pub(crate) versions: Vec<PolicyVersion>,
    /// The number of the default version.
    pub(crate) default: u32,
    /// When it was made.
    pub(crate) created: SimTime,
    /// When a version was last added or made the default.
    pub(crate) updated: SimTime,
}

/// One version of a managed policy, `v<number>`.
#[derive(Clone, Debug)]
pub(crate) struct PolicyVersion {
    /// Never used twice.
    pub(crate) number: u32,
    /// JSON text.
    pub(crate) document: Arc<str>,
    /// When it was made.
    pub(crate) created: SimTime,
}

impl ManagedPolicy {
    /// `arn:aws:iam::<account>:policy<path><name>`.
    pub(crate) fn arn(&self, account: AccountId) -> String {
        format!("arn:aws:iam::{account}:policy{}{}", self.path, self.name)
    }

    /// The document of the default version.
    pub(crate) fn document(&self) -> Option<&Arc<str>> {
        self.versions
            .iter()
            .find(|v| v.number == self.default)
            .map(|version| &version.document)
    }
}

impl Iam {
    /// An account that was used before.
    pub(crate) fn account(&self, id: AccountId) -> Option<&AccountIam> {
        self.accounts.get(&id)
    }

    /// An account, made on first use.
    pub(crate) fn account_mut(&mut self, id: AccountId) -> &mut AccountIam {
        self.accounts.entry(id).or_default()
    }

    /// A role by name.
    pub(crate) fn role(&self, account: AccountId, name: &str) -> Option<&Role> {
        let account = self.account(account)?;
        account
            .role_position(name)
            .ok()
            .map(|at| &account.roles[at])
    }

    /// The same, to be changed.
    pub(crate) fn role_mut(&mut self, account: AccountId, name: &str) -> Option<&mut Role> {
        let account = self.accounts.get_mut(&account)?;
        let at = account.role_position(name).ok()?;
        Some(&mut account.roles[at])
    }

    /// A customer managed policy by ARN.
    pub(crate) fn policy(&self, account: AccountId, arn: &str) -> Option<&ManagedPolicy> {
        let path_and_name = policy_path(account, arn)?;
        let account = self.account(account)?;
        let at = account.policy_position(path_and_name, "").ok()?;
        Some(&account.policies[at])
    }

    /// The same, to be changed.
    pub(crate) fn policy_mut(
        &mut self,
        account: AccountId,
        arn: &str,
    ) -> Option<&mut ManagedPolicy> {
        let path_and_name = policy_path(account, arn)?;
        let account = self.accounts.get_mut(&account)?;
        let at = account.policy_position(path_and_name, "").ok()?;
        Some(&mut account.policies[at])
    }

    /// The one copy of a document.
    pub(crate) fn intern(&mut self, document: &str) -> Arc<str> {
        if let Some(known) = self.documents.get(document) {
            return known.clone();
        }
        let document: Arc<str> = document.into();
        self.documents.insert(document.clone());
        document
    }
}

/// Path and name in the ARN of an account's own policy.
pub(super) fn policy_path(account: AccountId, arn: &str) -> Option<&str> {
    arn.strip_prefix("arn:aws:iam::")?
        .strip_prefix(&*account.to_string())?
        .strip_prefix(":policy")
}

/// Gives an account that is used for the first time what AWS put there: a created member account has
/// OrganizationAccountAccessRole, an invited one has not.
pub(crate) fn prepare(world: &mut World, account: AccountId) {
    if world.iam.account(account).is_some() {
        return;
    }
    let management = world.organization.management;
    let member = world.organization.account(account);
    let has_role = member.is_some_and(|member| !member.invited && member.id != management);
    let created = member.map(|member| member.joined).unwrap_or_default();
    world.iam.account_mut(account);
    if !has_role {
        return;
    }
    let trust = world.iam.intern(&format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::{management}:root"}},"Action":"sts:AssumeRole"}}]}}"#
    ));
    let administrator = world
        .iam
        .intern("arn:aws:iam::aws:policy/AdministratorAccess");
    let role = Role {
        name: "OrganizationAccountAccessRole".into(),
        path: "/".into(),
        id: format!("AROA{}", world.ids.upper(17)).into(),
        trust,
        previous_trust: None,
        trust_visible: created,
        description: None,
        max_session: 3600,
        created,
        attached: vec![administrator],
        inline: Vec::new(),
        tags: Vec::new(),
        boundary: None,
        last_used: None,
    };
    world.iam.account_mut(account).insert_role(role);
}
