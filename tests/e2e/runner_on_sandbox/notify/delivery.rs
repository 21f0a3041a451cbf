//! Targets that fail, that are not known, that change their secret; a state that cannot be written, and a daemon that ends.

use e2e::moto::Moto;

use super::*;

/// A rehearsal without jobs but these, whose files are wrong, so that a daemon has something to tell of each.
fn with_broken_jobs(jobs: usize) -> Rehearsal {
    let rehearsal = failing("");
    fs::remove_dir_all(rehearsal.path("config/jobs")).unwrap();
    fs::create_dir(rehearsal.path("config/jobs")).unwrap();
    for number in 0..jobs {
        let path = format!("config/jobs/broken-{number}.toml");
        rehearsal.write(&path, "kind = \"stackset-sink\"\n");
    }
    rehearsal
}

fn daemon(rehearsal: &Rehearsal) -> Background {
    let mut command = rehearsal.runner.command(&["daemon"]);
    Background::start(command.env("WEBHOOK_SECRET", SECRET)).unwrap()
}

#[track_caller]
fn ends(mut daemon: Background) {
    daemon.signal(Signal::TERM).unwrap();
    let code = daemon.wait(LIMIT).unwrap();
    assert_eq!(code, 0, "{}", daemon.stderr().unwrap());
}

/// How many rows are in this state.
fn count_rows(rehearsal: &Rehearsal, state: &str) -> usize {
    let rows = listed_notifications(rehearsal);
    rows.iter().filter(|row| row["state"] == state).count()
}

#[test]
fn a_target_that_asks_to_be_left_alone_is_asked_once_for_all_that_waits() {
    let rehearsal = with_broken_jobs(5);
    let receiver = Receiver::start(&rehearsal, |_| {
        Answer::Later(StatusCode::TOO_MANY_REQUESTS, "3000")
    });
    let sections = receiver.webhook("on-call", "") + DAEMON;
    rehearsal.configure(&sections, "", "ous = [\"root\"]");
    let mut process = daemon(&rehearsal);
    let rows = rehearsal.until("everything waits for the moment that was asked for", || {
        process.check().unwrap();
        let rows = listed_notifications(&rehearsal);
        let is_put_off = |row: &Value| {
            let wait = row["due_at"].as_i64().unwrap() - row["created_at"].as_i64().unwrap();
            row["state"] == "waiting" && wait > 2_900_000
        };
        (rows.len() == 5 && rows.iter().all(is_put_off)).then_some(rows)
    });
    ends(process);
    assert_eq!(receiver.got().len(), 1, "{rows:?}");
    let tried: Vec<&Value> = rows.iter().filter(|row| row["attempts"] == 1).collect();
    assert_eq!(tried.len(), 1, "{rows:?}");
    assert!(text(&tried[0]["error"]).contains("429"), "{rows:?}");
}

#[test]
fn what_a_target_does_not_take_keeps_nothing_else_waiting() {
    let rehearsal = with_broken_jobs(4);
    let receiver = Receiver::start(&rehearsal, |before| match before {
        1 => Answer::Is(StatusCode::UNPROCESSABLE_ENTITY),
        _ => Answer::Is(StatusCode::OK),
    });
    let sections = receiver.webhook("on-call", "") + DAEMON;
    rehearsal.configure(&sections, "", "ous = [\"root\"]");
    let mut process = daemon(&rehearsal);
    rehearsal.until("the others are told", || {
        process.check().unwrap();
        (count_rows(&rehearsal, "sent") == 3).then_some(())
    });
    ends(process);
    let rows = listed_notifications(&rehearsal);
    let left = rows.iter().find(|row| row["state"] == "waiting").unwrap();
    let wait = left["due_at"].as_i64().unwrap() - left["created_at"].as_i64().unwrap();
    assert!(wait > 400_000, "{left:#}");
    assert_eq!(receiver.got().len(), 4);
}

