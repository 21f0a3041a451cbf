//! One row per account of a profile: where it stands, from the organization, its stack instance and its Spot link.

mod direct;

use std::{collections::HashMap, sync::Arc};

use super::{
    mend::MendOf,
    observed::RetryState,
    spot_links::{Link, SpotLinks},
    steps::ProfileContext,
};
use crate::{
    custom_resource::ROLE_NOT_ASSUMABLE,
    desired::{AdoptRule, Purpose},
    ids::AwsAccountId,
    inventory::{
        Account, AccountState, InstanceDetailedStatus, InstanceStatus, LinkHealth, StackInstance,
    },
    plan::AccountRow,
    status::{Reason, Standing},
};

/// A row with what planning still needs to know about it.
#[derive(Debug)]
pub struct LedgerRow<'a> {
    /// The row as it is reported.
    pub row: AccountRow,
    /// Its stack instance.
    pub instance: Option<&'a StackInstance>,
    /// The account in the organization; none when it left.
    pub account: Option<&'a Account>,
    /// Its stack is removed and made anew by this plan.
    pub redeploys: bool,
}

/// Where an account stands, before it becomes a row.
struct Verdict<'a> {
    standing: Standing,
    reason: Reason,
    detail: Option<Box<str>>,
    link: Link<'a>,
}

impl<'a> Verdict<'a> {
    fn new(reason: Reason, link: Link<'a>) -> Self {
        Self {
            standing: reason.standing(),
            reason,
            detail: None,
            link,
        }
    }

    fn with_detail(mut self, detail: impl Into<Box<str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    fn standing(mut self, standing: Standing) -> Self {
        self.standing = standing;
        self
    }
}

/// The rows of a profile, sorted by account. `definition_changes` says that an update of every instance is planned.
pub fn rows<'a>(
    context: &ProfileContext<'a>,
    links: &SpotLinks<'a>,
    definition_changes: bool,
) -> Vec<LedgerRow<'a>> {
    let organization = &context.observed.organization;
    let paths: Vec<Arc<str>> = (0..organization.units.len())
        .map(|unit| {
            Arc::from(
                u32::try_from(unit).map_or_else(|_| String::new(), |unit| organization.path(unit)),
            )
        })
        .collect();
    let profile: Arc<str> = Arc::from(context.profile.name.as_str());
    let no_path: Arc<str> = Arc::from("");
    let instances: HashMap<AwsAccountId, &StackInstance> = context
        .state
        .instances
        .iter()
        .map(|instance| (instance.account, instance))
        .collect();
    let row = |id: AwsAccountId,
               account: Option<&Account>,
               targeted: bool,
               verdict: Verdict<'a>| AccountRow {
        account: id,
        name: account.map_or_else(
            || id.to_string().into_boxed_str(),
            |account| account.name.clone(),
        ),
        ou_path: account
            .and_then(|account| paths.get(account.parent as usize))
            .unwrap_or(&no_path)
            .clone(),
        profile: profile.clone(),
        targeted,
        standing: verdict.standing,
        reason: verdict.reason,
        detail: verdict.detail,
        spot_account: match verdict.link {
            Link::One(id) => Some(id.clone()),
            Link::None | Link::Several(_) => None,
        },
        policy_version: instances
            .get(&id)
            .and_then(|instance| context.state.policy_version(instance))
            .map(Arc::from),
        live_role: context.observed.live_roles.get(&id).cloned(),
    };
    let mut left_out = vec![None; organization.accounts.len()];
    for (index, reason) in &context.resolved.left_out {
        if let Some(entry) = left_out.get_mut(*index as usize) {
            *entry = Some(*reason);
        }
    }
    let mut rows = Vec::with_capacity(organization.accounts.len());
    for (index, account) in organization.accounts.iter().enumerate() {
        let instance = instances.get(&account.id).copied();
        let targeted = context
            .resolved
            .targeted
            .get(index)
            .copied()
            .unwrap_or(false);
        let left_out = left_out.get(index).copied().flatten();
        let link = links.of(account.id);
        let verdict = if targeted {
            judge(context, account, instance, link, definition_changes)
        } else if left_out == Some(Reason::TagsUnknown) {
            // It may well be targeted: an instance of it is not called a leftover.
            Verdict::new(Reason::TagsUnknown, link)
        } else if instance.is_some() {
            Verdict::new(Reason::OutsideTargets, link)
        } else if let Some(reason) = left_out {
            Verdict::new(reason, link)
        } else {
            continue;
        };
        rows.push(LedgerRow {
            row: row(
                account.id,
                Some(account),
                targeted || left_out.is_some(),
                verdict,
            ),
            instance,
            account: Some(account),
            redeploys: false,
        });
    }
    for instance in &context.state.instances {
        if organization.account(instance.account).is_none() {
            let verdict = Verdict::new(Reason::Departed, links.of(instance.account));
            rows.push(LedgerRow {
                row: row(instance.account, None, false, verdict),
                instance: Some(instance),
                account: None,
                redeploys: false,
            });
        }
    }
    rows.sort_by_key(|row| row.row.account);
    rows
}

