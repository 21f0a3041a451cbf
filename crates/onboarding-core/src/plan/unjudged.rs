//! What a plan did not look at. A finding of an earlier run about that is neither there nor gone: it stays as it was seen last.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::AwsAccountId;

use super::{Finding, Plan};

/// What was not looked at; by default nothing, so that what a plan does not find is gone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unjudged {
    /// Nothing was judged at all: a guard rail refuses the whole plan.
    pub is_everything: bool,
    /// The profiles that were looked at, where those were not all that the job is for. Of one that the job is not for (any more) nothing
    /// is left to look at, so that what was found about it is gone.
    pub only_profiles: BTreeSet<String>,
    /// Reasons that were not looked for.
    pub reasons: BTreeSet<&'static str>,
    /// Accounts that were not looked into,
    pub accounts: BTreeSet<AwsAccountId>,
    /// and the reasons that need such a look.
    pub in_accounts: BTreeSet<&'static str>,
    /// Reasons that were not looked for in single accounts, of which a part could not be read.
    pub parts: BTreeMap<AwsAccountId, BTreeSet<&'static str>>,
    /// The accounts that the plan has, and whether they are targets; none where it is not about accounts.
    pub rows: BTreeMap<AwsAccountId, bool>,
}

/// A finding that an earlier run of the job has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// As it was seen last, with since when it is there and when that was.
    pub finding: Finding,
    /// The profiles that the run was about which saw it last; none when those were all.
    pub profiles: BTreeSet<String>,
}

impl Remembered {
    /// What its id tells of a finding: the reason code, and the account where it is about one.
    #[must_use]
    pub fn by_id(id: &str, first_seen: i64, last_seen: i64) -> Self {
        let mut parts = id.split(':');
        let reason = parts.next().unwrap_or_default().to_owned();
        let account = parts.next().and_then(|account| account.parse().ok());
        let finding = Finding {
            id: id.to_owned(),
            reason,
            account,
            first_seen: Some(first_seen),
            last_seen: Some(last_seen),
            ..Finding::default()
        };
        Self {
            finding,
            profiles: BTreeSet::new(),
        }
    }
}

impl Unjudged {
    /// What this plan did not look at.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let rows = plan.accounts.iter();
        Self {
            is_everything: plan.is_refused(),
            rows: rows.map(|row| (row.account, row.targeted)).collect(),
            ..plan.unjudged.clone()
        }
    }

    /// Whether a plan that does not have this finding does not say that it is gone.
    #[must_use]
    pub fn has(&self, known: &Remembered) -> bool {
        let reason = known.finding.reason.as_str();
        let row = known.finding.account.map(|account| self.rows.get(&account));
        // A target of this plan is looked at, whichever profiles the run was about that saw it last.
        let is_in_profiles = self.only_profiles.is_empty()
            || row == Some(Some(&true))
            || (!known.profiles.is_empty() && known.profiles.is_subset(&self.only_profiles));
        let is_unread = known.finding.account.is_some_and(|account| {
            let parts = self.parts.get(&account);
            let is_closed = self.accounts.contains(&account) && self.in_accounts.contains(reason);
            is_closed || parts.is_some_and(|parts| parts.contains(reason))
        });
        // Into an account that is gone, nobody looks again.
        let is_gone = self.only_profiles.is_empty() && !self.rows.is_empty() && row == Some(None);
        let is_left_out = !is_in_profiles || self.reasons.contains(reason) || is_unread;
        self.is_everything || (is_left_out && !is_gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: &str, profiles: &[&str]) -> Remembered {
        let profiles = profiles.iter();
        Remembered {
            profiles: profiles.map(|profile| (*profile).to_owned()).collect(),
            ..Remembered::by_id(id, 1, 2)
        }
    }

    #[test]
    fn what_was_not_looked_at_is_not_gone() {
        let account: AwsAccountId = "000000000002".parse().unwrap();
        let inline = known("policy-inline-extra:000000000002:debug", &[]);
        assert_eq!(inline.finding.account, Some(account));
        assert_eq!(inline.finding.reason, "policy-inline-extra");
        let misnamed = known("misnamed:000000000002", &[]);
        let token = known("token-old:place", &["a"]);
        let looked_at =
            |unjudged: &Unjudged| [&inline, &misnamed, &token].map(|one| !unjudged.has(one));
        let nothing = Unjudged::default();
        assert_eq!(looked_at(&nothing), [true, true, true]);
        let everything = Unjudged {
            is_everything: true,
            ..Unjudged::default()
        };
        assert_eq!(looked_at(&everything), [false, false, false]);
        let in_iam = BTreeSet::from(["policy-inline-extra"]);
        let depth = Unjudged {
            reasons: in_iam.clone(),
            ..Unjudged::default()
        };
        assert_eq!(looked_at(&depth), [false, true, true]);
        let unread = Unjudged {
            accounts: [account].into(),
            in_accounts: in_iam.clone(),
            ..Unjudged::default()
        };
        assert_eq!(looked_at(&unread), [false, true, true]);
        let in_part = Unjudged {
            parts: [(account, in_iam)].into(),
            ..Unjudged::default()
        };
        assert_eq!(looked_at(&in_part), [false, true, true]);
        let of_profile = |name: &str| Unjudged {
            only_profiles: [name.to_owned()].into(),
            ..Unjudged::default()
        };
        assert_eq!(looked_at(&of_profile("a")), [false, false, true]);
        assert_eq!(looked_at(&of_profile("b")), [false, false, false]);

        // Its target by now, whoever saw it last.
        let targeted = Unjudged {
            rows: [(account, true)].into(),
            ..of_profile("b")
        };
        assert_eq!(looked_at(&targeted), [true, true, false]);
        // The account has left.
        let other: AwsAccountId = "000000000003".parse().unwrap();
        let left = Unjudged {
            rows: [(other, true)].into(),
            ..depth
        };
        assert_eq!(looked_at(&left), [true, true, true]);
    }
}
