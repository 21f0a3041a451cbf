//! Billing Engine for the management account: switched on by a run, once, and a finding where that cannot be.

use super::*;

const BILLING: &str = "[billing_engine]\nbucket = \"reports\"\nregion = \"us-east-1\"\npath_prefix = \"cur/hourly\"\n";
const STEP: &str = "set-up-billing-engine";

fn with_billing(spot: &str) -> Rehearsal {
    let rehearsal = Rehearsal::new(&format!("{SMALL}[spot]\n{spot}"));
    rehearsal.configure(BILLING, "", "ous = [\"root\"]");
    rehearsal
}

fn is_on(rehearsal: &Rehearsal) -> bool {
    let spot = rehearsal.admin("spot", None);
    let accounts = spot["accounts"].as_array().unwrap();
    accounts.iter().any(|one| one["billing_engine"] == true)
}

#[test]
fn it_is_switched_on_for_the_management_account_and_only_once() {
    let rehearsal = with_billing("link_management = true\n");
    let dry = rehearsal.sync_ends(3, &["--dry-run"]);
    assert!(steps(&dry).contains(&STEP.to_owned()), "{dry:#}");
    assert!(!is_on(&rehearsal));
    let first = rehearsal.sync_ends(0, &[]);
    assert!(steps(&first).contains(&STEP.to_owned()), "{first:#}");
    assert!(is_on(&rehearsal));
    let calls = rehearsal.calls();
    assert_eq!(calls["spot:POST /cloudBilling/v1/setup/account"], 1);

    let again = rehearsal.sync_ends(0, &[]);
    assert_eq!(steps(&again), Vec::<String>::new());
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
}

#[test]
fn a_failed_validation_tells_what_spot_found_and_nothing_is_switched_on() {
    let rehearsal = with_billing("link_management = true\n");
    let spot = rehearsal.spot_accounts();
    let spot = spot.iter().find(|spot| spot.aws_account.is_some());
    let role = spot.unwrap().role.clone().unwrap();
    let role = role.rsplit('/').next().unwrap();
    let input = [
        ("Version", "2010-05-08"),
        ("RoleName", role),
        ("PolicyName", "SpotPolicy"),
    ];
    let deleted = rehearsal.wire.query("iam", "DeleteRolePolicy", &input);
    rehearsal.runtime.block_on(deleted).unwrap();
    let document = rehearsal.sync_ends(1, &[]);
    assert_eq!(count(&document, "ok"), 8, "one step fails alone");
    let failed = document["steps"].as_array().unwrap();
    let failed = failed.iter().find(|step| step["id"] == STEP).unwrap();
    let words = failed.to_string();
    assert!(words.contains("missing permission s3:GetObject"), "{words}");
    assert!(!is_on(&rehearsal));
    let calls = rehearsal.calls();
    assert!(!calls.contains_key("spot:POST /cloudBilling/v1/setup/account"));
}

#[test]
fn without_a_link_of_the_management_account_it_is_a_finding() {
    let rehearsal = with_billing("");
    let document = rehearsal.sync_ends(3, &[]);
    assert_eq!(count(&document, "changed"), 8);
    let finding = &document["findings"][0];
    assert_eq!(finding["reason"], "billing-engine-not-linked");
    assert!(text(&finding["fix"]).contains("connect it in Spot"));
}

#[test]
fn half_a_configuration_is_refused() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.configure(
        "[billing_engine]\nbucket = \"reports\"\n",
        "",
        "ous = [\"root\"]",
    );
    let ended = rehearsal.run(&["jobs", "validate"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    for words in ["billing_engine.region", "billing_engine.path_prefix"] {
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
}
