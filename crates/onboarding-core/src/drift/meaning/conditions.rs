//! Evaluating a template's conditions (CloudFormation Template Reference, "Condition functions").

use serde_json::Value;

use super::{
    super::unknown,
    resolve::{Resolver, function, piece},
};

/// How many conditions may stand on each other: CloudFormation refuses those that stand on themselves.
const MAX_CONDITION_DEPTH: usize = 64;

impl Resolver<'_> {
    /// Whether a condition of the template holds; none when that depends on what is not known.
    pub(super) fn condition(&mut self, name: &str) -> Option<bool> {
        if self.condition_depth == MAX_CONDITION_DEPTH {
            return None;
        }
        self.condition_depth += 1;
        let meanings = self.meanings;
        let held = self.holds(&meanings.template["Conditions"][name]);
        self.condition_depth -= 1;
        held
    }

    fn holds(&mut self, condition: &Value) -> Option<bool> {
        let (name, argument) = function(condition.as_object()?)?;
        let arguments = argument.as_array().map(Vec::as_slice).unwrap_or_default();
        match name {
            "Condition" => self.condition(argument.as_str()?),
            "Fn::Equals" => match arguments {
                [left, right] => {
                    let (left, right) = (self.value(left)?, self.value(right)?);
                    let is_unknown = unknown::is_in_value(&left) || unknown::is_in_value(&right);
                    match (piece(&left), piece(&right)) {
                        _ if left == right => Some(true),
                        _ if is_unknown => None,
                        (Some(left), Some(right)) => Some(left == right),
                        _ => Some(false),
                    }
                }
                _ => None,
            },
            "Fn::Not" => match arguments {
                [one] => self.holds(one).map(|held| !held),
                _ => None,
            },
            "Fn::And" => self.first_or(arguments, false),
            "Fn::Or" => self.first_or(arguments, true),
            _ => None,
        }
    }

    /// `decisive` when any condition is so; the contrary when none is, and all are known.
    fn first_or(&mut self, conditions: &[Value], decisive: bool) -> Option<bool> {
        let held: Vec<Option<bool>> = conditions.iter().map(|one| self.holds(one)).collect();
        if held.contains(&Some(decisive)) {
            return Some(decisive);
        }
        (!held.contains(&None)).then_some(!decisive)
    }
}
