//! What a run says of each AWS account that has a Spot account of ours, and what a person should know.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    candidates::{Candidate, Stand},
    late,
    observed::{CleanupObserved, Reach},
    protection,
    verdict::{self, Judged, Verdict},
    words,
};
use crate::{
    ids::{AwsAccountId, SpotAccountId},
    plan::{AccountRow, Finding, Plan, Severity},
    status::{Reason, Standing},
};

/// What mends a finding of which the message says what a person does.
const BY_PERSON: &str = "needs a person";

/// One row for each AWS account: of several Spot accounts the one on which something is to be done.
pub(super) fn rows(
    observed: &CleanupObserved,
    judged: &[Judged<'_>],
    candidates: &[Candidate<'_>],
    plan: &mut Plan,
) {
    let stands: BTreeMap<&SpotAccountId, &Candidate<'_>> = candidates
        .iter()
        .map(|one| (&one.judged.record.id, one))
        .collect();
    let profile: Arc<str> = Arc::from("");
    let row = |account: AwsAccountId, spot: &SpotAccountId, reason: Reason, detail| {
        let place = protection::place(observed, account).unwrap_or_default();
        AccountRow {
            account,
            name: match place.name.as_str() {
                "" => account.to_string().into(),
                name => name.into(),
            },
            ou_path: place.path.into(),
            profile: profile.clone(),
            targeted: true,
            standing: reason.standing(),
            reason,
            detail,
            spot_account: Some(spot.clone()),
            live_role: None,
            policy_version: None,
        }
    };
    for one in judged {
        let (reason, detail) = match (&one.verdict, stands.get(&one.record.id)) {
            (Verdict::Orphan(_), Some(candidate)) => standing(candidate),
            (Verdict::Kept(reason, words), _) => (*reason, Some(words.clone())),
            (Verdict::InUse | Verdict::Orphan(_), _) => (Reason::InUse, None),
        };
        let detail = detail.map(String::into_boxed_str);
        let row = row(one.account, &one.record.id, reason, detail);
        plan.accounts.push(row);
    }
    let deleted = observed
        .deleted
        .iter()
        .filter(|deleted| deleted.of_this_run && deleted.is_settled);
    for deleted in deleted {
        let id = &deleted.spot_account;
        plan.accounts
            .push(row(deleted.account, id, Reason::CleanedUp, None));
    }
    let rank = |row: &AccountRow| match row.standing {
        Standing::Due | Standing::Failed | Standing::Pending => 0,
        Standing::Skipped => 1,
        Standing::Ok if row.reason == Reason::InUse => 2,
        Standing::Ok => 3,
    };
    plan.accounts.sort_by_key(|row| (row.account, rank(row)));
    plan.accounts.dedup_by_key(|row| row.account);
}

fn standing(candidate: &Candidate<'_>) -> (Reason, Option<String>) {
    let why = candidate.why;
    match &candidate.stand {
        Stand::Protected(by) => (Reason::Protected, Some(format!("{why}: {by}"))),
        Stand::Waiting { left, unseen } => {
            let anew = unseen.map(|unseen| {
                let unseen = words(unseen);
                format!(
                    "; the grace period began anew, for no run had looked for {unseen} (`max_gap`)"
                )
            });
            let anew = anew.unwrap_or_default();
            (
                Reason::GracePeriod,
                Some(format!("{why}: it is deleted in {}{anew}", words(*left))),
            )
        }
        Stand::InstanceStays => (
            Reason::StackRemains,
            Some(format!(
                "{why}: its stack instance goes first, by the rules of [removal] (closed_grace, max_removals), and does not in \
                 this run"
            )),
        ),
        Stand::OutOfReach(reach) => (
            Reason::StackRemains,
            Some(out_of_reach(candidate.judged, reach)),
        ),
        Stand::Running(names) => (
            Reason::StillRunning,
            Some(format!("{why}: {} run in it", names.join(", "))),
        ),
        Stand::OverLimit | Stand::Due { .. } => (Reason::OverLimit, Some(why.to_string())),
        Stand::Chosen { .. } => (Reason::Orphaned, Some(why.to_string())),
    }
}

/// Why the stack that was left in the account does not go in this run, and what a person does about it.
fn out_of_reach(judged: &Judged<'_>, reach: &Reach) -> String {
    let account = judged.account;
    match reach {
        Reach::Denied(why) => {
            let words = verdict::leftover(judged.record, judged.known, account, true);
            format!("{words} (the remediation role cannot: {why})")
        }
        Reach::Kept(why) => {
            format!("the stack that was left in AWS account {account} is not deleted: {why}")
        }
        Reach::Unknown(why) => format!(
            "nobody knows in this run whether the stack that was left in AWS account {account} can be deleted: {why}"
        ),
        // It is tried again.
        Reach::FailedBefore => String::new(),
    }
}

/// What a person should know.
pub(super) fn findings(
    observed: &CleanupObserved,
    judged: &[Judged<'_>],
    candidates: &[Candidate<'_>],
    plan: &mut Plan,
) {
    let mut found = Vec::new();
    let mut add = |reason: &str, severity, account: AwsAccountId, about: &str, message: String| {
        let place = protection::place(observed, account);
        found.push(Finding {
            id: format!("{reason}:{about}"),
            severity,
            account: Some(account),
            account_name: place.as_ref().map(|place| place.name.clone()),
            ou_path: place.map(|place| place.path),
            reason: reason.to_owned(),
            message,
            resource: Some(about.to_owned()),
            fix: (severity > Severity::Info).then(|| {
                let known = Reason::of_code(reason).and_then(Reason::fix);
                known.unwrap_or(BY_PERSON).to_owned()
            }),
            ..Finding::default()
        });
    };
    for one in judged {
        let Verdict::Kept(reason, words) = &one.verdict else {
            continue;
        };
        let severity = match reason {
            Reason::LinkedToSeveral => Severity::Error,
            reason if reason.needs_person() => Severity::Warning,
            _ => Severity::Info,
        };
        let id = &one.record.id;
        let message = format!("Spot account {id} {:?}: {words}", one.record.name);
        add(reason.code(), severity, one.account, id.as_str(), message);
    }
    for one in candidates {
        // What a later run looks at needs nobody.
        let Stand::OutOfReach(reach @ (Reach::Denied(_) | Reach::Kept(_))) = &one.stand else {
            continue;
        };
        let (record, code) = (one.judged.record, Reason::StackRemains.code());
        let words = out_of_reach(one.judged, reach);
        let message = format!("Spot account {} {:?}: {words}", record.id, record.name);
        let account = one.judged.account;
        add(
            code,
            Severity::Warning,
            account,
            record.id.as_str(),
            message,
        );
    }
    for one in candidates {
        let Stand::Running(names) = &one.stand else {
            continue;
        };
        let id = &one.judged.record.id;
        let message = format!(
            "Spot account {id} {:?} is not deleted while {} run in it; delete them in Spot first",
            one.judged.record.name,
            names.join(", ")
        );
        let code = Reason::StillRunning.code();
        add(
            code,
            Severity::Warning,
            one.judged.account,
            id.as_str(),
            message,
        );
    }
    for record in &observed.sync.spot_accounts {
        let Some(account) = record.aws_account else {
            continue;
        };
        let is_ours = observed.known.contains_key(&record.id);
        if is_ours || observed.sync.organization.account(account).is_some() {
            continue;
        }
        let id = &record.id;
        let message = format!(
            "Spot account {id} {:?} is linked to AWS account {account}, which is not in this organization, and we neither made \
             nor linked it: it may be another organization's",
            record.name
        );
        add(
            "unknown-spot-account",
            Severity::Info,
            account,
            id.as_str(),
            message,
        );
    }
    for (record, account) in late::named_like_ours(observed) {
        let id = &record.id;
        let message = format!(
            "Spot account {id} {:?} is linked to nothing and named as we name those that we make for AWS account {account}, and our \
             state has no creation that could have made it: it is somebody else's, and they decide about it in Spot",
            record.name
        );
        add(
            "unknown-spot-account",
            Severity::Info,
            account,
            id.as_str(),
            message,
        );
    }
    plan.findings = found;
    plan.findings.sort();
}

/// What was not looked at: whether anything runs in a Spot account, and whether the stack that was left in its AWS account can be
/// deleted. What an earlier run has found about that is not gone.
pub(super) fn unjudged(observed: &CleanupObserved, candidates: &[Candidate<'_>], plan: &mut Plan) {
    for one in candidates {
        let (id, account) = (&one.judged.record.id, one.judged.account);
        let is_asked = observed.running.contains_key(id);
        let reasons = match &one.stand {
            Stand::OverLimit | Stand::Due { .. } if is_asked => continue,
            Stand::OutOfReach(Reach::Unknown(_)) if is_asked => vec![Reason::StackRemains],
            Stand::OverLimit | Stand::Due { .. } | Stand::OutOfReach(Reach::Unknown(_)) => {
                vec![Reason::StackRemains, Reason::StillRunning]
            }
            _ => continue,
        };
        let parts = plan.unjudged.parts.entry(account).or_default();
        parts.extend(reasons.into_iter().map(Reason::code));
    }
}
