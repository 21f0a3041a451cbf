//! What holds for any two policies.

use std::collections::BTreeSet;

use onboarding_core::policy::compare::{Comparison, Grants, Sign, Verdict, compare};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    compared,
    documents::{ASKED_ACTIONS, ASKED_RESOURCES, document, related, request},
    lines,
    oracle::{Request, is_allowed},
};

/// What a verdict says about a request must be so.
fn agrees(
    verdict: Verdict,
    before: &Value,
    after: &Value,
    request: &Request,
) -> Result<(), TestCaseError> {
    let (was, is) = (is_allowed(before, request), is_allowed(after, request));
    let fine = match verdict {
        Verdict::Equal | Verdict::Cosmetic => was == is,
        Verdict::Widened => is || !was,
        Verdict::Narrowed => was || !is,
        Verdict::Changed => true,
    };
    prop_assert!(
        fine,
        "{verdict}, and {request:?} was {was}, is {is}\n{before:#}\n{after:#}"
    );
    Ok(())
}

/// A source of choices that a test can repeat.
struct Choices(u64);

impl Choices {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    fn shuffled<T>(&mut self, mut items: Vec<T>) -> Vec<T> {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
        items
    }

    fn recased(&mut self, text: &str) -> String {
        let chars = text.chars();
        chars
            .map(|c| {
                if self.below(2) == 0 {
                    c.to_ascii_uppercase()
                } else {
                    c.to_ascii_lowercase()
                }
            })
            .collect()
    }

    /// The same values in another form.
    fn rewritten(&mut self, value: &Value) -> Value {
        let mut items = match value {
            Value::Array(items) => items.clone(),
            one => vec![one.clone()],
        };
        if items.len() == 1 && self.below(2) == 0 {
            return items.remove(0);
        }
        if !items.is_empty() && self.below(2) == 0 {
            let again = items[self.below(items.len())].clone();
            items.push(again);
        }
        Value::Array(self.shuffled(items))
    }

    /// The same policy, written differently.
    fn reformatted(&mut self, policy: &Value) -> Value {
        let mut statements = Vec::new();
        for statement in policy["Statement"].as_array().unwrap() {
            let elements = statement.as_object().unwrap().clone();
            let mut written = json!({});
            if self.below(2) == 0 {
                written["Sid"] = json!(format!("S{}", self.below(1_000)));
            }
            for (element, value) in self.shuffled(elements.into_iter().collect()) {
                written[&element] = match element.as_str() {
                    "Action" | "NotAction" => {
                        let value = self.rewritten(&value);
                        match value {
                            Value::Array(items) => items
                                .iter()
                                .map(|item| self.recased(item.as_str().unwrap()))
                                .collect(),
                            one => json!(self.recased(one.as_str().unwrap())),
                        }
                    }
                    "Resource" | "NotResource" => self.rewritten(&value),
                    "Condition" => {
                        let mut operators = json!({});
                        for (operator, keys) in value.as_object().unwrap() {
                            let operator = self.recased(operator);
                            for (key, values) in keys.as_object().unwrap() {
                                let mut recased = self.recased(key);
                                // Two keys that differ in case alone are two, and stay two.
                                while operators[&operator].get(&recased).is_some() {
                                    recased = self.recased(key);
                                }
                                operators[&operator][&recased] = self.rewritten(values);
                            }
                        }
                        operators
                    }
                    _ => value,
                };
            }
            // Divided over two statements, or said twice.
            match (written["Action"].as_array().cloned(), self.below(3)) {
                (Some(actions), 0) if actions.len() > 1 => {
                    let (one, two) = actions.split_at(self.below(actions.len() - 1) + 1);
                    for part in [one, two] {
                        let mut statement = written.clone();
                        statement["Action"] = json!(part);
                        statements.push(statement);
                    }
                }
                (_, 1) => statements.extend([written.clone(), written]),
                _ => statements.push(written),
            }
        }
        json!({"Statement": self.shuffled(statements), "Version": policy["Version"]})
    }
}

fn mirrored(comparison: &Comparison) -> (Verdict, BTreeSet<String>) {
    let verdict = match comparison.verdict {
        Verdict::Widened => Verdict::Narrowed,
        Verdict::Narrowed => Verdict::Widened,
        other => other,
    };
    let changes = comparison.statements.iter().flat_map(|one| &one.changes);
    let lines = changes.map(|change| {
        let mut change = change.clone();
        change.sign = match change.sign {
            Sign::Added => Sign::Removed,
            Sign::Removed => Sign::Added,
        };
        change.to_string()
    });
    (verdict, lines.collect())
}

