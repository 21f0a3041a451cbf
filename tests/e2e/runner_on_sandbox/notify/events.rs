//! What is told of what happens: findings that are new, runs that die, a configuration that is wrong, a job that only looks.

use super::*;
use crate::runner_on_sandbox::{
    audits::{audited, linked_role},
    daemon::{run_in, start, with_job},
    drift::{finding, json_in},
};

#[test]
fn a_finding_is_told_when_it_is_new() {
    let rehearsal = Rehearsal::new(SMALL);
    let receiver = Receiver::start(&rehearsal, always_ok);
    let target = receiver.by_file(&rehearsal, "on-call", "");
    rehearsal.configure(&target, "", "ous = [\"root\"]");
    rehearsal.sync_ends(0, &[]);
    let audit = |code: i32, params: &str| {
        let job = format!("kind = \"drift-audit\"\n[params]\n{params}\n");
        rehearsal.write("config/jobs/drift-audit.toml", &job);
        let ended = rehearsal.run(&["exec", "drift-audit"]);
        assert_eq!(ended.code, code, "{}{}", ended.stdout, ended.stderr);
    };
    audit(0, "");
    assert_eq!(receiver.got().len(), 0);
    // Nobody knows how old a token in a variable is.
    audit(3, "token_max_age = \"1d\"");
    let got = receiver.got();
    assert_eq!(got.len(), 1);
    got[0].assert_signed();
    let told = got[0].document();
    assert_eq!(told["type"], "new-findings", "{told:#}");
    let data = &told["data"];
    assert_eq!(
        data["findings"][0]["reason"], "token-age-unknown",
        "{told:#}"
    );
    assert_eq!(data["findings_left_off"], 0);
    assert!(text(&data["text"]).contains("SPOTINST_TOKEN"), "{told:#}");
    // It is still there, and no news.
    audit(3, "token_max_age = \"1d\"");
    assert_eq!(receiver.got().len(), 1);
}

#[test]
fn a_finding_that_a_run_did_not_look_for_is_no_news_when_it_is_seen_again() {
    let rehearsal = Rehearsal::new(SMALL);
    let receiver = Receiver::start(&rehearsal, always_ok);
    let target = receiver.by_file(&rehearsal, "on-call", "");
    audited(&rehearsal, &target, "");
    rehearsal.sync_ends(0, &[]);
    let account = rehearsal.members()[0].clone();
    let role = linked_role(&rehearsal, &account);
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]});
    let policy = policy.to_string();
    let stray = [("RoleName", &*role), ("PolicyName", "stray")];
    let put = [&stray[..], &[("PolicyDocument", &*policy)]].concat();
    rehearsal.iam(&account, "PutRolePolicy", &put);
    let full = ["--set", "params.depth=full"];
    let reason = "policy-inline-extra";
    let first = rehearsal.audit_ends(3, &full);
    let first = finding(&first, &account, reason).clone();
    assert_eq!(receiver.got().len(), 1);

    // Nobody looks into the account, or can.
    let not_looked_at = |document: &Value| {
        let left = document["not_looked_at"].as_array().unwrap();
        assert_eq!(left.len(), 1, "{document:#}");
        for key in ["id", "message", "first_seen", "last_seen"] {
            assert_eq!(left[0][key], first[key], "{document:#}");
        }
    };
    let coverage = rehearsal.audit_ends(0, &[]);
    not_looked_at(&coverage);
    let shown = rehearsal.run(&["exec", "drift-audit", "--report", "report.html"]);
    assert!(
        shown.stdout.contains("not looked at since 2"),
        "{}",
        shown.stdout
    );
    let html = fs::read_to_string(rehearsal.path("report.html")).unwrap();
    assert!(html.contains("not looked at since 2"), "{html}");
    let audit = [
        ("RoleName", "spot-onboarding-audit"),
        ("PolicyName", "read"),
    ];
    let read = rehearsal.iam(&account, "GetRolePolicy", &audit);
    let read = json_in(&read, "PolicyDocument").to_string();
    rehearsal.iam(&account, "DeleteRolePolicy", &audit);
    let unreadable = rehearsal.audit_ends(3, &full);
    not_looked_at(&unreadable);
    assert_eq!(receiver.got().len(), 2, "that it cannot be read is news");

    let put = [&audit[..], &[("PolicyDocument", &*read)]].concat();
    rehearsal.iam(&account, "PutRolePolicy", &put);
    let again = rehearsal.audit_ends(3, &full);
    let seen = finding(&again, &account, reason);
    assert_eq!(seen["first_seen"], first["first_seen"]);
    assert!(seen["last_seen"].as_i64() >= first["last_seen"].as_i64());
    assert_eq!(again["not_looked_at"], Value::Null);
    assert_eq!(receiver.got().len(), 2, "it was there all the time");
    rehearsal.iam(&account, "DeleteRolePolicy", &stray);
    let fine = rehearsal.audit_ends(0, &full);
    assert_eq!(fine["not_looked_at"], Value::Null, "{fine:#}");
}

