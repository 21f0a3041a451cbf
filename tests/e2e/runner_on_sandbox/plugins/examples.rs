//! The two examples of plugins, in Rust and in Python: what docs/plugins.md shows, through the real binary.

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    extract::{Path as Place, State as Shared},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::get,
};

use super::*;

/// Twelve accounts, of which some have an owner.
const TAGGED: &str = "seed = 7\nclock_speed = 120.0\n\
                      [organization]\naccounts = 12\nous = 3\ndepth = 1\ntrusted_access = true\n\
                      [[organization.tags]]\nkey = \"owner\"\nvalue = \"ana\"\naccounts = 6\n";

/// A ticket system on the loopback interface.
#[derive(Clone, Default)]
struct Tickets {
    kept: Arc<Mutex<BTreeMap<String, Value>>>,
    /// How many calls fail from now on.
    failures: Arc<Mutex<u32>>,
}

impl Tickets {
    /// Listens; its address.
    fn start(&self, rehearsal: &Rehearsal) -> String {
        rehearsal.runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let app = Router::new()
                .route("/spot/{account}", get(Self::read).put(Self::write))
                .with_state(self.clone());
            tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
            format!("http://{address}/spot")
        })
    }

    fn refused(&self, headers: &HeaderMap) -> Option<StatusCode> {
        if headers
            .get("authorization")
            .is_none_or(|value| value != "Bearer t0ken")
        {
            return Some(StatusCode::UNAUTHORIZED);
        }
        let mut failures = self.failures.lock().unwrap();
        let fails = *failures > 0;
        *failures = failures.saturating_sub(1);
        fails.then_some(StatusCode::BAD_GATEWAY)
    }

    async fn read(
        Shared(tickets): Shared<Self>,
        Place(account): Place<String>,
        headers: HeaderMap,
    ) -> Response {
        if let Some(status) = tickets.refused(&headers) {
            return status.into_response();
        }
        match tickets.kept.lock().unwrap().get(&account) {
            Some(ticket) => Json(ticket.clone()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }

    async fn write(
        Shared(tickets): Shared<Self>,
        Place(account): Place<String>,
        headers: HeaderMap,
        Json(ticket): Json<Value>,
    ) -> StatusCode {
        if let Some(status) = tickets.refused(&headers) {
            return status;
        }
        tickets.kept.lock().unwrap().insert(account, ticket);
        StatusCode::NO_CONTENT
    }

    /// The accounts whose ticket is in this state.
    fn in_state(&self, state: &str) -> Vec<String> {
        let kept = self.kept.lock().unwrap();
        let found = kept.iter().filter(|(_, ticket)| ticket["state"] == state);
        found.map(|(account, _)| account.clone()).collect()
    }
}

#[test]
fn the_python_example_finds_accounts_without_tags_and_keeps_their_tickets() {
    let mut rehearsal = Rehearsal::with_plugins(TAGGED, LIMITS);
    rehearsal.put(
        "tag-check",
        &components::checkout().join("examples/plugins/runner-job-tag-check"),
    );
    let tickets = Tickets::default();
    let address = tickets.start(&rehearsal);
    let define = |grants: &str| {
        rehearsal.write(
            "config/jobs/tag-check.toml",
            &format!(
                "kind = \"tag-check\"\n[retry]\ninitial = \"1ms\"\n[params]\ngrants = {grants}\n\
                 [params.settings]\nrequired = [\"owner\"]\ntickets = {address:?}\n"
            ),
        );
    };
    // It asks for the tags, and cannot do without.
    define("[]");
    let ended = rehearsal.run(&["jobs", "validate"]);
    assert!(
        ended.code == 2 && ended.stderr.contains("needs \"account-tags\""),
        "{}",
        ended.stderr
    );
    define("[\"account-tags\", \"env:TICKETS_TOKEN\"]");
    assert_eq!(rehearsal.run(&["jobs", "validate"]).code, 0);

    let bare = rehearsal.account_ids(|account| account["tags"]["owner"] != "ana");
    let bare: BTreeSet<String> = bare.into_iter().collect();
    let mut environment = rehearsal.environment.clone();
    environment.insert("TICKETS_TOKEN".to_owned(), "wrong".to_owned());
    rehearsal.runner.set_environment(environment.clone());
    let denied = rehearsal.exec_ends("tag-check", 5, &[]);
    assert!(
        text(&denied["error"]).contains("answered 401"),
        "{denied:#}"
    );
    environment.insert("TICKETS_TOKEN".to_owned(), "t0ken".to_owned());
    rehearsal.runner.set_environment(environment);

    let planned = rehearsal.exec_ends("tag-check", 3, &["--dry-run"]);
    assert_eq!(tickets.in_state("open"), Vec::<String>::new());
    let found = |document: &Value| -> BTreeSet<String> {
        let findings = document["findings"].as_array().unwrap();
        findings
            .iter()
            .map(|finding| text(&finding["account"]))
            .collect()
    };
    assert_eq!(found(&planned), bare);
    assert_eq!(planned["findings"][0]["reason"], "tag-missing");
    assert_ne!(planned["findings"][0]["account_name"], Value::Null);
    let shown = rehearsal.run(&["plan", "tag-check"]);
    assert!(
        shown.stdout.contains("it does not carry owner"),
        "{}",
        shown.stdout
    );

    // What a ticket system answers now and then is tried again.
    *tickets.failures.lock().unwrap() = 2;
    let document = rehearsal.exec_ends("tag-check", 3, &[]);
    assert_eq!(
        BTreeSet::from_iter(tickets.in_state("open")),
        bare,
        "{document:#}"
    );
    assert_eq!(count(&document, "changed"), bare.len());

    // Who gets the tag has his ticket closed.
    let tagged = bare.first().unwrap().clone();
    let tags = json!([{ "Key": "owner", "Value": "ben" }]);
    let input = json!({ "ResourceId": tagged, "Tags": tags });
    let target = "AWSOrganizationsV20161128.TagResource";
    rehearsal
        .runtime
        .block_on(rehearsal.wire.json("organizations", target, &input))
        .unwrap();
    let now = ["--set", "aws.tags_max_age=0s"];
    let document = rehearsal.exec_ends("tag-check", 3, &now);
    assert_eq!(steps(&document), [format!("close-ticket:{tagged}")]);
    assert_eq!(tickets.in_state("closed"), [tagged.as_str()]);
    assert!(!found(&document).contains(&tagged));
    let again = rehearsal.exec_ends("tag-check", 3, &now);
    assert_eq!(steps(&again), Vec::<String>::new());
}

#[test]
fn the_rust_example_keeps_a_file_for_each_account() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    rehearsal.put("account-register", &components::account_register().unwrap());
    let define = |job: &str, params: &str| {
        rehearsal.write(
            "config/jobs/register.toml",
            &format!("kind = \"account-register\"\n{job}\n[params]\n{params}\n[params.settings]\ndirectory = \"register\"\n"),
        );
    };
    define("", "");
    fs::create_dir(rehearsal.path("register")).unwrap();
    assert_eq!(rehearsal.run(&["jobs", "validate"]).code, 0);
    let given = rehearsal.given();
    let files: Vec<String> = given
        .iter()
        .map(|account| format!("{account}.json"))
        .collect();
    rehearsal.exec_ends("register", 3, &["--dry-run"]);
    assert_eq!(rehearsal.files("register"), Vec::<String>::new());
    let document = rehearsal.exec_ends("register", 0, &[]);
    assert_eq!(count(&document, "changed"), given.len());
    assert_eq!(rehearsal.files("register"), files);
    let read = |account: &str| -> Value {
        let text = fs::read_to_string(rehearsal.path(&format!("register/{account}.json"))).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let names: BTreeMap<String, String> = rehearsal
        .accounts()
        .iter()
        .map(|account| (text(&account["id"]), text(&account["name"])))
        .collect();
    for account in &given {
        assert_eq!(read(account)["name"], names[account]);
        assert_eq!(read(account)["spot_account"], Value::Null);
    }

    // Enrolled meanwhile: only what differs is written.
    rehearsal.sync_ends(0, &[]);
    let members = rehearsal.members();
    let planned = rehearsal.run(&["plan", "register", "-o", "plan.json"]);
    assert!(
        planned
            .stdout
            .contains("changes: spot_account: null becomes \"act-"),
        "{}",
        planned.stdout
    );
    let applied = rehearsal.run(&["--output", "json", "apply", "plan.json"]);
    assert_eq!(applied.code, 0, "{}", applied.stderr);
    assert_eq!(count(&applied.json().unwrap(), "changed"), members.len());
    for account in &members {
        assert_eq!(
            read(account)["spot_account"],
            *rehearsal.links_of(account)[0].id
        );
    }

    // A file of nobody: only where the job says so, and where a person approves of it.
    let stranger = "register/000000000001.json";
    rehearsal.write(stranger, "{}");
    rehearsal.write("register/README", "not ours");
    let refused = rehearsal.exec_ends("register", 4, &[]);
    assert_eq!(refused["refusals"][0]["guard"], "removals-off");
    define("approval = \"required\"", "apply_removals = true");
    let held = rehearsal.exec_ends("register", 4, &[]);
    assert_eq!(held["status"], "waiting");
    assert!(rehearsal.path(stranger).exists());
    let approved = rehearsal.run(&["runs", "approve", &text(&held["run_id"]), "--as", "ada"]);
    assert_eq!(approved.code, 0, "{}{}", approved.stdout, approved.stderr);
    assert!(!rehearsal.path(stranger).exists());
    let mut left = files;
    left.push("README".to_owned());
    assert_eq!(rehearsal.files("register"), left);
    assert_eq!(
        rehearsal.files("config/plugins"),
        ["runner-job-account-register"]
    );
}

/// Whoever copies an example's job finds that it fits.
#[test]
fn the_jobs_of_the_examples_are_in_order() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    let examples = components::checkout().join("examples/plugins");
    rehearsal.put("tag-check", &examples.join("runner-job-tag-check"));
    rehearsal.put("account-register", &components::account_register().unwrap());
    let jobs: Vec<_> = fs::read_dir(examples.join("jobs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(jobs.len(), 2);
    for job in jobs {
        let name = job.file_name().unwrap().to_str().unwrap();
        rehearsal.write(
            &format!("config/jobs/{name}"),
            &fs::read_to_string(&job).unwrap(),
        );
    }
    let ended = rehearsal.run(&["jobs", "validate"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}
