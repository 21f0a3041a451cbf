//! What people are told when `[[notify]]` or `keep_runs` is wrong, and what follows from it when it is right.

use std::collections::BTreeSet;

use onboarding_core::notify::Event;

use super::{Directory, errors_of, runner_toml};

#[test]
fn a_target_is_one_place_with_what_that_needs() {
    let webhook = "webhook = \"https://example.com\"";
    let secret = "secret = { env = \"A\" }";
    let topic = "sns = \"arn:aws:sns:us-east-1:123456789012:a\"";
    for (keys, wanted) in [
        ("", "must have one of `webhook`, `slack` and `sns`"),
        (
            &*format!("{webhook}\n{secret}\n{topic}"),
            "must have one of `webhook`, `slack` and `sns`",
        ),
        (webhook, "one of `webhook` and `secret` without the other"),
        (
            &*format!("{topic}\n{secret}"),
            "one of `webhook` and `secret` without the other",
        ),
        ("slack = { env = \"\" }", "a source without a name"),
        (
            &*format!("{topic}\ngive_up_after = \"0s\""),
            "nothing would be tried again",
        ),
        (
            &*format!("{topic}\nprevious_secret = {{ env = \"A\" }}"),
            "a `previous_secret` without a `secret`",
        ),
        (
            &*topic.replace(":a\"", ":a.fifo\""),
            "is not the ARN of an SNS topic",
        ),
        (&*format!("{topic}\nevents = []"), "must not be empty"),
        (
            &*format!("{topic}\nevents = [\"run-faild\"]"),
            "did you mean \"run-failed\"",
        ),
        (
            &*format!("{topic}\n[notify.templates]\nrun-failed = \"{{jobb}}\""),
            "{jobb} is no placeholder of run-failed",
        ),
        (
            &*format!("{topic}\n[notify.templates]\nrun-faild = \"x\""),
            "did you mean `run-failed`",
        ),
        (
            &*format!("{topic}\n[[notify]]\nname = \"x\"\n{topic}"),
            "two targets",
        ),
    ] {
        let errors = errors_of(&format!("[[notify]]\nname = \"x\"\n{keys}"), "");
        assert!(errors.contains(wanted), "{keys}:\n{errors}");
    }
    let errors = errors_of("[state]\nkeep_runs = \"23h\"", "");
    assert!(errors.contains("keep a day at least"), "{errors}");
}

#[test]
fn a_target_is_told_what_it_chooses_in_its_words() {
    let target = "[[notify]]\nname = \"x\"\nslack = { env = \"A\" }\njobs = [\"sync\", \"synk\"]\nquiet = \"5m\"\n\
                  [notify.templates]\nruns-died = \"{job}!\"";
    let directory = Directory::new(&runner_toml(target, ""));
    let directory = directory.with_job("sync", "kind = \"stackset-sync\"\n");
    let loaded = directory.load(&[]).unwrap();
    let routes = loaded.runner.routes();
    assert_eq!(routes[0].events, BTreeSet::from(Event::ALL));
    assert_eq!(routes[0].quiet, 300_000);
    assert_eq!(routes[0].give_up_after, 86_400_000);
    let target = &loaded.runner.notify[0];
    for event in Event::ALL {
        let is_own = event == Event::RunsDied;
        let given = target.templates.of(event);
        assert_eq!(given, is_own.then_some("{job}!"));
        target.template(event).unwrap();
    }
    let unknown = loaded.unknown_notified_jobs();
    assert_eq!(unknown.len(), 1, "{unknown:?}");
    assert!(unknown[0].contains("\"synk\"") && unknown[0].contains("did you mean \"sync\""));
}
