//! What is told of a run that ended, and who is told.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail tests")]

use std::collections::BTreeSet;

use onboarding_core::{
    notify::{Event, Held, Notice, Route, RunEnded, StepFailure, notices, route},
    plan::{AccountRow, Finding, Refusal, Severity, Summary},
    status::{Reason, Standing},
};

fn ended() -> RunEnded<'static> {
    RunEnded {
        run: "0192",
        job: "sync",
        kind: "stackset-sync",
        status: "done",
        is_failed: false,
        at: 1_000,
        summary: Summary::default(),
        error: None,
        failures: Vec::new(),
        accounts: &[],
        refusals: &[],
        refused_now: &[],
        findings: &[],
        known: Some(BTreeSet::new()),
        held: None,
    }
}

fn failed() -> RunEnded<'static> {
    RunEnded {
        status: "failed",
        is_failed: true,
        ..ended()
    }
}

fn events(notices: &[Notice]) -> Vec<Event> {
    notices.iter().map(|notice| notice.event).collect()
}

fn account(number: u64) -> AccountRow {
    AccountRow {
        account: format!("{number:012}").parse().unwrap(),
        name: "one".into(),
        ou_path: "Root".into(),
        profile: "default".into(),
        targeted: true,
        standing: Standing::Failed,
        reason: Reason::PolicyOutdated,
        detail: None,
        spot_account: None,
        policy_version: None,
        live_role: None,
    }
}

fn finding(id: &str, severity: Severity) -> Finding {
    Finding {
        id: id.to_owned(),
        severity,
        reason: id.split(':').next().unwrap().to_owned(),
        message: format!("look at {id}"),
        ..Finding::default()
    }
}

fn refusal(guard: &str) -> Refusal {
    Refusal {
        guard: guard.to_owned(),
        message: format!("{guard} says no"),
        whole_plan: true,
    }
}

/// A target that wants everything.
fn all(target: &str) -> Route {
    Route {
        target: target.to_owned(),
        events: Event::ALL.into(),
        jobs: BTreeSet::new(),
        severity: Severity::Warning,
        quiet: 1,
        give_up_after: 2,
    }
}

#[test]
fn a_run_in_order_tells_nothing() {
    assert_eq!(notices(&ended()), []);
}

#[test]
fn a_run_that_failed_tells_why_and_what_shows_more() {
    let told = notices(&RunEnded {
        error: Some("AWS cannot be reached"),
        ..failed()
    });
    assert_eq!(events(&told), [Event::RunFailed]);
    assert_eq!(told[0].what, "AWS cannot be reached");
    assert_eq!(told[0].command, "runner runs show 0192");
    assert_eq!(told[0].run.as_deref(), Some("0192"));
}

#[test]
fn accounts_that_fail_likewise_are_one_cause_whoever_they_are() {
    let rows = [
        account(1),
        account(2),
        account(3),
        account(4),
        account(5),
        account(6),
    ];
    let of = |accounts| {
        let failures = vec![StepFailure {
            action: "create-stack-instances",
            class: "failed",
            note: "2 accounts failed",
        }];
        notices(&RunEnded {
            accounts,
            failures,
            ..failed()
        })
        .remove(0)
    };
    let (many, few) = (of(&rows[..]), of(&rows[..1]));
    assert_eq!(many.cause, few.cause);
    assert!(
        many.what.contains("6 accounts failed") && many.what.contains("and 1 more"),
        "{}",
        many.what
    );
    assert!(
        many.what
            .contains("create-stack-instances (failed): 2 accounts failed"),
        "{}",
        many.what
    );
    let none = notices(&failed()).remove(0);
    assert!(none.what.contains("left something to do"), "{}", none.what);
    assert_ne!(none.cause, few.cause);
}

#[test]
fn what_guard_rails_refuse_is_told_unless_somebody_meant_it() {
    for (guards, is_told) in [
        (&["shrink-guard"][..], true),
        (&["freeze"], false),
        (&["one-run-per-job"], false),
        (&["freeze", "shrink-guard"], true),
    ] {
        let refusals: Vec<Refusal> = guards.iter().map(|guard| refusal(guard)).collect();
        let told = notices(&RunEnded {
            status: "refused",
            refusals: &refusals,
            ..failed()
        });
        assert_eq!(!told.is_empty(), is_told, "{guards:?}");
    }
}

#[test]
fn a_plan_that_waits_is_the_same_until_there_is_another() {
    let of = |run, plan| {
        let held = Held {
            run: plan,
            until: "tomorrow",
            steps: 3,
        };
        notices(&RunEnded {
            run,
            held: Some(held),
            ..ended()
        })
        .remove(0)
    };
    let first = of("a", "a");
    assert_eq!(first.event, Event::ApprovalNeeded);
    assert!(first.command.contains("runner runs approve a"));
    assert_eq!(first.cause, of("b", "a").cause);
    assert_ne!(first.cause, of("c", "c").cause);
}

