//! Spot accounts that we made and never heard of: who sends a creation may be killed, or paused for minutes, and Spot takes it after
//! somebody else has made another one for the same AWS account.

use std::collections::{BTreeMap, BTreeSet};

use super::observed::Known;
use crate::{
    custom_resource::naming::creation_names,
    ids::{AwsAccountId, SpotAccountId},
    inventory::SpotAccountRecord,
};

/// Adds the listed Spot accounts that are linked to nothing and have a name that we create accounts under, of AWS accounts that
/// our state has another one for. What has such a name for any other AWS account is nobody's that we know.
///
/// Spot does not tell when an account was made, and its ids have no order in time (Spot API, Get Accounts), so nobody can keep
/// the older one: the linked one stays, and while there is none, all do.
pub fn add_late(known: &mut BTreeMap<SpotAccountId, Known>, listed: &[SpotAccountRecord]) {
    let ours: BTreeSet<AwsAccountId> = known.values().filter_map(|known| known.account).collect();
    let names = ours.into_iter().flat_map(|account| {
        let names = creation_names(account).into_iter();
        names.map(move |name| (name, account))
    });
    let names: BTreeMap<String, AwsAccountId> = names.collect();
    for record in listed.iter().filter(|record| record.unlinked) {
        if let Some(account) = names.get(&*record.name) {
            known.entry(record.id.clone()).or_insert_with(|| Known {
                account: Some(*account),
                is_created: true,
                ..Known::default()
            });
        }
    }
}