#[test]
fn a_state_that_cannot_be_written_is_tried_less_and_less() {
    let rehearsal = with_broken_jobs(1);
    let receiver = Receiver::start(&rehearsal, always_ok);
    let sections = receiver.webhook("on-call", "") + DAEMON;
    rehearsal.configure(&sections, "", "ous = [\"root\"]");
    // The tables are made, and nothing of what is to be told can be changed, as on a disk that is full.
    listed_notifications(&rehearsal);
    rehearsal.in_state(
        "CREATE TRIGGER full BEFORE UPDATE ON notifications BEGIN SELECT RAISE(ABORT, 'disk full'); END",
    );
    let mut process = daemon(&rehearsal);
    let mut failures = |wanted: usize| {
        rehearsal.until("it fails again", || {
            process.check().unwrap();
            let said = process.stderr().unwrap();
            let failures = said.matches("could not be noted").count();
            (failures >= wanted).then_some(failures)
        })
    };
    failures(1);
    let begun = Instant::now();
    let seen = failures(3);
    // After 2 and 4 seconds.
    assert!(begun.elapsed() > Duration::from_secs(5), "{seen}");
    assert_eq!(seen, 3);
    assert_eq!(receiver.got().len(), 0);
    rehearsal.in_state("DROP TRIGGER full");
    rehearsal.until("it is told", || {
        (count_rows(&rehearsal, "sent") == 1).then_some(())
    });
    ends(process);
    assert_eq!(receiver.got().len(), 1);
}

#[test]
fn what_is_under_way_comes_to_its_end_when_a_daemon_ends() {
    let rehearsal = with_broken_jobs(2);
    let receiver = Receiver::start(&rehearsal, |_| Answer::Held);
    let sections = receiver.webhook("on-call", "") + DAEMON;
    rehearsal.configure(&sections, "", "ous = [\"root\"]");
    let mut process = daemon(&rehearsal);
    rehearsal.until("it is under way", || {
        process.check().unwrap();
        (receiver.got().len() == 1).then_some(())
    });
    process.signal(Signal::TERM).unwrap();
    rehearsal.until("the daemon ends", || {
        let said = process.stderr().unwrap();
        said.contains("what people are being told").then_some(())
    });
    receiver.release();
    assert_eq!(process.wait(LIMIT).unwrap(), 0);
    // The other one was due as well.
    let rows = listed_notifications(&rehearsal);
    assert!(
        rows.iter()
            .all(|row| row["state"] == "sent" && row["attempts"] == 1),
        "{rows:?}\n{}",
        process.stderr().unwrap()
    );
    assert_eq!(receiver.got().len(), 2);
}

#[test]
fn what_is_for_anothers_target_is_left_alone_until_it_is_too_old() {
    let rehearsal = failing("");
    let (theirs, ours) = (
        Receiver::start(&rehearsal, always_broken),
        Receiver::start(&rehearsal, always_ok),
    );
    rehearsal.configure(&theirs.webhook("theirs", ""), "", "ous = [\"root\"]");
    fails(&rehearsal);
    let tries = theirs.got().len();
    rehearsal.configure(&ours.webhook("ours", ""), "", "ous = [\"root\"]");
    let ended = job_fails(&rehearsal, "drift-audit");
    assert_eq!(ours.got().len(), 1, "{}", ended.stderr);
    let states = |rehearsal: &Rehearsal| -> BTreeMap<String, String> {
        let rows = listed_notifications(rehearsal);
        let rows = rows.iter();
        rows.map(|row| (text(&row["target"]), text(&row["state"])))
            .collect()
    };
    let wanted = |theirs: &str| -> BTreeMap<String, String> {
        let all = [("ours", "sent"), ("theirs", theirs)];
        all.map(|(target, state)| (target.to_owned(), state.to_owned()))
            .into()
    };
    assert_eq!(states(&rehearsal), wanted("waiting"));
    // Nobody has it any more, for longer than it is tried.
    rehearsal.configure("", "", "ous = [\"root\"]");
    rehearsal.in_state("UPDATE notifications SET give_up_at = 1");
    let pruned = rehearsal.run(&["runs", "prune"]);
    assert_eq!(pruned.code, 0, "{}", pruned.stderr);
    assert!(
        pruned.stderr.contains("it is given up"),
        "{}",
        pruned.stderr
    );
    assert_eq!(states(&rehearsal), wanted("given-up"));
    assert_eq!(theirs.got().len(), tries);
}

