//! The shipped files, and what people are told when theirs are wrong.

mod events;
mod notify;
mod remediation;
mod retry;

use std::{fs, path::Path};

use onboarding_core::desired::Deployment;
use serde_json::Value;

use super::{Config, ConfigErrors, DesiredOptions, JobKind, Loaded, schema};

fn shipped() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config"))
}

/// A configuration directory with this text as runner.toml and these job files, and the shipped policies.
struct Directory(tempfile::TempDir);

impl Directory {
    fn new(runner: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("jobs")).unwrap();
        fs::create_dir_all(directory.path().join("policies")).unwrap();
        for policy in fs::read_dir(shipped().join("policies")).unwrap() {
            let policy = policy.unwrap();
            fs::copy(
                policy.path(),
                directory.path().join("policies").join(policy.file_name()),
            )
            .unwrap();
        }
        fs::write(directory.path().join("runner.toml"), runner).unwrap();
        Self(directory)
    }

    fn with_job(self, name: &str, text: &str) -> Self {
        fs::write(
            self.0.path().join("jobs").join(format!("{name}.toml")),
            text,
        )
        .unwrap();
        self
    }

    fn load(&self, sets: &[&str]) -> Result<Loaded, ConfigErrors> {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        Config::load(self.0.path(), &sets)
    }

    /// What is wrong, with the directory's name as `config`.
    fn errors(&self, sets: &[&str]) -> String {
        self.shorten(&self.load(sets).unwrap_err())
    }

    fn shorten(&self, errors: &ConfigErrors) -> String {
        errors
            .to_string()
            .replace(&self.0.path().display().to_string(), "config")
    }
}

/// A runner.toml that is in order, with more text before and after its profile.
fn runner_toml(sections: &str, profile: &str) -> String {
    format!(
        "[aws]\nregion = \"us-east-1\"\n{sections}\n[[profiles]]\nname = \"default\"\n{profile}\ntargets = {{ ous = [\"root\"] }}\n"
    )
}

/// A runner.toml whose profile says its own targets.
fn with_targets(profile: &str) -> String {
    format!("[aws]\nregion = \"us-east-1\"\n[[profiles]]\nname = \"default\"\n{profile}\n")
}

fn errors_of(sections: &str, profile: &str) -> String {
    Directory::new(&runner_toml(sections, profile)).errors(&[])
}

#[test]
fn each_kind_of_job_has_its_page() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/jobs");
    for kind in JobKind::ALL {
        let name = kind.name();
        let page = std::fs::read_to_string(pages.join(format!("{name}.md")));
        let page = page.unwrap_or_else(|error| panic!("docs/jobs/{name}.md: {error}"));
        let heading = page.lines().next().unwrap_or_default();
        assert_eq!(heading, format!("# {name}"));
    }
    assert_eq!(
        std::fs::read_dir(pages).unwrap().count(),
        JobKind::ALL.len()
    );
}

#[test]
fn the_shipped_files_load_and_render() {
    let loaded = Config::load(shipped(), &[]).unwrap();
    assert_eq!(loaded.broken_jobs, []);
    assert_eq!(loaded.jobs.len(), JobKind::ALL.len());
    loaded.check().unwrap();
    let desired = loaded
        .desired(DesiredOptions {
            home_account: "123456789012".parse().ok(),
            ..DesiredOptions::default()
        })
        .unwrap();
    let topic = "arn:aws:sns:us-east-1:123456789012:spot-onboarding";
    assert!(desired.profiles[0].definition.template_body.contains(topic));
    assert_eq!(
        desired.profiles[0].stack_set.as_str(),
        "spot-onboarding-default"
    );
}

/// A shipped file with every setting and section in force that is commented out: lines that begin with `#` and no space.
fn uncommented(text: &str) -> toml::Table {
    let in_force = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
            rest.to_owned()
        }
        _ => line.to_owned(),
    };
    text.lines()
        .map(in_force)
        .collect::<Vec<_>>()
        .join("\n")
        .parse()
        .unwrap()
}

