//! Who may see the accounts in Spot: user groups get them with the link, and what they lack later from a run.

use super::*;

const POLICY: &str = "pol-b1b2c3d4";
const CHANGE: &str = "PUT /setup/access/userGroup/{userGroupId}/policyMapping";

/// A sandbox with a user group, and a runner that lets it see every account.
fn with_group(spot: &str) -> (Rehearsal, String) {
    let rehearsal = Rehearsal::new(&format!("{SMALL}[spot]\nuser_groups = 1\n{spot}"));
    let group = text(&rehearsal.admin("spot", None)["user_groups"][0]["id"]);
    let access = format!("access = [{{ user_group = {group:?}, policy = {POLICY:?} }}]");
    rehearsal.configure("", &access, "ous = [\"root\"]");
    (rehearsal, group)
}

/// The policies of the one group, by id, with their accounts.
fn policies(rehearsal: &Rehearsal) -> BTreeMap<String, BTreeSet<String>> {
    let spot = rehearsal.admin("spot", None);
    let policies = spot["user_groups"][0]["policies"].as_array().unwrap();
    let accounts = |one: &Value| {
        let accounts = one["accountIds"].as_array();
        accounts.map_or_else(BTreeSet::new, |all| all.iter().map(text).collect())
    };
    policies
        .iter()
        .map(|one| (text(&one["policyId"]), accounts(one)))
        .collect()
}

/// The Spot accounts of these AWS accounts.
fn spot_ids(rehearsal: &Rehearsal, accounts: &[String]) -> BTreeSet<String> {
    let links = accounts.iter().flat_map(|one| rehearsal.links_of(one));
    links.map(|spot| spot.id).collect()
}

#[test]
fn a_group_sees_the_accounts_that_we_linked_beside_what_it_had() {
    let (rehearsal, _) = with_group("linked = 1\n");
    let before = policies(&rehearsal);
    let theirs: Vec<String> = rehearsal
        .spot_accounts()
        .into_iter()
        .filter_map(|spot| spot.aws_account)
        .collect();
    let calls = rehearsal.calls();
    rehearsal.sync_ends(0, &[]);
    let mut ours = rehearsal.members();
    ours.retain(|account| !theirs.contains(account));
    assert_eq!((theirs.len(), ours.len()), (1, 7));
    let mut expected = before;
    expected.insert(POLICY.to_owned(), spot_ids(&rehearsal, &ours));
    assert_eq!(policies(&rehearsal), expected);
    let changes = rehearsal.calls()[&format!("spot:{CHANGE}")];
    assert!(changes <= 7, "{changes}");
    assert!(!calls.contains_key(&format!("spot:{CHANGE}")));

    // Again: nothing to do, and nothing is written.
    let calls = rehearsal.calls();
    let again = rehearsal.sync_ends(0, &[]);
    assert_eq!(steps(&again), Vec::<String>::new());
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
}

#[test]
fn what_a_group_lacks_is_granted_by_the_next_run() {
    let (rehearsal, group) = with_group("");
    let fault = json!({"service": "spot", "operation": CHANGE, "kind": "server_error"});
    rehearsal.post("faults", &fault);
    // The accounts are enrolled all the same, and the run says what is left.
    let first = rehearsal.sync_ends(1, &[]);
    assert_eq!(count(&first, "ok"), 8, "{first:#}");
    assert_eq!(policies(&rehearsal).get(POLICY), None);
    rehearsal
        .runtime
        .block_on(rehearsal.wire.admin_delete("faults"))
        .unwrap();

    let dry = rehearsal.sync_ends(3, &["--dry-run"]);
    let step = format!("grant-access:{group}");
    assert_eq!(steps(&dry), [step.as_str()]);
    let second = rehearsal.sync_ends(0, &[]);
    assert_eq!(steps(&second), [step.as_str()]);
    assert_eq!(
        policies(&rehearsal)[POLICY],
        spot_ids(&rehearsal, &rehearsal.members())
    );
    assert_eq!(steps(&rehearsal.sync_ends(0, &[])), Vec::<String>::new());
}

#[test]
fn a_group_that_is_not_there_is_a_finding_and_fails_no_account() {
    let (rehearsal, _) = with_group("");
    let access = format!("access = [{{ user_group = \"ugr-nobody\", policy = {POLICY:?} }}]");
    rehearsal.configure("", &access, "ous = [\"root\"]");
    let document = rehearsal.sync_ends(3, &[]);
    assert_eq!(count(&document, "changed"), 8);
    let message = text(&document["findings"][0]["message"]);
    assert!(message.contains("ugr-nobody"), "{message}");
}
