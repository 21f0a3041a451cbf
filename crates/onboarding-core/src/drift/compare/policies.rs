//! What the role may do.

use super::{
    super::{
        Drift, DriftKind, Fix, MeantPolicy, RoleMeaning, Stray, StrayPolicy, commands,
        document::{Difference, Judgement},
        truth::RoleTruth,
        unknown,
    },
    drift,
    extras::{beyond, extra},
    in_words,
};
use crate::inventory::{AttachedPolicy, PolicyReading};

/// How many characters are left of a logical id that was cut, at least.
const LEAST_OF_A_CUT_ID: usize = 16;

/// Compares the managed policies that are attached.
pub(super) fn compare_attached(meaning: &RoleMeaning, truth: &RoleTruth, found: &mut Vec<Drift>) {
    let name = truth.role.arn.role_name();
    let mut left: Vec<&AttachedPolicy> = truth.attached.iter().collect();
    let (open, known): (Vec<&String>, Vec<&String>) = meaning
        .attached_arns
        .iter()
        .partition(|arn| unknown::is_in(arn));
    // First what is known for certain, so that what is not takes nothing away from it.
    detached_arns(&known, name, &mut left, found);
    let mut missing = Vec::new();
    for policy in &meaning.policies {
        match named_like(policy, truth, &mut left) {
            Some((attached, judgement)) => {
                found.extend(differs(meaning, policy, attached, judgement));
            }
            None => missing.push(policy),
        }
    }
    missing.retain(|policy| !take(&mut left, |attached| grants_the_same(policy, attached)));
    detached_arns(&open, name, &mut left, found);
    for policy in missing {
        let is_unread = |attached: &AttachedPolicy| {
            is_customers(truth, attached) && matches!(attached.document, PolicyReading::Unread(_))
        };
        // It may be the one that is missed, and nobody can tell.
        if let Some(index) = left.iter().position(|attached| is_unread(attached)) {
            let attached = left.swap_remove(index);
            found.extend(differs(meaning, policy, attached, judge(policy, attached)));
            continue;
        }
        let command = match truth.role.stack_id() {
            Some(stack) => commands::attach_of_stack(name, stack, &policy.logical_id),
            None => commands::attach(name, &format!("<ARN of {}>", policy.logical_id)),
        };
        found.push(drift(
            DriftKind::PolicyDetached,
            policy.logical_id.clone(),
            format!("policy {} of the stack is attached", policy.logical_id),
            "no attached policy is it".to_owned(),
            Fix::NeedsPerson(command),
        ));
    }
    for attached in left {
        let granted = match &attached.document {
            PolicyReading::Document { text, .. } => beyond(meaning, text),
            PolicyReading::Unread(_) => None,
        };
        let resource = attached.arn.clone();
        let stray = match &attached.document {
            PolicyReading::Document { text, .. } => Stray::of(
                truth,
                StrayPolicy::Attached {
                    arn: resource.clone(),
                    document: text.as_str().into(),
                },
            ),
            PolicyReading::Unread(_) => None,
        };
        let fix = removal(stray, || commands::detach(name, &resource));
        found.push(extra(
            DriftKind::PolicyAttachedExtra,
            resource,
            granted,
            fix,
        ));
    }
}

/// Compares the inline policies.
pub(super) fn compare_inline(meaning: &RoleMeaning, truth: &RoleTruth, found: &mut Vec<Drift>) {
    let role = truth.role.arn.role_name();
    let mut left: Vec<(&String, &String)> = truth.inline.iter().collect();
    for (name, document) in &meaning.inline {
        let put = || Fix::NeedsPerson(commands::put_inline(role, name, document.value()));
        let index = left
            .iter()
            .position(|(live, _)| unknown::can_be(name, live));
        let Some(index) = index else {
            found.push(drift(
                DriftKind::PolicyInlineMissing,
                unknown::readable(name),
                format!("inline policy {}", unknown::readable(name)),
                "no such policy".to_owned(),
                put(),
            ));
            continue;
        };
        let (live, text) = left.remove(index);
        match document.judge(text) {
            Judgement::Same => {}
            Judgement::Differs(difference) => {
                let kind = DriftKind::PolicyInlineDiffers;
                found.push(granted(kind, live.clone(), difference, put()));
            }
            Judgement::Unreadable(reason) => found.push(unreadable(live.clone(), reason)),
        }
    }
    for (name, text) in left {
        let policy = StrayPolicy::Inline {
            name: name.clone(),
            document: text.as_str().into(),
        };
        let fix = removal(Stray::of(truth, policy), || {
            commands::delete_inline(role, name)
        });
        let granted = beyond(meaning, text);
        found.push(extra(
            DriftKind::PolicyInlineExtra,
            name.clone(),
            granted,
            fix,
        ));
    }
}

