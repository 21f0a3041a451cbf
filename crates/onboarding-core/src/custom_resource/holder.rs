//! Whom a Spot account was given to: the `Custom::SpotAccount` resources of stacks.
//!
//! A stack may have several, and an update that renames one creates the new one before it deletes the old one
//! (CloudFormation user guide, "Update behaviors of stack resources"). So a stack stands for its Spot account until the
//! last of them is deleted.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ResourceRequest;
use crate::ids::StackId;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holder {
    /// The stack.
    pub stack: StackId,
    /// The logical id of its `Custom::SpotAccount`. None when that is not known: the stack was given the Spot account by a
    /// version that did not write it down, or has linked one without such a resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

impl Holder {
    /// The resource that a request is about.
    #[must_use]
    pub fn of(request: &ResourceRequest) -> Self {
        Self {
            stack: request.stack_id.clone(),
            resource: Some(request.logical_id.clone()),
        }
    }

    /// A stack of which no resource is known.
    #[must_use]
    pub fn stack(stack: &StackId) -> Self {
        Self {
            stack: stack.clone(),
            resource: None,
        }
    }

    /// Whether another resource of the same stack is known to hold it as well.
    #[must_use]
    pub fn has_sibling(&self, holders: &BTreeSet<Self>) -> bool {
        holders.iter().any(|other| {
            other.stack == self.stack && other.resource.is_some() && other.resource != self.resource
        })
    }

    /// Whether its stack holds it by a resource that is not known: it may be this one or another.
    #[must_use]
    pub fn is_unclear(&self, holders: &BTreeSet<Self>) -> bool {
        self.resource.is_some() && holders.contains(&Self::stack(&self.stack))
    }

    /// Whether another stack holds it.
    #[must_use]
    pub fn has_rival(&self, holders: &BTreeSet<Self>) -> bool {
        holders.iter().any(|other| other.stack != self.stack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_told_from_its_siblings_and_rivals() {
        let holder = |stack: &str, resource: Option<&str>| Holder {
            stack: format!("arn:aws:cloudformation:us-east-1:111111111111:stack/{stack}/uuid")
                .parse()
                .unwrap(),
            resource: resource.map(str::to_owned),
        };
        let me = holder("s", Some("A"));
        for (others, sibling, unclear, rival) in [
            (vec![], false, false, false),
            (vec![me.clone()], false, false, false),
            (vec![holder("s", Some("B"))], true, false, false),
            (vec![holder("s", None)], false, true, false),
            (vec![holder("t", Some("A"))], false, false, true),
            (vec![holder("t", None)], false, false, true),
        ] {
            let holders: BTreeSet<Holder> = others.into_iter().collect();
            assert_eq!(me.has_sibling(&holders), sibling, "{holders:?}");
            assert_eq!(me.is_unclear(&holders), unclear, "{holders:?}");
            assert_eq!(me.has_rival(&holders), rival, "{holders:?}");
        }
    }

    #[test]
    fn one_whose_resource_is_not_known_is_written_as_its_stack_alone() {
        let stack: StackId = "arn:aws:cloudformation:us-east-1:111111111111:stack/s/uuid"
            .parse()
            .unwrap();
        let unknown = Holder::stack(&stack);
        let text = serde_json::to_string(&unknown).unwrap();
        assert!(!text.contains("resource"), "{text}");
        assert_eq!(serde_json::from_str::<Holder>(&text).unwrap(), unknown);
    }
}
