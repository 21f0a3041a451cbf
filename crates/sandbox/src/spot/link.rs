//! The link between a Spot account and an AWS account: external ids and the role.

use super::SpotError;
use super::accounts::{ExternalId, SpotAccount, find, find_mut};
use crate::iam::document::{Decision, Principal, Request, evaluate};
use crate::iam::{effective_trust, prepare};
use crate::ids::AccountId;
use crate::organizations::State;
use crate::sts::role_of;
use crate::world::World;

/// Makes a new external id for an account.
pub(crate) fn create_external_id(world: &mut World, id: &str) -> Result<String, SpotError> {
    let valid_until = world.now() + world.scenario.spot.external_id_validity;
    let value = format!("spotinst:aws:extid:{}", world.spot.ids.hex(16));
    let account = find_mut(world, id)?;
    account.external_ids.reserve_exact(1);
    account.external_ids.push(ExternalId {
        value: value.as_str().into(),
        valid_until,
        linked: false,
    });
    Ok(value)
}

/// Links an account to the AWS account of a role, after trying to assume the role.
pub(crate) fn set_credentials(
    world: &mut World,
    id: &str,
    role_arn: &str,
) -> Result<(), SpotError> {
    let (cloud, name) = role_of(role_arn).ok_or_else(|| {
        SpotError::of_field(
            "iamRole",
            format!("{role_arn} is not the ARN of an IAM role"),
        )
    })?;
    prepare(world, cloud);
    let account = find(world, id)?;
    if account.cloud.is_some_and(|linked| linked != cloud) {
        return Err(SpotError::new(
            400,
            "ACCOUNT_ALREADY_LINKED",
            format!("account {id} is linked to another cloud account"),
        ));
    }
    let works = usable_external_ids(world, account)
        .into_iter()
        .find(|external_id| assumable(world, cloud, name, role_arn, external_id))
        .map(str::to_owned);
    let Some(external_id) = works else {
        return Err(SpotError::new(
            400,
            "CREDENTIALS_VALIDATION_FAILED",
            format!(
                "failed to assume role {role_arn}: User: arn:aws:iam::{}:user/spotinst is not authorized to perform: sts:AssumeRole on resource: {role_arn}",
                world.scenario.spot.principal_account
            ),
        ));
    };
    let now = world.now();
    if let Some(role) = world.iam.role_mut(cloud, name) {
        role.last_used = Some(now);
    }
    let account = find_mut(world, id)?;
    account.cloud = Some(cloud);
    account.role = Some(role_arn.into());
    for known in &mut account.external_ids {
        known.linked = *known.value == *external_id;
    }
    Ok(())
}

/// Whether Spot can assume the role of a linked account now.
pub(crate) fn link_works(world: &World, account: &SpotAccount) -> bool {
    let (Some(cloud), Some(arn)) = (account.cloud, account.role.as_deref()) else {
        return false;
    };
    let Some((_, name)) = role_of(arn) else {
        return false;
    };
    account
        .external_ids
        .iter()
        .filter(|external_id| external_id.linked)
        .any(|external_id| assumable(world, cloud, name, arn, &external_id.value))
}

/// The external ids that Spot may present: the one in use, and new ones while they are valid.
fn usable_external_ids<'a>(world: &World, account: &'a SpotAccount) -> Vec<&'a str> {
    let now = world.now();
    let newest = account
        .external_ids
        .last()
        .map(|external_id| &external_id.value);
    account
        .external_ids
        .iter()
        .filter(|external_id| external_id.linked || now <= external_id.valid_until)
        .filter(|external_id| {
            external_id.linked
                || !world.scenario.spot.only_newest_external_id
                || Some(&external_id.value) == newest
        })
        .map(|external_id| &*external_id.value)
        .collect()
}

fn assumable(world: &World, cloud: AccountId, name: &str, arn: &str, external_id: &str) -> bool {
    let scenario = &world.scenario.spot;
    let active = world
        .organization
        .account(cloud)
        .is_some_and(|a| a.state == State::Active);
    let exists = world
        .iam
        .role(cloud, name)
        .is_some_and(|role| role.arn(cloud) == arn);
    let Some(trust) = effective_trust(world, cloud, name) else {
        return false;
    };
    let Ok(account) = scenario.principal_account.parse() else {
        return false;
    };
    let principal = format!("arn:aws:iam::{account}:user/spotinst");
    let request = Request {
        principal: Principal::Aws {
            account,
            arns: &[&principal],
        },
        action: "sts:AssumeRole",
        resource: "",
        context: &[
            ("sts:ExternalId", external_id),
            ("aws:PrincipalAccount", &scenario.principal_account),
        ],
    };
    active && exists && !scenario.rcp_blocked && evaluate(&trust, &request) == Decision::Allow
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::caller::Caller;
    use crate::iam::{RoleSpec, create_role};
    use crate::scenario::Scenario;
    use crate::spot::create_account;

    fn world() -> (World, AccountId) {
        let world = World::for_test(Scenario::default());
        let account = world.organization.drawn_members(1)[0];
        (world, account)
    }

    fn role(world: &mut World, account: AccountId, external_id: &str) -> String {
        let trust = format!(
            r#"{{"Statement":{{"Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::922761411349:root"}},"Action":"sts:AssumeRole","Condition":{{"StringEquals":{{"sts:ExternalId":"{external_id}"}}}}}}}}"#
        );
        let spec = RoleSpec {
            name: "SpotRole".into(),
            trust,
            ..RoleSpec::default()
        };
        create_role(world, &Caller::administrator(account), spec)
            .unwrap()
            .arn
    }

    #[test]
    fn a_link_needs_the_role_its_external_id_and_some_patience() {
        let (mut world, account) = world();
        let id = create_account(&mut world, "aws-1").unwrap();
        let external_id = create_external_id(&mut world, &id).unwrap();
        let missing = format!("arn:aws:iam::{account}:role/SpotRole");
        assert!(set_credentials(&mut world, &id, &missing).is_err());
        let arn = role(&mut world, account, &external_id);
        assert!(
            set_credentials(&mut world, &id, &arn).is_err(),
            "the role has not spread yet"
        );
        world.advance(Duration::from_secs(8));
        set_credentials(&mut world, &id, &arn).unwrap();
        assert!(link_works(&world, find(&world, &id).unwrap()));
    }

    #[test]
    fn a_newer_external_id_ends_an_unused_older_one() {
        let (mut world, account) = world();
        let id = create_account(&mut world, "aws-1").unwrap();
        let old = create_external_id(&mut world, &id).unwrap();
        create_external_id(&mut world, &id).unwrap();
        let arn = role(&mut world, account, &old);
        world.advance(Duration::from_secs(8));
        assert!(set_credentials(&mut world, &id, &arn).is_err());
    }
}
