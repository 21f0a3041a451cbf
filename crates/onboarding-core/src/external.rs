//! Job kinds that are programs of their own (plugins): what one of them planned, judged, and made a plan.
//!
//! Guarantees: pure; there is a plan only where each step is of the plugin's kind, does what the plugin said that it can do, has an
//! id of its own and is for accounts that the plugin was given, where every account that it was given is worked on, left out
//! for a reason or settled, and where the plugin's own counts are those of what it said. Nothing is done in a protected account, and
//! nothing is removed unless the job says so and every limit of removals is kept.

mod consent;
mod error;
mod guards;
mod words;

use std::collections::{BTreeMap, BTreeSet};

pub use consent::SameStep;
pub use error::AnswerError;
pub use guards::Guards;
pub use words::{check_id, check_text, is_code};

use crate::{
    ids::AwsAccountId,
    plan::{AccountRow, Finding, Plan, Step},
    status::{Reason, Standing},
};

use guards::Guarded;

/// What a plugin was asked with.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// What it said that its steps can do.
    pub actions: &'a BTreeSet<String>,
    /// The accounts that it was given, sorted.
    pub accounts: &'a [AccountRow],
    /// The guard rails.
    pub guards: Guards<'a>,
    /// The steps that failed in this run so far, with why.
    pub failed: &'a BTreeMap<String, String>,
}

impl Offer<'_> {
    fn row(&self, account: AwsAccountId) -> Option<&AccountRow> {
        let rows = self.accounts;
        let index = rows.binary_search_by_key(&account, |row| row.account);
        index.ok().map(|index| &rows[index])
    }
}

/// What a plugin answered when it was asked to plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// Its steps.
    pub steps: Vec<Step>,
    /// What a person should know.
    pub findings: Vec<Finding>,
    /// The accounts that it leaves out, and why.
    pub skips: Vec<(AwsAccountId, String)>,
    /// Its own counts.
    pub totals: Totals,
}

/// Counts of an answer, which its rows must have as well: `accounts = settled + due + skipped`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Accounts that it was given.
    pub accounts: usize,
    /// Of those, accounts that it has nothing to do for.
    pub settled: usize,
    /// Of those, accounts that its steps work on.
    pub due: usize,
    /// Of those, accounts that it leaves out.
    pub skipped: usize,
    /// Its steps.
    pub steps: usize,
    /// Its findings.
    pub findings: usize,
}

/// Makes the plan of what a plugin answered.
///
/// # Errors
/// The answer is not one that can be acted on, or reported: see [`AnswerError`].
pub fn plan(offer: &Offer<'_>, answer: Answer) -> Result<Plan, AnswerError> {
    let due = check_steps(offer, &answer.steps)?;
    let skipped = check_skips(offer, &due, answer.skips)?;
    let findings = checked_findings(offer, answer.findings)?;
    let counted = Totals {
        accounts: offer.accounts.len(),
        settled: offer.accounts.len() - due.len() - skipped.len(),
        due: due.len(),
        skipped: skipped.len(),
        steps: answer.steps.len(),
        findings: findings.len(),
    };
    check_totals(answer.totals, counted)?;
    let guarded = offer.guards.leave(answer.steps);
    let accounts = rows(offer, &guarded, &skipped);
    Ok(Plan {
        accounts,
        steps: guarded.steps,
        findings,
        refusals: guarded.refusals,
        withheld: guarded.withheld,
        ..Plan::default()
    })
}

/// The accounts that steps work on, where all steps are in order.
fn check_steps<'a>(
    offer: &Offer<'_>,
    steps: &'a [Step],
) -> Result<BTreeMap<AwsAccountId, &'a str>, AnswerError> {
    let mut orders = BTreeMap::new();
    let mut due = BTreeMap::new();
    for step in steps {
        check_id("the id of a step", &step.id)?;
        if orders.insert(step.id.as_str(), step.order).is_some() {
            return Err(AnswerError::SameStepTwice {
                step: step.id.clone(),
            });
        }
        check_step(offer, step)?;
        let mut own = BTreeSet::new();
        for account in &step.accounts {
            if offer.row(*account).is_none() {
                return Err(AnswerError::ForeignAccount {
                    what: format!("step {}", step.id),
                    account: *account,
                });
            }
            if !own.insert(*account) {
                return Err(AnswerError::SameAccountTwice {
                    step: step.id.clone(),
                    account: *account,
                });
            }
            due.entry(*account).or_insert(step.id.as_str());
        }
    }
    for step in steps {
        let needed = step.preconditions.iter();
        for needed in needed.filter_map(|one| one.strip_prefix("step:")) {
            match orders.get(needed) {
                Some(order) if *order < step.order => {}
                found => {
                    return Err(AnswerError::NoGround {
                        step: step.id.clone(),
                        needed: needed.to_owned(),
                        is_planned: found.is_some(),
                    });
                }
            }
        }
    }
    Ok(due)
}

