//! Which Spot account an AWS account gets, and what a request may do with a Spot account that it names.

use std::collections::HashMap;

use super::naming::creation_names;
use crate::{
    desired::AdoptRule,
    ids::{AwsAccountId, SpotAccountId},
    inventory::SpotAccountRecord,
};

/// One listing of all Spot accounts, ready for look-ups.
#[derive(Debug, Default)]
pub struct KnownAccounts {
    accounts: Vec<SpotAccountRecord>,
    by_id: HashMap<SpotAccountId, usize>,
    by_aws_account: HashMap<AwsAccountId, Vec<usize>>,
    unlinked_by_name: HashMap<Box<str>, Vec<usize>>,
}

impl KnownAccounts {
    /// Indexes a listing.
    #[must_use]
    pub fn new(accounts: Vec<SpotAccountRecord>) -> Self {
        let mut known = Self::default();
        for (i, account) in accounts.iter().enumerate() {
            known.by_id.insert(account.id.clone(), i);
            if let Some(aws_account) = account.aws_account {
                known.by_aws_account.entry(aws_account).or_default().push(i);
            }
            if account.unlinked {
                let named = known.unlinked_by_name.entry(account.name.clone());
                named.or_default().push(i);
            }
        }
        known.accounts = accounts;
        known
    }

    /// One account by its id.
    #[must_use]
    pub fn get(&self, id: &SpotAccountId) -> Option<&SpotAccountRecord> {
        self.by_id.get(id).map(|i| &self.accounts[*i])
    }

    /// The accounts that are linked to an AWS account.
    pub fn linked_to(&self, account: AwsAccountId) -> impl Iterator<Item = &SpotAccountRecord> {
        let found = self.by_aws_account.get(&account).into_iter().flatten();
        found.map(|i| &self.accounts[*i])
    }

    /// The accounts that are linked to nothing and have a name that we create accounts for this AWS account under.
    pub fn leftovers_of(&self, account: AwsAccountId) -> impl Iterator<Item = &SpotAccountRecord> {
        creation_names(account).into_iter().flat_map(|name| {
            let found = self
                .unlinked_by_name
                .get(name.as_str())
                .into_iter()
                .flatten();
            found.map(|i| &self.accounts[*i])
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }
}

/// How a Spot account stands to the AWS account that asks about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// We created it for this AWS account, or linked it.
    Ours,
    /// It is linked to this AWS account, and not by us.
    LinkedElsewhere,
    /// It belongs to another AWS account, or to nobody that we know: nothing may be done with it.
    Foreign,
}

impl Standing {
    /// The standing of a listed account.
    ///
    /// `assigned`: the Spot account that our state has for this AWS account. `linked_by_us`: our state has a stack that
    /// linked this Spot account.
    #[must_use]
    pub fn of(
        spot_account: &SpotAccountRecord,
        account: AwsAccountId,
        assigned: Option<&SpotAccountId>,
        linked_by_us: bool,
    ) -> Self {
        let is_assigned = assigned == Some(&spot_account.id);
        match spot_account.aws_account {
            Some(linked) if linked != account => Self::Foreign,
            Some(_) if is_assigned || linked_by_us => Self::Ours,
            Some(_) => Self::LinkedElsewhere,
            None if spot_account.unlinked && is_assigned => Self::Ours,
            None => Self::Foreign,
        }
    }
}

/// What to do for an AWS account that wants its Spot account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountDecision {
    /// Use this one: it is ours already.
    Ours(SpotAccountId),
    /// Use this one, which somebody else has linked, by the adopt rule: it is kept as it is, or taken over.
    Adopt(SpotAccountId),
    /// Use this one: linked to nothing, left by an earlier attempt.
    Leftover(SpotAccountId),
    /// There is none: create one.
    Create,
    /// Neither can be done.
    Refuse(Refusal),
}

/// Why an AWS account gets no Spot account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is linked to several.
    #[error(
        "AWS account {account} is linked to several Spot accounts: {}; delete or unlink all but one at Spot, then retry",
        join(.spot_accounts)
    )]
    Several {
        /// The AWS account.
        account: AwsAccountId,
        /// The Spot accounts, in the order of their ids.
        spot_accounts: Vec<SpotAccountId>,
    },
    /// It is linked by somebody else, and the rule is to refuse that.
    #[error(
        "AWS account {account} is already linked to Spot account {spot_account}, and the rule for that is adopt = \
         \"refuse\"; use \"keep-link\" or \"relink\", or exclude the account"
    )]
    LinkedElsewhere {
        /// The AWS account.
        account: AwsAccountId,
        /// The Spot account.
        spot_account: SpotAccountId,
    },
}

fn join(ids: &[SpotAccountId]) -> String {
    let texts: Vec<&str> = ids.iter().map(SpotAccountId::as_str).collect();
    texts.join(", ")
}

