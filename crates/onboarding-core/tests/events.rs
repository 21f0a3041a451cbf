//! What is read of AWS's events: one of each form that is documented, those that ask nobody to look, and whatever else a queue may have.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail tests")]

use onboarding_core::events::{About, EventKind, Hint, LONGEST, Reading, Woken, due_at, read};
use proptest::prelude::*;
use serde_json::{Value, json};

const ACCOUNT: &str = "111122223333";
const UNIT: &str = "ou-ab12-c3d4e5f6";

fn event(source: &str, detail_type: &str, detail: Value) -> Value {
    json!({
        "version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602", "detail-type": detail_type, "source": source,
        "account": "123456789012", "time": "2026-06-01T12:00:00Z", "region": "us-east-1", "resources": [], "detail": detail,
    })
}

/// What CloudTrail records of a call.
fn call(name: &str, asked: Value) -> Value {
    let detail = json!({
        "eventVersion": "1.08", "userIdentity": {"type": "AssumedRole", "accountId": "123456789012"},
        "eventTime": "2026-06-01T11:59:58Z", "eventSource": "organizations.amazonaws.com", "eventName": name,
        "awsRegion": "us-east-1", "requestParameters": asked, "responseElements": null, "readOnly": false,
        "eventID": "e7a3c6b1-2f4d-4a5b-9c8d-0e1f2a3b4c5d", "eventType": "AwsApiCall", "recipientAccountId": "123456789012",
    });
    event("aws.organizations", "AWS API Call via CloudTrail", detail)
}

/// What CloudTrail records of what a service did by itself.
fn by_service(source: &str, name: &str, details: Value) -> Value {
    let detail = json!({
        "eventVersion": "1.08", "userIdentity": {"accountId": "123456789012", "invokedBy": "organizations.amazonaws.com"},
        "eventTime": "2026-06-01T11:59:58Z", "eventName": name, "awsRegion": "us-east-1", "requestParameters": null,
        "responseElements": null, "eventID": "e7a3c6b1-2f4d-4a5b-9c8d-0e1f2a3b4c5d", "eventType": "AwsServiceEvent",
        "serviceEventDetails": details,
    });
    event(source, "AWS Service Event via CloudTrail", detail)
}

fn created(state: &str) -> Value {
    let status = json!({
        "id": "car-examplecreateaccountrequestid111", "state": state, "accountName": "****", "accountId": ACCOUNT,
        "requestedTimestamp": "Sep 16, 2020 9:20:50 PM", "completedTimestamp": "Sep 16, 2020 9:20:53 PM",
    });
    by_service(
        "aws.organizations",
        "CreateAccountResult",
        json!({"createAccountStatus": status}),
    )
}

fn closed(state: &str) -> Value {
    let status = json!({"accountId": ACCOUNT, "state": state});
    by_service(
        "aws.organizations",
        "CloseAccountResult",
        json!({"closeAccountStatus": status}),
    )
}

fn managed(name: &str, key: &str, state: &str) -> Value {
    let status = json!({
        "organizationalUnit": {"organizationalUnitName": "Custom", "organizationalUnitId": UNIT},
        "account": {"accountName": "LifeCycle1", "accountId": ACCOUNT}, "state": state, "message": "…",
        "requestedTimestamp": "2019-11-15T11:45:18+0000", "completedTimestamp": "2019-11-16T12:09:32+0000",
    });
    by_service("aws.controltower", name, json!({key: status}))
}

fn stack_set(what: &str, more: Value) -> Value {
    let mut detail = json!({"stack-set-arn": "arn:aws:cloudformation:us-east-1:123456789012:stackset/spot-onboarding-default:0b1c"});
    for (name, value) in more.as_object().into_iter().flatten() {
        detail[name] = value.clone();
    }
    event(
        "aws.cloudformation",
        &format!("CloudFormation StackSet {what} Status Change"),
        detail,
    )
}

fn instance(action: &str, detailed: &str) -> Value {
    stack_set(
        "StackInstance",
        json!({
            "stack-id": format!("arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/StackSet-spot-onboarding-default-0b1c/4d5e"),
            "action": action,
            "status-details": {"status": "CURRENT", "status-reason": "", "detailed-status": detailed},
        }),
    )
}

fn operation(status: &str) -> Value {
    stack_set(
        "Operation",
        json!({"stack-set-operation-id": "0d71e2e1", "status-details": {"status": status}}),
    )
}