fn check_step(offer: &Offer<'_>, step: &Step) -> Result<(), AnswerError> {
    if step.kind != offer.kind {
        return Err(AnswerError::ForeignKind {
            step: step.id.clone(),
            kind: step.kind.clone(),
            own: offer.kind.to_owned(),
        });
    }
    if !offer.actions.contains(&step.action) {
        let known: Vec<&str> = offer.actions.iter().map(String::as_str).collect();
        return Err(AnswerError::UnknownAction {
            step: step.id.clone(),
            action: step.action.clone(),
            known: known.join(", "),
        });
    }
    let of = |what: &str| format!("{what} of step {}", step.id);
    check_text(&of("the reason"), &step.reason)?;
    for change in &step.changes {
        check_text(&of("a change"), change)?;
    }
    for precondition in &step.preconditions {
        check_text(&of("a precondition"), precondition)?;
    }
    Ok(())
}

fn check_skips(
    offer: &Offer<'_>,
    due: &BTreeMap<AwsAccountId, &str>,
    skips: Vec<(AwsAccountId, String)>,
) -> Result<BTreeMap<AwsAccountId, String>, AnswerError> {
    let mut skipped = BTreeMap::new();
    for (account, why) in skips {
        if offer.row(account).is_none() {
            return Err(AnswerError::ForeignAccount {
                what: "a skip".to_owned(),
                account,
            });
        }
        check_text(&format!("why account {account} is left out"), &why)?;
        if let Some(step) = due.get(&account) {
            return Err(AnswerError::SkippedAndDue {
                account,
                step: (*step).to_owned(),
            });
        }
        if skipped.insert(account, why).is_some() {
            return Err(AnswerError::SkippedTwice { account });
        }
    }
    Ok(skipped)
}

/// The findings, with the names and places of their accounts as we know them.
fn checked_findings(
    offer: &Offer<'_>,
    mut findings: Vec<Finding>,
) -> Result<Vec<Finding>, AnswerError> {
    let mut ids = BTreeSet::new();
    for finding in &mut findings {
        check_id("the id of a finding", &finding.id)?;
        if !ids.insert(finding.id.clone()) {
            return Err(AnswerError::SameFindingTwice {
                finding: finding.id.clone(),
            });
        }
        let of = |what: &str| format!("{what} of finding {}", finding.id);
        if !is_code(&finding.reason) {
            return Err(AnswerError::Word {
                what: of("the reason"),
                word: finding.reason.clone(),
            });
        }
        check_text(&of("the message"), &finding.message)?;
        let more = [
            ("the resource", &finding.resource),
            ("what is expected", &finding.expected),
            ("what is there", &finding.actual),
            ("the fix", &finding.fix),
        ];
        for (what, text) in more {
            if let Some(text) = text {
                check_text(&of(what), text)?;
            }
        }
        let Some(account) = finding.account else {
            continue;
        };
        let row = offer
            .row(account)
            .ok_or_else(|| AnswerError::ForeignAccount {
                what: format!("finding {}", finding.id),
                account,
            })?;
        finding.account_name = Some(row.name.to_string());
        finding.ou_path = Some(row.ou_path.to_string());
    }
    Ok(findings)
}

fn check_totals(said: Totals, counted: Totals) -> Result<(), AnswerError> {
    let pairs = [
        ("accounts", said.accounts, counted.accounts),
        ("settled", said.settled, counted.settled),
        ("due", said.due, counted.due),
        ("skipped", said.skipped, counted.skipped),
        ("steps", said.steps, counted.steps),
        ("findings", said.findings, counted.findings),
    ];
    let mut differing = pairs
        .into_iter()
        .filter(|(_, said, counted)| said != counted);
    differing.next().map_or(Ok(()), |(what, said, counted)| {
        Err(AnswerError::Totals {
            what,
            said,
            counted,
        })
    })
}

/// Where each account stands: the ledger's row of it, judged by what the plugin does.
fn rows(
    offer: &Offer<'_>,
    guarded: &Guarded,
    skipped: &BTreeMap<AwsAccountId, String>,
) -> Vec<AccountRow> {
    let mut due: BTreeMap<AwsAccountId, Option<&str>> = BTreeMap::new();
    for step in &guarded.steps {
        let failed = offer.failed.get(&step.id).map(String::as_str);
        for account in &step.accounts {
            let entry = due.entry(*account).or_default();
            *entry = entry.or(failed);
        }
    }
    let given = offer.accounts.iter();
    given
        .map(|row| {
            let account = row.account;
            let (standing, reason, detail) = match due.get(&account) {
                Some(None) => (Standing::Due, Reason::StepDue, None),
                Some(Some(why)) => (Standing::Failed, Reason::StepFailed, Some(*why)),
                None => match (guarded.left_out.get(&account), skipped.get(&account)) {
                    (Some((reason, why)), _) => (Standing::Skipped, *reason, Some(*why)),
                    (None, Some(why)) => {
                        let why = Some(why.as_str());
                        (Standing::Skipped, Reason::PluginSkipped, why)
                    }
                    (None, None) => (Standing::Ok, Reason::Settled, None),
                },
            };
            AccountRow {
                standing,
                reason,
                detail: detail.map(Into::into),
                ..row.clone()
            }
        })
        .collect()
}
