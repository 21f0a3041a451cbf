//! Which policies may be taken away by themselves: what they say is known, they deny nothing, and they are still the same.

use onboarding_core::{
    drift::{
        Changed, Drift, DriftKind, Fix, RoleTruth, Stray, StrayPolicy, TruthReading, still_there,
    },
    inventory::{AttachedPolicy, PolicyReading},
};
use serde_json::{Value, json};

use crate::{
    samples,
    world::{self, attached, drifts, truth},
};

const ADMIN: &str = "arn:aws:iam::aws:policy/AdministratorAccess";
const OWN: &str = "arn:aws:iam::111111111111:policy/team/reader";

fn document(effect: &str, action: &str) -> Value {
    let statement = json!({"Sid": "Stray", "Effect": effect, "Action": action, "Resource": "*"});
    json!({"Version": "2012-10-17", "Statement": [statement]})
}

/// A role as its stack left it, and after tampering.
fn tampered(tamper: impl FnOnce(&mut RoleTruth)) -> (RoleTruth, Vec<Drift>) {
    let (_, spec) = samples::samples()
        .into_iter()
        .find(|(name, _)| name == "queue-full-costs-default")
        .unwrap();
    let meaning = world::meaning(&world::body(&spec));
    let mut truth = truth(&meaning);
    tamper(&mut truth);
    let drifts = drifts(&meaning, &truth);
    (truth, drifts)
}

fn strays(drifts: &[Drift]) -> Vec<&Stray> {
    let strays = drifts.iter().filter_map(|drift| match &drift.fix {
        Fix::Remove(stray) => Some(&**stray),
        _ => None,
    });
    strays.collect()
}

fn put(truth: &mut RoleTruth, name: &str, text: &str) {
    truth.inline.insert(name.to_owned(), text.to_owned());
}

#[test]
fn what_somebody_added_and_only_allows_may_be_taken_away_and_put_back_as_it_was() {
    // Written as nobody else would write it: it comes back so.
    let text = "{ \"Version\":\"2012-10-17\",\n\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"iam:*\",\"Resource\":\"it's\"} }";
    let (truth, found) = tampered(|truth| {
        put(truth, "debug", text);
        truth
            .attached
            .push(attached(OWN, &document("Allow", "s3:*")));
        // AWS's own, once somebody has read it.
        truth
            .attached
            .push(attached(ADMIN, &document("Allow", "*")));
    });
    let strays = strays(&found);
    assert_eq!(strays.len(), 3, "{found:#?}");
    let role = &truth.role.arn;
    for stray in &strays {
        assert_eq!((&stray.role, &*stray.role_id), (role, "AROAEXAMPLE"));
        assert_eq!(stray.stack.as_deref(), Some(world::STACK));
    }
    let inline = strays.iter().find(|stray| stray.policy.name() == "debug");
    let inline = &inline.unwrap().policy;
    let name = role.role_name();
    assert_eq!(
        inline.put_back(role),
        format!(
            "aws iam put-role-policy --role-name {name} --policy-name debug --policy-document '{}'",
            text.replace('\'', r"'\''")
        )
    );
    let admin = strays.iter().find(|stray| stray.policy.name() == ADMIN);
    let admin = &admin.unwrap().policy;
    assert_eq!(
        admin.put_back(role),
        format!("aws iam attach-role-policy --role-name {name} --policy-arn {ADMIN}")
    );
    // A person is told the same as without.
    assert!(found.iter().all(|drift| {
        let fix = drift.fix.to_string();
        fix.starts_with("needs a person, in the account: aws iam de")
    }));
}

