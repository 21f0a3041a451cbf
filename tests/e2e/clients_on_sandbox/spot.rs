//! spot-api against the simulated Spot.

use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Context, Result};
use e2e::wire::Wire;
use onboarding_core::access::{self, Accounts};
use onboarding_core::ids::{AwsAccountId, RoleArn, SpotAccountId};
use sandbox::Sandbox;
use serde_json::{Value, json};
use spot_api::token::FileToken;
use spot_api::{AccessError, BillingSource, Product, RegistrationStatus, ValidationStatus};
use spot_api::{SpotClient, SpotSettings};

use super::{until, wire, with_sandbox};

const SCENARIO: &str = "
clock_speed = 600
[organization]
accounts = 4
rates = false
[spot]
linked = 1
running_groups = 1
rate_limit = 100000
";

fn client(sandbox: &Sandbox) -> Result<SpotClient> {
    // Read at every call, so it stays until the client is gone: the directory ends with the process.
    let (mut file, path) = tempfile::NamedTempFile::new()?.keep()?;
    file.write_all(sandbox.environment()["SPOTINST_TOKEN"].as_bytes())?;
    let settings = SpotSettings {
        base_url: sandbox.endpoint().to_owned(),
        ..SpotSettings::default()
    };
    Ok(SpotClient::new(
        settings,
        Arc::new(FileToken::new(&path)),
        None,
    )?)
}

/// An account without a Spot account.
async fn unlinked(sandbox: &Sandbox) -> Result<AwsAccountId> {
    let list = wire(sandbox).admin("accounts", None).await?;
    let accounts = list["accounts"].as_array().context("no accounts")?;
    let free =
        |account: &&Value| account["management"] == false && account["spot_accounts"] == json!([]);
    let account = accounts
        .iter()
        .find(free)
        .context("every account is linked")?;
    Ok(account["id"].as_str().context("no id")?.parse()?)
}

