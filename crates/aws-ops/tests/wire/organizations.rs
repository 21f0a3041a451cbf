//! The organization snapshot: pages, tokens, states, strategies, and listings that contradict themselves.

use std::collections::{BTreeMap, BTreeSet};

use aws_ops::{Aws, ErrorClass, Listing, SnapshotOptions, SnapshotStrategy, StrategyChoice};
use onboarding_core::{
    ids::{AwsAccountId, OuId},
    inventory::AccountState,
};
use serde_json::{Value, json};

use crate::server::{Answer, Call, Server};

const ROOT: &str = "r-ab12";
const PROD: &str = "ou-ab12-prodprod";
const TEAM: &str = "ou-ab12-teamteam";
const EMPTY: &str = "ou-ab12-emptyempty";

fn account(number: u64, path: Option<&str>) -> Value {
    let mut account = json!({
        "Id": format!("{number:012}"), "Name": format!("account-{number}"), "State": "ACTIVE",
        "JoinedTimestamp": 1_700_000_000.5, "Email": "a@example.com",
    });
    if let Some(path) = path {
        account["Paths"] = json!([format!("o-abcdefghij/{path}/{number:012}/")]);
    }
    account
}

/// Root → prod → team, and an OU without accounts. Account 1 is the management account.
fn organization(
    call: &Call,
    pages: impl Fn(Option<&str>) -> (Vec<Value>, Option<&'static str>),
) -> Answer {
    let parent = call.json["ParentId"].as_str().unwrap_or_default();
    Answer::json(match call.operation.as_str() {
        "DescribeOrganization" => json!({"Organization": {
            "Id": "o-abcdefghij", "MasterAccountId": "000000000001", "FeatureSet": "ALL"}}),
        "ListRoots" => json!({"Roots": [{"Id": ROOT, "Name": "Root"}]}),
        "ListOrganizationalUnitsForParent" => match parent {
            ROOT => json!({"OrganizationalUnits": [
                {"Id": PROD, "Name": "Prod"}, {"Id": EMPTY, "Name": "Empty"}]}),
            PROD => json!({"OrganizationalUnits": [{"Id": TEAM, "Name": "Team"}]}),
            _ => json!({"OrganizationalUnits": []}),
        },
        "ListAccountsForParent" => json!({"Accounts": match parent {
            ROOT => vec![account(1, None)],
            PROD => vec![account(2, None)],
            TEAM => vec![account(3, None), account(4, None)],
            _ => vec![],
        }}),
        "ListAccounts" => {
            let (accounts, next) = pages(call.json["NextToken"].as_str());
            json!({"Accounts": accounts, "NextToken": next})
        }
        other => panic!("{other} was not expected"),
    })
}

/// Three pages, the second of which is empty.
fn paged(token: Option<&str>) -> (Vec<Value>, Option<&'static str>) {
    let prod = format!("{ROOT}/{PROD}");
    let team = format!("{ROOT}/{PROD}/{TEAM}");
    match token {
        None => (
            vec![account(4, Some(&team)), account(2, Some(&prod))],
            Some("t1"),
        ),
        Some("t1") => (vec![], Some("t2")),
        Some("t2") => (vec![account(1, Some(ROOT)), account(3, Some(&team))], None),
        Some(other) => panic!("{other}"),
    }
}

fn fixed(strategy: SnapshotStrategy) -> SnapshotOptions {
    SnapshotOptions {
        strategy: StrategyChoice::Fixed(strategy),
        ..SnapshotOptions::default()
    }
}

async fn snapshot(aws: &Aws, strategy: SnapshotStrategy) -> Listing {
    aws.organization_snapshot(&fixed(strategy)).await.unwrap()
}

fn id(number: u64) -> AwsAccountId {
    AwsAccountId::from_number(number).unwrap()
}

#[tokio::test]
async fn both_strategies_read_the_same_organization() {
    let server = Server::start(|call| organization(call, paged)).await;
    let listed = snapshot(&server.aws, SnapshotStrategy::ListAccounts).await;
    let walked = snapshot(&server.aws, SnapshotStrategy::Walk).await;
    assert_eq!(listed.strategy, SnapshotStrategy::ListAccounts);
    assert_eq!(listed.snapshot, walked.snapshot);
    assert_eq!(listed.shape, walked.shape);
    let snapshot = listed.snapshot;
    let ids: Vec<_> = snapshot.accounts.iter().map(|account| account.id).collect();
    assert_eq!(ids, [id(1), id(2), id(3), id(4)]);
    assert_eq!(
        snapshot.path(snapshot.account(id(3)).unwrap().parent),
        "Root/Prod/Team"
    );
    assert!(snapshot.units[0].id.is_root());
    assert_eq!(snapshot.units.len(), 4);
    assert_eq!(snapshot.accounts[0].joined_at, Some(1_700_000_000));
}

#[tokio::test]
async fn an_empty_page_with_a_token_is_not_the_end() {
    let server = Server::start(|call| organization(call, paged)).await;
    snapshot(&server.aws, SnapshotStrategy::ListAccounts).await;
    assert_eq!(server.count("ListAccounts"), 3);
    assert_eq!(server.aws.api_calls()["organizations:ListAccounts"], 3);
}

#[tokio::test]
async fn a_repeated_token_is_an_error_and_not_a_short_listing() {
    let server = Server::start(|call| {
        organization(call, |token| match token {
            None => (vec![account(1, Some(ROOT))], Some("t1")),
            Some("t1") => (vec![account(2, Some(ROOT))], Some("t2")),
            Some(_) => (vec![], Some("t1")),
        })
    })
    .await;
    let error = server
        .aws
        .organization_snapshot(&fixed(SnapshotStrategy::ListAccounts))
        .await
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unexpected);
    assert!(
        error.to_string().contains("repeated a page token"),
        "{error}"
    );
}

