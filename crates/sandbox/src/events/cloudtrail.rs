//! What AWS Organizations tells through CloudTrail: calls, and what became of them later. It appears in us-east-1, on the default event
//! bus of the management account, whichever Region the stack sets are in.
//!
//! Forms from the AWS Organizations User Guide ("Logging and monitoring") and the CloudTrail User Guide ("Record contents"). Where the
//! account stands in the events about joining and departing is not documented; here it is in `serviceEventDetails`.

use serde_json::{Value, json};

use super::{New, Place, is_deaf, put, seconds};
use crate::clock::SimTime;
use crate::ids::AccountId;
use crate::world::World;

/// Where the events of AWS Organizations appear.
const REGION: &str = "us-east-1";

/// A call of the management account has been carried out.
pub(crate) fn called(world: &mut World, name: &str, asked: Value, answered: Value) {
    if is_deaf(world) {
        return;
    }
    let management = world.organization.management;
    let mut detail = recorded(world, name, "AwsApiCall");
    detail["userIdentity"] = json!({
        "type": "AssumedRole",
        "principalId": "AROAEXAMPLE:administrator",
        "arn": format!("arn:aws:sts::{management}:assumed-role/Administrator/administrator"),
        "accountId": management.to_string(),
    });
    detail["requestParameters"] = asked;
    detail["responseElements"] = answered;
    tell(world, "AWS API Call via CloudTrail", detail);
}

/// A new account is in the organization, in its root, by CreateAccount.
pub(crate) fn account_created(world: &mut World, request: Option<&str>, account: AccountId) {
    let status = json!({ "state": "SUCCEEDED", "accountId": account.to_string() });
    creation_ended(world, request, status);
}

/// CreateAccount came to nothing.
pub(crate) fn creation_failed(world: &mut World, request: &str, reason: &str) {
    let status = json!({ "state": "FAILED", "failureReason": reason });
    creation_ended(world, Some(request), status);
}

fn creation_ended(world: &mut World, request: Option<&str>, mut status: Value) {
    if is_deaf(world) {
        return;
    }
    let request = request.map_or_else(
        || format!("car-{}", world.events.ids.hex(32)),
        str::to_owned,
    );
    let now = local(world.now());
    status["id"] = request.into();
    // CloudTrail keeps the name to itself.
    status["accountName"] = "****".into();
    status["requestedTimestamp"] = now.as_str().into();
    status["completedTimestamp"] = now.into();
    by_service(
        world,
        "CreateAccountResult",
        json!({ "createAccountStatus": status }),
    );
}

/// An account is in the organization.
pub(crate) fn account_joined(world: &mut World, account: AccountId) {
    if is_deaf(world) {
        return;
    }
    let at = seconds(world.now());
    let details =
        json!({ "accountId": account.to_string(), "joinedMethod": "CREATED", "joinedTime": at });
    by_service(world, "AccountJoinedOrganization", details);
}

/// An account is closed.
pub(crate) fn account_closed(world: &mut World, account: AccountId) {
    if is_deaf(world) {
        return;
    }
    let now = local(world.now());
    let status = json!({
        "accountId": account.to_string(), "state": "SUCCEEDED", "requestedTimestamp": now, "completedTimestamp": now,
    });
    by_service(
        world,
        "CloseAccountResult",
        json!({ "closeAccountStatus": status }),
    );
}

/// An account has left the organization: `REMOVED`, or `CLEANED` long after it was closed.
pub(crate) fn account_left(world: &mut World, account: AccountId, method: &str) {
    if is_deaf(world) {
        return;
    }
    let at = seconds(world.now());
    let details =
        json!({ "accountId": account.to_string(), "departureMethod": method, "departureTime": at });
    by_service(world, "AccountDepartedOrganization", details);
}

fn by_service(world: &mut World, name: &str, details: Value) {
    let management = world.organization.management;
    let mut detail = recorded(world, name, "AwsServiceEvent");
    detail["userIdentity"] = json!({
        "accountId": management.to_string(),
        "invokedBy": "organizations.amazonaws.com",
    });
    detail["serviceEventDetails"] = details;
    tell(world, "AWS Service Event via CloudTrail", detail);
}

/// What every record of CloudTrail has.
fn recorded(world: &mut World, name: &str, kind: &str) -> Value {
    let at = seconds(world.now());
    let management = world.organization.management.to_string();
    let id = world.events.ids.uuid_text();
    json!({
        "eventVersion": "1.09",
        "eventTime": at,
        "eventSource": "organizations.amazonaws.com",
        "eventName": name,
        "awsRegion": REGION,
        "sourceIPAddress": "organizations.amazonaws.com",
        "userAgent": "organizations.amazonaws.com",
        "requestParameters": null,
        "responseElements": null,
        "eventID": id,
        "readOnly": false,
        "eventType": kind,
        "managementEvent": true,
        "recipientAccountId": management,
        "eventCategory": "Management",
    })
}

fn tell(world: &mut World, detail_type: &'static str, detail: Value) {
    let place = Place {
        account: world.organization.management,
        region: REGION,
    };
    let new = New {
        source: "aws.organizations",
        detail_type,
        resources: Vec::new(),
        detail,
    };
    put(world, &place, new);
}

/// A moment as `serviceEventDetails` has it: `Sep 16, 2020 9:20:53 PM`.
fn local(moment: SimTime) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let text = moment.to_string();
    let number = |from: usize, to: usize| -> usize {
        let digits = text.get(from..to).and_then(|digits| digits.parse().ok());
        digits.unwrap_or_default()
    };
    let month = MONTHS[number(5, 7).clamp(1, 12) - 1];
    let (year, day, hour) = (number(0, 4), number(8, 10), number(11, 13));
    let clock = text.get(13..19).unwrap_or_default();
    let half = if hour < 12 { "AM" } else { "PM" };
    let hour = if hour % 12 == 0 { 12 } else { hour % 12 };
    format!("{month} {day}, {year} {hour}{clock} {half}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_events_have_the_words_of_a_clock_on_the_wall() {
        for (moment, expected) in [
            (1_600_291_253_000, "Sep 16, 2020 9:20:53 PM"),
            (1_767_225_600_000, "Jan 1, 2026 12:00:00 AM"),
            (1_767_268_800_000, "Jan 1, 2026 12:00:00 PM"),
        ] {
            assert_eq!(local(SimTime(moment)), expected);
        }
    }
}