/// Compares a table with its schema: every key is there, and a key with a default has it.
fn check_defaults(schema: &Value, table: &Value, path: &str) {
    for (name, below) in schema::properties(schema) {
        let path = format!("{path}.{name}");
        let value = table
            .get(name)
            .unwrap_or_else(|| panic!("{path} is missing"));
        let (inner, item) = if below["items"]["properties"].is_object() {
            (&below["items"], &value[0])
        } else {
            (below, value)
        };
        if inner["properties"].is_object() {
            check_defaults(inner, item, &path);
        } else if let Some(default) = below.get("default") {
            let is_set_on_purpose =
                [".profiles.targets.ous", ".schedule.jitter"].contains(&path.as_str());
            assert!(
                default == value || is_set_on_purpose,
                "{path} is {value}, and its default is {default}"
            );
        }
        for alternative in schema::alternatives(below) {
            let name = alternative.name;
            let text = fs::read_to_string(shipped().join("runner.toml")).unwrap();
            assert!(
                text.contains(&format!("{{ {name} = ")),
                "{path} = {{ {name} = … }} is not shown"
            );
        }
    }
}

#[test]
fn the_shipped_files_show_every_key_and_its_default() {
    let read = |path: &str| {
        serde_json::to_value(uncommented(
            &fs::read_to_string(shipped().join(path)).unwrap(),
        ))
        .unwrap()
    };
    check_defaults(schema::runner(), &read("runner.toml"), "");
    for kind in JobKind::ALL {
        check_defaults(schema::job(kind), &read(&format!("jobs/{kind}.toml")), "");
    }
}

#[test]
fn the_shipped_files_say_nothing_that_is_unknown() {
    for (path, schema) in [
        ("runner.toml", schema::runner()),
        (
            "jobs/stackset-sync.toml",
            schema::job(JobKind::StacksetSync),
        ),
    ] {
        let text = uncommented(&fs::read_to_string(shipped().join(path)).unwrap()).to_string();
        let source = super::source::Source::new(path.to_owned(), text);
        assert_eq!(schema::check(schema, &source.parse().unwrap()), []);
    }
}

#[test]
fn several_errors_are_reported_at_once() {
    insta::assert_snapshot!(errors_of(
        "call_as = \"delegated_admin\"\n[enrollment]\nservce_timeout = \"1h\"\nconsumers = \"eight\"\n[stack_set]\ntopic_arn = \"x\"",
        "products = []\ncolour = 1"
    ));
}

#[test]
fn an_unknown_key_names_the_nearest_one() {
    insta::assert_snapshot!(errors_of("[enrollment]\nservce_timeout = \"1h\"", ""));
}

#[test]
fn a_wrong_type_says_what_is_wanted() {
    insta::assert_snapshot!(errors_of(
        "[enrollment]\nservice_timeout = 3600\nconsumers = \"8\"",
        "adopt = true"
    ));
}

#[test]
fn a_bad_organizational_unit_says_the_forms() {
    insta::assert_snapshot!(errors_of(
        "",
        "[[profiles]]\nname = \"x\"\ntargets = { ous = [\"ou-1234\", \"Workloads//Prod\"] }\n[[profiles]]\nname = \"y\""
    ));
}

#[test]
fn a_bad_account_id_says_the_form() {
    let directory = Directory::new(&format!(
        "protected_accounts = [12345, \"12345\"]\n{}",
        runner_toml("", "")
    ));
    insta::assert_snapshot!(directory.errors(&[]));
}

#[test]
fn a_bad_duration_says_the_form() {
    insta::assert_snapshot!(errors_of(
        "[retry_failed]\nfirst = \"15\"\n[removal]\nclosed_grace = \"two weeks\"",
        ""
    ));
}

#[test]
fn broken_toml_has_its_place() {
    insta::assert_snapshot!(errors_of("[enrollment\nconsumers = 8", ""));
}

#[test]
fn a_token_has_exactly_one_source() {
    insta::assert_snapshot!(errors_of(
        "[spot]\ntoken = { env = \"A\", fille = \"b\" }",
        ""
    ));
    insta::assert_snapshot!(errors_of("[spot]\ntoken = \"abc\"", ""));
}

