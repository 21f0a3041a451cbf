//! Versions of the policies: how they are divided, both in one template, and read back from it.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use std::collections::BTreeMap;

use onboarding_core::{
    drift::Meanings,
    ids::AwsAccountId,
    policy::PolicyDocument,
    template::{
        Format, NamedPolicy, Partition, PinnedVersions, PolicyPurpose, PolicyVersion, Template,
        TemplateSpec, read_versions,
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::samples::{
    COST_INTELLIGENCE, ELASTIGROUP_OCEAN, base, glacier, oversized, policy, rollout_samples, with,
};

/// Both policies, and a version that follows them: one grows by a managed policy, the other one in place.
fn both() -> (TemplateSpec, PinnedVersions) {
    let mut spec = base();
    let full = policy(PolicyPurpose::ElastigroupOcean, ELASTIGROUP_OCEAN);
    let costs = policy(PolicyPurpose::CostIntelligence, COST_INTELLIGENCE);
    let wider = [with(&full, glacier("A")), with(&costs, glacier("B"))];
    spec.policies = vec![full, costs];
    let current = PolicyVersion::new(Some("good"), &spec.policies, Partition::Aws).unwrap();
    let next = PolicyVersion::following(Some("next"), &wider, Partition::Aws, &current).unwrap();
    let pinned = PinnedVersions {
        current,
        next: Some(next),
    };
    spec.pinned = Some(pinned.clone());
    (spec, pinned)
}

fn rendered(spec: &TemplateSpec) -> String {
    let template = Template::new(spec).unwrap();
    template.render(Format::CompactJson).unwrap().body
}

fn only(spec: &TemplateSpec, version: &PolicyVersion) -> String {
    rendered(&TemplateSpec {
        pinned: Some(PinnedVersions {
            current: version.clone(),
            next: None,
        }),
        ..spec.clone()
    })
}

/// What a template means for an account with this version.
fn meaning(body: &str, set: &str, own: Option<&str>) -> String {
    let version = |name: &str| BTreeMap::from([("PolicyVersion".to_owned(), name.to_owned())]);
    let region = "us-east-1".parse().unwrap();
    let meanings = Meanings::new(body, Partition::Aws, region, version(set)).unwrap();
    let account = AwsAccountId::from_number(7).unwrap();
    let mut own = own.map(version).unwrap_or_default();
    // Without one, a stack that has no custom resources makes no role.
    own.insert("ExternalId".to_owned(), "an-external-id".to_owned());
    let meaning = meanings.for_account(account, &own, None).unwrap();
    format!("{:#?}", meaning.unwrap())
}

#[test]
fn every_sample_of_a_rollout_means_the_one_version_or_the_other() {
    for (name, spec) in rollout_samples() {
        let body = rendered(&spec);
        let pinned = spec.pinned.clone().unwrap();
        let (current, next) = (&pinned.current, pinned.next.as_ref().unwrap());
        let of = |version: &PolicyVersion| only(&spec, version);
        let (staged, before) = (
            meaning(&body, "2026a", None),
            meaning(&of(current), "2026a", None),
        );
        assert_eq!(staged, before, "{name}");
        let (told, after) = (
            meaning(&body, "2026a", Some("2027a")),
            meaning(&of(next), "2027a", None),
        );
        assert_eq!(told, after, "{name}");
        assert_ne!(before, after, "{name}");
    }
}

#[test]
fn a_template_with_both_means_each_of_them_by_its_parameter() {
    let (spec, pinned) = both();
    let staged = rendered(&spec);
    let (current, next) = (pinned.current, pinned.next.unwrap());
    let (good, wider) = (only(&spec, &current), only(&spec, &next));
    assert_eq!(meaning(&staged, "good", None), meaning(&good, "good", None));
    assert_eq!(
        meaning(&staged, "good", Some("next")),
        meaning(&wider, "next", None)
    );
    assert_ne!(meaning(&good, "good", None), meaning(&wider, "next", None));
    // Anything else is the good one: nobody gets the next one by mistake.
    assert!(!meaning(&staged, "good", Some("other")).contains("glacier"));
    let template: Value = serde_json::from_str(&staged).unwrap();
    assert_eq!(template["Parameters"]["PolicyVersion"]["Default"], "good");
    assert_eq!(
        template["Resources"]["SpotManagedPolicy2"]["Condition"],
        "ElastigroupOceanPolicyIncludedNext"
    );
    assert!(
        template["Resources"]["SpotManagedPolicy"]["Properties"]["PolicyDocument"]["Statement"]
            .is_array()
    );
    insta::assert_snapshot!(format!("{:#}", template["Conditions"]));
}

#[test]
fn what_is_deployed_is_read_back_as_it_is_divided() {
    let (spec, pinned) = both();
    let read = read_versions(&rendered(&spec), Some("good"))
        .unwrap()
        .unwrap();
    assert_eq!(read, pinned);
    assert_eq!(read.current.digest(), pinned.current.digest());
    // A template without versions of ours, as `stackset-sync` deploys it.
    let mut plain = base();
    plain.policies = vec![oversized()];
    plain.policy_version = "2026a".to_owned();
    let read = read_versions(&rendered(&plain), None).unwrap().unwrap();
    assert_eq!(read.current.name, "2026a");
    assert_eq!(read.current.managed_policies(), 2);
    let divided = PolicyVersion::new(Some("2026a"), &plain.policies, Partition::Aws).unwrap();
    assert_eq!(read.current, divided);
    assert_eq!(read_versions(r#"{"Resources": {}}"#, None).unwrap(), None);
    // And what is kept of it in the state.
    let kept = divided.policies_to_value();
    assert_eq!(PolicyVersion::from_value("2026a", &kept).unwrap(), divided);
}

#[test]
fn a_version_that_goes_back_to_fewer_managed_policies_takes_the_last_one_away() {
    let (spec, pinned) = both();
    let wide = pinned.next.unwrap();
    let narrow =
        PolicyVersion::following(Some("narrow"), &spec.policies, Partition::Aws, &wide).unwrap();
    let back = TemplateSpec {
        pinned: Some(PinnedVersions {
            current: wide.clone(),
            next: Some(narrow.clone()),
        }),
        ..spec.clone()
    };
    let staged = rendered(&back);
    assert_eq!(
        meaning(&staged, "next", Some("narrow")),
        meaning(&only(&spec, &narrow), "narrow", None)
    );
    assert_eq!(narrow.digest(), pinned.current.digest(), "it says the same");
}

#[test]
fn a_statement_that_would_have_to_move_is_refused_with_the_way_out() {
    let full = policy(PolicyPurpose::ElastigroupOcean, ELASTIGROUP_OCEAN);
    let earlier = PolicyVersion::new(None, std::slice::from_ref(&full), Partition::Aws).unwrap();
    let mut value = full.document.to_value();
    let actions: Vec<String> = (0..20)
        .map(|number| format!("glacier:Action{number}"))
        .collect();
    value["Statement"][2]["Action"] = json!(actions);
    let grown = NamedPolicy {
        purpose: full.purpose.clone(),
        document: PolicyDocument::from_value(value).unwrap(),
    };
    let refused = PolicyVersion::following(None, &[grown], Partition::Aws, &earlier).unwrap_err();
    let source = std::error::Error::source(&refused).unwrap().to_string();
    assert!(source.contains("missing for a moment"), "{source}");
}

#[test]
fn names_that_cannot_be_part_of_a_statement_id_are_refused() {
    let (mut spec, mut pinned) = both();
    pinned.next = pinned.next.map(|next| next.named("2027-a"));
    spec.pinned = Some(pinned);
    let error = Template::new(&spec).unwrap_err().to_string();
    assert!(error.contains("2027-a"), "{error}");
}

fn document(statements: &[(u16, usize)]) -> NamedPolicy {
    let statements: Vec<Value> = statements
        .iter()
        .map(|(number, length)| {
            let actions: Vec<String> = (0..*length).map(|n| format!("s{number}:Action{n:03}")).collect();
            json!({"Sid": format!("S{number}"), "Effect": "Allow", "Action": actions, "Resource": "*"})
        })
        .collect();
    let value = json!({"Version": "2012-10-17", "Statement": statements});
    NamedPolicy {
        purpose: PolicyPurpose::ElastigroupOcean,
        document: PolicyDocument::from_value(value).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_statement_moves_and_none_is_lost(
        before in prop::collection::btree_map(0_u16..60, 1_usize..60, 1..40),
        changes in prop::collection::btree_map(0_u16..80, 0_usize..60, 0..20),
    ) {
        let mut after = before.clone();
        for (number, length) in changes {
            if length == 0 && after.len() > 1 {
                after.remove(&number);
            } else {
                after.insert(number, length.max(1));
            }
        }
        let list = |map: &BTreeMap<u16, usize>| map.iter().map(|(a, b)| (*a, *b)).collect::<Vec<_>>();
        let earlier = PolicyVersion::new(None, &[document(&list(&before))], Partition::Aws).unwrap();
        let wanted = document(&list(&after));
        let Ok(later) = PolicyVersion::following(None, std::slice::from_ref(&wanted), Partition::Aws, &earlier) else {
            return Ok(());
        };
        let places = |version: &PolicyVersion| -> BTreeMap<String, usize> {
            let pieces = version.pieces(&PolicyPurpose::ElastigroupOcean).unwrap().iter().enumerate();
            pieces
                .flat_map(|(index, piece)| {
                    let statements = piece.iter().flat_map(PolicyDocument::statements);
                    statements.map(move |one| (one.sid().unwrap().to_owned(), index)).collect::<Vec<_>>()
                })
                .collect()
        };
        let (was, is) = (places(&earlier), places(&later));
        prop_assert_eq!(is.len(), after.len());
        for (sid, place) in &is {
            if let Some(before) = was.get(sid) {
                prop_assert_eq!(before, place, "{} moved", sid);
            }
        }
        for piece in later.pieces(&PolicyPurpose::ElastigroupOcean).unwrap().iter().flatten() {
            prop_assert!(piece.size() <= 6_113);
        }
        let fresh = PolicyVersion::new(None, &[wanted], Partition::Aws).unwrap();
        prop_assert_eq!(fresh.digest(), later.digest());
    }
}
