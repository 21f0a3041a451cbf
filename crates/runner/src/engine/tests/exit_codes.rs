//! The table of exit codes and their precedence.

use std::{collections::BTreeMap, time::Duration};

use onboarding_core::{
    ids::AwsAccountId,
    plan::{AccountRow, Finding, Plan, Refusal, Severity},
    status::{Reason, Standing},
};

use crate::engine::{
    ErrorClass, JobError, RunId, RunReport, RunStatus, StepOutcome, StepRecord, exit_code,
};

fn nothing_wrong() -> RunReport {
    RunReport {
        run_id: RunId::new(),
        job: "job".to_owned(),
        kind: "test".to_owned(),
        dry_run: false,
        plan_before: Some(Plan::default()),
        moved: Vec::new(),
        held: None,
        plan_after: None,
        steps: Vec::new(),
        error: None,
        engine_refusals: Vec::new(),
        interrupted: false,
        left_behind: Vec::new(),
        api_calls: BTreeMap::new(),
        duration: Duration::ZERO,
        trace_id: None,
    }
}

fn found(report: &mut RunReport, severity: Severity) {
    let plan = report.plan_before.get_or_insert_default();
    plan.findings.push(Finding {
        id: "linked-to-several:1".to_owned(),
        severity,
        account: None,
        account_name: None,
        ou_path: None,
        reason: "linked-to-several".to_owned(),
        message: "look".to_owned(),
        ..Finding::default()
    });
}

fn step(report: &mut RunReport, outcome: StepOutcome, error: Option<ErrorClass>) {
    report.steps.push(StepRecord {
        id: "step".to_owned(),
        action: "act".to_owned(),
        accounts: 1,
        outcome,
        note: None,
        error,
        attempts: 1,
        duration_ms: 1,
    });
}

fn refused(report: &mut RunReport) {
    let plan = report.plan_before.get_or_insert_default();
    plan.refusals.push(Refusal {
        guard: "shrink-guard".to_owned(),
        message: "fewer accounts".to_owned(),
        whole_plan: false,
    });
}

fn waits(report: &mut RunReport, reasons: &[Reason]) {
    let plan = report.plan_before.get_or_insert_default();
    plan.waits = Some("a wave soaks".to_owned());
    let rows = reasons.iter().zip(1..).map(|(reason, number)| AccountRow {
        account: AwsAccountId::from_number(number).unwrap(),
        name: "".into(),
        ou_path: "".into(),
        profile: "default".into(),
        targeted: true,
        reason: *reason,
        standing: Standing::Pending,
        detail: None,
        spot_account: None,
        policy_version: None,
        live_role: None,
    });
    plan.accounts.extend(rows);
}

fn failed(report: &mut RunReport, class: ErrorClass) {
    report.error = Some(JobError::new(class, "failed"));
}

#[test]
fn each_situation_has_its_code_and_precedence_is_130_2_5_4_1_3() {
    type Situation = (&'static str, u8, RunStatus, fn(&mut RunReport));
    let table: [Situation; 20] = [
        ("nothing wrong", 0, RunStatus::Done, |_| {}),
        ("worth knowing", 0, RunStatus::Done, |r| {
            found(r, Severity::Info)
        }),
        ("findings", 3, RunStatus::Done, |r| {
            found(r, Severity::Warning)
        }),
        ("step changed", 0, RunStatus::Done, |r| {
            step(r, StepOutcome::Changed, None)
        }),
        ("step failed", 1, RunStatus::Failed, |r| {
            found(r, Severity::Error);
            step(r, StepOutcome::Failed, Some(ErrorClass::Denied));
        }),
        ("step pending", 1, RunStatus::Failed, |r| {
            step(r, StepOutcome::Pending, None)
        }),
        ("step skipped", 1, RunStatus::Failed, |r| {
            step(r, StepOutcome::Skipped, None)
        }),
        ("run failed", 1, RunStatus::Failed, |r| {
            failed(r, ErrorClass::Transient)
        }),
        ("refused and failed", 4, RunStatus::Refused, |r| {
            refused(r);
            step(r, StepOutcome::Failed, Some(ErrorClass::Failed));
        }),
        ("prerequisite of a step", 5, RunStatus::Failed, |r| {
            step(r, StepOutcome::Failed, Some(ErrorClass::Prerequisite));
        }),
        ("prerequisite before refusal", 5, RunStatus::Failed, |r| {
            refused(r);
            failed(r, ErrorClass::Prerequisite);
        }),
        ("denied", 5, RunStatus::Failed, |r| {
            failed(r, ErrorClass::Denied)
        }),
        (
            "configuration before prerequisite",
            2,
            RunStatus::Failed,
            |r| {
                step(r, StepOutcome::Failed, Some(ErrorClass::Prerequisite));
                failed(r, ErrorClass::Invalid);
            },
        ),
        ("interrupted before all", 130, RunStatus::Interrupted, |r| {
            failed(r, ErrorClass::Invalid);
            refused(r);
            r.interrupted = true;
        }),
        ("waits", 3, RunStatus::Pending, |r| waits(r, &[])),
        ("waits, and so do accounts", 3, RunStatus::Pending, |r| {
            waits(r, &[Reason::WaitsForWave]);
            step(r, StepOutcome::Changed, None);
        }),
        ("a step's moment has gone by", 3, RunStatus::Pending, |r| {
            waits(r, &[Reason::WaitsForWave]);
            step(r, StepOutcome::Pending, None);
            step(r, StepOutcome::Skipped, None);
        }),
        ("waits, and a step failed", 1, RunStatus::Failed, |r| {
            waits(r, &[Reason::WaitsForWave]);
            step(r, StepOutcome::Failed, Some(ErrorClass::Failed));
        }),
        (
            "waits, and an account is worked on",
            1,
            RunStatus::Failed,
            |r| waits(r, &[Reason::WaitsForWave, Reason::Enrolling]),
        ),
        ("dry run without steps", 0, RunStatus::Planned, |r| {
            r.dry_run = true
        }),
    ];
    for (situation, code, status, arrange) in table {
        let mut report = nothing_wrong();
        arrange(&mut report);
        assert_eq!(exit_code(&report), code, "{situation}");
        assert_eq!(report.status(), status, "{situation}");
    }
}