#[test]
fn a_token_that_is_pasted_in_is_never_shown() {
    for spot in [
        "[spot]\ntoken = \"c0ffee\"",
        "[spot]\ntoken = c0ffee",
        "spot = { token = \"c0ffee\" }",
        "spot.token = \"c0ffee",
        "[[notify]]\nname = \"x\"\nsecret = \"c0ffee\"",
        "[[notify]]\nname = \"x\"\nslack = \"https://c0ffee\"",
        "[[notify]]\nname = \"x\"\nwebhook = \"https://user:c0ffee@example.com\"",
    ] {
        let errors = errors_of(spot, "");
        assert!(!errors.contains("c0ffee"), "{errors}");
    }
    let errors = Directory::new(&runner_toml("", "")).errors(&["spot.token=c0ffee"]);
    assert!(!errors.contains("c0ffee"), "{errors}");
}

#[test]
fn a_missing_key_says_what_it_is_for() {
    insta::assert_snapshot!(Directory::new("[aws]\n[[profiles]]\nname = \"a\"\n").errors(&[]));
}

#[test]
fn a_duplicate_profile_is_refused() {
    let second = "targets = { ous = [\"root\"] }\n[[profiles]]\nname = \"default\"";
    insta::assert_snapshot!(errors_of("", second));
}

#[test]
fn two_profiles_cannot_share_a_stack_set() {
    let second = "targets = { ous = [\"root\"] }\n[[profiles]]\nname = \"other\"\nstack_set = \"spot-onboarding-default\"";
    insta::assert_snapshot!(errors_of("", second));
}

#[test]
fn auto_deployment_with_excludes_names_both_ways_out() {
    let text = "[aws]\nregion = \"us-east-1\"\n[[profiles]]\nname = \"default\"\ndeployment = \"auto\"\n[profiles.targets]\nous = [\"root\"]\nexclude_accounts = [\"123456789012\"]\n";
    insta::assert_snapshot!(Directory::new(text).errors(&[]));
}

#[test]
fn auto_deployment_with_tags_names_both_ways_out() {
    let profile =
        "deployment = \"auto\"\n[profiles.targets]\ntags = { stage = \"prod\" }\nous = [\"root\"]";
    insta::assert_snapshot!(Directory::new(&with_targets(profile)).errors(&[]));
}