/// Every form that asks jobs to look.
fn hints() -> Vec<(Value, EventKind, About)> {
    let account = || About::Account(ACCOUNT.parse().unwrap());
    let unit = || About::Unit(UNIT.parse().unwrap());
    let joined = json!({"accountId": ACCOUNT, "joinedMethod": "CREATED", "joinedTime": "2026-06-01T11:59:58Z"});
    let deeper = json!({"accountJoinedStatus": {"accountId": ACCOUNT, "joinedMethod": "Invited"}});
    let departed = json!({"accountId": ACCOUNT, "departureMethod": "CLEANED", "departedTime": "…"});
    let by_itself = |name| {
        let mut event = call(name, Value::Null);
        event["detail"]["userIdentity"]["accountId"] = json!(ACCOUNT);
        event
    };
    // Whichever of the two it is: that is not documented.
    let mut as_call = call("AccountJoinedOrganization", Value::Null);
    as_call["detail"]["responseElements"] = joined.clone();
    let of_unit = json!({"organizationalUnitId": UNIT});
    use EventKind::*;
    vec![
        (created("SUCCEEDED"), AccountJoined, account()),
        (
            by_service("aws.organizations", "AccountJoinedOrganization", joined),
            AccountJoined,
            account(),
        ),
        (
            by_service("aws.organizations", "AccountJoinedOrganization", deeper),
            AccountJoined,
            account(),
        ),
        (as_call, AccountJoined, account()),
        (by_itself("AcceptHandshake"), AccountJoined, account()),
        (
            call(
                "MoveAccount",
                json!({"accountId": ACCOUNT, "sourceParentId": "r-ab12", "destinationParentId": UNIT}),
            ),
            AccountMoved,
            account(),
        ),
        (closed("SUCCEEDED"), AccountLeft, account()),
        (
            by_service("aws.organizations", "AccountDepartedOrganization", departed),
            AccountLeft,
            account(),
        ),
        (
            call("CloseAccount", json!({"accountId": ACCOUNT})),
            AccountLeft,
            account(),
        ),
        (
            call(
                "RemoveAccountFromOrganization",
                json!({"accountId": ACCOUNT}),
            ),
            AccountLeft,
            account(),
        ),
        (by_itself("LeaveOrganization"), AccountLeft, account()),
        (
            call(
                "TagResource",
                json!({"resourceId": ACCOUNT, "tags": [{"key": "a"}]}),
            ),
            AccountTagged,
            account(),
        ),
        (
            call(
                "UntagResource",
                json!({"resourceId": ACCOUNT, "tagKeys": ["a"]}),
            ),
            AccountTagged,
            account(),
        ),
        (
            call(
                "CreateOrganizationalUnit",
                json!({"parentId": UNIT, "name": "a"}),
            ),
            UnitChanged,
            unit(),
        ),
        (
            call("UpdateOrganizationalUnit", of_unit.clone()),
            UnitChanged,
            unit(),
        ),
        (
            call("DeleteOrganizationalUnit", of_unit),
            UnitChanged,
            unit(),
        ),
        (
            managed(
                "CreateManagedAccount",
                "createManagedAccountStatus",
                "SUCCEEDED",
            ),
            AccountJoined,
            account(),
        ),
        (
            managed(
                "UpdateManagedAccount",
                "updateManagedAccountStatus",
                "SUCCEEDED",
            ),
            AccountMoved,
            account(),
        ),
        (
            managed(
                "RegisterOrganizationalUnit",
                "registerOrganizationalUnitStatus",
                "SUCCEEDED",
            ),
            UnitChanged,
            unit(),
        ),
        (
            managed(
                "DeregisterOrganizationalUnit",
                "deregisterOrganizationalUnitStatus",
                "SUCCEEDED",
            ),
            UnitChanged,
            unit(),
        ),
        (
            event(
                "aws.cloudformation",
                "CloudFormation StackSet Status Change",
                json!({"stack-set-arn": "arn:…", "status-details": {"status": "ACTIVE"}}),
            ),
            StackSetChanged,
            About::Nothing,
        ),
        (operation("SUCCEEDED"), StackSetChanged, About::Nothing),
        (operation("FAILED"), StackSetChanged, About::Nothing),
        (operation("STOPPED"), StackSetChanged, About::Nothing),
        (instance("CREATE", "SUCCEEDED"), StackSetChanged, account()),
        (instance("UPDATE", "FAILED"), StackSetChanged, account()),
        (instance("DELETE", "SUCCEEDED"), StackSetChanged, account()),
    ]
}

