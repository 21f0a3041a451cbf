//! What holds for any tampering and for any way of writing the same.

use std::{collections::BTreeSet, sync::LazyLock};

use onboarding_core::{
    drift::{RoleMeaning, RoleTruth},
    policy::compare::{Grants, compare},
    template::RoleSettings,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    samples,
    world::{self, EXTERNAL_ID, SPOT, attached, codes, drifts, text_of, truth},
};

/// A source of choices that a test can repeat.
struct Choices(u64);

impl Choices {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn shuffled<T>(&mut self, mut items: Vec<T>) -> Vec<T> {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
        items
    }

    fn recased(&mut self, text: &str) -> String {
        let mut one = |c: char| {
            if self.coin() {
                c.to_ascii_uppercase()
            } else {
                c.to_ascii_lowercase()
            }
        };
        text.chars().map(&mut one).collect()
    }

    /// The same names in another form.
    fn names(&mut self, value: &Value, form: impl Fn(&mut Self, &str) -> String) -> Value {
        let items = match value {
            Value::Array(items) => items.clone(),
            one => vec![one.clone()],
        };
        let mut names: Vec<String> = items
            .iter()
            .map(|name| form(self, name.as_str().unwrap()))
            .collect();
        if names.len() == 1 && self.coin() {
            return names.remove(0).into();
        }
        if self.coin() {
            names.push(names[self.below(names.len())].clone());
        }
        self.shuffled(names).into()
    }

    /// The same policy, written differently.
    fn rewritten(&mut self, text: &str) -> String {
        let document: Value = serde_json::from_str(text).unwrap();
        let mut statements = Vec::new();
        for statement in document["Statement"].as_array().unwrap() {
            let elements: Vec<(String, Value)> =
                statement.as_object().unwrap().clone().into_iter().collect();
            let mut written = json!({});
            for (element, value) in self.shuffled(elements) {
                match element.as_str() {
                    "Sid" if self.coin() => {}
                    "Sid" => written["Sid"] = format!("Sid{}", self.below(1 << 20)).into(),
                    "Action" | "NotAction" => {
                        written[element] =
                            self.names(&value, |choices, name| choices.recased(name));
                    }
                    "Resource" | "NotResource" => {
                        written[element] = self.names(&value, |_, name| name.to_owned());
                    }
                    _ => written[element] = value,
                }
            }
            statements.push(written);
        }
        if self.coin() {
            let again = statements[self.below(statements.len())].clone();
            statements.push(again);
        }
        let statements = match self.shuffled(statements) {
            one if one.len() == 1 && self.coin() => one[0].clone(),
            several => several.into(),
        };
        let document = json!({"Statement": statements, "Version": document["Version"]});
        if self.coin() {
            format!("{document:#}")
        } else {
            document.to_string()
        }
    }

    /// The policy with something else in it, which may or may not grant the same.
    fn mutated(&mut self, text: &str) -> String {
        let mut document: Value = serde_json::from_str(text).unwrap();
        let all = document["Statement"].as_array_mut().unwrap();
        let at = self.below(all.len());
        let statement = &mut all[at];
        let list = |value: &Value| match value {
            Value::Array(items) => items.clone(),
            one => vec![one.clone()],
        };
        let element = if statement.get("Action").is_some() {
            "Action"
        } else {
            "NotAction"
        };
        let mut actions = list(&statement[element]);
        let place = self.below(actions.len());
        match self.below(10) {
            0 if actions.len() > 1 => {
                actions.remove(place);
                statement[element] = actions.into();
            }
            1 => {
                let more = [
                    "ec2:*",
                    "iam:CreateUser",
                    "ec2:DescribeImages",
                    "s3:Get*",
                    "*",
                ];
                actions.push(more[self.below(more.len())].into());
                statement[element] = actions.into();
            }
            2 => {
                let name = actions[place].as_str().unwrap().to_owned();
                let (service, verb) = name.split_once(':').unwrap_or(("ec2", "Describe"));
                let cut = &verb[..verb.len() - self.below(4).min(verb.len())];
                actions[place] = format!("{service}:{cut}*").into();
                statement[element] = actions.into();
            }
            3 => statement["Resource"] = "*".into(),
            4 => statement["Resource"] = "arn:aws:s3:::bucket/*".into(),
            5 => {
                statement["Effect"] = if statement["Effect"] == "Allow" {
                    "Deny"
                } else {
                    "Allow"
                }
                .into()
            }
            6 => {
                statement["Condition"] =
                    json!({"StringEquals": {"aws:RequestedRegion": "us-east-1"}})
            }
            7 => drop(statement.as_object_mut().unwrap().shift_remove("Condition")),
            8 if all.len() > 1 => drop(all.remove(at)),
            _ => all.push(json!({"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*"})),
        }
        document.to_string()
    }
    /// The trust policy with something else in it, which may or may not let in the same.
    fn mutated_trust(&mut self, text: &str) -> String {
        let mut document: Value = serde_json::from_str(text).unwrap();
        let all = document["Statement"].as_array_mut().unwrap();
        let at = self.below(all.len());
        let statement = &mut all[at];
        match self.below(9) {
            0 => statement["Principal"] = json!("*"),
            1 => statement["Principal"] = json!({"AWS": "922761411349"}),
            2 => {
                statement["Principal"] = json!({"AWS": [SPOT, "arn:aws:iam::666666666666:user/x"]})
            }
            3 => statement["Principal"] = json!({"Service": "ec2.amazonaws.com"}),
            4 => drop(statement.as_object_mut().unwrap().shift_remove("Condition")),
            5 => {
                statement["Condition"] = json!({"stringequals": {"STS:ExternalId": [EXTERNAL_ID]}})
            }
            6 => statement["Condition"] = json!({"StringLike": {"sts:ExternalId": "spot*"}}),
            7 => statement["Action"] = json!(["sts:AssumeRole", "sts:TagSession"]),
            _ => {
                let mut more = statement.clone();
                more["Effect"] = if self.coin() { "Allow" } else { "Deny" }.into();
                all.push(more);
            }
        }
        document.to_string()
    }
}