/// Where a targeted account stands.
fn judge<'a>(
    context: &ProfileContext<'_>,
    account: &Account,
    instance: Option<&StackInstance>,
    link: Link<'a>,
    definition_changes: bool,
) -> Verdict<'a> {
    let is_management = account.id == context.observed.organization.management_account;
    if is_management && context.profile.management.is_none() {
        return Verdict::new(Reason::ManagementAccount, link);
    }
    let inactive = match account.state {
        AccountState::Active => None,
        AccountState::PendingActivation => Some(Reason::PendingActivation),
        AccountState::Suspended => Some(Reason::Suspended),
        AccountState::PendingClosure => Some(Reason::PendingClosure),
        AccountState::Closed => Some(Reason::Closed),
        AccountState::Unknown => Some(Reason::StateUnknown),
    };
    if let Some(reason) = inactive {
        return Verdict::new(reason, link);
    }
    if let Link::Several(ids) = &link {
        let ids = ids
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        return Verdict::new(Reason::LinkedToSeveral, link).with_detail(ids);
    }
    if let Some(management) = context
        .profile
        .management
        .as_ref()
        .filter(|_| is_management)
    {
        return direct::judge_management(context, management, account.id, link);
    }
    let verdict = match instance {
        Some(instance) => judge_instance(context, instance, link, definition_changes),
        None => judge_without_instance(context, account.id, link),
    };
    match &context.profile.direct {
        Some(enrollment) => {
            let external_id = context.state.external_ids.get(&account.id);
            direct::judge(context, enrollment, account.id, external_id, verdict)
        }
        None => verdict,
    }
}

/// A targeted, active account without a stack instance.
fn judge_without_instance<'a>(
    context: &ProfileContext<'_>,
    account: AwsAccountId,
    link: Link<'a>,
) -> Verdict<'a> {
    let reason = match (&link, context.profile.adopt) {
        // A link that we made stays ours when the instance is gone (an OU move): it only needs its instance again.
        (Link::One(_), _) if context.observed.owned_links.contains_key(&account) => {
            Reason::MissingInstance
        }
        (Link::One(_), AdoptRule::KeepLink) => Reason::EnrolledElsewhere,
        (Link::One(_), AdoptRule::Refuse) => Reason::AdoptionRefused,
        (Link::None | Link::Several(_), _) | (Link::One(_), AdoptRule::Relink) => {
            Reason::MissingInstance
        }
    };
    Verdict::new(reason, link)
}

/// A targeted, active account with a stack instance.
fn judge_instance<'a>(
    context: &ProfileContext<'_>,
    instance: &StackInstance,
    link: Link<'a>,
    definition_changes: bool,
) -> Verdict<'a> {
    let working = !context.state.running.is_empty();
    let rollout = context.state.rollout.as_ref();
    let is_held = rollout.is_some_and(|rollout| rollout.is_held(instance.account));
    let unfinished = if instance.stack_id.is_some() {
        Reason::InstanceOutdated
    } else {
        Reason::MissingInstance
    };
    match (instance.status, instance.detailed_status) {
        (InstanceStatus::Inoperable, _) | (_, InstanceDetailedStatus::Inoperable) => {
            with_reason(Verdict::new(Reason::InstanceInoperable, link), instance)
        }
        (InstanceStatus::Unknown, _) => Verdict::new(Reason::StateUnknown, link)
            .with_detail("CloudFormation reports a stack instance status that is not known"),
        (_, InstanceDetailedStatus::Running) if working => Verdict::new(Reason::Enrolling, link),
        (InstanceStatus::Current, _) if definition_changes => {
            Verdict::new(Reason::InstanceOutdated, link)
        }
        (InstanceStatus::Current, _) if context.profile.purpose != Purpose::Enrollment => {
            Verdict::new(Reason::Enrolled, link)
        }
        (InstanceStatus::Current, _) => judge_current(context, instance.account, link),
        // Its override stays: whoever updated it would give it the next version, and go on with what may be halted.
        _ if is_held => with_reason(Verdict::new(Reason::RollingOut, link), instance),
        (_, InstanceDetailedStatus::Failed | InstanceDetailedStatus::FailedImport) => {
            judge_failure(context, instance, link)
        }
        // OUTDATED and PENDING say that the definition changed, not that anything is going on.
        (_, InstanceDetailedStatus::Pending) if working => Verdict::new(Reason::Enrolling, link),
        // The account is active, so the skip is of an earlier time; or nothing ever finished here.
        _ => Verdict::new(unfinished, link),
    }
}

/// An account with a current stack: whose link it has.
fn judge_current<'a>(
    context: &ProfileContext<'_>,
    account: AwsAccountId,
    link: Link<'a>,
) -> Verdict<'a> {
    match link {
        Link::One(id) => match context.observed.owned_links.get(&account) {
            // The link that we made is not the one that is there.
            Some(ours) if ours != id => {
                let detail = format!("we linked {ours}, and now {id} is linked");
                Verdict::new(Reason::LinkedElsewhere, link).with_detail(detail)
            }
            None if context.observed.kept_links.contains(&account) => {
                Verdict::new(Reason::EnrolledElsewhere, link)
            }
            _ => judge_role(context, account, link),
        },
        Link::None | Link::Several(_) => Verdict::new(Reason::NotLinked, link),
    }
}