/// Events that nobody has to look for.
fn others() -> Vec<Value> {
    let mut refused = call("MoveAccount", json!({"accountId": ACCOUNT}));
    refused["detail"]["errorCode"] = json!("AccessDeniedException");
    let mut begun = call("CreateAccount", Value::Null);
    begun["detail"]["responseElements"] =
        json!({"createAccountStatus": {"id": "car-1", "state": "IN_PROGRESS"}});
    vec![
        created("FAILED"),
        closed("FAILED"),
        begun,
        refused,
        call("TagResource", json!({"resourceId": UNIT})),
        call("TagResource", json!({"resourceId": "p-examplepolicyid111"})),
        call("DescribeOrganization", Value::Null),
        managed(
            "CreateManagedAccount",
            "createManagedAccountStatus",
            "FAILED",
        ),
        managed("SetupLandingZone", "setupLandingZoneStatus", "SUCCEEDED"),
        managed("UpdateLandingZone", "updateLandingZoneStatus", "SUCCEEDED"),
        operation("RUNNING"),
        operation("QUEUED"),
        operation("STOPPING"),
        instance("CREATE", "PENDING"),
        instance("CREATE", "RUNNING"),
        instance("DETECT_DRIFT", "SUCCEEDED"),
        event(
            "aws.cloudformation",
            "CloudFormation Stack Status Change",
            json!({"stack-id": "…"}),
        ),
        event(
            "aws.cloudformation",
            "CloudFormation Resource Status Change",
            json!({"logical-resource-id": "Role"}),
        ),
        event(
            "aws.cloudformation",
            "CloudFormation Drift Detection Status Change",
            json!({"drift-detection-details": {"drifted-stack-resource-count": -1}}),
        ),
        event(
            "aws.ec2",
            "EC2 Instance State-change Notification",
            json!({"state": "running"}),
        ),
        event(
            "aws.organizations",
            "AWS API Call via CloudTrail",
            json!({}),
        ),
    ]
}

#[test]
fn each_documented_form_is_read() {
    for (event, kind, about) in hints() {
        let Reading::Hint(hint) = read(&event.to_string()) else {
            panic!("{event:#}")
        };
        assert_eq!((hint.kind, &hint.about), (kind, &about), "{event:#}");
        // CloudTrail's id is the same in every copy of an event, EventBridge's need not be.
        let id = event["detail"]["eventID"].as_str().or(event["id"].as_str());
        assert_eq!(hint.id.as_deref(), id);
        let time = event["detail"]["eventTime"]
            .as_str()
            .or(event["time"].as_str());
        assert_eq!(hint.time.as_deref(), time);
    }
}

#[test]
fn beginnings_failures_and_other_events_ask_nobody_to_look() {
    for event in others() {
        assert_eq!(read(&event.to_string()), Reading::OfNoInterest, "{event:#}");
    }
}

#[test]
fn what_is_no_event_is_said_to_be_none() {
    let long = format!("\"{}\"", "x".repeat(LONGEST));
    for text in [
        "",
        "{",
        "null",
        "[]",
        "\"text\"",
        "{\"source\": \"aws.organizations\"}",
        &long,
    ] {
        assert!(
            matches!(read(text), Reading::NotUnderstood(_)),
            "{text:.60}"
        );
    }
    let detail = event(
        "aws.organizations",
        "AWS API Call via CloudTrail",
        json!("text"),
    );
    assert!(matches!(
        read(&detail.to_string()),
        Reading::NotUnderstood(_)
    ));
    // As deep as a text can be.
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = format!(
        "{{\"source\":\"aws.organizations\",\"detail-type\":\"\",\"detail\":{{\"a\":{deep}}}}}"
    );
    assert!(matches!(read(&deep), Reading::NotUnderstood(_)));
}