#[test]
fn what_denies_anything_or_is_not_known_is_left_to_a_person() {
    let revoked = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*",
        "Condition": {"DateLessThan": {"aws:TokenIssueTime": "2026-11-23T00:00:00Z"}}}]});
    let mut both = document("Allow", "s3:*");
    let denial = document("Deny", "s3:DeleteBucket")["Statement"][0].clone();
    both["Statement"].as_array_mut().unwrap().push(denial);
    // A denial of what the template does not grant changes nothing by itself, and yet is one.
    let apart = document("Deny", "glacier:*");
    for text in [
        revoked.to_string(),
        both.to_string(),
        apart.to_string(),
        "{}".to_owned(),
        json!({"Version": "2012-10-17", "Statement": []}).to_string(),
        json!({"Statement": [{"Effect": "allow", "Action": "s3:*", "Resource": "*"}]}).to_string(),
        "no JSON".to_owned(),
    ] {
        let (_, found) = tampered(|truth| {
            put(truth, "stray", &text);
            truth.attached.push(AttachedPolicy {
                arn: OWN.to_owned(),
                name: "reader".to_owned(),
                document: PolicyReading::Document {
                    version: "v1".to_owned(),
                    text: text.clone(),
                },
            });
        });
        assert_eq!(strays(&found), Vec::<&Stray>::new(), "{text}");
        let kinds: Vec<DriftKind> = found.iter().map(|drift| drift.kind).collect();
        assert_eq!(
            kinds,
            [DriftKind::PolicyAttachedExtra, DriftKind::PolicyInlineExtra],
            "{text}"
        );
    }
    let (_, unread) = tampered(|truth| {
        truth.attached.push(AttachedPolicy {
            arn: ADMIN.to_owned(),
            name: "AdministratorAccess".to_owned(),
            document: PolicyReading::Unread("an AWS managed policy".to_owned()),
        });
    });
    assert_eq!(unread.len(), 1);
    assert_eq!(strays(&unread), Vec::<&Stray>::new());
}

#[test]
fn what_the_template_gives_the_role_is_never_a_stray() {
    for (name, spec) in samples::samples() {
        if spec.spot_principal.as_str() != world::SPOT {
            continue;
        }
        let meaning = world::meaning(&world::body(&spec));
        let mut truth = truth(&meaning);
        // Whatever they say by now, they are the template's.
        for policy in &mut truth.attached {
            if let PolicyReading::Document { text, .. } = &mut policy.document {
                *text = document("Allow", "*").to_string();
            }
        }
        let found = drifts(&meaning, &truth);
        assert_eq!(strays(&found), Vec::<&Stray>::new(), "{name}");
        assert!(!found.is_empty(), "{name}");
    }
}

#[test]
fn nothing_is_taken_away_when_anything_is_not_as_it_was_looked_at() {
    let allow = document("Allow", "s3:*").to_string();
    let (truth, found) = tampered(|truth| {
        put(truth, "debug", &allow);
        truth
            .attached
            .push(attached(OWN, &document("Allow", "s3:*")));
    });
    let policies: Vec<StrayPolicy> = strays(&found)
        .into_iter()
        .map(|stray| stray.policy.clone())
        .collect();
    let (arn, id) = (truth.role.arn.clone(), truth.role.id.clone());
    let now = |tamper: &dyn Fn(&mut RoleTruth)| {
        let mut truth = truth.clone();
        tamper(&mut truth);
        still_there(
            &arn,
            &id,
            &policies,
            &TruthReading::Present(Box::new(truth)),
        )
        .map(|there| {
            there
                .iter()
                .map(|one| one.name().to_owned())
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(now(&|_| {}), Ok(vec![OWN.to_owned(), "debug".to_owned()]));
    // What somebody else has taken away meanwhile is no reason to leave the rest.
    assert_eq!(
        now(&|truth| drop(truth.inline.remove("debug"))),
        Ok(vec![OWN.to_owned()])
    );
    let wider = document("Allow", "*").to_string();
    let changed = |words: &str| Err(Changed::Document(words.to_owned()));
    assert_eq!(
        now(&|truth| put(truth, "debug", &wider)),
        changed("inline policy debug")
    );
    let with = |truth: &mut RoleTruth, document: PolicyReading| {
        let mut attached = truth.attached.iter_mut();
        attached.find(|policy| policy.arn == OWN).unwrap().document = document;
    };
    for document in [
        PolicyReading::Document {
            version: "v2".to_owned(),
            text: wider.clone(),
        },
        PolicyReading::Unread("AccessDenied".to_owned()),
    ] {
        assert_eq!(
            now(&|truth| with(truth, document.clone())),
            changed(&format!("attached policy {OWN}"))
        );
    }
    assert_eq!(
        now(&|truth| truth.role.id = "AROAANOTHER".to_owned()),
        Err(Changed::AnotherRole(arn.clone()))
    );
    let read = |truth| still_there(&arn, &id, &policies, &truth);
    assert_eq!(read(TruthReading::Absent), Err(Changed::Gone(arn.clone())));
    assert_eq!(
        read(TruthReading::Denied("no".to_owned())),
        Err(Changed::Unread("no".to_owned()))
    );
}
