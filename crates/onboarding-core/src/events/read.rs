//! Reading one event of EventBridge: tolerant of what is missing or new, bounded, and without a panic for any text.
//!
//! Forms from the AWS Organizations User Guide ("Logging and monitoring"), the AWS Control Tower User Guide ("Lifecycle events") and
//! the AWS CloudFormation User Guide ("Managing events with EventBridge"). Where accounts stand in the events about joining and departing
//! is not documented, so they are looked for.

use serde::Deserialize;
use serde_json::Value;

use super::{About, EventKind, Hint, Reading};
use crate::ids::{OuId, StackId};

/// The longest message that SQS takes, in bytes (SQS developer guide, "Message quotas").
pub const LONGEST: usize = 1_048_576;

/// Longer ids and times than these are none.
const LONGEST_TEXT: usize = 128;

#[derive(Deserialize)]
struct Envelope {
    source: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    detail: Value,
    #[serde(default)]
    id: Value,
    #[serde(default)]
    time: Value,
}

/// Reads the body of a message.
#[must_use]
pub fn read(body: &str) -> Reading {
    if body.len() > LONGEST {
        return Reading::NotUnderstood("it is longer than a message can be");
    }
    let Ok(envelope) = serde_json::from_str::<Envelope>(body) else {
        return Reading::NotUnderstood("it is no event of EventBridge");
    };
    if !envelope.detail.is_object() {
        return Reading::NotUnderstood("its detail is no object");
    }
    match happened(&envelope) {
        Some((kind, about)) => Reading::Hint(Hint {
            kind,
            about,
            id: short(&envelope.detail["eventID"]).or_else(|| short(&envelope.id)),
            time: short(&envelope.detail["eventTime"]).or_else(|| short(&envelope.time)),
        }),
        None => Reading::OfNoInterest,
    }
}

/// A text that may be kept and logged.
fn short(value: &Value) -> Option<Box<str>> {
    let text = value.as_str()?;
    let is_plain = text.len() <= LONGEST_TEXT && text.bytes().all(|byte| byte.is_ascii_graphic());
    (is_plain && !text.is_empty()).then(|| text.into())
}

fn happened(event: &Envelope) -> Option<(EventKind, About)> {
    let detail = &event.detail;
    match (&*event.source, &*event.detail_type) {
        // The detail-type of the events about joining and departing is not documented; names are unique within a source.
        ("aws.organizations", _) => in_organization(detail),
        ("aws.controltower", _) => by_control_tower(detail),
        ("aws.cloudformation", "CloudFormation StackSet Status Change") => {
            Some((EventKind::StackSetChanged, About::Nothing))
        }
        ("aws.cloudformation", "CloudFormation StackSet Operation Status Change") => {
            let ended = ["SUCCEEDED", "FAILED", "STOPPED"];
            let has_ended = is_any(&detail["status-details"]["status"], &ended);
            (has_ended && !only_looks(detail))
                .then_some((EventKind::StackSetChanged, About::Nothing))
        }
        ("aws.cloudformation", "CloudFormation StackSet StackInstance Status Change") => {
            let goes_on = ["PENDING", "RUNNING"];
            let goes_on = is_any(&detail["status-details"]["detailed-status"], &goes_on);
            let stack: Option<StackId> = parsed(&detail["stack-id"]);
            let about = stack.and_then(|stack| stack.account());
            let about = about.map_or(About::Nothing, About::Account);
            (!goes_on && !only_looks(detail)).then_some((EventKind::StackSetChanged, about))
        }
        _ => None,
    }
}

/// Drift detection changes nothing.
fn only_looks(detail: &Value) -> bool {
    is_any(&detail["action"], &["DETECT_DRIFT"])
}

