//! Spot accounts that we made and never heard of: who sends a creation may be killed, or paused for minutes, and Spot takes it after
//! somebody else has made another one for the same AWS account.

use std::collections::{BTreeMap, BTreeSet};

use super::observed::{CleanupObserved, Known, SentCreation};
use crate::{
    custom_resource::naming::creation_names,
    ids::{AwsAccountId, SpotAccountId},
    inventory::SpotAccountRecord,
};

/// How long after a creation was given up what is seen for the first time may still be what it made, in seconds. Spot takes a call late
/// by minutes; the rest is for whoever looks seldom.
const LATE: i64 = 30 * 86_400;

/// What has one name of an AWS account.
#[derive(Default)]
struct OneName {
    /// The Spot accounts.
    ids: Vec<SpotAccountId>,
    /// Which creations may have made any of them.
    creations: BTreeSet<usize>,
}

/// Adds the listed Spot accounts that creations of ours may have made: they are linked to nothing, have the name that was sent, and
/// there are no more of them than such creations. With more of them nobody can tell which are ours, so none is.
///
/// Spot does not tell when an account was made, and its ids have no order in time (Spot API, Get Accounts), so nobody can keep
/// the older one: the linked one stays, and while there is none, all do.
pub fn add_late(observed: &mut CleanupObserved, sent: &[SentCreation]) {
    let mut found: BTreeMap<(AwsAccountId, &str), OneName> = BTreeMap::new();
    for (record, account) in named_like_ours(observed) {
        let clock = observed.clocks.get(&record.id);
        let seen = clock.map_or(observed.sync.now, |clock| clock.first_seen);
        let one = found.entry((account, &record.name)).or_default();
        one.ids.push(record.id.clone());
        for (index, sent) in sent.iter().enumerate() {
            let is_meant = sent.account == account && sent.name == *record.name;
            if is_meant && seen.saturating_sub(sent.at) <= LATE {
                one.creations.insert(index);
            }
        }
    }
    let mut late = BTreeMap::new();
    for ((account, _), one) in found {
        if one.ids.len() > one.creations.len() {
            continue;
        }
        let known = Known {
            account: Some(account),
            is_created: true,
            ..Known::default()
        };
        late.extend(one.ids.into_iter().map(|id| (id, known.clone())));
    }
    observed.known.extend(late);
}

/// The listed Spot accounts that are linked to nothing, that our state does not have, and that have a name which we create accounts
/// under, of AWS accounts that our state has another one for. Spot's own templates and other people's scripts use these names, too.
pub(super) fn named_like_ours(
    observed: &CleanupObserved,
) -> Vec<(&SpotAccountRecord, AwsAccountId)> {
    let known = &observed.known;
    let ours: BTreeSet<AwsAccountId> = known.values().filter_map(|known| known.account).collect();
    let names = ours.into_iter().flat_map(|account| {
        let names = creation_names(account).into_iter();
        names.map(move |name| (name, account))
    });
    let names: BTreeMap<String, AwsAccountId> = names.collect();
    let listed = observed.sync.spot_accounts.iter();
    let unknown = listed.filter(|record| record.unlinked && !known.contains_key(&record.id));
    unknown
        .filter_map(|record| Some((record, *names.get(&*record.name)?)))
        .collect()
}
