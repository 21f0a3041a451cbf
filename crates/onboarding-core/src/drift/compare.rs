//! Comparing what a role should be with what it is.

mod extras;
mod policies;
mod trust;

use super::{
    Drift, DriftKind, Fix, RoleMeaning, TruthReading, commands, truth::RoleTruth, unknown,
};
use crate::{
    ids::{ExternalId, RoleArn},
    policy::compare::Verdict,
};

/// What is known beside the template and IAM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompareContext {
    /// Spot's principal, as an ARN.
    pub spot_principal: String,
    /// The role that Spot uses, when that is known.
    pub stored_role: Option<RoleArn>,
    /// The external ID that Spot uses, or why nobody can tell it.
    pub external_id: Result<ExternalId, String>,
    /// When the role was linked, in Unix seconds, when that is known.
    pub linked_at: Option<i64>,
    /// When it is too long ago that it was used; none when that is not judged.
    pub unused: Option<Unused>,
}

/// From when on a role that nobody uses is worth a look: Spot uses one all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unused {
    /// Now, in Unix seconds.
    pub now: i64,
    /// After how many seconds.
    pub after: i64,
}

/// Every difference, the role's own first, then those of its policies.
#[must_use]
pub fn compare(
    meaning: &RoleMeaning,
    truth: &TruthReading,
    context: &CompareContext,
) -> Vec<Drift> {
    let role = || match (&context.stored_role, &meaning.role_name) {
        (Some(arn), _) => arn.to_string(),
        (None, Some(name)) => unknown::readable(name),
        (None, None) => "SpotRole".to_owned(),
    };
    let truth = match truth {
        TruthReading::Absent => {
            let there = "the role that the stack makes".to_owned();
            let none = "no such role".to_owned();
            return vec![drift(
                DriftKind::RoleMissing,
                role(),
                there,
                none,
                Fix::Enroll,
            )];
        }
        TruthReading::Denied(reason) => {
            let readable = "a role that can be read".to_owned();
            let kind = DriftKind::RoleUnreadable;
            return vec![drift(kind, role(), readable, reason.clone(), Fix::None)];
        }
        TruthReading::Present(truth) => truth,
    };
    let mut found = Vec::new();
    identity(meaning, truth, context, &mut found);
    trust::compare(meaning, truth, context, &mut found);
    settings(meaning, truth, &mut found);
    found.extend(unused(truth, context));
    policies::compare_attached(meaning, truth, &mut found);
    policies::compare_inline(meaning, truth, &mut found);
    found
}

/// Whether it is the role that the template makes, and that Spot uses.
fn identity(
    meaning: &RoleMeaning,
    truth: &RoleTruth,
    context: &CompareContext,
    found: &mut Vec<Drift>,
) {
    let arn = &truth.role.arn;
    if let Some(stored) = &context.stored_role
        && stored != arn
    {
        found.push(drift(
            DriftKind::StoredRoleDiffers,
            arn.to_string(),
            format!("Spot uses {arn}"),
            format!("Spot uses {stored}"),
            Fix::Enroll,
        ));
    }
    if let Some(name) = &meaning.role_name
        && !unknown::can_be(name, arn.role_name())
    {
        found.push(drift(
            DriftKind::RoleNameDiffers,
            arn.to_string(),
            format!("a role named {}", unknown::readable(name)),
            format!("one named {}", arn.role_name()),
            Fix::Enroll,
        ));
    }
    let path = meaning.path.as_deref().unwrap_or("/");
    if !unknown::can_be(path, &truth.role.path) {
        found.push(drift(
            DriftKind::PathDiffers,
            arn.to_string(),
            format!("path {}", unknown::readable(path)),
            format!("path {}", truth.role.path),
            Fix::NeedsPerson(commands::look(arn.role_name())),
        ));
    }
}

/// Whether it was not used for too long, or never since it was linked. AWS tells the last use with a delay of up to four hours (IAM
/// API reference, RoleLastUsed).
fn unused(truth: &RoleTruth, context: &CompareContext) -> Option<Drift> {
    const DAY: i64 = 24 * 60 * 60;
    let Unused { now, after } = context.unused?;
    let role = &truth.role;
    let (last, words) = match role.last_used {
        Some(used) => (used, "it was last used"),
        None => (context.linked_at?, "it was never used, and linked"),
    };
    let ago = now.saturating_sub(last);
    (ago > after).then(|| {
        drift(
            DriftKind::RoleUnused,
            role.arn.to_string(),
            "a role that Spot uses".to_owned(),
            format!("{words} {} days ago", ago / DAY),
            Fix::NeedsPerson(commands::look(role.arn.role_name())),
        )
    })
}

/// Boundary and tags.
fn settings(meaning: &RoleMeaning, truth: &RoleTruth, found: &mut Vec<Drift>) {
    let arn = &truth.role.arn;
    let name = arn.role_name();
    let words = |boundary: &Option<String>| match boundary {
        Some(arn) => unknown::readable(arn),
        None => "no boundary".to_owned(),
    };
    let (verdict, command) = match (&meaning.boundary, &truth.role.permissions_boundary) {
        (Some(meant), Some(live)) if unknown::can_be(meant, live) => {
            (Verdict::Equal, String::new())
        }
        (None, None) => (Verdict::Equal, String::new()),
        (Some(meant), None) => (Verdict::Widened, commands::set_boundary(name, meant)),
        (Some(meant), Some(_)) => (Verdict::Changed, commands::set_boundary(name, meant)),
        (None, Some(_)) => (Verdict::Narrowed, commands::delete_boundary(name)),
    };
    if verdict.is_real() {
        found.push(Drift {
            verdict: Some(verdict),
            ..drift(
                DriftKind::BoundaryDiffers,
                arn.to_string(),
                words(&meaning.boundary),
                words(&truth.role.permissions_boundary),
                Fix::NeedsPerson(command),
            )
        });
    }
    for (key, value) in &meaning.tags {
        let live = truth.role.tags.get(key);
        if live.is_none_or(|live| !unknown::can_be(value, live)) {
            found.push(drift(
                DriftKind::TagDiffers,
                key.clone(),
                format!("tag {key} is {:?}", unknown::readable(value)),
                live.map_or_else(
                    || "no such tag".to_owned(),
                    |live| format!("it is {live:?}"),
                ),
                Fix::NeedsPerson(commands::tag(name, key, value)),
            ));
        }
    }
}

/// One that is not about what is granted.
fn drift(kind: DriftKind, resource: String, expected: String, actual: String, fix: Fix) -> Drift {
    Drift {
        kind,
        resource,
        expected,
        actual,
        verdict: None,
        changes: Vec::new(),
        fix,
    }
}

/// What a verdict says of a document, for people.
fn in_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Equal | Verdict::Cosmetic => "the same",
        Verdict::Widened => "more than that",
        Verdict::Narrowed => "less than that",
        Verdict::Changed => "something else: more in one place, less in another, or not to be told",
    }
}
