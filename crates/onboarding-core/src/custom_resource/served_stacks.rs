//! Which stacks are served, by their names. The topic lets every member account's StackSets publish, so whoever makes a
//! stack set of their own could ask with it, too.

use crate::ids::StackId;

/// Names of stacks, each with an optional `*` at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedStacks(Vec<String>);

impl Default for ServedStacks {
    /// All stacks.
    fn default() -> Self {
        Self(vec!["*".to_owned()])
    }
}

impl ServedStacks {
    /// Stacks with these names; a `*` at the end of one stands for any characters.
    pub fn named(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// Adds the stacks that CloudFormation makes for a stack set's instances: `StackSet-<name>-` and a UUID (so it names
    /// them everywhere; the user guide does not promise it).
    #[must_use]
    pub fn and_of_stack_set(mut self, name: &str) -> Self {
        self.0.push(format!("StackSet-{name}-*"));
        self
    }

    /// The names, as they would be configured.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether a stack is served.
    #[must_use]
    pub fn include(&self, stack: &StackId) -> bool {
        let name = stack.name();
        self.0.iter().any(|served| match served.strip_suffix('*') {
            None => served == name,
            Some(prefix) => name.starts_with(prefix),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(name: &str) -> StackId {
        format!("arn:aws:cloudformation:us-east-1:111111111111:stack/{name}/0b1c")
            .parse()
            .unwrap()
    }

    #[test]
    fn stacks_are_told_by_their_names() {
        let served =
            ServedStacks::named(["spot", "official-*"]).and_of_stack_set("spot-onboarding");
        for ours in ["spot", "official-x", "StackSet-spot-onboarding-0b1c-2d3e"] {
            assert!(served.include(&stack(ours)), "{ours}");
        }
        for other in [
            "spot2",
            "StackSet-spot-0b1c",
            "StackSet-other-0b1c",
            "my-official-x",
        ] {
            assert!(!served.include(&stack(other)), "{other}");
        }
        assert!(ServedStacks::default().include(&stack("whatever")));
        assert!(!ServedStacks::named([""; 0]).include(&stack("whatever")));
    }
}
