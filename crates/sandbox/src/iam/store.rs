//! What IAM keeps, compact: documents that are alike are kept once.

use std::collections::{BTreeMap, HashMap, HashSet};
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

/// IAM of one account. A map's node has room for eleven values: boxed ones keep a small account small.
#[derive(Debug, Default)]
pub(crate) struct AccountIam {
    /// The account's alias.
    pub(crate) alias: Option<Box<str>>,
    /// Roles by name in lower case: names are unique whatever the case.
    pub(crate) roles: BTreeMap<Box<str>, Box<Role>>,
    /// Customer managed policies by ARN.
    pub(crate) policies: BTreeMap<Box<str>, Box<ManagedPolicy>>,
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
    pub(crate) attached: Vec<Box<str>>,
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
        let roles = &self.account(account)?.roles;
        roles.get(name.to_lowercase().as_str()).map(Box::as_ref)
    }

    /// The same, to be changed.
    pub(crate) fn role_mut(&mut self, account: AccountId, name: &str) -> Option<&mut Role> {
        let roles = &mut self.accounts.get_mut(&account)?.roles;
        roles.get_mut(name.to_lowercase().as_str()).map(Box::as_mut)
    }

    /// A customer managed policy by ARN.
    pub(crate) fn policy(&self, account: AccountId, arn: &str) -> Option<&ManagedPolicy> {
        self.account(account)?.policies.get(arn).map(Box::as_ref)
    }

    /// The same, to be changed.
    pub(crate) fn policy_mut(
        &mut self,
        account: AccountId,
        arn: &str,
    ) -> Option<&mut ManagedPolicy> {
        let policies = &mut self.accounts.get_mut(&account)?.policies;
        policies.get_mut(arn).map(Box::as_mut)
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
        attached: vec!["arn:aws:iam::aws:policy/AdministratorAccess".into()],
        inline: Vec::new(),
        tags: Vec::new(),
        boundary: None,
        last_used: None,
    };
    world
        .iam
        .account_mut(account)
        .roles
        .insert("organizationaccountaccessrole".into(), Box::new(role));
}
