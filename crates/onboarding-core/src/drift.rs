//! Drift of one account's role: what the stack set's template means for the account, beside what IAM says.
//!
//! CloudFormation does not see most of it: its drift detection reports IN_SYNC for changed policies and roles. So the
//! template is evaluated here ([`Meanings`]), IAM's answer is compared with the result ([`compare`]) by what is granted and
//! not by how it is written, and each difference says what puts it right ([`Fix`]).
//!
//! Guarantees: a document that grants something else is never taken for the template's; one that is only written
//! differently never for drift. What cannot be known, such as the random end of a name, stands for whatever text is in its place;
//! but for the external ID of a trust policy: where nobody tells it, that is said, as is what could not be read.

mod aggregated;
mod commands;
mod compare;
mod document;
mod findings;
mod kind;
mod meaning;
mod stray;
mod truth;
mod unknown;

pub use aggregated::{AggregatorCoverage, Collected, SeenAt, aggregated, newest};
pub use compare::{CompareContext, Unused, compare};
pub use document::MeantDocument;
pub use findings::{Subject, findings};
pub use kind::{Drift, DriftKind, Fix};
pub use meaning::{MeaningError, Meanings, MeantPolicy, RoleMeaning, StackContext, meaning};
pub use stray::{Changed, Stray, StrayPolicy, still_there};
pub use truth::{RoleTruth, TruthReading};