/// What takes a policy away that the template does not have.
fn removal(stray: Option<Stray>, command: impl FnOnce() -> String) -> Fix {
    match stray {
        Some(stray) => Fix::Remove(Box::new(stray)),
        None => Fix::NeedsPerson(command()),
    }
}

/// Takes the policies with these ARNs out of those that are left, and reports those that are not among them.
fn detached_arns(
    arns: &[&String],
    role: &str,
    left: &mut Vec<&AttachedPolicy>,
    found: &mut Vec<Drift>,
) {
    for arn in arns {
        if !take(left, |attached| unknown::can_be(arn, &attached.arn)) {
            let arn = unknown::readable(arn);
            found.push(drift(
                DriftKind::PolicyDetached,
                arn.clone(),
                format!("{arn} is attached"),
                "it is not".to_owned(),
                Fix::NeedsPerson(commands::attach(role, &arn)),
            ));
        }
    }
}

fn take(left: &mut Vec<&AttachedPolicy>, is_it: impl Fn(&AttachedPolicy) -> bool) -> bool {
    let index = left.iter().position(|attached| is_it(attached));
    index.map(|index| left.swap_remove(index)).is_some()
}

/// Takes the attached policy that has the name of a meant one; of several, one that grants the same.
fn named_like<'a>(
    policy: &MeantPolicy,
    truth: &RoleTruth,
    left: &mut Vec<&'a AttachedPolicy>,
) -> Option<(&'a AttachedPolicy, Judgement)> {
    let mut best: Option<(usize, Judgement)> = None;
    for (index, attached) in left.iter().enumerate() {
        if !is_customers(truth, attached) || !policy.can_be_named(&attached.name) {
            continue;
        }
        let judgement = judge(policy, attached);
        let is_same = judgement == Judgement::Same;
        if best.is_none() || is_same {
            best = Some((index, judgement));
        }
        if is_same {
            break;
        }
    }
    best.map(|(index, judgement)| (left.swap_remove(index), judgement))
}

impl MeantPolicy {
    /// Whether a policy of its stack can have this name. CloudFormation makes up
    /// `<stack name>-<logical id>-<random characters>` (CloudFormation Template Reference, "Name type"), and cuts what is long,
    /// the logical id, too.
    fn can_be_named(&self, name: &str) -> bool {
        if let Some(fixed) = &self.name {
            return unknown::can_be(fixed, name);
        }
        let mut parts = name.rsplit('-');
        // The random characters.
        let _ = parts.next();
        let part = parts.next().unwrap_or_default();
        let is_cut = part.len() >= LEAST_OF_A_CUT_ID && self.logical_id.starts_with(part);
        (part == self.logical_id || is_cut) && parts.next().is_some()
    }
}

/// Whether a policy is one of the account's own; AWS's are `arn:aws:iam::aws:policy/…`.
fn is_customers(truth: &RoleTruth, attached: &AttachedPolicy) -> bool {
    let account = |arn: &str| arn.split(':').nth(4).map(str::to_owned);
    account(&attached.arn) == account(truth.role.arn.as_str())
}

fn judge(policy: &MeantPolicy, attached: &AttachedPolicy) -> Judgement {
    match &attached.document {
        PolicyReading::Document { text, .. } => policy.document.judge(text),
        PolicyReading::Unread(reason) => Judgement::Unreadable(reason.clone()),
    }
}

fn grants_the_same(policy: &MeantPolicy, attached: &AttachedPolicy) -> bool {
    judge(policy, attached) == Judgement::Same
}

/// What a comparison of a meant policy with its counterpart came to.
fn differs(
    meaning: &RoleMeaning,
    policy: &MeantPolicy,
    attached: &AttachedPolicy,
    judgement: Judgement,
) -> Option<Drift> {
    let resource = attached.arn.clone();
    match judgement {
        Judgement::Same => None,
        Judgement::Differs(difference) => {
            let fix = if meaning.has_repair_nonce {
                Fix::ReDeploy
            } else {
                let document = policy.document.value();
                Fix::NeedsPerson(commands::new_version(&attached.arn, document))
            };
            let kind = DriftKind::PolicyDocumentDiffers;
            Some(granted(kind, resource, difference, fix))
        }
        Judgement::Unreadable(reason) => Some(unreadable(resource, reason)),
    }
}

fn granted(kind: DriftKind, resource: String, difference: Difference, fix: Fix) -> Drift {
    let expected = "what the template says".to_owned();
    let actual = in_words(difference.verdict).to_owned();
    Drift {
        verdict: Some(difference.verdict),
        changes: difference.changes,
        ..drift(kind, resource, expected, actual, fix)
    }
}

fn unreadable(resource: String, reason: String) -> Drift {
    let expected = "a policy that can be compared".to_owned();
    drift(
        DriftKind::PolicyUnreadable,
        resource,
        expected,
        reason,
        Fix::None,
    )
}
