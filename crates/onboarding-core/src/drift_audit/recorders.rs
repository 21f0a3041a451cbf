//! Recorders of AWS Config of which its aggregator has no item: one that was stopped could not be told from one that runs, so what it
//! saw last is not fine without a word.

use super::AuditReason;
use crate::plan::{Audited, Finding};

const FIX: &str = "needs a person: let these recorders record AWS::Config::ConfigurationRecorder, audit without `params.aggregator`, \
                   through the audit role, or accept it in `params.suppress`";

/// What there is to say of them.
pub(super) fn finding(audited: &Audited) -> Option<Finding> {
    let (untold, read) = (audited.untold_recorders, audited.read);
    let message = format!(
        "of {untold} of the {read} accounts that AWS Config told of, it does not tell whether their recorders run: what it has of \
         them may be from any time"
    );
    (untold > 0).then(|| AuditReason::RecordersUntold.of("aws-config", message, Some(FIX)))
}
