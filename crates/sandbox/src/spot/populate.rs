//! The Spot accounts that exist from the start, with their roles in AWS.

use super::link::create_external_id;
use super::user_groups;
use crate::caller::Caller;
use crate::iam::{RoleSpec, create_role};
use crate::ids::AccountId;
use crate::world::World;

/// Links, and half-links, the accounts that the scenario wants so.
pub(crate) fn populate(world: &mut World) {
    let scenario = world.scenario.clone();
    let (shape, wanted) = (&scenario.organization, &scenario.spot);
    let drawn = world.organization.drawn_members(scenario.seed);
    let mut rest = drawn
        .into_iter()
        .skip(shape.suspended + shape.closed + shape.scp_blocked);
    let mut running = wanted.running_groups;
    for account in rest.by_ref().take(wanted.linked) {
        linked(world, account, &mut running, true);
    }
    for account in rest.by_ref().take(wanted.linked_twice) {
        linked(world, account, &mut running, true);
        linked(world, account, &mut running, true);
    }
    for account in rest.by_ref().take(wanted.linked_drifted) {
        linked(world, account, &mut running, false);
    }
    for account in rest.take(wanted.orphaned) {
        world.spot.insert(&account.to_string());
    }
    if wanted.link_management {
        let management = world.organization.management;
        linked(world, management, &mut 0, true);
    }
    user_groups::populate(world, wanted.user_groups);
}

/// A Spot account that is linked to a role; `trusted` says whether the role still trusts Spot.
fn linked(world: &mut World, account: AccountId, running: &mut usize, trusted: bool) {
    let name = world
        .organization
        .account(account)
        .map(|a| a.name.clone())
        .unwrap_or_default();
    let id = world.spot.insert(&name);
    let Ok(external_id) = create_external_id(world, &id.to_string()) else {
        return;
    };
    let trusted_id = if trusted {
        external_id.as_str()
    } else {
        "spotinst:aws:extid:replaced"
    };
    let spot = &world.scenario.spot.principal_account;
    let trust = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::{spot}:root"}},"Action":"sts:AssumeRole","Condition":{{"StringEquals":{{"sts:ExternalId":"{trusted_id}"}}}}}}]}}"#
    );
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Sid":"GeneralSpotInstancesAccess","Effect":"Allow","Action":["ec2:Describe*","ec2:RunInstances","ec2:TerminateInstances","iam:PassRole","s3:GetObject"],"Resource":["*"]}]}"#;
    let role = format!("SpotRole-{}", world.spot.ids.upper(12));
    let spec = RoleSpec {
        name: role.clone(),
        trust,
        inline: vec![("SpotPolicy".into(), policy.into())],
        ..RoleSpec::default()
    };
    // The role is older than any service control policy or propagation delay.
    let founder = Caller::administrator(account);
    let Ok(identity) = create_role(world, &founder, spec) else {
        return;
    };
    let now = world.now();
    if let Some(role) = world.iam.role_mut(account, &role) {
        role.trust_visible = now;
    }
    let runs = *running > 0;
    *running = running.saturating_sub(1);
    if let Some(spot) = world.spot.account_mut(id) {
        spot.cloud = Some(account);
        spot.role = Some(identity.arn.into());
        spot.running = runs;
        for external_id in &mut spot.external_ids {
            external_id.linked = true;
        }
    }
}
