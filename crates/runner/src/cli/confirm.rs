//! Asking before something is deleted or made: on a terminal, the number is typed; elsewhere, `--yes` says it.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use onboarding_core::plan::Step;

use super::Failure;

/// The action of the steps that delete Spot accounts.
const DELETION: &str = "delete-spot-account";

/// How many Spot accounts these steps delete.
pub(super) fn deletions<'a>(steps: impl IntoIterator<Item = &'a Step>) -> usize {
    let steps = steps.into_iter();
    steps.filter(|step| step.action == DELETION).count()
}

/// Asks whether to go on with `doing` (such as "delete 3 Spot accounts"), of which the plan is shown.
pub(super) fn confirm(plan: &str, doing: &str, count: usize, yes: bool) -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return match yes {
            true => Ok(()),
            false => Err(Failure::Refused(format!(
                "this would {doing}, and nobody can be asked here; look at the plan first, then say --yes"
            ))),
        };
    }
    let mut stderr = std::io::stderr().lock();
    let asked = write!(stderr, "{plan}\nType {count} to {doing}: ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = asked.and_then(|()| stdin.lock().read_line(&mut answer));
    read.map_err(|error| Failure::Failed(format!("the answer could not be read: {error}")))?;
    match answer.trim() == count.to_string() {
        true => Ok(()),
        false => Err(Failure::Refused(
            "not confirmed, so nothing was done".to_owned(),
        )),
    }
}
