//! How steps of a job are tried again, and how many of them go side by side.

use std::time::Duration;

use super::{Directory, runner_toml};
use crate::config::{ConfigErrors, JobFile, Loaded};

fn directory(job: &str) -> Directory {
    let job = format!("kind = \"stackset-sync\"\n{job}");
    Directory::new(&runner_toml("", "")).with_job("sync", &job)
}

fn job_of(loaded: &Loaded) -> Result<JobFile, ConfigErrors> {
    loaded.job("sync")
}

/// What is wrong with the job.
fn wrong(job: &str) -> String {
    let directory = directory(job);
    let loaded = directory.load(&[]).unwrap();
    directory.shorten(&job_of(&loaded).unwrap_err())
}

#[test]
fn steps_of_one_action_are_tried_again_as_they_say_and_else_as_their_job() {
    let directory = directory(
        "concurrency = 3\n[retry]\nattempts = 7\nmax = \"40s\"\n\
         [retry.steps.create-stack-instances]\nattempts = 2\ninitial = \"2s\"\n",
    );
    let job = job_of(&directory.load(&[]).unwrap()).unwrap();
    assert_eq!(job.concurrency, Some(3));
    let [(action, step)] = &Vec::from_iter(&job.retry.steps)[..] else {
        panic!("{:?}", job.retry)
    };
    assert_eq!(*action, "create-stack-instances");
    let retry = job.retry.of(step);
    let (initial, max) = (retry.initial.get(), retry.max.get());
    assert_eq!(
        (retry.attempts, initial, max),
        (2, Duration::from_secs(2), Duration::from_secs(40))
    );
    assert_eq!(job.retry.attempts, 7);
    // One option of the command line, too.
    let set = "retry.steps.delete-stacks.attempts=1";
    let set = job_of(&directory.load(&[set]).unwrap()).unwrap();
    assert_eq!(set.retry.steps["delete-stacks"].attempts, Some(1));
}

#[test]
fn what_the_kind_does_not_do_is_no_step() {
    let wrong = wrong("[retry.steps.create-stack-instance]\nattempts = 2\n");
    for words in [
        "config/jobs/sync.toml:2",
        "unknown key `create-stack-instance` in [retry.steps]",
        "did you mean `create-stack-instances`?",
    ] {
        assert!(wrong.contains(words), "{words}: {wrong}");
    }
}

#[test]
fn waits_attempts_and_steps_side_by_side_have_their_bounds() {
    let longer = wrong("[retry.steps.delete-stacks]\ninitial = \"1m\"\n");
    let words = "`retry.steps.delete-stacks.initial` is 1m, longer than `retry.steps.delete-stacks.max`, which is 30s";
    assert!(longer.contains(words), "{longer}");
    let none = wrong("[retry.steps.delete-stacks]\nattempts = 0\n");
    assert!(
        none.contains("`retry.steps.delete-stacks.attempts`"),
        "{none}"
    );
    for concurrency in [0, 65] {
        let wrong = wrong(&format!("concurrency = {concurrency}\n"));
        assert!(wrong.contains("`concurrency`"), "{wrong}");
    }
}