#[test]
fn only_findings_that_the_run_before_did_not_have_are_new() {
    let findings = [
        finding("old:1", Severity::Error),
        finding("new:1", Severity::Warning),
        finding("new:2", Severity::Error),
        finding("new:3", Severity::Info),
    ];
    let known = BTreeSet::from(["old:1".to_owned()]);
    let of = |known| {
        notices(&RunEnded {
            findings: &findings,
            known,
            ..ended()
        })
    };
    let told = of(Some(known));
    assert_eq!(events(&told), [Event::NewFindings]);
    let ids = |notice: &Notice| -> Vec<String> {
        notice.findings.iter().map(|one| one.id.clone()).collect()
    };
    assert_eq!(ids(&told[0]), ["new:2", "new:1", "new:3"]);
    // A run that has not looked at everything cannot say what is new.
    assert_eq!(of(None), []);
    // Each target has its own threshold.
    for (severity, wanted) in [
        (Severity::Info, &["new:2", "new:1", "new:3"][..]),
        (Severity::Warning, &["new:2", "new:1"]),
        (Severity::Error, &["new:2"]),
    ] {
        let target = Route {
            severity,
            ..all("ops")
        };
        let routed = route(&[target], &told);
        assert_eq!(ids(&routed[0].notice), wanted);
        assert_eq!(routed[0].notice.what.lines().count(), wanted.len());
    }
    let many: Vec<Finding> = (0..13)
        .map(|number| Finding {
            message: "é".repeat(300),
            ..finding(&format!("new:{number}"), Severity::Error)
        })
        .collect();
    let told_many = notices(&RunEnded {
        findings: &many,
        ..ended()
    });
    let words = route(&[all("ops")], &told_many).remove(0).notice.what;
    assert_eq!(words.lines().count(), 11);
    assert!(words.ends_with("- and 3 more"), "{words}");
    assert!(words.lines().all(|line| line.chars().count() < 300));
    let known_errors = of(Some(["old:1", "new:2"].map(str::to_owned).into()));
    let errors = Route {
        severity: Severity::Error,
        ..all("ops")
    };
    assert_eq!(route(&[errors], &known_errors), []);
}

#[test]
fn a_halted_rollout_is_told_once_to_each_target() {
    let halted = [refusal("rollout-halted")];
    let by_this_run = notices(&RunEnded {
        refused_now: &halted,
        ..failed()
    });
    let before = notices(&RunEnded {
        status: "refused",
        refusals: &halted,
        refused_now: &halted,
        ..failed()
    });
    assert_eq!(by_this_run[0].cause, before[0].cause);
    for told in [by_this_run, before] {
        let of = |target: Route| -> Vec<Event> {
            let routed = route(&[target], &told);
            routed.iter().map(|one| one.notice.event).collect()
        };
        assert_eq!(of(all("all")), [Event::RolloutHalted]);
        let without = Route {
            events: [Event::RunFailed, Event::NewFindings].into(),
            ..all("without")
        };
        assert_eq!(of(without), [Event::RunFailed]);
    }
}

#[test]
fn a_target_is_told_of_its_jobs_only() {
    let told = notices(&RunEnded {
        error: Some("no"),
        ..failed()
    });
    let mut other = all("other");
    other.jobs.insert("audit".to_owned());
    let mut this = all("this");
    this.jobs.insert("sync".to_owned());
    let routed = route(&[other, this, all("all")], &told);
    let targets: Vec<&str> = routed.iter().map(|one| &*one.target).collect();
    assert_eq!(targets, ["this", "all"]);
}

#[test]
fn what_is_about_no_job_in_particular_is_told_to_those_of_any() {
    let notice = Notice::new(Event::DefinitionBroken, "", 0, "line 3".to_owned(), "");
    let mut this = all("this");
    this.jobs.insert("sync".to_owned());
    let routed = route(&[this], &[notice]);
    assert_eq!(routed.len(), 1);
    assert_eq!((routed[0].quiet, routed[0].give_up_after), (1, 2));
}

#[test]
fn of_many_findings_the_worst_are_kept_and_all_of_them_are_the_cause() {
    let many = |number: usize| -> Vec<Finding> {
        let of = |number| finding(&format!("new:{number:03}"), Severity::Warning);
        let mut many: Vec<Finding> = (0..number).map(of).collect();
        many.push(finding("worst", Severity::Error));
        many
    };
    let told = |findings: &[Finding]| {
        let told = notices(&RunEnded {
            findings,
            ..ended()
        });
        route(&[all("ops")], &told).remove(0).notice
    };
    let (some, more) = (told(&many(60)), told(&many(61)));
    assert_eq!((some.findings.len(), some.findings_left_off), (50, 11));
    assert_eq!(some.findings[0].id, "worst");
    assert!(some.what.ends_with("- and 51 more"), "{}", some.what);
    assert_eq!(more.findings_left_off, 12);
    assert_ne!(some.cause, more.cause);
    assert_eq!(told(&many(3)).findings_left_off, 0);
}
