//! Jobs of external kinds: where plugins are found, what their files may say, and what a plugin is given of it.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// `runner jobs validate`, which must find this.
#[track_caller]
fn invalid(rehearsal: &Rehearsal, words: &[&str]) {
    let ended = rehearsal.run(&["jobs", "validate"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    for word in words {
        assert!(
            ended.stderr.contains(word),
            "{word:?} is not in: {}",
            ended.stderr
        );
    }
}

#[test]
fn a_kind_without_a_plugin_is_named_with_the_nearest_and_with_where_it_was_looked_for() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    rehearsal.rogue("fine", "");
    rehearsal.write("config/jobs/other.toml", "kind = \"rogue-fin\"\n");
    invalid(
        &rehearsal,
        &[
            "other.toml:1:8",
            "no executable runner-job-rogue-fin in",
            "config/plugins",
            "did you mean \"rogue-fine\"?",
        ],
    );
    rehearsal.write("config/jobs/other.toml", "kind = \"stacksetsync\"\n");
    invalid(&rehearsal, &["did you mean \"stackset-sync\"?"]);
    rehearsal.write(
        "config/jobs/other.toml",
        "kind = \"../runner-job-rogue-fine\"\n",
    );
    invalid(&rehearsal, &["a kind is named in lower-case letters"]);
    // That job only is disabled.
    assert_eq!(rehearsal.run(&["jobs", "next"]).code, 0);
    assert_eq!(rehearsal.run(&["exec", "other"]).code, 2);
    rehearsal.exec_ends("rogue-fine", 0, &[]);

    let program = rehearsal.path("config/plugins/runner-job-mine");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    rehearsal.write("config/jobs/other.toml", "kind = \"mine\"\n");
    invalid(
        &rehearsal,
        &["runner-job-mine is not executable", "chmod +x"],
    );
    fs::set_permissions(&program, fs::Permissions::from_mode(0o757)).unwrap();
    invalid(&rehearsal, &["can be replaced by everybody", "chmod o-w"]);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&program, "#!/no/such/interpreter\n").unwrap();
    invalid(
        &rehearsal,
        &["the plugin mine could not be started", "interpreter"],
    );
    // What is built in stays what it is.
    rehearsal.rogue("fine2", "");
    fs::rename(
        rehearsal.path("config/plugins/runner-job-rogue-fine2"),
        rehearsal.path("config/plugins/runner-job-enroll"),
    )
    .unwrap();
    let schema = rehearsal.run(&["jobs", "schema", "enroll"]).stdout;
    assert!(schema.contains("ask_spot"), "{schema}");
    rehearsal.configure("", "", "ous = [\"root\"]");
    invalid(
        &rehearsal,
        &["plugins.path in runner.toml names no directory"],
    );
}

