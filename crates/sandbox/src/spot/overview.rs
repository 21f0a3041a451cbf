//! What the admin API shows and changes of Spot.

use serde_json::{Value, json};

use super::SpotError;
use super::accounts::{SpotAccount, find_mut};
use super::link::link_works;
use crate::ids::AccountId;
use crate::world::World;

/// Every Spot account, or those linked to one AWS account, with the truth about the link.
pub(crate) fn overview(world: &World, cloud: Option<AccountId>) -> Vec<Value> {
    world
        .spot
        .accounts()
        .filter(|account| cloud.is_none() || account.cloud == cloud)
        .map(|account| entry(world, account))
        .collect()
}

/// The linked AWS account of each Spot account that has one.
pub(crate) fn links(world: &World) -> impl Iterator<Item = (AccountId, String)> {
    world
        .spot
        .accounts()
        .filter_map(|account| Some((account.cloud?, account.id.to_string())))
}

/// Makes an Elastigroup and an Ocean cluster run in an account, or ends them.
pub(crate) fn set_running(world: &mut World, id: &str, running: bool) -> Result<(), SpotError> {
    find_mut(world, id)?.running = running;
    Ok(())
}

/// Takes an account's cloud account away, as somebody does in Spot's console. Its external ids stay.
pub(crate) fn unlink(world: &mut World, id: &str) -> Result<(), SpotError> {
    let account = find_mut(world, id)?;
    account.cloud = None;
    account.role = None;
    Ok(())
}

/// Switches Cost Intelligence off, as somebody does in Spot's console.
pub(crate) fn switch_off_cost_intelligence(world: &mut World, id: &str) -> Result<(), SpotError> {
    find_mut(world, id)?.cost_intelligence = None;
    Ok(())
}

/// Leaves an account out of the list of all accounts, or ends that.
pub(crate) fn set_unlisted(world: &mut World, id: &str, unlisted: bool) -> Result<(), SpotError> {
    find_mut(world, id)?.unlisted = unlisted;
    Ok(())
}

fn entry(world: &World, account: &SpotAccount) -> Value {
    json!({
        "id": account.id.to_string(),
        "name": account.name,
        "cloud_account": account.cloud.map(|cloud| cloud.to_string()),
        "role": account.role,
        "external_ids": account.external_ids.iter().map(|e| &e.value).collect::<Vec<_>>(),
        "linked_external_id": account.external_ids.iter().find(|e| e.linked).map(|e| &e.value),
        "link_works": link_works(world, account),
        "cost_intelligence": account.cost_intelligence.is_some(),
        "billing_engine": account.billing.is_some(),
        "running": account.running,
    })
}