/// A linked account with a current instance: whether its role, where this run looked at it, lets Spot in.
fn judge_role<'a>(
    context: &ProfileContext<'_>,
    account: AwsAccountId,
    link: Link<'a>,
) -> Verdict<'a> {
    let Some(evidence) = context.observed.live_roles.get(&account) else {
        return Verdict::new(Reason::Enrolled, link);
    };
    let (reason, detail) = match evidence.health(&context.desired.spot_principal) {
        LinkHealth::Sound => return Verdict::new(Reason::Enrolled, link),
        LinkHealth::RoleMissing(detail) => (Reason::RoleMissing, detail),
        LinkHealth::TrustDiffers(detail) => (Reason::RoleTrustDiffers, detail),
        LinkHealth::Unknown(detail) => (Reason::Enrolled, detail),
    };
    Verdict::new(reason, link).with_detail(detail)
}

/// An instance whose last operation failed.
fn judge_failure<'a>(
    context: &ProfileContext<'_>,
    instance: &StackInstance,
    link: Link<'a>,
) -> Verdict<'a> {
    let words = instance.status_reason.as_deref().unwrap_or_default();
    let blocked = blocked_by(words);
    let retry = context.state.retries.get(&instance.account);
    let this_run = retry.is_some_and(|retry| retry.of_this_run);
    let verdict = |reason: Reason, standing: Option<Standing>, note: String| {
        let detail = match (words.is_empty(), note.is_empty()) {
            (true, _) => note,
            (false, true) => words.to_owned(),
            (false, false) => format!("{note}; {words}"),
        };
        let verdict = Verdict::new(reason, link.clone()).with_detail(detail);
        match standing {
            Some(standing) => verdict.standing(standing),
            None => verdict,
        }
    };
    match (retry, blocked) {
        (Some(_), Some(blocked)) if this_run => verdict(blocked, None, String::new()),
        (Some(_), None) if this_run => verdict(
            Reason::InstanceFailed,
            Some(Standing::Failed),
            String::new(),
        ),
        (Some(retry), _) if context.desired.retry_failed || is_due(context, retry) => verdict(
            Reason::InstanceFailed,
            None,
            format!("failed {} times", retry.failures),
        ),
        (None, _) => verdict(Reason::InstanceFailed, None, String::new()),
        (Some(_), Some(blocked)) => verdict(blocked, None, String::new()),
        (Some(retry), None) => {
            let (reason, note) = waiting(context, retry);
            verdict(reason, None, note)
        }
    }
}

/// For what a failed account waits that is not due, and until when.
fn waiting(context: &ProfileContext<'_>, retry: &RetryState) -> (Reason, String) {
    let failures = retry.failures;
    if failures >= context.desired.quarantine_after {
        return (Reason::Quarantined, format!("failed {failures} times"));
    }
    let left = (retry.next_due - context.observed.now).max(0);
    let minutes = left.unsigned_abs().div_ceil(60);
    let note = format!("failed {failures} times, next try in {minutes} min");
    (Reason::RetryLater, note)
}

/// How an account stands that could not be mended the last time, and for which that kind of mend is not tried again now; none when
/// it is.
pub(super) fn by_its_clock(
    context: &ProfileContext<'_>,
    mend: MendOf,
) -> Option<(Standing, Reason, String)> {
    let retry = context.state.mend_retries.get(&mend)?;
    let words = retry.reason.as_deref().unwrap_or("no reason known");
    if retry.of_this_run {
        return Some((Standing::Failed, Reason::EnrollmentFailed, words.to_owned()));
    }
    if context.desired.retry_failed || is_due(context, retry) {
        return None;
    }
    let (reason, note) = waiting(context, retry);
    Some((reason.standing(), reason, format!("{note}; {words}")))
}

/// Whether a failed account is tried again now.
fn is_due(context: &ProfileContext<'_>, retry: &RetryState) -> bool {
    retry.failures < context.desired.quarantine_after && context.observed.now >= retry.next_due
}

/// The policy of the organization that CloudFormation's words blame, when they do. A role that our provider could not get
/// Spot to assume trusts it, for the stack made it that way: what is left is a policy that denies it.
fn blocked_by(words: &str) -> Option<Reason> {
    if words.contains("resource control policy") || words.contains(ROLE_NOT_ASSUMABLE) {
        Some(Reason::BlockedByRcp)
    } else if words.contains("service control policy") {
        Some(Reason::BlockedByScp)
    } else {
        None
    }
}

fn with_reason<'a>(verdict: Verdict<'a>, instance: &StackInstance) -> Verdict<'a> {
    match &instance.status_reason {
        Some(words) => verdict.with_detail(words.clone()),
        None => verdict,
    }
}
