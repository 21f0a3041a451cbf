//! What people are told when `[events]` or `wake_on` is wrong, and which events wake a job.

use std::collections::BTreeSet;

use onboarding_core::{events::EventKind, iam_policy};

use super::{Directory, JobKind, errors_of, runner_toml};
use crate::config::{HomePlace, WakeUpQueue};

#[test]
fn what_cannot_work_is_said() {
    for (keys, wanted) in [
        ("quiet = \"10m\"", "shorter than `events.quiet`"),
        ("max_delay = \"2h\"", "looked at too late"),
        (
            "queue_url = \"spot-onboarding\"",
            "is not the URL of a queue",
        ),
        ("quite = \"1s\"", "did you mean `quiet`"),
    ] {
        let errors = errors_of(&format!("[events]\n{keys}\n"), "");
        assert!(errors.contains(wanted), "{keys}: {errors}");
    }
    let job = "kind = \"enroll\"\nwake_on = [\"account-joind\"]\n";
    let loaded = Directory::new(&runner_toml("", ""))
        .with_job("enroll", job)
        .load(&[])
        .unwrap();
    let errors = loaded.broken_jobs[0].errors.to_string();
    assert!(
        errors.contains("did you mean \"account-joined\""),
        "{errors}"
    );
}

#[test]
fn a_job_is_woken_by_what_its_file_or_its_kind_says() {
    let every: BTreeSet<EventKind> = EventKind::ALL.into();
    let none = BTreeSet::new();
    let moves: BTreeSet<EventKind> = [EventKind::AccountMoved].into();
    for (kind, line, expected) in [
        (JobKind::StacksetSync, "", &every),
        (JobKind::Enroll, "", &every),
        (JobKind::DriftAudit, "", &none),
        (JobKind::OrphanCleanup, "", &none),
        (JobKind::Enroll, "wake_on = []", &none),
        (JobKind::DriftAudit, "wake_on = [\"account-moved\"]", &moves),
    ] {
        let job = format!("kind = \"{kind}\"\n{line}\n");
        let directory = Directory::new(&runner_toml("", "")).with_job("job", &job);
        let loaded = directory.load(&[]).unwrap();
        assert_eq!(&loaded.jobs[0].wake_on, expected, "{job}");
    }
}

#[test]
fn the_queue_is_that_of_the_topic_or_the_one_that_is_named() {
    let named = "[events]\nqueue_url = \"https://sqs.us-east-1.amazonaws.com/111122223333/mine\"\n";
    let topic = "[enrollment]\ntopic_arn = \"arn:aws:sns:us-east-1:123456789012:spot\"\n";
    let direct = "[enrollment]\nprovider = \"direct\"\n";
    let resource = |account: &str, name: &str| {
        let arn = format!("arn:aws:sqs:us-east-1:{account}:{name}");
        Some(arn)
    };
    for (sections, is_named, resource) in [
        (
            "",
            Some(true),
            resource("123456789012", "spot-onboarding-wake-up"),
        ),
        (topic, Some(true), resource("123456789012", "spot-wake-up")),
        (named, Some(false), resource("111122223333", "mine")),
        (direct, None, None),
        ("[events]\nenabled = false\n", None, None),
    ] {
        let loaded = Directory::new(&runner_toml(sections, ""))
            .load(&[])
            .unwrap();
        let queue = loaded.runner.wake_up_queue();
        let has = queue.map(|queue| matches!(queue, WakeUpQueue::Named(_)));
        assert_eq!(has, is_named, "{sections}");
        // The runner may use that one, and no other.
        let place = HomePlace {
            account: "123456789012".parse().unwrap(),
            management_account: None,
            organization: None,
        };
        let policy = loaded.runner_policy(&place).unwrap().to_value().to_string();
        let wake_up = iam_policy::Scope::WakeUpQueue.sid();
        assert_eq!(policy.contains(wake_up), resource.is_some(), "{sections}");
        assert!(
            resource.is_none_or(|arn| policy.contains(&format!("{arn}\""))),
            "{sections}"
        );
    }
}
