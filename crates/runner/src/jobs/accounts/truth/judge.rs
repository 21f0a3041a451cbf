//! What an account's role should be, and how what was read of it differs. Where it was read is another's business.

use onboarding_core::drift::{
    self, CompareContext, Drift, DriftKind, Fix, RoleMeaning, TruthReading, Unused,
};

use super::{Subject, Used};
use crate::jobs::accounts::OnAccounts;

/// What an account's role should be.
pub(super) struct Meant {
    meaning: RoleMeaning,
    /// What Spot uses, or why nobody can tell.
    pub(super) used: Result<Used, String>,
    /// The name of the role to look at.
    pub(super) name: String,
}

impl Subject {
    /// What its role should be, with what Spot uses; none when its stack makes no role. Where nobody can say, that is the difference.
    pub(super) fn meant(&self, used: Result<Used, String>) -> Option<Result<Meant, Vec<Drift>>> {
        let account = self.account;
        let external_id = used.as_ref().ok();
        let external_id = external_id.and_then(|used| used.external_id.as_ref().ok());
        let meaning = self
            .meanings
            .for_account(account, &self.overrides, external_id);
        let meaning = match meaning {
            Ok(meaning) => meaning?,
            Err(error) => return Some(Err(vec![Drift::unreadable(account, error.to_string())])),
        };
        // Somebody may have pointed Spot at another role: the stack's own is what is compared.
        let name = match (&used, &meaning.role_name) {
            (Ok(used), _) => {
                let own = used.own.as_ref().unwrap_or(&used.role);
                own.role_name().to_owned()
            }
            (Err(_), Some(name)) => name.clone(),
            (Err(why), None) => {
                return Some(Err(vec![Drift::unreadable(account, why.clone())]));
            }
        };
        Some(Ok(Meant {
            meaning,
            used,
            name,
        }))
    }
}

impl OnAccounts {
    /// How the role differs. That nobody uses it is judged after so many seconds, where what was read tells of it.
    pub(super) fn judged(
        &self,
        subject: &Subject,
        meant: Meant,
        truth: &TruthReading,
        unused_after: Option<i64>,
    ) -> Vec<Drift> {
        let Meant { meaning, used, .. } = meant;
        let known = used.as_ref();
        let own = known.ok().and_then(|used| used.own.clone());
        let context = CompareContext {
            linked_at: known.ok().and_then(|used| used.linked_at),
            unused: unused_after.map(|after| Unused {
                now: subject.now,
                after,
            }),
            spot_principal: self.sync.desired.spot_principal.clone(),
            external_id: match known {
                Ok(used) => used.external_id.clone(),
                Err(why) => Err(why.clone()),
            },
            stored_role: used.ok().map(|used| used.role),
        };
        let mut drifts = match (truth, own, &context.stored_role) {
            // Spot has a way in by the other one, which a new stack would end: a person says whether it may.
            (TruthReading::Absent, Some(own), Some(stored)) if own != *stored => {
                let look = format!("aws iam get-role --role-name {}", stored.role_name());
                vec![Drift {
                    kind: DriftKind::RoleMissing,
                    resource: own.to_string(),
                    expected: "the role that the stack makes".to_owned(),
                    actual: format!("no such role; Spot uses {stored}"),
                    verdict: None,
                    changes: Vec::new(),
                    fix: Fix::NeedsPerson(look),
                }]
            }
            _ => drift::compare(&meaning, truth, &context),
        };
        for drift in &mut drifts {
            if let Fix::Remove(stray) = &mut drift.fix {
                stray.policy.share(&mut self.documents.lock());
            }
        }
        drifts
    }
}