/// What our state has for an AWS account.
#[derive(Debug, Clone, Copy, Default)]
pub struct OurState<'a> {
    /// The Spot account that we created for it, or took over from an earlier attempt.
    pub assigned: Option<&'a SpotAccountId>,
    /// The Spot account that we deleted last: a listing may show it for some time. Spot never uses an id again.
    pub removed: Option<&'a SpotAccountId>,
    /// Whether a stack of ours linked the Spot account that is linked to it.
    pub linked_by_us: bool,
}

/// Decides for one AWS account.
///
/// Several linked ones are never chosen from; of several leftovers with our name the one in our state is taken, else
/// the one with the lowest id, so that everyone takes the same.
#[must_use]
pub fn decide(
    account: AwsAccountId,
    known: &KnownAccounts,
    ours: OurState<'_>,
    rule: AdoptRule,
) -> AccountDecision {
    let OurState {
        assigned,
        removed,
        linked_by_us,
    } = ours;
    let is_there = |one: &&SpotAccountRecord| removed != Some(&one.id);
    let mut linked: Vec<&SpotAccountRecord> = known.linked_to(account).filter(is_there).collect();
    linked.sort_by(|a, b| a.id.cmp(&b.id));
    match linked.as_slice() {
        [] => {}
        [one] => {
            let id = one.id.clone();
            let standing = Standing::of(one, account, assigned, linked_by_us);
            return match (standing, rule) {
                (Standing::Ours, _) => AccountDecision::Ours(id),
                (_, AdoptRule::KeepLink | AdoptRule::Relink) => AccountDecision::Adopt(id),
                (_, AdoptRule::Refuse) => AccountDecision::Refuse(Refusal::LinkedElsewhere {
                    account,
                    spot_account: id,
                }),
            };
        }
        several => {
            return AccountDecision::Refuse(Refusal::Several {
                account,
                spot_accounts: several.iter().map(|one| one.id.clone()).collect(),
            });
        }
    }
    let ours = assigned
        .and_then(|id| known.get(id))
        .filter(|ours| ours.unlinked && is_there(ours));
    if let Some(ours) = ours {
        return AccountDecision::Ours(ours.id.clone());
    }
    known
        .leftovers_of(account)
        .filter(is_there)
        .map(|leftover| &leftover.id)
        .min()
        .map_or(AccountDecision::Create, |id| {
            AccountDecision::Leftover(id.clone())
        })
}