#[test]
fn tags_have_one_value_or_several_and_an_empty_one_is_one() {
    let profile = "[profiles.targets]\nous = [\"root\"]\ntags = { stage = \"prod\", owner = [\"a\", \"b\"], on = \"\" }";
    let loaded = Directory::new(&with_targets(profile)).load(&[]).unwrap();
    let targets = loaded.runner.profiles[0].targets.resolved();
    let asked: Vec<(&str, Vec<&str>)> = targets
        .tags
        .iter()
        .map(|(key, values)| (key.as_str(), values.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(
        asked,
        [
            ("on", vec![""]),
            ("owner", vec!["a", "b"]),
            ("stage", vec!["prod"])
        ]
    );
}

#[test]
fn tags_that_no_account_can_carry_are_refused() {
    let (key, value) = ("k".repeat(129), "v".repeat(257));
    let profile = format!(
        "[profiles.targets]\naccounts = [\"123456789012\"]\n[profiles.targets.tags]\n\"\" = \"a\"\n\
         \"AWS:team\" = \"a\"\n{key} = \"a\"\n{} = \"a\"\n",
        "k".repeat(128)
    );
    insta::assert_snapshot!(Directory::new(&with_targets(&profile)).errors(&[]));
    let profile = format!(
        "[profiles.targets]\nous = [\"root\"]\n[profiles.targets.tags]\na = []\nb = 1\nc = [\"x\", 1]\n\
         d = {value:?}\ne = [\"\", {value:?}]\nf = {:?}\n",
        "v".repeat(256)
    );
    insta::assert_snapshot!(Directory::new(&with_targets(&profile)).errors(&[]));
}

#[test]
fn what_does_not_go_together_is_refused() {
    insta::assert_snapshot!(errors_of(
        "call_timeout = \"5s\"\n[enrollment]\nprovider = \"spot-hosted\"\ntopic_arn = \"arn:aws:sns:eu-west-1:123456789012:spot\"\nservice_timeout = \"2h\"\nqueue_url = \"spot\"\n[state]\nurl = \"mysql://user:canary@db\"\n[stack_set.tags]\n\"aws:team\" = \"x\"",
        "stack_set = \"a\"\n"
    ));
}

#[test]
fn names_that_the_provider_cannot_give_are_refused() {
    insta::assert_snapshot!(errors_of("", "naming = { rename = \"{account-name}\" }"));
}

#[test]
fn a_missing_directory_or_file_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none");
    let error = Config::load(&path, &[]).unwrap_err().to_string();
    insta::assert_snapshot!(error.replace(&path.display().to_string(), "none"));
    let error = Config::load(directory.path(), &[]).unwrap_err().to_string();
    insta::assert_snapshot!(error.replace(&directory.path().display().to_string(), "config"));
}

#[test]
fn a_broken_job_is_disabled_alone() {
    let directory = Directory::new(&runner_toml("", ""))
        .with_job("bad-cron", "kind = \"stackset-sync\"\nschedule = { cron = \"0 30 25 * * *\" }\n")
        .with_job("bad-profile", "kind = \"stackset-sync\"\n[params]\nprofiles = [\"defualt\"]\n")
        .with_job("five-fields", "kind = \"stackset-sync\"\nschedule = { cron = \"30 5 * * *\", timezone = \"Europe/Berlim\" }\n")
        .with_job("good", "kind = \"stackset-sync\"\n")
        .with_job("no-kind", "enabled = true\n")
        .with_job("unknown-kind", "kind = \"stacksetsync\"\n");
    let loaded = directory.load(&[]).unwrap();
    assert_eq!(
        loaded
            .jobs
            .iter()
            .map(|job| job.name.as_str())
            .collect::<Vec<_>>(),
        ["good"]
    );
    let text = loaded.broken_jobs_text().unwrap();
    insta::assert_snapshot!(text.replace(&directory.0.path().display().to_string(), "config"));
    assert!(loaded.job("good").is_ok());
    insta::assert_snapshot!(directory.shorten(&loaded.job("goood").unwrap_err()));
}

#[test]
fn a_missing_policy_names_the_file_and_the_profile() {
    let text = runner_toml(
        "",
        "policies = { cost-intelligence = \"policies/cost.json\" }\n",
    );
    let directory = Directory::new(&text);
    insta::assert_snapshot!(directory.shorten(&directory.load(&[]).unwrap().check().unwrap_err()));
}

#[test]
fn without_a_home_account_a_topic_is_needed() {
    let directory = Directory::new(&runner_toml("[enrollment]\nprovider = \"queue\"", ""));
    let loaded = directory.load(&[]).unwrap();
    insta::assert_snapshot!(
        directory.shorten(&loaded.desired(DesiredOptions::default()).unwrap_err())
    );
}

#[test]
fn set_options_change_what_they_name() {
    let directory = Directory::new(&runner_toml("[enrollment]\nconsumers = 8", ""))
        .with_job("sync", "kind = \"stackset-sync\"\n");
    let loaded = directory
        .load(&[
            "enrollment.consumers=4",
            "aws.region=eu-west-1",
            "enrollment.service_timeout=\"30m\"",
            "timeout=2h",
        ])
        .unwrap();
    assert_eq!(loaded.runner.enrollment.consumers, 4);
    assert_eq!(loaded.runner.aws.region.as_str(), "eu-west-1");
    assert_eq!(loaded.runner.enrollment.service_timeout.to_string(), "30m");
    assert_eq!(loaded.jobs[0].timeout.to_string(), "1h");
    assert_eq!(loaded.job("sync").unwrap().timeout.to_string(), "2h");
}

#[test]
fn a_wrong_set_option_is_shown_as_it_was_given() {
    let directory = Directory::new(&runner_toml("[enrollment]\nconsumers = 8", ""));
    insta::assert_snapshot!(
        directory.errors(&["enrollment.consumers=many", "enrollment.servce_timeout=1h"])
    );
    insta::assert_snapshot!(
        directory
            .errors(&["removal.max_removals=1000"])
            .replace('\\', "/")
    );
}

#[test]
fn what_a_gate_asks_is_no_matter_of_the_command_line_although_what_an_audit_asks_is() {
    let directory = Directory::new(&runner_toml(AUDIT, ""))
        .with_job("audit", "kind = \"drift-audit\"\n")
        .with_job(
            "rollout",
            "kind = \"policy-rollout\"\n[params]\nprofile = \"default\"\n",
        );
    let loaded = directory.load(&["params.ask_spot=true"]).unwrap();
    assert!(loaded.job("audit").is_ok());
    let refused = directory.shorten(&loaded.job("rollout").unwrap_err());
    assert!(
        refused.contains("--set cannot change params.ask_spot")
            && refused.contains("config/jobs/rollout.toml"),
        "{refused}"
    );
    // What no kind has is told by the schema, with what may have been meant.
    let loaded = directory.load(&["params.dpeth=full"]).unwrap();
    let unknown = directory.shorten(&loaded.job("audit").unwrap_err());
    assert!(unknown.contains("did you mean `depth`?"), "{unknown}");
}

/// An audit role of our own.
const AUDIT: &str =
    "[audit]\nenabled = true\nprincipals = [\"role/runner\"]\norganization_id = \"o-abcdefghij\"\n";

#[test]
fn the_audit_role_needs_who_may_assume_it_and_a_place_of_its_own() {
    insta::assert_snapshot!(errors_of("[audit]\nenabled = true", ""));
    insta::assert_snapshot!(errors_of(
        AUDIT,
        "targets = { ous = [\"root\"] }\n[[profiles]]\nname = \"audit-role\""
    ));
    insta::assert_snapshot!(errors_of(
        "[audit]\nprincipals = [\"arn:aws:iam::111122223333:role/runner\"]\npath = \"spot\"\norganization_id = \"1\"",
        ""
    ));
}

#[test]
fn stacks_delete_spot_accounts_only_where_their_status_can_be_read() {
    const STACK: &str = "[enrollment]\ndeletion = \"stack\"\n";
    let error = errors_of(STACK, "");
    for words in ["forged or stale", "audit.role_name", "\"reconcile\""] {
        assert!(error.contains(words), "{error}");
    }
    for sections in [
        format!("{STACK}{AUDIT}"),
        format!("{STACK}[audit]\nenabled = true\nrole_name = \"reader\"\n"),
        "[enrollment]\ndeletion = \"stack\"\nprovider = \"spot-hosted\"\n\
         cost_intelligence_lambda = \"their-function\"\n"
            .to_owned(),
    ] {
        let loaded = Directory::new(&runner_toml(&sections, "")).load(&[]);
        assert!(loaded.is_ok(), "{sections}");
    }
}

#[test]
fn the_audit_role_is_deployed_by_aws_where_aws_deploys_every_profile() {
    let audit = |sections: &str, profile: &str| {
        let directory = Directory::new(&runner_toml(sections, profile));
        let options = DesiredOptions {
            home_account: "111122223333".parse().ok(),
            ..DesiredOptions::default()
        };
        let loaded = directory.load(&[]).unwrap();
        loaded.desired(options).unwrap().audit
    };
    assert_eq!(audit("", ""), None);
    let existing = "[audit]\nenabled = true\nrole_name = \"SecurityAudit\"";
    assert_eq!(audit(existing, ""), None);
    let ours = audit(AUDIT, "").unwrap();
    assert_eq!(ours.stack_set.as_str(), "spot-onboarding-audit-role");
    assert_eq!(ours.deployment, Some(Deployment::Auto));
    let by_us = audit(AUDIT, "deployment = \"runner\"").unwrap();
    assert_eq!(by_us.deployment, Some(Deployment::Runner));
    let second = "targets = { accounts = [\"123456789012\"] }\n[[profiles]]\nname = \"other\"";
    let listed = audit(AUDIT, second).unwrap();
    assert_eq!(listed.deployment, Some(Deployment::Runner));
    assert_eq!(listed.targets.accounts.len(), 1);
    assert!(
        listed
            .definition
            .template_body
            .contains("StackSet-spot-onboarding-other-*")
    );
    assert!(!listed.retains_stacks());
}