#[tokio::test]
async fn without_paths_the_tree_is_walked() {
    let server = Server::start(|call| {
        organization(call, |_| {
            ((1..=4).map(|number| account(number, None)).collect(), None)
        })
    })
    .await;
    let listing = snapshot(&server.aws, SnapshotStrategy::ListAccounts).await;
    assert_eq!(listing.strategy, SnapshotStrategy::Walk);
    assert_eq!(listing.snapshot.accounts.len(), 4);
    assert_eq!(server.count("ListAccounts"), 1);
}

#[tokio::test]
async fn known_names_save_the_calls_for_units() {
    let server = Server::start(|call| organization(call, paged)).await;
    let first = snapshot(&server.aws, SnapshotStrategy::ListAccounts).await;
    server.calls.lock().unwrap().clear();
    let options = SnapshotOptions {
        known_names: first.snapshot.unit_names(),
        ..fixed(SnapshotStrategy::ListAccounts)
    };
    let second = server.aws.organization_snapshot(&options).await.unwrap();
    assert_eq!(
        server.calls.lock().unwrap().len(),
        1 + 3,
        "DescribeOrganization and the pages"
    );
    assert_eq!(second.snapshot.accounts.len(), 4);
    assert_eq!(
        second.snapshot.units.len(),
        3,
        "the unit without accounts is not seen"
    );
}

#[tokio::test]
async fn a_unit_that_is_new_since_the_last_run_is_asked_for_alone() {
    let server = Server::start(|call| organization(call, paged)).await;
    let options = SnapshotOptions {
        known_names: BTreeMap::from([
            (ROOT.parse().unwrap(), "Root".into()),
            (PROD.parse().unwrap(), "Prod".into()),
        ]),
        ..fixed(SnapshotStrategy::ListAccounts)
    };
    let listing = server.aws.organization_snapshot(&options).await.unwrap();
    assert_eq!(server.count("ListOrganizationalUnitsForParent"), 1);
    let team: OuId = TEAM.parse().unwrap();
    let index = listing.snapshot.unit_index(&team).unwrap();
    assert_eq!(&*listing.snapshot.units[index as usize].name, "Team");
}