/// Which Spot account is kept instead of one that was just created, when another process that we know nothing of had one for
/// the same AWS account.
///
/// Spot does not list when an account was created, and its ids have no order in time (Spot API, Get Accounts), so nobody
/// can tell which one is older. One that is linked is kept, else the one with the lowest id: all who see the same list keep
/// the same one.
#[must_use]
pub fn kept_instead<'a>(
    known: &'a KnownAccounts,
    account: AwsAccountId,
    created: &SpotAccountId,
) -> Option<&'a SpotAccountId> {
    let linked = known.linked_to(account).map(|one| &one.id).min();
    let lowest = || known.leftovers_of(account).map(|one| &one.id).min();
    match linked {
        Some(linked) => Some(linked).filter(|linked| *linked != created),
        None => lowest().filter(|lowest| *lowest < created),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ACCOUNT: &str = "111111111111";

    fn account() -> AwsAccountId {
        ACCOUNT.parse().unwrap()
    }

    fn id(text: &str) -> SpotAccountId {
        text.parse().unwrap()
    }

    fn record(spot: &str, name: &str, linked: Option<&str>) -> SpotAccountRecord {
        SpotAccountRecord {
            id: id(spot),
            name: name.into(),
            aws_account: linked.map(|linked| linked.parse().unwrap()),
            unlinked: linked.is_none(),
        }
    }

    fn decided(
        records: &[SpotAccountRecord],
        assigned: Option<&str>,
        by_us: bool,
        rule: AdoptRule,
    ) -> AccountDecision {
        let assigned = assigned.map(id);
        let ours = OurState {
            assigned: assigned.as_ref(),
            removed: None,
            linked_by_us: by_us,
        };
        decide(account(), &KnownAccounts::new(records.to_vec()), ours, rule)
    }

    #[test]
    fn one_that_we_deleted_is_not_there_although_it_is_listed() {
        for linked in [None, Some(ACCOUNT)] {
            let known = KnownAccounts::new(vec![record("act-1", ACCOUNT, linked)]);
            let ours = OurState {
                removed: Some(&id("act-1")),
                ..OurState::default()
            };
            assert_eq!(
                decide(account(), &known, ours, AdoptRule::Relink),
                AccountDecision::Create
            );
        }
    }

    #[test]
    fn an_account_without_any_gets_a_new_one() {
        let others = [
            record("act-1", "222222222222", None),
            record("act-2", ACCOUNT, Some("222222222222")),
        ];
        assert_eq!(
            decided(&others, None, false, AdoptRule::KeepLink),
            AccountDecision::Create
        );
    }

    #[test]
    fn one_linked_by_somebody_else_goes_by_the_rule() {
        let linked = [
            record("act-1", "x", Some(ACCOUNT)),
            record("act-2", ACCOUNT, None),
        ];
        for (rule, expected) in [
            (AdoptRule::KeepLink, AccountDecision::Adopt(id("act-1"))),
            (AdoptRule::Relink, AccountDecision::Adopt(id("act-1"))),
            (
                AdoptRule::Refuse,
                AccountDecision::Refuse(Refusal::LinkedElsewhere {
                    account: account(),
                    spot_account: id("act-1"),
                }),
            ),
        ] {
            assert_eq!(decided(&linked, None, false, rule), expected);
            // Created for it by us, or linked by a stack of ours: the rule does not matter.
            assert_eq!(
                decided(&linked, Some("act-1"), false, rule),
                AccountDecision::Ours(id("act-1"))
            );
            assert_eq!(
                decided(&linked, None, true, rule),
                AccountDecision::Ours(id("act-1"))
            );
        }
    }

    #[test]
    fn several_linked_are_refused_and_named() {
        let linked = [
            record("act-2", "x", Some(ACCOUNT)),
            record("act-1", "y", Some(ACCOUNT)),
        ];
        let AccountDecision::Refuse(refusal) =
            decided(&linked, Some("act-1"), true, AdoptRule::Relink)
        else {
            panic!("not refused");
        };
        assert!(refusal.to_string().contains("act-1, act-2"), "{refusal}");
    }

    #[test]
    fn a_leftover_is_taken_by_our_state_first_and_then_by_its_name() {
        let records = [
            record("act-3", "aws-111111111111", None),
            record("act-2", ACCOUNT, None),
            record("act-9", "renamed", None),
        ];
        assert_eq!(
            decided(&records, None, false, AdoptRule::KeepLink),
            AccountDecision::Leftover(id("act-2"))
        );
        assert_eq!(
            decided(&records, Some("act-9"), false, AdoptRule::KeepLink),
            AccountDecision::Ours(id("act-9"))
        );
        // What our state has may be gone, or be linked to another account by now.
        assert_eq!(
            decided(&records, Some("act-7"), false, AdoptRule::KeepLink),
            AccountDecision::Leftover(id("act-2"))
        );
        let moved = [record("act-7", ACCOUNT, Some("222222222222"))];
        assert_eq!(
            decided(&moved, Some("act-7"), false, AdoptRule::KeepLink),
            AccountDecision::Create
        );
    }

    proptest! {
        #[test]
        fn all_who_create_at_the_same_time_keep_one_and_the_same(
            links in prop::collection::vec(prop::bool::weighted(0.2), 1..6),
            not_listed in any::<prop::sample::Index>(),
        ) {
            let records: Vec<_> = links
                .iter()
                .enumerate()
                .map(|(n, linked)| record(&format!("act-{n}"), ACCOUNT, linked.then_some(ACCOUNT)))
                .collect();
            let known = KnownAccounts::new(records.clone());
            let keeps: Vec<_> = records.iter().filter(|one| kept_instead(&known, account(), &one.id).is_none()).collect();
            prop_assert_eq!(keeps.len(), 1);
            let any_linked = links.contains(&true);
            prop_assert_eq!(keeps[0].unlinked, !any_linked);
            // One that does not see its own account yet never keeps it against one that is linked.
            let late = not_listed.get(&records);
            let others = records.iter().filter(|one| one.id != late.id).cloned().collect();
            let kept = KnownAccounts::new(others);
            let linked = kept.linked_to(account()).count() > 0;
            prop_assert!(!linked || kept_instead(&kept, account(), &late.id).is_some());
        }

        #[test]
        fn nobody_gets_an_account_that_is_linked_to_somebody_else(
            records in prop::collection::vec((0..6_u8, 0..4_u8, 0..3_u8), 0..8),
            assigned in 0..8_u8,
            by_us: bool,
            rule in prop::sample::select(vec![AdoptRule::KeepLink, AdoptRule::Relink, AdoptRule::Refuse]),
        ) {
            let names = ["x", ACCOUNT, "aws-111111111111", "222222222222"];
            let links = [None, Some(ACCOUNT), Some("222222222222")];
            let mut records: Vec<_> = records
                .into_iter()
                .map(|(spot, name, link)| record(&format!("act-{spot}"), names[name as usize], links[link as usize]))
                .collect();
            records.sort_by(|a, b| a.id.cmp(&b.id));
            records.dedup_by(|a, b| a.id == b.id);
            let known = KnownAccounts::new(records);
            let assigned = id(&format!("act-{assigned}"));
            let ours = OurState { assigned: Some(&assigned), removed: None, linked_by_us: by_us };
            let chosen = match decide(account(), &known, ours, rule) {
                AccountDecision::Ours(id) | AccountDecision::Adopt(id) | AccountDecision::Leftover(id) => id,
                AccountDecision::Create => {
                    prop_assert_eq!(known.linked_to(account()).count(), 0);
                    prop_assert_eq!(known.leftovers_of(account()).count(), 0);
                    return Ok(());
                }
                AccountDecision::Refuse(_) => return Ok(()),
            };
            let chosen = known.get(&chosen).unwrap();
            prop_assert!(chosen.unlinked || chosen.aws_account == Some(account()));
        }
    }
}
