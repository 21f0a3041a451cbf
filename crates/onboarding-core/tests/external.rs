//! What becomes of a plugin's answer: the plan of one that is in order, what is refused of one that lies, and what guard rails
//! take out.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::{
    desired::RemovalLimits,
    external::{Answer, AnswerError, Guards, Offer, SameStep, Totals, plan},
    ids::AwsAccountId,
    plan::{
        AccountRow, Estimate, Finding, Plan, Risk, Severity, Step, Summary,
        consent::{consented, limit},
    },
    status::{Reason, Standing},
};
use serde_json::json;

const KIND: &str = "account-register";

fn account(number: u64) -> AwsAccountId {
    AwsAccountId::from_number(number).unwrap()
}

fn row(number: u64) -> AccountRow {
    AccountRow {
        account: account(number),
        name: format!("account-{number}").into(),
        ou_path: "Root/Workloads".into(),
        profile: "default".into(),
        targeted: true,
        standing: Standing::Ok,
        reason: Reason::Enrolled,
        detail: None,
        spot_account: None,
        policy_version: None,
        live_role: None,
    }
}

fn step(id: &str, accounts: &[u64]) -> Step {
    Step {
        id: id.to_owned(),
        kind: KIND.to_owned(),
        action: "write-file".to_owned(),
        accounts: accounts.iter().copied().map(account).collect(),
        reason: "there is no file".to_owned(),
        risk: Risk::Low,
        order: 0,
        preconditions: Vec::new(),
        changes: Vec::new(),
        estimate: Estimate::default(),
        payload: json!({}),
    }
}

fn removal(id: &str, accounts: &[u64]) -> Step {
    Step {
        action: "remove-file".to_owned(),
        risk: Risk::High,
        ..step(id, accounts)
    }
}

fn finding(id: &str, number: u64) -> Finding {
    Finding {
        id: id.to_owned(),
        severity: Severity::Warning,
        account: Some(account(number)),
        reason: "tag-missing".to_owned(),
        message: "it has no owner".to_owned(),
        ..Finding::default()
    }
}

/// A plugin that was given four accounts.
struct Given {
    rows: Vec<AccountRow>,
    actions: BTreeSet<String>,
    protected: BTreeSet<AwsAccountId>,
    removal: RemovalLimits,
    applies_removals: bool,
    previous: Option<usize>,
    failed: BTreeMap<String, String>,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            rows: (1..=4).map(row).collect(),
            actions: ["write-file", "remove-file"].map(str::to_owned).into(),
            protected: BTreeSet::new(),
            removal: RemovalLimits {
                closed_grace_seconds: 0,
                max_removals: 2,
                max_shrink: 0.1,
            },
            applies_removals: true,
            previous: Some(4),
            failed: BTreeMap::new(),
        }
    }
}

impl Given {
    fn plan(&self, answer: Answer) -> Result<Plan, AnswerError> {
        let offer = Offer {
            kind: KIND,
            actions: &self.actions,
            accounts: &self.rows,
            guards: Guards {
                protected: &self.protected,
                removal: &self.removal,
                applies_removals: self.applies_removals,
                previous_account_count: self.previous,
                account_count: 4,
            },
            failed: &self.failed,
        };
        let planned = plan(&offer, answer);
        if let Ok(plan) = &planned {
            assert_eq!(plan.accounts.len(), self.rows.len());
            assert!(Summary::of(&plan.accounts, &plan.accounts, true).adds_up());
        }
        planned
    }

    fn steps(&self, steps: Vec<Step>) -> Result<Plan, AnswerError> {
        self.plan(answer(steps, Vec::new(), Vec::new()))
    }
}

/// An answer that counts right.
fn answer(steps: Vec<Step>, findings: Vec<Finding>, skips: Vec<(u64, &str)>) -> Answer {
    let due: BTreeSet<_> = steps.iter().flat_map(|step| &step.accounts).collect();
    let known = due
        .iter()
        .filter(|id| (1..=4).map(account).any(|one| one == ***id));
    let due = known.count();
    let skipped: BTreeSet<_> = skips.iter().map(|(account, _)| account).collect();
    let totals = Totals {
        accounts: 4,
        settled: 4_usize.saturating_sub(due + skipped.len()),
        due,
        skipped: skipped.len(),
        steps: steps.len(),
        findings: findings.len(),
    };
    let skips = skips.into_iter();
    Answer {
        steps,
        findings,
        skips: skips
            .map(|(number, why)| (account(number), why.to_owned()))
            .collect(),
        totals,
    }
}

fn standings(plan: &Plan) -> Vec<(Standing, Reason)> {
    plan.accounts
        .iter()
        .map(|row| (row.standing, row.reason))
        .collect()
}

