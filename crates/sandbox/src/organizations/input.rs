//! Reads members of a JSON request, with the errors that Organizations answers.

use serde_json::Value;

use super::tree::{Organization, OuIndex};
use crate::ids::AccountId;
use crate::wire::errors::AwsError;

/// `InvalidInputException` with its `Reason`.
pub(super) fn invalid_input(reason: &str, message: &str) -> AwsError {
    AwsError::new(400, "InvalidInputException", message).with_field("Reason", reason)
}

/// `ConstraintViolationException` with its `Reason`.
pub(super) fn constraint(reason: &str, message: &str) -> AwsError {
    AwsError::new(400, "ConstraintViolationException", message).with_field("Reason", reason)
}

/// A text that may be absent.
pub(super) fn optional<'a>(input: &'a Value, name: &str) -> Result<Option<&'a str>, AwsError> {
    match input.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(AwsError::new(
            400,
            "SerializationException",
            format!("{name} must be a string"),
        )),
    }
}

/// A text that must be there.
pub(super) fn required<'a>(input: &'a Value, name: &str) -> Result<&'a str, AwsError> {
    optional(input, name)?
        .filter(|text| !text.is_empty())
        .ok_or_else(|| {
            invalid_input(
                "INPUT_REQUIRED",
                &format!("You must include a value for {name}."),
            )
        })
}

/// A 12-digit account id.
pub(super) fn account_id(input: &Value, name: &str) -> Result<AccountId, AwsError> {
    required(input, name)?.parse().map_err(|()| pattern(name))
}

/// A root or unit by id; `missing` is the error's code when there is none.
pub(super) fn parent(
    organization: &Organization,
    input: &Value,
    name: &str,
    missing: &'static str,
) -> Result<OuIndex, AwsError> {
    let id = required(input, name)?;
    if !(id.starts_with("r-") || id.starts_with("ou-")) {
        return Err(pattern(name));
    }
    organization
        .find_ou(id)
        .ok_or_else(|| AwsError::new(400, missing, "You specified a parent that doesn't exist."))
}

/// `InvalidInputException` for a value that does not look like what it should be.
pub(super) fn pattern(name: &str) -> AwsError {
    invalid_input(
        "INVALID_PATTERN",
        &format!("You provided a value that does not match the required pattern for {name}."),
    )
}