fn in_organization(detail: &Value) -> Option<(EventKind, About)> {
    // A call that was refused has changed nothing (CloudTrail User Guide, "Record contents").
    if !detail["errorCode"].is_null() {
        return None;
    }
    let (asked, ended) = (&detail["requestParameters"], &detail["serviceEventDetails"]);
    // Calls that the account itself makes are logged in it, and reach us only where somebody hands them on.
    let caller = &detail["userIdentity"]["accountId"];
    match detail["eventName"].as_str()? {
        "CreateAccountResult" => {
            let account = succeeded(&ended["createAccountStatus"])?;
            Some((EventKind::AccountJoined, of_account(&account["accountId"])))
        }
        "AccountJoinedOrganization" => Some((EventKind::AccountJoined, somewhere_in(detail))),
        "AcceptHandshake" => Some((EventKind::AccountJoined, of_account(caller))),
        "MoveAccount" => Some((EventKind::AccountMoved, of_account(&asked["accountId"]))),
        "CloseAccountResult" => {
            let account = succeeded(&ended["closeAccountStatus"])?;
            Some((EventKind::AccountLeft, of_account(&account["accountId"])))
        }
        "AccountDepartedOrganization" => Some((EventKind::AccountLeft, somewhere_in(detail))),
        "CloseAccount" | "RemoveAccountFromOrganization" => {
            Some((EventKind::AccountLeft, of_account(&asked["accountId"])))
        }
        "LeaveOrganization" => Some((EventKind::AccountLeft, of_account(caller))),
        // Tags of units and policies decide nothing.
        "TagResource" | "UntagResource" => match of_account(&asked["resourceId"]) {
            About::Nothing => None,
            account => Some((EventKind::AccountTagged, account)),
        },
        "CreateOrganizationalUnit" => Some((EventKind::UnitChanged, of_unit(&asked["parentId"]))),
        "DeleteOrganizationalUnit" | "UpdateOrganizationalUnit" => Some((
            EventKind::UnitChanged,
            of_unit(&asked["organizationalUnitId"]),
        )),
        _ => None,
    }
}

fn by_control_tower(detail: &Value) -> Option<(EventKind, About)> {
    let ended = &detail["serviceEventDetails"];
    let of_unit_in =
        |status: &Value| of_unit(&status["organizationalUnit"]["organizationalUnitId"]);
    match detail["eventName"].as_str()? {
        "CreateManagedAccount" => {
            let made = succeeded(&ended["createManagedAccountStatus"])?;
            Some((
                EventKind::AccountJoined,
                of_account(&made["account"]["accountId"]),
            ))
        }
        // A creation that was tried again is told as an update.
        "UpdateManagedAccount" => {
            let changed = succeeded(&ended["updateManagedAccountStatus"])?;
            Some((
                EventKind::AccountMoved,
                of_account(&changed["account"]["accountId"]),
            ))
        }
        "RegisterOrganizationalUnit" => {
            let changed = succeeded(&ended["registerOrganizationalUnitStatus"])?;
            Some((EventKind::UnitChanged, of_unit_in(changed)))
        }
        "DeregisterOrganizationalUnit" => {
            let changed = succeeded(&ended["deregisterOrganizationalUnitStatus"])?;
            Some((EventKind::UnitChanged, of_unit_in(changed)))
        }
        _ => None,
    }
}

/// The status of something that has not failed: what it does not tell is taken for a success.
fn succeeded(status: &Value) -> Option<&Value> {
    (!is_any(&status["state"], &["FAILED", "IN_PROGRESS"])).then_some(status)
}

fn is_any(value: &Value, texts: &[&str]) -> bool {
    let Some(value) = value.as_str() else {
        return false;
    };
    texts.iter().any(|text| text.eq_ignore_ascii_case(value))
}

fn parsed<T: std::str::FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

fn of_account(value: &Value) -> About {
    parsed(value).map_or(About::Nothing, About::Account)
}

fn of_unit(value: &Value) -> About {
    parsed::<OuId>(value).map_or(About::Nothing, About::Unit)
}

/// The first account that the event names beside who did it and where it is logged.
fn somewhere_in(detail: &Value) -> About {
    let parts = [
        "serviceEventDetails",
        "requestParameters",
        "responseElements",
    ];
    let mut named = parts.iter().filter_map(|part| account_in(&detail[*part]));
    named
        .next()
        .unwrap_or_else(|| of_account(&detail["accountId"]))
}

fn account_in(value: &Value) -> Option<About> {
    match value {
        Value::Object(entries) => entries.iter().find_map(|(name, value)| {
            let is_one = name.eq_ignore_ascii_case("accountId");
            let here = is_one.then(|| of_account(value));
            let here = here.filter(|about| *about != About::Nothing);
            here.or_else(|| account_in(value))
        }),
        Value::Array(items) => items.iter().find_map(account_in),
        _ => None,
    }
}
