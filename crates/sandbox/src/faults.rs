//! Decides, deterministically, which calls fail.

use crate::ids::Ids;
use crate::scenario::{FaultKind, FaultRule, Scenario};

/// The rules in force.
#[derive(Debug)]
pub(crate) struct Faults {
    rules: Vec<FaultRule>,
    random: Ids,
}

impl Faults {
    /// Starts with the scenario's rules.
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            rules: scenario.faults.clone(),
            random: Ids::new(scenario.seed, "faults"),
        }
    }

    /// The fault of this call, if it has one: the first rule that matches and strikes.
    pub(crate) fn strike(&mut self, service: &str, operation: &str) -> Option<FaultKind> {
        for rule in &mut self.rules {
            let matches = (rule.service == "*" || rule.service == service)
                && (rule.operation == "*" || rule.operation == operation);
            if !matches || rule.times == Some(0) || !self.random.chance(rule.probability) {
                continue;
            }
            if let Some(times) = &mut rule.times {
                *times -= 1;
            }
            return Some(rule.kind);
        }
        None
    }

    /// Adds a rule.
    pub(crate) fn add(&mut self, rule: FaultRule) {
        self.rules.push(rule);
    }

    /// Removes all rules.
    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// The rules, with the number of times that is left.
    pub(crate) fn rules(&self) -> &[FaultRule] {
        &self.rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_strikes_as_often_as_it_says_and_only_where_it_says() {
        let mut faults = Faults::new(&Scenario::default());
        faults.add(FaultRule {
            service: "spot".into(),
            operation: "POST /setup/account".into(),
            kind: FaultKind::DropAfter,
            probability: 1.0,
            times: Some(2),
        });
        assert_eq!(faults.strike("spot", "GET /setup/account"), None);
        assert_eq!(
            faults.strike("spot", "POST /setup/account"),
            Some(FaultKind::DropAfter)
        );
        assert_eq!(
            faults.strike("spot", "POST /setup/account"),
            Some(FaultKind::DropAfter)
        );
        assert_eq!(faults.strike("spot", "POST /setup/account"), None);
    }
}
