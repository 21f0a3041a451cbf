//! What runner and plugin say to each other: one JSON document a line, requests on the plugin's stdin, answers on its stdout.
//!
//! The doc comments of its types are the descriptions in the JSON Schemas. A change that a plugin of this version would not
//! understand, or that it could no longer say, is a new [`VERSION`].

mod answer;
mod request;
mod step;
#[cfg(test)]
mod tests;

use onboarding_core::ids::AwsAccountId;
use schemars::{Schema, generate::SchemaSettings};

pub use answer::{
    Answer, WrittenAsk, WrittenClass, WrittenDescription, WrittenFinding, WrittenSeverity,
    WrittenTotals,
};
pub use request::{
    AccountView, ApplyRequest, PhaseView, PlanRequest, Request, RequestBody, RunView,
};
pub use step::{WrittenRisk, WrittenStep};

use crate::config::Text;

/// The version of the protocol that this program speaks.
pub const VERSION: u32 = 1;

/// An account's id as it is written.
pub type WrittenAccount = Text<AwsAccountId>;

/// The JSON Schema of what is said to a plugin.
#[must_use]
pub fn requests() -> Schema {
    // As it is written: what has a default is there.
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<Request>()
}

/// The JSON Schema of what a plugin says.
#[must_use]
pub fn answers() -> Schema {
    let settings = SchemaSettings::draft2020_12();
    settings.into_generator().into_root_schema_for::<Answer>()
}