/// Any JSON; with names that policies have, so that some of it looks like one.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        proptest::sample::select(
            &[
                "Version",
                "2012-10-17",
                "Statement",
                "Effect",
                "Allow",
                "Deny",
                "Action",
                "NotAction",
                "Resource",
                "NotResource",
                "Principal",
                "Condition",
                "Sid",
                "AWS",
                "*",
                "s3:*",
                "arn:aws:s3:::${x",
                "StringEquals",
                "Null",
                "ForAllValues:Bool",
                "${",
                "arn:",
                ":"
            ][..]
        )
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((text.clone(), inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// A policy whose elements may be anything.
fn nearly_a_policy() -> impl Strategy<Value = Value> {
    let element = |likely: Value| prop_oneof![3 => Just(likely), 2 => any_json()];
    let condition = prop_oneof![
        Just(json!({})),
        any_json().prop_map(|value| json!({"StringEquals": {"aws:x": value}})),
        (any::<String>(), any::<String>(), any_json())
            .prop_map(|(operator, key, values)| json!({operator: {key: values}})),
        any_json(),
    ];
    let text = any::<String>().prop_map(|text| json!(format!("s3:{text}")));
    let statement = (
        element(json!("Allow")),
        prop_oneof![text, element(json!(["s3:Get*", "*"]))],
        prop_oneof![any::<String>().prop_map(Value::from), element(json!(["arn:aws:s3:::a${aws:x}*", "*"]))],
        condition,
    )
        .prop_map(|(effect, actions, resources, condition)| {
            json!({"Effect": effect, "Action": actions, "Resource": resources, "Condition": condition})
        });
    proptest::collection::vec(statement, 1..4)
        .prop_map(|statements| json!({"Version": "2012-10-17", "Statement": statements}))
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 1 << 20, ..ProptestConfig::default() })]

    #[test]
    fn every_request_agrees_with_the_verdict(
        (before, after) in related(true, false),
        requests in proptest::collection::vec(request(), 100),
    ) {
        let verdict = compared(&before, &after).verdict;
        for request in &requests {
            agrees(verdict, &before, &after, request)?;
        }
    }

    #[test]
    fn every_request_agrees_with_the_verdict_on_two_trust_policies(
        (before, after) in related(true, true),
        requests in proptest::collection::vec(request(), 100),
    ) {
        let verdict = compared(&before, &after).verdict;
        for request in &requests {
            agrees(verdict, &before, &after, request)?;
        }
    }

    #[test]
    fn without_conditions_the_verdict_is_what_the_requests_show((before, after) in related(false, false)) {
        // Such a wildcard can match nothing but what is listed beside it, which the classes do not see.
        let narrow = |policy: &Value| policy.to_string().contains(['?', '$']);
        prop_assume!(!narrow(&before) && !narrow(&after));
        let (mut gained, mut lost) = (false, false);
        for action in ASKED_ACTIONS {
            for resource in ASKED_RESOURCES {
                let request = Request {
                    principal: String::new(),
                    action: action.to_owned(),
                    resource: resource.to_owned(),
                    context: [].into(),
                };
                let (was, is) = (is_allowed(&before, &request), is_allowed(&after, &request));
                gained |= is && !was;
                lost |= was && !is;
            }
        }
        let comparison = compared(&before, &after);
        let verdict = comparison.verdict;
        let expected = match (gained, lost) {
            (true, true) => verdict == Verdict::Changed,
            (true, false) => verdict == Verdict::Widened,
            (false, true) => verdict == Verdict::Narrowed,
            (false, false) => !verdict.is_real(),
        };
        prop_assert!(expected, "{verdict}: gained {gained}, lost {lost}\n{before:#}\n{after:#}");
        prop_assert!(!comparison.undecided);
    }

    #[test]
    fn a_policy_written_differently_grants_the_same(
        policy in prop_oneof![document(true, false), document(true, true)],
        seed in 1..u64::MAX,
    ) {
        let other = Choices(seed).reformatted(&policy);
        let comparison = compared(&policy, &other);
        prop_assert!(!comparison.verdict.is_real(), "{:?}\n{policy:#}\n{other:#}", lines(&comparison));
        for statement in &comparison.statements {
            prop_assert!(!statement.verdict.is_real());
        }
    }

    #[test]
    fn an_action_that_nothing_covers_widens(policy in document(true, false), seed in 1..u64::MAX) {
        let text = policy.to_string();
        prop_assume!(!text.contains("NotAction") && !text.contains("\"*\"") && !text.contains("Deny"));
        let mut wider = Choices(seed).reformatted(&policy);
        let added = json!({"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"});
        wider["Statement"].as_array_mut().unwrap().push(added);
        let comparison = compared(&policy, &wider);
        prop_assert_eq!(comparison.verdict, Verdict::Widened);
        prop_assert_eq!(lines(&comparison), ["+ sqs:SendMessage on *"]);
    }

    #[test]
    fn the_other_way_round_is_the_mirror_image((before, after) in related(true, false)) {
        let (there, back) = (compared(&before, &after), compared(&after, &before));
        let lines: BTreeSet<String> = lines(&back).into_iter().collect();
        prop_assert_eq!(mirrored(&there), (back.verdict, lines));
    }

    #[test]
    fn statements_and_lines_add_up_to_the_verdict((before, after) in related(true, false)) {
        let comparison = compared(&before, &after);
        let statements = &comparison.statements;
        let changes = || statements.iter().flat_map(|one| &one.changes);
        let widens = changes().any(|change| change.widens());
        let narrows = changes().any(|change| !change.widens());
        prop_assert_eq!(comparison.verdict.is_real(), widens || narrows);
        prop_assert_eq!(comparison.verdict == Verdict::Changed, widens && narrows);
        let places = |policy: &Value| -> Vec<usize> {
            (1..=policy["Statement"].as_array().unwrap().len()).collect()
        };
        let mut earlier: Vec<usize> =
            statements.iter().filter_map(|one| Some(one.before.as_ref()?.position)).collect();
        earlier.sort_unstable();
        prop_assert_eq!(earlier, places(&before));
        let later: Vec<usize> =
            statements.iter().filter_map(|one| Some(one.after.as_ref()?.position)).collect();
        prop_assert_eq!(later, places(&after));
    }

    #[test]
    fn no_json_makes_it_panic(
        one in prop_oneof![any_json(), nearly_a_policy()],
        two in prop_oneof![any_json(), nearly_a_policy(), document(true, false)],
        text in any::<String>(),
    ) {
        if let (Ok(one), Ok(two)) = (Grants::from_value(one), Grants::from_value(two)) {
            drop(lines(&compare(&one, &two)));
            prop_assert!(!compare(&one, &one).verdict.is_real());
        }
        drop(Grants::parse(&text));
    }
}
