//! What must be there before anything: AWS, the right identity, trusted access, Spot and an administrator's token. Where it
//! is missing, the run says what to do, ends with 5 (or 1 when it may pass), and has changed nothing.

use super::*;

/// A run of this rehearsal that must not get as far as changing anything.
#[track_caller]
fn refuses(rehearsal: &Rehearsal, variables: &[(&str, &str)], code: i32, words: &[&str]) {
    let calls = rehearsal.calls();
    let ended = rehearsal.run_with(variables, &["exec", "stackset-sync"]);
    let said = ended.stdout + &ended.stderr;
    assert_eq!(ended.code, code, "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    assert_eq!(rehearsal.instances(), BTreeMap::new());
}

/// The runner's patience with what may pass, shortened.
fn impatient(rehearsal: &Rehearsal) {
    rehearsal.configure(
        "[spot]\nconnect_timeout = \"1s\"\ncall_timeout = \"2s\"\n",
        "",
        "ous = [\"root\"]",
    );
    rehearsal.write(
        "config/jobs/stackset-sync.toml",
        "kind = \"stackset-sync\"\n[retry]\nattempts = 2\ninitial = \"100ms\"\nmax = \"200ms\"\n",
    );
}

#[test]
fn without_credentials_or_with_those_of_another_account_it_says_whose_are_needed() {
    let rehearsal = Rehearsal::new(SMALL);
    impatient(&rehearsal);
    let none = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    let none = [&none[..], &[("AWS_EC2_METADATA_DISABLED", "true")]].concat();
    refuses(&rehearsal, &none, 5, &["credentials"]);

    let member = rehearsal.members()[0].clone();
    let account = rehearsal.admin(&format!("accounts/{member}"), None);
    let key = text(&account["environment"]["AWS_ACCESS_KEY_ID"]);
    refuses(
        &rehearsal,
        &[("AWS_ACCESS_KEY_ID", &key)],
        5,
        &[&member, "management account"],
    );

    refuses(
        &rehearsal,
        &[("AWS_ACCESS_KEY_ID", "AKIANOBODY")],
        5,
        &["credentials"],
    );
}

#[test]
fn an_aws_or_spot_that_cannot_be_reached_is_named_with_its_address() {
    let rehearsal = Rehearsal::new(SMALL);
    impatient(&rehearsal);
    // Nobody listens on the discard port of the loopback interface.
    let nowhere = "http://127.0.0.1:9";
    refuses(
        &rehearsal,
        &[("AWS_ENDPOINT_URL", nowhere)],
        1,
        &["AWS", "AWS_ENDPOINT_URL"],
    );
    refuses(
        &rehearsal,
        &[("SPOT_API_URL", nowhere)],
        1,
        &["cannot reach Spot at http://127.0.0.1:9 ", "SPOT_API_URL"],
    );
}

#[test]
fn a_spot_token_that_is_missing_refused_or_not_an_administrators_is_a_missing_prerequisite() {
    let rehearsal = Rehearsal::new(&format!("{SMALL}[spot]\ntoken_is_admin = false\n"));
    refuses(&rehearsal, &[], 5, &["admin"]);
    refuses(&rehearsal, &[("SPOTINST_TOKEN", "wrong")], 5, &["token"]);
    refuses(
        &rehearsal,
        &[("SPOTINST_TOKEN", "")],
        5,
        &["SPOTINST_TOKEN"],
    );
}

#[test]
fn trusted_access_that_is_off_is_switched_on_only_when_that_is_allowed() {
    let rehearsal =
        Rehearsal::new(&SMALL.replace("trusted_access = true", "trusted_access = false"));
    refuses(
        &rehearsal,
        &[],
        5,
        &["trusted access", "prerequisites.activate_trusted_access"],
    );
    rehearsal.configure(
        "[prerequisites]\nactivate_trusted_access = true\n",
        "",
        "ous = [\"root\"]",
    );
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&document, "changed"), 8);
}

#[test]
fn a_spot_organization_that_may_not_enroll_fails_each_account_with_that_reason() {
    let rehearsal = Rehearsal::new(&format!("{SMALL}[spot]\nenrollment = \"denied\"\n"));
    let before = rehearsal.spot_accounts();
    let (code, document) = rehearsal.sync(&[]);
    assert_eq!(code, 1, "{document:#}");
    assert_eq!(count(&document, "failed"), 8);
    let detail = text(&document["failed"][0]["detail"]);
    for words in ["not permitted to create accounts", "Spot's support"] {
        assert!(detail.contains(words), "{detail}");
    }
    // Nobody waited for what does not pass.
    assert!(!detail.contains("not done in time"), "{detail}");
    assert_eq!(rehearsal.spot_accounts(), before);
}

#[test]
fn a_missing_queue_is_said_before_anything_waits_for_it() {
    let rehearsal = Rehearsal::new(&format!("{SMALL}[provider]\nenabled = false\n"));
    refuses(&rehearsal, &[], 5, &["queue", "spot-onboarding"]);
}

#[test]
fn an_organization_without_units_is_enrolled_at_its_root() {
    let rehearsal = Rehearsal::new(&SMALL.replace("ous = 3\ndepth = 2", "ous = 0"));
    let before = rehearsal.spot_accounts();
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&document, "changed"), 8);
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
}