#[test]
fn each_account_is_worked_on_left_out_or_settled() {
    let steps = vec![step("write:1", &[1]), step("write:2", &[2])];
    let said = answer(steps, vec![finding("tag:3", 3)], vec![(4, "it is new")]);
    let plan = Given::default().plan(said).unwrap();
    assert_eq!(
        standings(&plan),
        [
            (Standing::Due, Reason::StepDue),
            (Standing::Due, Reason::StepDue),
            (Standing::Ok, Reason::Settled),
            (Standing::Skipped, Reason::PluginSkipped),
        ]
    );
    assert_eq!(plan.accounts[3].detail.as_deref(), Some("it is new"));
    assert_eq!(plan.findings[0].account_name.as_deref(), Some("account-3"));
    assert_eq!(plan.findings[0].ou_path.as_deref(), Some("Root/Workloads"));
    assert!(plan.refusals.is_empty());
}

/// Each lie, and what says it by name.
#[test]
fn an_answer_that_cannot_be_true_is_refused_by_name() {
    let with = |change: fn(&mut Step)| {
        let mut one = step("write:1", &[1]);
        change(&mut one);
        answer(vec![one], Vec::new(), Vec::new())
    };
    let counting = |change: fn(&mut Totals)| {
        let mut said = answer(vec![step("write:1", &[1])], Vec::new(), Vec::new());
        change(&mut said.totals);
        said
    };
    let told = |change: fn(&mut Finding)| {
        let mut one = finding("tag:3", 3);
        change(&mut one);
        answer(Vec::new(), vec![one], Vec::new())
    };
    let twice = || vec![step("write:1", &[1]), step("write:1", &[2])];
    let cases = [
        (
            answer(twice(), vec![], vec![]),
            "two steps with the id \"write:1\"",
        ),
        (
            with(|step| step.accounts = vec![account(9)]),
            "000000000009, which it was not given",
        ),
        (
            with(|step| step.accounts = vec![account(1), account(1)]),
            "000000000001 twice",
        ),
        (
            with(|step| step.kind = "orphan-cleanup".to_owned()),
            "of the kind \"orphan-cleanup\"",
        ),
        (
            with(|step| step.action = "delete-all".to_owned()),
            "does \"delete-all\"",
        ),
        (with(|step| step.id = String::new()), "the id of a step"),
        (
            with(|step| step.id = "write file".to_owned()),
            "the id of a step",
        ),
        (with(|step| step.id = "x".repeat(201)), "the id of a step"),
        (
            with(|step| step.reason = " ".to_owned()),
            "the reason of step write:1 is empty",
        ),
        (
            with(|step| step.reason = "\u{1b}[2Jfine".to_owned()),
            "\\u{1b}",
        ),
        (
            with(|step| step.reason = "x".repeat(1001)),
            "more than 1000 characters",
        ),
        (
            with(|step| step.changes = vec!["a\u{202e}b".to_owned()]),
            "\\u{202e}",
        ),
        (
            with(|step| step.preconditions = vec!["step:write:2".to_owned()]),
            "\"write:2\", which is not planned",
        ),
        (
            with(|step| step.preconditions = vec!["step:write:1".to_owned()]),
            "does not come before it",
        ),
        (
            answer(vec![step("write:1", &[1])], vec![], vec![(1, "no")]),
            "is left out, and step write:1",
        ),
        (
            answer(vec![], vec![], vec![(1, "no"), (1, "never")]),
            "left out twice",
        ),
        (
            answer(vec![], vec![], vec![(9, "no")]),
            "which it was not given",
        ),
        (
            answer(vec![], vec![finding("a", 1), finding("a", 2)], vec![]),
            "two findings with the id \"a\"",
        ),
        (
            told(|finding| finding.account = Some(account(9))),
            "finding tag:3 is about account 000000000009",
        ),
        (
            told(|finding| finding.reason = "Tag Missing".to_owned()),
            "lower-case letters",
        ),
        (
            told(|finding| finding.fix = Some("a\nb".to_owned())),
            "the fix of finding tag:3",
        ),
        (
            counting(|totals| totals.accounts = 5),
            "counts 5 accounts, and what it said has 4",
        ),
        (
            counting(|totals| totals.settled = 4),
            "counts 4 settled, and what it said has 3",
        ),
        (
            counting(|totals| totals.due = 0),
            "counts 0 due, and what it said has 1",
        ),
        (
            counting(|totals| totals.skipped = 1),
            "counts 1 skipped, and what it said has 0",
        ),
        (
            counting(|totals| totals.steps = 2),
            "counts 2 steps, and what it said has 1",
        ),
        (
            counting(|totals| totals.findings = 1),
            "counts 1 findings, and what it said has 0",
        ),
    ];
    for (said, words) in cases {
        let error = Given::default().plan(said.clone()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}\n{words}\n{said:?}");
    }
}