/// Makes a role that trusts Spot, and links it as soon as it has spread.
async fn link(
    sandbox: &Sandbox,
    spot: &SpotClient,
    id: &SpotAccountId,
    account: AwsAccountId,
) -> Result<RoleArn> {
    let external_id = spot.create_external_id(id).await?.external_id;
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": { "AWS": "arn:aws:iam::922761411349:root" },
        "Action": "sts:AssumeRole",
        "Condition": { "StringEquals": { "sts:ExternalId": external_id.to_string() } },
    }] });
    let input = [
        ("RoleName", "SpotRole"),
        ("AssumeRolePolicyDocument", &trust.to_string()),
        ("Version", "2010-05-08"),
    ];
    Wire::new(sandbox.endpoint(), format!("AKIA{account}ROOT"))
        .query("iam", "CreateRole", &input)
        .await?;
    let policy = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": ["ec2:Describe*", "s3:GetObject", "s3:List*"], "Resource": "*" },
    ] });
    let input = [
        ("RoleName", "SpotRole"),
        ("PolicyName", "spot"),
        ("PolicyDocument", &policy.to_string()),
        ("Version", "2010-05-08"),
    ];
    Wire::new(sandbox.endpoint(), format!("AKIA{account}ROOT"))
        .query("iam", "PutRolePolicy", &input)
        .await?;
    let role: RoleArn = format!("arn:aws:iam::{account}:role/SpotRole").parse()?;
    until("Spot can assume the role", async || {
        match spot.set_aws_credentials(id, &role).await {
            Ok(()) => Ok(Some(())),
            Err(error) if error.is_role_not_assumable() => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
    .await?;
    assert_eq!(spot.external_id(id).await?, Some(external_id));
    Ok(role)
}

#[test]
fn an_account_is_made_listed_renamed_and_deleted() {
    with_sandbox(SCENARIO, async |sandbox| {
        let spot = client(&sandbox)?;
        let before = spot.list_accounts().await?.len();
        let made = spot.create_account("aws-123456789012").await?;
        spot.rename_account(&made.id, "payments").await?;
        let listed = spot.list_accounts().await?;
        let listed = listed
            .iter()
            .find(|account| account.id == made.id)
            .context("not listed")?;
        assert_eq!(&*listed.name, "payments");
        assert!(listed.unlinked && listed.aws_account.is_none());
        assert_eq!(spot.account(&made.id).await?.as_ref(), Some(listed));
        spot.delete_account(&made.id).await?;
        assert_eq!(spot.list_accounts().await?.len(), before);
        assert_eq!(spot.account(&made.id).await?, None);
        let calls = spot.calls();
        for call in [
            "spot:GET /setup/account",
            "spot:GET /setup/account/{accountId}",
            "spot:POST /setup/account",
            "spot:PUT /setup/account/{accountId}",
            "spot:DELETE /setup/account/{accountId}",
        ] {
            assert!(calls.contains_key(call), "{call} is not in {calls:?}");
        }
        Ok(())
    });
}

#[test]
fn an_account_is_linked_and_registered_for_cost_intelligence() {
    with_sandbox(SCENARIO, async |sandbox| {
        let spot = client(&sandbox)?;
        let account = unlinked(&sandbox).await?;
        let made = spot.create_account("linked").await?;
        assert_eq!(spot.stored_role(&made.id).await?, None);
        let role = link(&sandbox, &spot, &made.id, account).await?;
        assert_eq!(spot.stored_role(&made.id).await?, Some(role));
        let linked = spot.list_accounts_of(account).await?;
        assert_eq!(
            linked.iter().map(|record| &record.id).collect::<Vec<_>>(),
            [&made.id]
        );

        let steps = spot
            .validate_product(&Product::CostIntelligence, &made.id)
            .await?;
        assert!(
            steps
                .iter()
                .all(|step| step.status == ValidationStatus::Success),
            "{steps:?}"
        );
        spot.set_up_product(&Product::CostIntelligence, &made.id)
            .await?;
        let registrations = spot.cost_intelligence().await?;
        assert_eq!(registrations.len(), 1);
        assert_eq!(registrations[0].account_id, made.id);
        assert_eq!(registrations[0].status, RegistrationStatus::Connected);
        Ok(())
    });
}

#[test]
fn the_payer_account_is_registered_for_the_billing_engine() {
    with_sandbox(SCENARIO, async |sandbox| {
        let spot = client(&sandbox)?;
        let state = wire(&sandbox).admin("state", None).await?;
        let management = state["organization"]["management"]
            .as_str()
            .context("no management account")?
            .parse()?;
        let made = spot.create_account("payer").await?;
        link(&sandbox, &spot, &made.id, management).await?;
        let product = Product::BillingEngine(BillingSource {
            bucket: "cur".to_owned(),
            region: "us-east-1".parse()?,
            path_prefix: "reports".to_owned(),
        });
        let steps = spot.validate_product(&product, &made.id).await?;
        assert!(
            steps
                .iter()
                .all(|step| step.status == ValidationStatus::Success),
            "{steps:?}"
        );
        spot.set_up_product(&product, &made.id).await?;
        assert_eq!(spot.billing_engine().await?[0].account_id, made.id);
        Ok(())
    });
}

#[test]
fn a_user_group_is_given_an_account_and_keeps_what_it_had() {
    let scenario = format!("{SCENARIO}user_groups = 1\n");
    with_sandbox(&scenario, async |sandbox| {
        let spot = client(&sandbox)?;
        let listed = wire(&sandbox).admin("spot", None).await?;
        let group = &listed["user_groups"][0]["id"];
        let group = group.as_str().context("no group")?.parse()?;
        let before = spot.user_group(&group).await?;
        assert_eq!(before.len(), 2, "{before:?}");
        let made = spot.create_account("seen").await?;
        let wanted = Accounts::from([("pol-a1b2c3d4".parse()?, [made.id.clone()].into())]);
        assert!(spot.grant_access(&group, &wanted).await?);
        assert!(!spot.grant_access(&group, &wanted).await?);
        let after = spot.user_group(&group).await?;
        assert_eq!(after, access::with(&group, &before, &wanted)?);
        let unknown = "ugr-nobody".parse()?;
        let error = spot.grant_access(&unknown, &wanted).await;
        assert!(matches!(error, Err(AccessError::Spot(_))), "{error:?}");
        Ok(())
    });
}

#[test]
fn what_runs_in_an_account_is_listed() {
    with_sandbox(SCENARIO, async |sandbox| {
        let spot = client(&sandbox)?;
        let list = wire(&sandbox).admin("spot", None).await?;
        let accounts = list["accounts"].as_array().context("no accounts")?;
        let busy = accounts
            .iter()
            .find(|account| account["running"] == true)
            .context("nothing runs")?;
        let id: SpotAccountId = busy["id"].as_str().context("no id")?.parse()?;
        assert!(!spot.elastigroups(&id).await?.is_empty());
        assert!(!spot.ocean_clusters(&id).await?.is_empty());
        let calls = spot.calls();
        for call in [
            "spot:GET /aws/ec2/group",
            "spot:GET /ocean/aws/k8s/cluster",
            "spot:GET /ocean/aws/ecs/cluster",
        ] {
            assert!(calls.contains_key(call), "{call} is not in {calls:?}");
        }
        Ok(())
    });
}