#[test]
fn a_clean_up_that_only_looks_is_told_of_like_any_other_run() {
    let rehearsal = failing("");
    let receiver = Receiver::start(&rehearsal, always_ok);
    let target = receiver.webhook("on-call", "jobs = [\"orphan-cleanup\"]");
    rehearsal.configure(&target, "", "ous = [\"root\"]");
    let variables = [("SPOTINST_TOKEN", "unknown"), ("WEBHOOK_SECRET", SECRET)];
    // Somebody only wants to see.
    let seen = rehearsal.run_with(&variables, &["exec", "orphan-cleanup", "--dry-run"]);
    assert_eq!(seen.code, 5, "{}", seen.stderr);
    assert_eq!(receiver.got().len(), 0);
    let ended = job_fails(&rehearsal, "orphan-cleanup");
    let got = receiver.got();
    assert_eq!(got.len(), 1, "{}", ended.stderr);
    let told = got[0].document();
    assert_eq!(told["type"], "run-failed", "{told:#}");
    assert_eq!(told["data"]["kind"], "orphan-cleanup");
}

#[test]
fn runs_that_die_again_and_again_are_told_once() {
    let slow = SMALL.replace("120.0", "10.0") + "[stack_sets]\nresource_time = \"60s\"\n";
    let often = "kind = \"stackset-sync\"\nschedule = { cron = \"@every 1s\" }\n";
    let rehearsal = with_job(&slow, often);
    let receiver = Receiver::start(&rehearsal, always_ok);
    let target = receiver.by_file(&rehearsal, "on-call", "events = [\"runs-died\"]");
    rehearsal.configure(&(target + DAEMON), "", "ous = [\"root\"]");
    let mut dead = BTreeSet::new();
    for death in 1..=3 {
        let mut daemon = start(&rehearsal.runner);
        let running = rehearsal.until("another run goes on", || {
            daemon.process.check().unwrap();
            let run = run_in(&rehearsal, "running")?;
            (!dead.contains(&text(&run["id"]))).then(|| text(&run["id"]))
        });
        // Only what died is run again.
        rehearsal.write(
            "config/jobs/sync.toml",
            "kind = \"stackset-sync\"\nschedule = { cron = \"0 0 0 1 1 * 2099\" }\n",
        );
        daemon.process.signal(Signal::KILL).unwrap();
        assert!(daemon.process.wait(LIMIT).is_err(), "a signal ended it");
        assert_eq!(receiver.got().len(), 0, "{death}");
        dead.insert(running);
    }
    let mut daemon = start(&rehearsal.runner);
    let told = rehearsal.until("it is told", || {
        daemon.process.check().unwrap();
        receiver.got().first().cloned()
    });
    told.assert_signed();
    let told = told.document();
    assert_eq!(told["type"], "runs-died", "{told:#}");
    let data = &told["data"];
    assert_eq!(data["job"], "sync", "{told:#}");
    let last = dead.last().unwrap();
    assert_eq!(
        (text(&data["run_id"]), &data["count"]),
        (last.clone(), &json!(1))
    );
    assert_eq!(data["command"], format!("runner runs show {last}"));
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
    assert_eq!(receiver.got().len(), 1);
}

#[test]
fn a_configuration_that_is_wrong_as_a_whole_is_told_to_everybody() {
    let far = "kind = \"stackset-sync\"\nschedule = { cron = \"0 0 0 1 1 * 2099\" }\n";
    let rehearsal = with_job(SMALL, far);
    let receiver = Receiver::start(&rehearsal, always_ok);
    let target = receiver.by_file(&rehearsal, "on-call", "jobs = [\"sync\"]");
    let sections = target + DAEMON;
    rehearsal.configure(&sections, "", "ous = [\"root\"]");
    let mut daemon = start(&rehearsal.runner);
    let wrong = sections.replace("[daemon]\n", "[daemon]\nlissen = 1\n");
    rehearsal.configure(&wrong, "", "ous = [\"root\"]");
    let told = rehearsal.until("it is told", || {
        daemon.process.check().unwrap();
        receiver.got().first().cloned()
    });
    told.assert_signed();
    let told = told.document();
    assert_eq!(told["type"], "definition-broken", "{told:#}");
    assert_eq!(told["data"]["job"], Value::Null, "{told:#}");
    let words = text(&told["data"]["text"]);
    for part in ["runner.toml", "lissen", "runner jobs validate"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
}