#[test]
fn nothing_is_done_in_a_protected_account_nor_what_builds_on_that() {
    let given = Given {
        protected: [account(2)].into(),
        ..Given::default()
    };
    let builds = Step {
        order: 1,
        preconditions: vec!["step:write:2".to_owned()],
        ..step("link:2", &[3])
    };
    let steps = vec![builds, step("write:2", &[2]), step("write:1", &[1])];
    let plan = given.steps(steps).unwrap();
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["write:1"]);
    assert_eq!(
        plan.withheld,
        ["link:2", "write:2"].map(str::to_owned).into()
    );
    assert_eq!(plan.refusals[0].guard, "protected-accounts");
    assert!(!plan.refusals[0].whole_plan);
    for id in ["write:2", "link:2"] {
        assert!(plan.refusals[0].message.contains(id), "{:?}", plan.refusals);
    }
    assert_eq!(
        standings(&plan)[..3],
        [
            (Standing::Due, Reason::StepDue),
            (Standing::Skipped, Reason::Protected),
            (Standing::Skipped, Reason::Protected),
        ]
    );
}

#[test]
fn nothing_is_removed_unless_the_job_says_so_and_every_limit_is_kept() {
    let three = || {
        vec![
            step("write:4", &[4]),
            removal("r:1", &[1]),
            removal("r:2", &[2]),
            removal("r:3", &[]),
        ]
    };
    let two = || three().into_iter().take(3).collect::<Vec<_>>();
    // It is accounts that count, and not the steps that they are put into.
    let many = || vec![step("write:4", &[4]), removal("r:123", &[1, 2, 3])];
    let cases = [
        (
            Given {
                applies_removals: false,
                ..Given::default()
            },
            two(),
            Some("removals-off"),
        ),
        (
            Given {
                previous: Some(5),
                ..Given::default()
            },
            two(),
            Some("shrink-guard"),
        ),
        (
            Given {
                previous: None,
                ..Given::default()
            },
            two(),
            Some("shrink-guard"),
        ),
        (Given::default(), three(), Some("max-removals")),
        (Given::default(), many(), Some("max-removals")),
        (Given::default(), two(), None),
        // Protected accounts do not count: nothing is removed there anyway.
        (
            Given {
                protected: [account(1)].into(),
                ..Given::default()
            },
            three(),
            Some("protected-accounts"),
        ),
    ];
    for (given, steps, guard) in cases {
        let plan = given.steps(steps).unwrap();
        let guards: Vec<&str> = plan.refusals.iter().map(|one| one.guard.as_str()).collect();
        assert_eq!(guards, Vec::from_iter(guard), "{:?}", plan.refusals);
        let removes = plan
            .steps
            .iter()
            .filter(|step| step.risk == Risk::High)
            .count();
        match guard {
            None | Some("protected-accounts") => assert_eq!(removes, 2),
            Some(_) => assert_eq!(removes, 0),
        }
        let said = plan.refusals.iter().find(|one| one.guard == "max-removals");
        if let Some(said) = said {
            assert!(said.message.contains(": 3 accounts"), "{said:?}");
        }
        assert_eq!(plan.withheld.is_empty(), guard.is_none());
        // What removes nothing goes on.
        assert!(plan.steps.iter().any(|step| step.id == "write:4"));
    }
}

#[test]
fn an_account_whose_step_failed_in_this_run_is_failed_and_says_why() {
    let given = Given {
        failed: BTreeMap::from([("write:1".to_owned(), "disk full".to_owned())]),
        ..Given::default()
    };
    let plan = given
        .steps(vec![step("write:1", &[1]), step("write:2", &[2])])
        .unwrap();
    assert_eq!(
        standings(&plan)[..2],
        [
            (Standing::Failed, Reason::StepFailed),
            (Standing::Due, Reason::StepDue),
        ]
    );
    assert_eq!(plan.accounts[0].detail.as_deref(), Some("disk full"));
}

/// What was approved is this step, and no other thing under its id.
#[test]
fn what_was_approved_is_not_replaced_by_something_else_under_its_id() {
    let given = Given::default();
    let approved = consented(&given.steps(vec![step("write:1", &[1])]).unwrap());
    let changes: [fn(&mut Step); 5] = [
        |_| (),
        |step| step.accounts = vec![account(2)],
        |step| step.payload = json!({ "more": true }),
        |step| step.action = "remove-file".to_owned(),
        |step| step.risk = Risk::High,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut now = step("write:1", &[1]);
        change(&mut now);
        let mut plan = given.steps(vec![now]).unwrap();
        let moved = limit(&mut plan, &approved, &SameStep);
        let is_same = index == 0;
        assert_eq!(plan.steps.len(), usize::from(is_same), "change {index}");
        assert_eq!(moved.is_empty(), is_same, "change {index}");
    }
}