#[tokio::test]
async fn a_targeted_unit_without_accounts_is_found_in_spite_of_known_names() {
    let server = Server::start(|call| organization(call, paged)).await;
    let names = [(ROOT, "Root"), (PROD, "Prod"), (TEAM, "Team")];
    let options = SnapshotOptions {
        known_names: names
            .into_iter()
            .map(|(id, name)| (id.parse().unwrap(), name.into()))
            .collect(),
        needed_units: BTreeSet::from([EMPTY.parse().unwrap()]),
        ..fixed(SnapshotStrategy::ListAccounts)
    };
    let listing = server.aws.organization_snapshot(&options).await.unwrap();
    assert!(
        listing
            .snapshot
            .unit_index(&EMPTY.parse().unwrap())
            .is_some()
    );
}

#[tokio::test]
async fn state_falls_back_to_status_and_the_unknown_is_not_active() {
    let server = Server::start(|call| {
        organization(call, |_| {
            let mut accounts: Vec<Value> =
                (1..=4).map(|number| account(number, Some(ROOT))).collect();
            accounts[1]["State"] = Value::Null;
            accounts[1]["Status"] = json!("SUSPENDED");
            accounts[2]["State"] = json!("DREAMING");
            accounts[2]["Status"] = json!("ACTIVE");
            accounts[3].as_object_mut().unwrap().remove("State");
            (accounts, None)
        })
    })
    .await;
    let listing = snapshot(&server.aws, SnapshotStrategy::ListAccounts).await;
    let states: Vec<_> = listing
        .snapshot
        .accounts
        .iter()
        .map(|account| account.state)
        .collect();
    assert_eq!(
        states,
        [
            AccountState::Active,
            AccountState::Suspended,
            AccountState::Unknown,
            AccountState::Unknown
        ]
    );
}

#[tokio::test]
async fn an_account_under_two_parents_is_refused() {
    let server = Server::start(|call| match call.operation.as_str() {
        "ListAccountsForParent" => Answer::json(json!({"Accounts": [account(1, None)]})),
        _ => organization(call, paged),
    })
    .await;
    let error = server
        .aws
        .organization_snapshot(&fixed(SnapshotStrategy::Walk))
        .await
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::Conflict);
    assert!(
        error.to_string().contains("000000000001 was listed twice"),
        "{error}"
    );
}

#[tokio::test]
async fn a_listing_without_the_management_account_is_refused() {
    let server =
        Server::start(|call| organization(call, |_| (vec![account(2, Some(ROOT))], None))).await;
    let error = server
        .aws
        .organization_snapshot(&fixed(SnapshotStrategy::ListAccounts))
        .await
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::Conflict);
}

#[tokio::test]
async fn organizations_throttling_is_waited_out_and_counted() {
    let throttled = std::sync::atomic::AtomicBool::new(true);
    let server = Server::start(move |call| {
        if call.operation == "ListRoots" && throttled.swap(false, std::sync::atomic::Ordering::SeqCst) {
            return Answer::json_error(
                "TooManyRequestsException",
                "AWS Organizations can't complete your request because another request is already in progress.",
            );
        }
        organization(call, paged)
    })
    .await;
    snapshot(&server.aws, SnapshotStrategy::Walk).await;
    let counts = server.aws.call_counts()["organizations:ListRoots"];
    assert_eq!((counts.sent, counts.throttled), (2, 1));
}

#[tokio::test]
async fn an_account_outside_any_organization_is_told_so() {
    let server = Server::start(|_| {
        Answer::json_error(
            "AWSOrganizationsNotInUseException",
            "Your account is not a member of an organization.",
        )
    })
    .await;
    let error = server.aws.describe_organization().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::NotFound);
    assert_eq!(error.request_id.as_deref(), Some("req-header"));
}
