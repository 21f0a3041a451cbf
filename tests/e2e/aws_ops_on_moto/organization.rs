//! Organizations.

use anyhow::{Context, Result};
use aws_ops::{SnapshotOptions, SnapshotStrategy, StrategyChoice};
use e2e::moto::Moto;
use onboarding_core::inventory::AccountState;
use serde_json::{Value, json};

use super::{ACCOUNT, assert_sent, with_moto};

/// More than fit on two pages, all in one unit.
const ACCOUNTS: usize = 45;

async fn call(moto: &Moto, operation: &str, input: Value) -> Result<Value> {
    moto.wire()
        .json(
            "organizations",
            &format!("AWSOrganizationsV20161128.{operation}"),
            &input,
        )
        .await
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("no text: {value}"))
}

/// An organization with `workloads` and `workloads/production` in its root, and `accounts` accounts in the latter;
/// returns the id of `production`.
pub(super) async fn organization(moto: &Moto, accounts: usize) -> Result<String> {
    call(moto, "CreateOrganization", json!({ "FeatureSet": "ALL" })).await?;
    let roots = call(moto, "ListRoots", json!({})).await?;
    let root = text(&roots["Roots"][0]["Id"])?;
    let mut parent = root.to_owned();
    for name in ["workloads", "production"] {
        let unit = call(
            moto,
            "CreateOrganizationalUnit",
            json!({ "ParentId": parent, "Name": name }),
        )
        .await?;
        text(&unit["OrganizationalUnit"]["Id"])?.clone_into(&mut parent);
    }
    for number in 0..accounts {
        let account = json!({ "AccountName": format!("account {number}"), "Email": format!("{number}@example.com") });
        let created = call(moto, "CreateAccount", account).await?;
        let id = text(&created["CreateAccountStatus"]["AccountId"])?;
        let to = json!({ "AccountId": id, "SourceParentId": root, "DestinationParentId": parent });
        call(moto, "MoveAccount", to).await?;
    }
    Ok(parent)
}

#[test]
fn the_organization_is_described() {
    with_moto(async |moto, aws| {
        organization(&moto, 0).await?;
        let description = aws.describe_organization().await?;
        assert_eq!(description.management_account.to_string(), ACCOUNT);
        assert!(description.all_features);
        assert_sent(&aws, &["organizations:DescribeOrganization"]);
        Ok(())
    });
}

#[test]
fn an_account_outside_of_an_organization_is_told_so() {
    with_moto(async |_moto, aws| {
        let error = aws.describe_organization().await.unwrap_err();
        assert!(
            error.is_code("AWSOrganizationsNotInUseException"),
            "{error}"
        );
        assert_eq!(error.class(), aws_ops::ErrorClass::NotFound, "{error}");
        Ok(())
    });
}

#[test]
fn the_tree_is_walked_with_all_its_pages() {
    with_moto(async |moto, aws| {
        let production = organization(&moto, ACCOUNTS).await?;
        let walk = SnapshotOptions {
            strategy: StrategyChoice::Fixed(SnapshotStrategy::Walk),
            ..SnapshotOptions::default()
        };
        let snapshot = aws.organization_snapshot(&walk).await?.snapshot;
        assert_eq!(snapshot.accounts.len(), ACCOUNTS + 1);
        assert!(
            snapshot
                .accounts
                .iter()
                .all(|account| account.state == AccountState::Active)
        );
        let unit = snapshot.unit_index(&production.parse()?).unwrap();
        assert_eq!(snapshot.path(unit), "Root/workloads/production");
        assert_eq!(
            snapshot
                .accounts
                .iter()
                .filter(|account| account.parent == unit)
                .count(),
            ACCOUNTS
        );
        assert_sent(
            &aws,
            &[
                "organizations:DescribeOrganization",
                "organizations:ListAccountsForParent",
                "organizations:ListOrganizationalUnitsForParent",
                "organizations:ListRoots",
            ],
        );
        Ok(())
    });
}

#[test]
fn without_paths_the_first_page_of_accounts_leads_to_a_walk() {
    with_moto(async |moto, aws| {
        organization(&moto, ACCOUNTS).await?;
        let options = SnapshotOptions {
            strategy: StrategyChoice::Fixed(SnapshotStrategy::ListAccounts),
            ..SnapshotOptions::default()
        };
        let listing = aws.organization_snapshot(&options).await?;
        assert_eq!(listing.strategy, SnapshotStrategy::Walk);
        assert_eq!(listing.snapshot.accounts.len(), ACCOUNTS + 1);
        assert_eq!(aws.api_calls()["organizations:ListAccounts"], 1);
        Ok(())
    });
}

#[test]
fn tags_of_a_unit_are_read() {
    with_moto(async |moto, aws| {
        let unit = organization(&moto, 0).await?;
        let tags =
            json!({ "ResourceId": unit, "Tags": [{ "Key": "stage", "Value": "production" }] });
        call(&moto, "TagResource", tags).await?;
        let tags = aws
            .resource_tags(&unit)
            .await?
            .context("the unit is gone")?;
        assert_eq!(
            tags.into_iter().collect::<Vec<_>>(),
            [("stage".to_owned(), "production".to_owned())]
        );
        assert_sent(&aws, &["organizations:ListTagsForResource"]);
        Ok(())
    });
}

#[test]
fn an_account_is_found_with_the_parents_that_it_is_in() {
    with_moto(async |moto, aws| {
        let production = organization(&moto, 1).await?;
        let snapshot = aws
            .organization_snapshot(&SnapshotOptions::default())
            .await?
            .snapshot;
        let account = snapshot
            .accounts
            .iter()
            .find(|account| &*account.name == "account 0")
            .unwrap();
        let member = aws.member(account.id).await?.unwrap();
        assert_eq!(member.name, "account 0");
        assert_eq!(member.state, AccountState::Active);
        let lineage: Vec<_> = member.lineage.iter().map(ToString::to_string).collect();
        let [unit, parent, root] = lineage.as_slice() else {
            panic!("{lineage:?}")
        };
        assert_eq!(*unit, production);
        assert!(
            parent.starts_with("ou-") && root.starts_with("r-"),
            "{lineage:?}"
        );
        assert_eq!(aws.member("999999999999".parse()?).await?, None);
        let calls = aws.api_calls();
        assert_eq!(calls["organizations:DescribeAccount"], 2);
        assert_eq!(calls["organizations:ListParents"], 3);
        Ok(())
    });
}
