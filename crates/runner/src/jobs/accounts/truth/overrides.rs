//! What the stack instances of accounts that differ override. It is read before they are judged: what a parameter of its own gives an
//! account is what its template means there. An account that does not differ is not asked, so that a look at all of them costs no
//! call for each.

use std::collections::BTreeMap;

use onboarding_core::{
    drift::{Drift, TruthReading},
    ids::{Region, StackSetName},
    template::{POLICY_VERSION_PARAMETER, REPAIR_NONCE_PARAMETER},
};

use super::{Subject, judge::Meant};
use crate::jobs::accounts::OnAccounts;

/// The parameters that an instance overrides, with their values.
pub(super) type Overrides = BTreeMap<String, String>;

/// Where the instance of an account is looked up.
#[derive(Clone)]
pub(super) struct InstancePlace {
    pub(super) stack_set: StackSetName,
    pub(super) region: Region,
}

impl OnAccounts {
    /// How the role differs from what the template means with all that the account's instance overrides.
    pub(super) async fn judged_as_deployed(
        &self,
        subject: &Subject,
        meant: Meant,
        truth: &TruthReading,
        unused_after: Option<i64>,
    ) -> Vec<Drift> {
        let used = meant.used.clone();
        let drifts = self.judged(subject, meant, truth, unused_after);
        let can_be_meant = drifts.iter().any(|drift| drift.kind.is_of_the_template());
        let Some(place) = subject.instance.as_ref().filter(|_| can_be_meant) else {
            return drifts;
        };
        let account = subject.account;
        let aws = &self.sync.home.aws;
        let read = aws
            .instance_overrides(&place.stack_set, account, &place.region)
            .await;
        let overrides = match read {
            Ok(Some(read)) => all(read, &subject.overrides),
            // It is gone meanwhile, and its row says so the next time.
            Ok(None) => return drifts,
            Err(error) => {
                let why = format!("what its stack instance overrides could not be read: {error}");
                return vec![Drift::unreadable(account, why)];
            }
        };
        if overrides == subject.overrides {
            return drifts;
        }
        let subject = Subject {
            overrides,
            ..subject.clone()
        };
        match subject.meant(used) {
            Some(Ok(meant)) => self.judged(&subject, meant, truth, unused_after),
            Some(Err(drifts)) => drifts,
            None => {
                let why = "its stack makes no role with what its instance overrides";
                vec![Drift::unreadable(account, why.to_owned())]
            }
        }
    }
}

/// All that an instance overrides. What the state says of it goes first: which version of the policies it should have, only a rollout
/// says. The nonce of a repair means nothing.
fn all(read: Overrides, known: &Overrides) -> Overrides {
    let mut all = read;
    all.retain(|name, _| name != REPAIR_NONCE_PARAMETER && name != POLICY_VERSION_PARAMETER);
    all.extend(known.clone());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overriding(names: &[(&str, &str)]) -> Overrides {
        let names = names.iter();
        names
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn what_a_person_gave_an_account_counts_and_what_a_rollout_says_goes_first() {
        let read = overriding(&[
            ("IncludeElastigroupOceanPolicy", "false"),
            ("PolicyVersion", "theirs"),
            ("RepairNonce", "1"),
            ("ExternalId", "theirs"),
        ]);
        let known = overriding(&[("ExternalId", "ours")]);
        let expected = overriding(&[
            ("IncludeElastigroupOceanPolicy", "false"),
            ("ExternalId", "ours"),
        ]);
        assert_eq!(all(read.clone(), &known), expected);
        let known = overriding(&[("PolicyVersion", "next")]);
        let expected = overriding(&[
            ("IncludeElastigroupOceanPolicy", "false"),
            ("PolicyVersion", "next"),
            ("ExternalId", "theirs"),
        ]);
        assert_eq!(all(read, &known), expected);
    }
}
