//! The external ID in the trust policies of accounts that were linked before the runner came: another one is told from the one that
//! Spot uses, without asking Spot for what the state knows, and where nobody can tell, that is said.

use super::*;

const LINKED: &str = "[spot]\nlinked = 1\n";

const ASKED: &str = "spot:GET /setup/credentials/aws/externalId/{accountId}";

/// Eight accounts, enrolled by us, of which one was linked by somebody else before: its id.
fn taken_over(spot: &str) -> (Rehearsal, String) {
    let rehearsal = Rehearsal::new(&format!("{SMALL}{spot}"));
    let linked = rehearsal.spot_accounts().into_iter();
    let linked = linked.filter_map(|spot| spot.aws_account).next();
    audited(&rehearsal, "", "adopt = \"relink\"");
    rehearsal.sync_ends(0, &[]);
    (rehearsal, linked.unwrap())
}

impl Rehearsal {
    /// Puts another external ID into the trust policy of an account's role.
    fn change_external_id(&self, account: &str) {
        let mut trust = self.trust(account);
        let id = &mut trust["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"];
        assert!(!id.is_null());
        *id = json!("somebody-elses");
        self.set_trust(account, &trust);
    }
}

/// How often a run asked Spot for external IDs.
fn asked(document: &Value) -> u64 {
    document["api_calls"][ASKED].as_u64().unwrap_or(0)
}

#[test]
fn another_external_id_in_the_role_of_an_account_that_was_taken_over_is_found() {
    let (rehearsal, account) = taken_over(LINKED);
    let clean = rehearsal.audit_ends(0, &["--set", FULL]);
    assert_eq!(clean["findings"], json!([]), "{clean:#}");
    rehearsal.change_external_id(&account);
    let document = rehearsal.audit_ends(3, &["--set", FULL]);
    let expected = pairs(&[
        (&account, "trust-differs"),
        (&account, "cost-intelligence-not-connected"),
    ]);
    assert_eq!(found(&document), expected, "{document:#}");
    // The state knows what was handed out.
    assert_eq!((asked(&clean), asked(&document)), (0, 0));
}

#[test]
fn what_an_earlier_version_did_not_remember_is_asked_of_spot_once() {
    let (rehearsal, account) = taken_over(LINKED);
    let spot = rehearsal.links_of(&account)[0].id.clone();
    let forget = format!("DELETE FROM external_ids WHERE spot_account = '{spot}'");
    rehearsal.in_state(&forget);
    rehearsal.change_external_id(&account);
    let expected = pairs(&[
        (&account, "trust-differs"),
        (&account, "cost-intelligence-not-connected"),
    ]);
    for asks in [1, 0] {
        let document = rehearsal.audit_ends(3, &["--set", FULL]);
        assert_eq!(found(&document), expected, "{document:#}");
        assert_eq!(asked(&document), asks, "{document:#}");
    }
}

#[test]
fn an_external_id_that_nobody_tells_is_never_taken_for_the_right_one() {
    let rehearsal = Rehearsal::new(&format!("{SMALL}[spot]\nexternal_id_read = false\n"));
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let account = &rehearsal.members()[0];
    let spot = rehearsal.links_of(account)[0].id.clone();
    let forget = format!("DELETE FROM external_ids WHERE spot_account = '{spot}'");
    rehearsal.in_state(&forget);
    let expected = pairs(&[(account, "external-id-untold")]);
    let untold = |reason: &str| {
        let document = rehearsal.audit_ends(3, &["--set", FULL]);
        assert_eq!(found(&document), expected, "{document:#}");
        let untold = finding(&document, account, "external-id-untold");
        assert!(text(&untold["actual"]).starts_with(reason), "{untold:#}");
        assert_eq!(untold["severity"], "warning");
        let fix = text(&untold["fix"]);
        assert!(fix.contains("params.suppress"), "{fix}");
    };
    untold("neither Spot nor the state tells which external ID Spot uses");
    let route = "GET /setup/credentials/aws/externalId/{accountId}";
    let fault =
        json!({"service": "spot", "operation": route, "kind": "server_error", "times": 100});
    rehearsal.post("faults", &fault);
    untold("Spot does not tell the external ID that it uses: ");
}