#[test]
fn while_a_secret_is_changed_both_sides_sign() {
    let rehearsal = failing("");
    let receiver = Receiver::start(&rehearsal, always_ok);
    let old = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    rehearsal.write("old-secret", old);
    let more = "previous_secret = { file = \"old-secret\" }";
    let target = receiver.by_file(&rehearsal, "on-call", more);
    rehearsal.configure(&target, "", "ous = [\"root\"]");
    let tried = rehearsal.run(&["notify", "test"]);
    assert_eq!(tried.code, 0, "{}{}", tried.stdout, tried.stderr);
    receiver.got()[0].assert_signed();
    receiver.got()[0].assert_signed_by(old);
    // When it is gone, the new one is enough.
    fs::remove_file(rehearsal.path("old-secret")).unwrap();
    let tried = rehearsal.run(&["notify", "test"]);
    assert_eq!(tried.code, 0, "{}{}", tried.stdout, tried.stderr);
    assert!(tried.stderr.contains("previous_secret"), "{}", tried.stderr);
    receiver.got()[1].assert_signed();
    assert!(!receiver.got()[1].header("webhook-signature").contains(' '));
}

#[test]
fn the_secrets_of_targets_are_taken_from_secrets_manager_and_systems_manager() {
    // The sandbox has neither service: these two are asked of moto.
    let Some(moto) = Moto::start().unwrap() else {
        return;
    };
    let rehearsal = failing("");
    let receiver = Receiver::start(&rehearsal, always_ok);
    let webhook = receiver.with_secret("on-call", "{ secrets_manager = \"spot/webhook\" }", "");
    let slack = "[[notify]]\nname = \"chat\"\nslack = { ssm_parameter = \"/spot/slack\" }\n";
    rehearsal.configure(&(webhook + slack), "", "ous = [\"root\"]");
    let elsewhere = moto.endpoint();
    let places = [
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", elsewhere.as_str()),
        ("AWS_ENDPOINT_URL_SSM", elsewhere.as_str()),
    ];
    let missing = rehearsal.run_with(&places, &["notify", "test"]);
    assert_eq!(missing.code, 1, "{}", missing.stderr);
    for place in ["spot/webhook", "/spot/slack"] {
        assert!(missing.stdout.contains(place), "{}", missing.stdout);
    }
    let put = |service, target, input: Value| {
        let wire = moto.wire();
        let put = wire.json(service, target, &input);
        rehearsal.runtime.block_on(put).unwrap();
    };
    put(
        "secretsmanager",
        "secretsmanager.CreateSecret",
        json!({ "Name": "spot/webhook", "SecretString": SECRET, "ClientRequestToken": "0".repeat(32) }),
    );
    put(
        "ssm",
        "AmazonSSM.PutParameter",
        json!({ "Name": "/spot/slack", "Value": receiver.url, "Type": "SecureString" }),
    );
    let sent = rehearsal.run_with(&places, &["-vv", "notify", "test"]);
    assert_eq!(sent.code, 0, "{}{}", sent.stdout, sent.stderr);
    assert!(!(sent.stdout + &sent.stderr).contains(SECRET));
    let got = receiver.got();
    assert_eq!(got.len(), 2);
    got[0].assert_signed();
    assert!(text(&got[1].document()["text"]).contains("A test of the target chat"));
}