#[test]
fn a_file_is_checked_against_what_the_plugin_says_of_itself() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    let kind = rehearsal.rogue("fine", "");
    let ended = rehearsal.run(&["jobs", "validate"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let listed = rehearsal
        .run(&["--output", "json", "jobs", "list"])
        .json()
        .unwrap();
    let listed = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|job| job["name"] == *kind)
        .unwrap()
        .clone();
    assert_eq!(listed["kind"], *kind);
    assert!(
        text(&listed["plugin"]).ends_with(&format!("config/plugins/runner-job-{kind}")),
        "{listed}"
    );
    assert!(rehearsal.run(&["jobs", "list"]).stdout.contains(&kind));

    let schema = rehearsal.run(&["jobs", "schema", &kind]).json().unwrap();
    let settings = &schema["properties"]["params"]["properties"]["settings"];
    assert_eq!(
        settings["required"],
        json!(["directory", "log"]),
        "{schema:#}"
    );
    assert_eq!(schema["properties"]["kind"]["const"], *kind);
    let unknown = rehearsal.run(&["jobs", "schema", "rogue-other"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains(&kind), "{}", unknown.stderr);

    // Each mistake has its place, for `validate` and for a run.
    let both = |words: &[&str]| {
        invalid(&rehearsal, words);
        let document = rehearsal.exec_ends(&kind, 2, &[]);
        for word in words {
            assert!(
                text(&document["error"]).contains(word),
                "{word:?}: {document:#}"
            );
        }
    };
    let settings = "[params.settings]\ndirectory = \"made\"\n";
    rehearsal.define_plugin_job(&kind, "", &format!("{settings}logg = \"log\"\nsize = 0\n"));
    both(&[
        "unknown key `logg`",
        "did you mean `log`?",
        "`params.settings.size` must be at least 1",
        "needs the key `log`",
    ]);
    rehearsal.define_plugin_job(&kind, "[retry.steps.mak]\nattempts = 2", "");
    both(&["unknown key `mak` in [retry.steps]", "did you mean `make`?"]);
    rehearsal.write(
        &format!("config/jobs/{kind}.toml"),
        &format!("kind = {kind:?}\n"),
    );
    both(&["needs the key `params`"]);
    rehearsal.define_plugin_job(&kind, "", "grants = [\"spot-token\"]");
    both(&[
        "does not ask for \"spot-token\"",
        "leave `grants` out",
        &format!("{kind}.toml:6:11"),
    ]);
    rehearsal.define_plugin_job(&kind, "", "grants = [\"env:PATH\"]");
    invalid(
        &rehearsal,
        &["the variable PATH of a plugin is not that of the runner"],
    );

    let kind = rehearsal.rogue("needy", "");
    rehearsal.write("config/jobs/rogue-fine.toml", "kind = \"stackset-sync\"\n");
    invalid(
        &rehearsal,
        &["needs \"env:GRANTED\"", "grants = [\"env:GRANTED\"]"],
    );
    rehearsal.define_plugin_job(&kind, "", "grants = [\"env:GRANTED\"]");
    assert_eq!(rehearsal.run(&["jobs", "validate"]).code, 0);
    let document = rehearsal.exec_ends(&kind, 5, &[]);
    assert!(
        text(&document["error"]).contains("the variable GRANTED, which the runner does not have"),
        "{document:#}"
    );
    let set = rehearsal.run(&["--set", "plugins.path=[\"/tmp\"]", "exec", &kind]);
    assert!(
        set.code == 2 && set.stderr.contains("guard rail"),
        "{}",
        set.stderr
    );
}

#[test]
fn a_plugin_sees_nothing_of_our_environment_but_what_it_asks_for_and_is_granted() {
    let mut rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    let mut environment = rehearsal.environment.clone();
    for (name, value) in [
        ("GRANTED", "for-the-plugin"),
        ("UNGRANTED", "not-for-the-plugin"),
    ] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    rehearsal.runner.set_environment(environment);
    let kind = rehearsal.rogue("environment", "");
    let seen = |params: &str| -> BTreeMap<String, String> {
        rehearsal.define_plugin_job(&kind, "", params);
        rehearsal.exec_ends(&kind, 3, &["--dry-run"]);
        let mut seen: BTreeMap<String, String> = serde_json::from_str(&rehearsal.log()).unwrap();
        // Python's own.
        seen.remove("LC_CTYPE");
        seen
    };
    let names = |seen: &BTreeMap<String, String>| seen.keys().cloned().collect::<Vec<_>>();
    let own = ["HOME", "LANG", "PATH", "TMPDIR", "TZ"];
    let bare = seen("");
    assert_eq!(names(&bare), own);
    assert_eq!(
        bare["PATH"],
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    );
    // A directory of its own, which is gone with it, is not that of our credentials.
    assert_ne!(
        bare["HOME"],
        rehearsal.runner.directory().display().to_string()
    );
    assert!(!Path::new(&bare["HOME"]).exists());

    let token = &rehearsal.environment["SPOTINST_TOKEN"];
    let with_token = seen("grants = [\"spot-token\"]");
    assert_eq!(&with_token["SPOTINST_TOKEN"], token);
    assert!(
        with_token.contains_key("SPOT_API_URL") && with_token.len() == own.len() + 2,
        "{:?}",
        names(&with_token)
    );

    let with_more = seen("grants = [\"aws-credentials\", \"env:GRANTED\"]");
    assert_eq!(with_more["GRANTED"], "for-the-plugin");
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ENDPOINT_URL",
    ] {
        assert_eq!(with_more[name], rehearsal.environment[name]);
    }
    assert_eq!(with_more["AWS_REGION"], "us-east-1");
    assert!(!with_more.contains_key("SPOTINST_TOKEN") && !with_more.contains_key("UNGRANTED"));
    assert!(!any_file_contains(&rehearsal.path("made"), token));
}