#[test]
fn what_an_event_does_not_tell_is_not_guessed() {
    let bare = event(
        "aws.organizations",
        "AWS API Call via CloudTrail",
        json!({"eventName": "MoveAccount"}),
    );
    let mut strange = bare.clone();
    strange["detail"]["requestParameters"] = json!({"accountId": 111_122_223_333_u64});
    strange["detail"]["eventID"] = json!("two\nlines");
    strange["detail"]["eventTime"] = json!("x".repeat(1000));
    for mut event in [bare, strange] {
        event["id"] = Value::Null;
        event["time"] = json!(17);
        let expected = Hint {
            kind: EventKind::AccountMoved,
            about: About::Nothing,
            id: None,
            time: None,
        };
        assert_eq!(read(&event.to_string()), Reading::Hint(expected));
    }
}

#[test]
fn names_are_those_of_the_files() {
    for kind in EventKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.code());
        assert_eq!(
            serde_json::from_value::<EventKind>(json!(kind.code())).unwrap(),
            kind
        );
    }
}

#[test]
fn a_burst_asks_for_one_look_soon_after_its_end_and_a_stream_cannot_put_it_off() {
    let (quiet, longest) = (30_000, 300_000);
    for (first, last, due) in [
        (0, 0, 30_000),
        (0, 10_000, 40_000),
        (0, 270_000, 300_000),
        (0, 299_000, 300_000),
        // Those that came while the job still ran from earlier ones.
        (0, 900_000, 300_000),
        (i64::MAX - 1, i64::MAX, i64::MAX),
    ] {
        assert_eq!(due_at(first, last, quiet, longest), due, "{first} {last}");
    }
}

#[test]
fn what_woke_a_run_is_counted_and_bounded() {
    let hint = |number: u64| Hint {
        kind: EventKind::AccountJoined,
        about: About::Account(format!("{number:012}").parse().unwrap()),
        id: None,
        time: None,
    };
    let moved = Hint {
        kind: EventKind::AccountMoved,
        ..hint(1)
    };
    let first: Vec<Hint> = (0..15).map(hint).collect();
    let later: Vec<Hint> = (10..500).map(hint).chain([moved]).collect();
    let woken = Woken::by(&first, 1_000).and(Woken::by(&later, 2_000));
    assert_eq!(woken.to_string(), "505 account-joined, 1 account-moved");
    assert_eq!(woken.events(), 506);
    assert_eq!(woken.since, 1_000);
    let named: Vec<String> = (0..20).map(|number| format!("{number:012}")).collect();
    let has: Vec<String> = woken.accounts.iter().map(ToString::to_string).collect();
    assert_eq!(has, named);
    let written = serde_json::to_string(&woken).unwrap();
    assert_eq!(serde_json::from_str::<Woken>(&written).unwrap(), woken);
}

/// All events of the tables.
fn every_event() -> Vec<Value> {
    hints()
        .into_iter()
        .map(|(event, ..)| event)
        .chain(others())
        .collect()
}

fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({"accountId": ACCOUNT, "state": 1})),
    ]
}

/// How many values are in a value, itself included.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(entries) => entries.values().map(size).sum::<usize>(),
        _ => 0,
    }
}

/// Puts something else into one place of a value.
fn replace(value: &mut Value, place: &mut usize, by: &Value) {
    if *place == 0 {
        *value = by.clone();
    }
    let Some(next) = place.checked_sub(1) else {
        *place = usize::MAX;
        return;
    };
    *place = next;
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, place, by)),
        Value::Object(entries) => entries
            .iter_mut()
            .for_each(|(_, entry)| replace(entry, place, by)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn no_text_breaks_it(text in ".{0,400}") {
        let _ = read(&text);
    }

    #[test]
    fn an_event_with_anything_in_any_place_is_read(which in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), by in anything()) {
        let events = every_event();
        let mut event = which.get(&events).clone();
        let mut place = place.index(size(&event));
        replace(&mut event, &mut place, &by);
        if let Reading::Hint(hint) = read(&event.to_string()) {
            prop_assert!(hint.id.is_none_or(|id| id.len() <= 128));
            prop_assert!(hint.time.is_none_or(|time| time.len() <= 128));
        }
    }

    #[test]
    fn half_an_event_is_none(which in any::<prop::sample::Index>(), end in any::<prop::sample::Index>()) {
        let events = every_event();
        let text = which.get(&events).to_string();
        let end = end.index(text.len());
        let half = text.get(..end).unwrap_or_default();
        prop_assert!(matches!(read(half), Reading::NotUnderstood(_)));
    }
}
