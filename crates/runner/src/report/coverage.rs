//! Coverage: the accounts of each organizational unit, counted by where they stand.

use std::{collections::BTreeMap, sync::Arc};

use onboarding_core::{
    plan::AccountRow,
    status::{Reason, Standing},
};
use serde::Serialize;

/// The targeted accounts of one organizational unit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Coverage {
    /// All of them.
    pub targeted: usize,
    /// Enrolled.
    pub enrolled: usize,
    /// Being worked on, or due for it.
    pub pending: usize,
    /// Failed.
    pub failed: usize,
    /// Left alone, by reason.
    pub skipped: BTreeMap<Reason, usize>,
}

impl Coverage {
    fn add(&mut self, row: &AccountRow) {
        self.targeted += 1;
        match row.standing {
            Standing::Ok => self.enrolled += 1,
            Standing::Due | Standing::Pending => self.pending += 1,
            Standing::Failed => self.failed += 1,
            Standing::Skipped => *self.skipped.entry(row.reason).or_default() += 1,
        }
    }

    /// Accounts that are left alone, whatever the reason.
    #[must_use]
    pub fn skipped_total(&self) -> usize {
        self.skipped.values().sum()
    }
}

/// Coverage by organizational unit (its path of names), sorted.
#[must_use]
pub fn by_ou(rows: &[AccountRow]) -> BTreeMap<Arc<str>, Coverage> {
    let mut coverage: BTreeMap<Arc<str>, Coverage> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.targeted) {
        coverage.entry(row.ou_path.clone()).or_default().add(row);
    }
    coverage
}

/// Coverage of all of them.
#[must_use]
pub fn total(rows: &[AccountRow]) -> Coverage {
    let mut total = Coverage::default();
    for row in rows.iter().filter(|row| row.targeted) {
        total.add(row);
    }
    total
}
