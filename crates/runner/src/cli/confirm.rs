//! Asking before something is deleted or made: on a terminal, the number is typed; elsewhere, `--yes` says it.

use std::{
    fmt::Write as _,
    io::{BufRead as _, IsTerminal as _, Write as _},
};

use onboarding_core::plan::Step;

use super::Failure;

/// What a clean-up removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Removals {
    spot_accounts: usize,
    /// Stack instances that are taken out, whose stacks stay.
    instances: usize,
    /// Stacks that are deleted, with their instances or where they were left.
    stacks: usize,
}

impl Removals {
    /// What these steps of a clean-up remove.
    pub(super) fn of<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Self {
        let mut removals = Self {
            spot_accounts: 0,
            instances: 0,
            stacks: 0,
        };
        for step in steps {
            match step.action.as_str() {
                "delete-spot-account" => removals.spot_accounts += 1,
                "delete-stack-instances" => removals.instances += step.accounts.len(),
                "delete-stacks" | "delete-leftover-stack" => removals.stacks += step.accounts.len(),
                _ => {}
            }
        }
        removals
    }

    /// How many things go: the number that an operator types.
    pub(super) fn count(self) -> usize {
        self.spot_accounts + self.instances + self.stacks
    }

    /// What goes, in words.
    pub(super) fn words(self) -> String {
        let mut words = format!("delete {} Spot accounts", self.spot_accounts);
        if self.instances > 0 {
            let _ = write!(words, ", take out {} stack instances", self.instances);
        }
        if self.stacks > 0 {
            let _ = write!(words, ", delete {} stacks with their roles", self.stacks);
        }
        words
    }
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

#[cfg(test)]
mod tests {
    use onboarding_core::{
        ids::AwsAccountId,
        plan::{Estimate, Risk},
    };

    use super::*;

    fn step(action: &str, accounts: u64) -> Step {
        let accounts = 1..=accounts;
        Step {
            id: action.to_owned(),
            kind: String::new(),
            action: action.to_owned(),
            accounts: accounts.filter_map(AwsAccountId::from_number).collect(),
            reason: String::new(),
            risk: Risk::High,
            order: 0,
            preconditions: Vec::new(),
            changes: Vec::new(),
            estimate: Estimate::default(),
            payload: serde_json::Value::Null,
        }
    }

    #[test]
    fn everything_that_is_removed_is_counted_in_what_is_agreed_to() {
        let steps = [
            step("delete-stack-instances", 3),
            step("delete-stacks", 1),
            step("delete-leftover-stack", 1),
            step("delete-spot-account", 1),
            step("delete-spot-account", 1),
        ];
        let removals = Removals::of(&steps);
        assert_eq!(removals.count(), 7);
        assert_eq!(
            removals.words(),
            "delete 2 Spot accounts, take out 3 stack instances, delete 2 stacks with their roles"
        );
        let alone = Removals::of(&steps[4..]);
        assert_eq!(
            (alone.count(), &*alone.words()),
            (1, "delete 1 Spot accounts")
        );
    }
}