static FULL: LazyLock<RoleMeaning> = LazyLock::new(|| {
    let mut spec = samples::samples()
        .into_iter()
        .find(|(name, _)| name == "queue-split-default")
        .unwrap()
        .1;
    spec.role = RoleSettings {
        name: Some("SpotRole".to_owned()),
        path: None,
        permissions_boundary: Some("arn:aws:iam::aws:policy/PowerUserAccess".to_owned()),
    };
    world::meaning(&world::body(&spec))
});

/// Whether two documents grant the same, by the comparison of policies alone.
fn grant_the_same(one: &str, other: &str) -> bool {
    let read = |text: &str| Grants::parse(text).unwrap();
    !compare(&read(one), &read(other)).verdict.is_real()
}

/// Ways of tampering that do not touch each other, each with the kind of difference that it makes.
type Tamper = (&'static str, fn(&mut RoleTruth));

const TAMPERS: [Tamper; 8] = [
    ("trust-differs", |truth| {
        truth.role.trust_policy = truth
            .role
            .trust_policy
            .replace("922761411349", "666666666666");
    }),
    ("boundary-differs", |truth| {
        truth.role.permissions_boundary = None
    }),
    ("path-differs", |truth| truth.role.path = "/x/".to_owned()),
    ("policy-detached", |truth| drop(truth.attached.remove(0))),
    ("policy-document-differs", |truth| {
        let text = text_of(truth.attached.last_mut().unwrap());
        *text = text.replacen("\"Allow\"", "\"Deny\"", 1);
    }),
    ("policy-inline-extra", |truth| {
        let stray = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}});
        truth.inline.insert("stray".to_owned(), stray.to_string());
    }),
    ("policy-attached-extra", |truth| {
        let stray = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}});
        truth.attached.insert(
            1,
            attached("arn:aws:iam::111111111111:policy/stray", &stray),
        );
    }),
    ("policy-unreadable", |truth| {
        let at = truth.attached.len() - 2;
        *text_of(&mut truth.attached[at]) = "?".to_owned();
    }),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_tampered_with_is_found_and_nothing_else(which in proptest::collection::vec(any::<bool>(), TAMPERS.len())) {
        let meaning = &*FULL;
        let mut truth = truth(meaning);
        let mut expected = BTreeSet::new();
        for ((code, tamper), chosen) in TAMPERS.iter().zip(which) {
            if chosen {
                expected.insert(*code);
                tamper(&mut truth);
            }
        }
        let found = drifts(meaning, &truth);
        prop_assert_eq!(codes(&found).len(), expected.len());
        prop_assert_eq!(codes(&found).into_iter().collect::<BTreeSet<_>>(), expected);
    }

    #[test]
    fn the_same_written_differently_is_no_drift(seed in 1..u64::MAX) {
        let meaning = &*FULL;
        let mut truth = truth(meaning);
        let mut choices = Choices(seed);
        for policy in &mut truth.attached {
            let text = text_of(policy);
            *text = choices.rewritten(text);
        }
        truth.role.trust_policy = choices.rewritten(&truth.role.trust_policy);
        truth.attached = choices.shuffled(truth.attached);
        prop_assert_eq!(drifts(meaning, &truth), []);
    }

    #[test]
    fn a_changed_document_is_found_unless_it_grants_the_same(seed in 1..u64::MAX, which in 0..4_usize, times in 1..4) {
        let meaning = &*FULL;
        let mut truth = truth(meaning);
        let mut choices = Choices(seed);
        let at = which % truth.attached.len();
        let original = text_of(&mut truth.attached[at]).clone();
        let mut changed = original.clone();
        for _ in 0..times {
            changed = choices.mutated(&changed);
        }
        let is_same = grant_the_same(&original, &changed);
        *text_of(&mut truth.attached[at]) = choices.rewritten(&changed);
        let found = drifts(meaning, &truth);
        let expected: &[&str] = if is_same { &[] } else { &["policy-document-differs"] };
        prop_assert_eq!(codes(&found), expected, "{}", changed);
        prop_assert!(is_same || !found[0].changes.is_empty());
    }

    #[test]
    fn a_changed_trust_policy_is_found_unless_it_lets_in_the_same(seed in 1..u64::MAX, times in 1..4) {
        let meaning = &*FULL;
        let mut truth = truth(meaning);
        let mut choices = Choices(seed);
        let original = truth.role.trust_policy.clone();
        let mut changed = original.clone();
        for _ in 0..times {
            changed = choices.mutated_trust(&changed);
        }
        let is_same = grant_the_same(&original, &changed);
        truth.role.trust_policy = choices.rewritten(&changed);
        let found = drifts(meaning, &truth);
        prop_assert_eq!(found.is_empty(), is_same, "{}\n{:?}", changed, found);
        for drift in &found {
            prop_assert!(drift.kind.code().starts_with("trust-"), "{:?}", drift);
        }
    }

    #[test]
    fn no_text_of_an_account_makes_it_panic(text in any::<String>(), name in any::<String>()) {
        let meaning = &*FULL;
        let mut truth = truth(meaning);
        truth.role.trust_policy = text.clone();
        *text_of(&mut truth.attached[0]) = text.clone();
        truth.attached[1].name = name.clone();
        truth.inline.insert(name, text);
        prop_assert!(!drifts(meaning, &truth).is_empty());
    }
}
