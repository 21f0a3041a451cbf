//! Jobs that are for fewer profiles than there are: what is known of the others stays, or is forgotten.

use super::*;

#[test]
fn a_finding_stays_while_a_run_names_fewer_profiles_and_is_forgotten_when_the_job_does() {
    let rehearsal = Rehearsal::new(&SMALL.replace("depth = 2", "depth = 1"));
    let ous = rehearsal.admin("ous", None);
    let ous = ous["ous"].as_array().unwrap();
    let units = ous.iter().filter(|unit| unit["parent"].is_string());
    let profiles = units.zip(["a", "b"]).map(|(unit, name)| {
        let unit = text(&unit["id"]);
        format!("[[profiles]]\nname = {name:?}\ntargets = {{ ous = [{unit:?}] }}\n")
    });
    let profiles: String = profiles.collect();
    rehearsal.write(
        "config/runner.toml",
        &format!("[aws]\nregion = \"us-east-1\"\n[enrollment]\nserved_by = \"run\"\n{profiles}"),
    );
    let ids = |document: &Value, list: &str| -> BTreeSet<String> {
        let found = document[list].as_array().into_iter().flatten();
        let ids = found.map(|finding| text(&finding["id"]));
        // Not those of accounts.
        ids.filter(|id| !id.starts_with("missing-instance:"))
            .collect()
    };
    let set = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let of_a = "stack-set-missing:create-stack-set:a";
    let of_b = "stack-set-missing:create-stack-set:b";
    let of_none = "token-age-unknown:spot";

    rehearsal.define_audit("[params]\ntoken_max_age = \"1d\"");
    let all = rehearsal.audit_ends(3, &[]);
    assert_eq!(ids(&all, "findings"), set(&[of_a, of_b, of_none]));

    // A run that was told to look at one of them says nothing about the rest, nor about what the organization has as a whole.
    rehearsal.define_audit("");
    let narrowed = rehearsal.audit_ends(3, &["--set", "params.profiles=[\"a\"]"]);
    assert_eq!(ids(&narrowed, "findings"), set(&[of_a]));
    assert_eq!(ids(&narrowed, "not_looked_at"), set(&[of_b, of_none]));

    // The job is for that one only: there is no more to look at.
    rehearsal.define_audit("[params]\nprofiles = [\"a\"]");
    let fewer = rehearsal.audit_ends(3, &[]);
    assert_eq!(ids(&fewer, "findings"), set(&[of_a]));
    assert_eq!(fewer["not_looked_at"], Value::Null, "{fewer:#}");
    let first = |document: &Value, id: &str| {
        let mut findings = document["findings"].as_array().unwrap().iter();
        findings.find(|one| one["id"] == *id).unwrap()["first_seen"].clone()
    };
    assert_eq!(first(&fewer, of_a), first(&all, of_a));
    rehearsal.define_audit("");
    let again = rehearsal.audit_ends(3, &[]);
    assert_eq!(ids(&again, "findings"), set(&[of_a, of_b]));
    assert_eq!(again["not_looked_at"], Value::Null, "{again:#}");
}
