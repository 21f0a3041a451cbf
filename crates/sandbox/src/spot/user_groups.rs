//! User groups and the access policies that their members have, in some accounts or in the whole organization.
//!
//! As in Spot's documents, a group's policies change only as a whole, and nothing protects against a change in between.

use serde_json::{Value, json};

use super::SpotError;
use super::accounts::{SpotId, find};
use crate::clock::SimTime;
use crate::world::World;

/// What stands for all accounts, those that are made later included.
const ALL: &str = "*";

/// The access policies that there are: id, name, and whether they are of accounts or of the organization.
const POLICIES: [(&str, &str, &str); 3] = [
    ("pol-a1b2c3d4", "Account Viewer", "ACCOUNT"),
    ("pol-b1b2c3d4", "Account Editor", "ACCOUNT"),
    ("pol-c1b2c3d4", "Credit Card Editor", "ORGANIZATION"),
];

/// A user group.
#[derive(Clone, Debug)]
pub(crate) struct UserGroup {
    id: String,
    name: String,
    created: SimTime,
    policies: Vec<Mapping>,
}

/// An access policy of a group.
#[derive(Clone, Debug)]
struct Mapping {
    policy: &'static str,
    /// None for a policy of the organization.
    accounts: Option<Accounts>,
}

#[derive(Clone, Debug)]
enum Accounts {
    All,
    These(Vec<SpotId>),
}

impl UserGroup {
    /// Forgets an account that is deleted.
    pub(super) fn forget(&mut self, id: SpotId) {
        for mapping in &mut self.policies {
            if let Some(Accounts::These(accounts)) = &mut mapping.accounts {
                accounts.retain(|account| *account != id);
            }
        }
    }

    fn details(&self) -> Value {
        let policies: Vec<Value> = self.policies.iter().map(Mapping::shown).collect();
        json!({
            "id": self.id,
            "name": self.name,
            "createdAt": self.created.to_string(),
            "users": [],
            "policies": policies,
        })
    }
}

impl Mapping {
    fn shown(&self) -> Value {
        let known = POLICIES.iter().find(|(id, ..)| *id == self.policy);
        let (id, name, kind) = known.copied().unwrap_or_default();
        let mut shown = json!({ "policyId": id, "policyName": name, "policyType": kind });
        match &self.accounts {
            None => {}
            Some(Accounts::All) => shown["accountIds"] = json!([ALL]),
            Some(Accounts::These(accounts)) => {
                let ids: Vec<String> = accounts.iter().map(ToString::to_string).collect();
                shown["accountIds"] = json!(ids);
            }
        }
        shown
    }
}

/// `GET /setup/organization/policy`.
pub(super) fn policies() -> Vec<Value> {
    let policies = POLICIES.iter();
    policies
        .map(|(id, name, kind)| json!({ "id": id, "name": name, "type": kind }))
        .collect()
}

/// `GET /setup/access/userGroup`.
pub(super) fn list(world: &World) -> Vec<Value> {
    let groups = world.spot.user_groups.iter();
    groups
        .map(|group| {
            let policies = group.policies.iter();
            let names: Vec<&str> = policies.map(|mapping| mapping.policy).collect();
            json!({
                "id": group.id,
                "name": group.name,
                "createdAt": group.created.to_string(),
                "usersCount": 0,
                "policyNames": names,
            })
        })
        .collect()
}

/// `POST /setup/access/userGroup`.
pub(super) fn create(world: &mut World, body: &Value) -> Result<Value, SpotError> {
    let name = body["name"].as_str().unwrap_or_default();
    if name.is_empty() || name.contains(['+', '=', '@']) {
        return Err(SpotError::of_field(
            "name",
            "names of user groups cannot be empty or include the characters + = @",
        ));
    }
    let policies = mappings(world, &body["policies"])?;
    let group = UserGroup {
        id: format!("ugr-{}", world.spot.ids.hex(8)),
        name: name.to_owned(),
        created: world.now(),
        policies,
    };
    let details = group.details();
    world.spot.user_groups.push(group);
    Ok(details)
}

/// `GET /setup/access/userGroup/{userGroupId}`.
pub(super) fn details(world: &World, id: &str) -> Result<Value, SpotError> {
    let group = world.spot.user_groups.iter().find(|group| group.id == id);
    group.map(UserGroup::details).ok_or_else(|| not_found(id))
}

/// `PUT /setup/access/userGroup/{userGroupId}/policyMapping`: what is not named is gone.
pub(super) fn map_policies(world: &mut World, id: &str, body: &Value) -> Result<(), SpotError> {
    let policies = mappings(world, &body["policies"])?;
    let group = world.spot.user_groups.iter_mut().find(|one| one.id == id);
    group.ok_or_else(|| not_found(id))?.policies = policies;
    Ok(())
}

/// What the admin API shows of user groups.
pub(crate) fn overview(world: &World) -> Vec<Value> {
    let groups = world.spot.user_groups.iter();
    groups.map(UserGroup::details).collect()
}

/// The groups that exist from the start: one account may be seen, and the organization's policy is there.
pub(super) fn populate(world: &mut World, groups: usize) {
    let first = world.spot.default_account();
    for number in 0..groups {
        let id = format!("ugr-{}", world.spot.ids.hex(8));
        let viewer = Accounts::These(first.into_iter().collect());
        let created = world.now();
        world.spot.user_groups.push(UserGroup {
            id,
            name: format!("Developers {}", number + 1),
            created,
            policies: vec![
                Mapping {
                    policy: POLICIES[0].0,
                    accounts: Some(viewer),
                },
                Mapping {
                    policy: POLICIES[2].0,
                    accounts: None,
                },
            ],
        });
    }
}

fn mappings(world: &World, policies: &Value) -> Result<Vec<Mapping>, SpotError> {
    let policies = policies.as_array().map(Vec::as_slice).unwrap_or_default();
    policies.iter().map(|one| mapping(world, one)).collect()
}

fn mapping(world: &World, value: &Value) -> Result<Mapping, SpotError> {
    let id = value["policyId"].as_str().unwrap_or_default();
    let Some((policy, _, kind)) = POLICIES.iter().find(|(known, ..)| *known == id) else {
        return Err(SpotError::of_field(
            "policyId",
            format!("policy {id} does not exist"),
        ));
    };
    if *kind == "ORGANIZATION" {
        return Ok(Mapping {
            policy,
            accounts: None,
        });
    }
    let named = value["accountIds"].as_array().map(Vec::as_slice);
    let named = named.unwrap_or_default();
    let accounts = if named.iter().any(|one| one == ALL) {
        Accounts::All
    } else {
        let ids = named.iter().map(|one| one.as_str().unwrap_or_default());
        let ids: Result<Vec<SpotId>, SpotError> = ids
            .map(|id| find(world, id).map(|account| account.id))
            .collect();
        Accounts::These(ids?)
    };
    if matches!(&accounts, Accounts::These(none) if none.is_empty()) {
        return Err(SpotError::of_field(
            "accountIds",
            format!("policy {id} is of accounts: name at least one"),
        ));
    }
    Ok(Mapping {
        policy,
        accounts: Some(accounts),
    })
}

fn not_found(id: &str) -> SpotError {
    SpotError::new(
        400,
        "USER_GROUP_DOES_NOT_EXIST",
        format!("user group {id} does not exist"),
    )
}
