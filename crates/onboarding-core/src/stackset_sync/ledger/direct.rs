//! Where an account stands that the runner enrolls by itself: a current stack is not the end of it.

use super::{Link, Verdict, blocked_by, is_due, judge_current, judge_without_instance, waiting};
use crate::{
    desired::{DirectEnrollment, ManagementStack},
    ids::{AwsAccountId, ExternalId},
    stackset_sync::steps::ProfileContext,
    status::{Reason, Standing},
};

/// What is missing beyond the verdict about its stack: the external ID, or what is done at Spot.
pub(super) fn judge<'a>(
    context: &ProfileContext<'_>,
    enrollment: &DirectEnrollment,
    account: AwsAccountId,
    external_id: Option<&ExternalId>,
    verdict: Verdict<'a>,
) -> Verdict<'a> {
    let observed = context.observed;
    let finished = observed.finished.get(&account);
    let is_unfinished = || match &verdict.link {
        // Finished once and not linked any more: somebody unlinked it, who is to say why.
        Link::None | Link::Several(_) => finished.is_none(),
        Link::One(id) => {
            let is_ours = observed.owned_links.get(&account) == Some(*id);
            is_ours && !finished.is_some_and(|finished| finished.contains(&enrollment.mark()))
        }
    };
    let reason = match verdict.reason {
        Reason::MissingInstance => Reason::MissingInstance,
        Reason::Enrolled | Reason::NotLinked | Reason::InstanceOutdated => {
            if external_id.is_none() {
                Reason::ExternalIdMissing
            } else if is_unfinished() {
                Reason::EnrollmentUnfinished
            } else {
                return verdict;
            }
        }
        _ => return verdict,
    };
    by_the_clock(context, account, Verdict::new(reason, verdict.link))
}

/// The management account, from its plain stack.
pub(super) fn judge_management<'a>(
    context: &ProfileContext<'_>,
    management: &ManagementStack,
    account: AwsAccountId,
    link: Link<'a>,
) -> Verdict<'a> {
    let stack = context.state.management.as_ref();
    let verdict = match stack {
        None => judge_without_instance(context, account, link),
        Some(stack) => match &stack.blocked {
            _ if stack.status.ends_with("_IN_PROGRESS") => Verdict::new(Reason::Enrolling, link),
            Some(advice) => Verdict::new(Reason::StackBlocked, link).with_detail(advice.as_str()),
            None if stack.is_current => judge_current(context, account, link),
            None => Verdict::new(Reason::InstanceOutdated, link),
        },
    };
    let external_id = stack.and_then(|stack| stack.external_id.as_ref());
    let verdict = judge(
        context,
        &management.enrollment,
        account,
        external_id,
        verdict,
    );
    match verdict.reason {
        Reason::InstanceOutdated => by_the_clock(context, account, verdict),
        _ => verdict,
    }
}

/// A verdict of an account that is due, unless its last try failed and it waits.
fn by_the_clock<'a>(
    context: &ProfileContext<'_>,
    account: AwsAccountId,
    verdict: Verdict<'a>,
) -> Verdict<'a> {
    let Some(retry) = context.state.retries.get(&account) else {
        return verdict;
    };
    let words = retry.reason.as_deref().unwrap_or("no reason known");
    let blocked = blocked_by(words);
    if retry.of_this_run {
        let failed = match blocked {
            Some(blocked) => Verdict::new(blocked, verdict.link),
            None => Verdict::new(Reason::EnrollmentFailed, verdict.link).standing(Standing::Failed),
        };
        return failed.with_detail(words);
    }
    if context.desired.retry_failed || is_due(context, retry) {
        let detail = format!("failed {} times; {words}", retry.failures);
        return Verdict::new(Reason::EnrollmentFailed, verdict.link).with_detail(detail);
    }
    if let Some(blocked) = blocked {
        return Verdict::new(blocked, verdict.link).with_detail(words);
    }
    let (reason, note) = waiting(context, retry);
    Verdict::new(reason, verdict.link).with_detail(format!("{note}; {words}"))
}
