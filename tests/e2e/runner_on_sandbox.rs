//! The real binary against the sandbox: what an operator types, what is printed, how it ends, and what has changed in
//! the simulated AWS and Spot afterwards. Here is the scaffolding; one module per concern.

mod access;
mod adopts;
mod audits;
mod bad_input;
mod billing;
mod bootstraps;
mod consumers;
mod daemon;
mod delegated;
mod deploys;
mod direct;
mod drift;
mod enrolls;
mod faults;
mod interrupts;
mod late_requests;
mod load;
mod moves;
mod narrowed;
mod notify;
mod orphans;
mod plain_stacks;
mod plans;
mod plugins;
mod prerequisites;
mod reinstated;
mod relay;
mod removes;
mod repairs;
mod replicas;
mod reports;
mod retries;
mod rollout;
mod rotations;
mod secrets;
mod soak;
mod stray_policies;
mod tags;
mod takeover;
mod tombstones;
mod twins;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use e2e::{
    process::{self, Background},
    runner::{Ended, Runner},
    tls,
    wire::{self, Wire},
};
use sandbox::{Sandbox, Scenario};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// How long a state may take to come about.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// What most tests rehearse with: eight member accounts, two simulated minutes a second.
const SMALL: &str = "seed = 7\nclock_speed = 120.0\n\
                     [organization]\naccounts = 8\nous = 3\ndepth = 2\ntrusted_access = true\n";

/// A sandbox and a runner that knows nothing else.
struct Rehearsal {
    runner: Runner,
    wire: Wire,
    environment: BTreeMap<String, String>,
    /// Serves while the test waits for commands.
    runtime: Runtime,
    _sandbox: Sandbox,
}

/// A Spot account, as the sandbox's admin API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SpotAccount {
    id: String,
    name: String,
    aws_account: Option<String>,
    role: Option<String>,
    works: bool,
}

impl Rehearsal {
    /// Starts a sandbox; the configuration is the shipped one.
    fn new(scenario: &str) -> Self {
        tls::install();
        let runtime = Runtime::new().unwrap();
        let scenario = Scenario::parse(scenario).unwrap();
        let sandbox = runtime
            .block_on(Sandbox::start(scenario, "127.0.0.1:0".parse().unwrap()))
            .unwrap();
        let environment = sandbox.environment().clone();
        Self {
            runner: Runner::new(environment.clone()).unwrap(),
            wire: Wire::new(sandbox.endpoint(), &environment["AWS_ACCESS_KEY_ID"]),
            environment,
            runtime,
            _sandbox: sandbox,
        }
    }

    /// Writes runner.toml: `sections` stand before the one profile, `profile` in it, `targets` in its targets. Unless it says
    /// who serves between runs, nobody does.
    fn configure(&self, sections: &str, profile: &str, targets: &str) {
        let text = format!(
            "{sections}\n[aws]\nregion = \"us-east-1\"\n[[profiles]]\nname = \"default\"\n{profile}\n\
             [profiles.targets]\n{targets}\n"
        );
        let text = if text.contains("served_by") {
            text
        } else if text.contains("[enrollment]\n") {
            text.replace("[enrollment]\n", "[enrollment]\nserved_by = \"run\"\n")
        } else {
            text + "[enrollment]\nserved_by = \"run\"\n"
        };
        self.write("config/runner.toml", &text);
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap();
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.runner.directory().join(path)
    }

    /// Runs a command to its end.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ended {
        let ended = self.runner.run(arguments).unwrap();
        assert_no_panic(&ended);
        ended
    }

    /// Runs a command to its end, with other variables; an empty value takes one away.
    #[track_caller]
    fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
        let mut command = self.runner.command(arguments);
        for (name, value) in variables {
            if value.is_empty() {
                command.env_remove(name);
            } else {
                command.env(name, value);
            }
        }
        let mut process = Background::start(&mut command).unwrap();
        let code = process.wait(COMMAND_LIMIT).unwrap();
        let ended = Ended {
            code,
            stdout: process.stdout().unwrap(),
            stderr: process.stderr().unwrap(),
        };
        assert_no_panic(&ended);
        ended
    }

    /// `runner --output json exec stackset-sync …`, with its document. The numbers must add up, whatever happened.
    #[track_caller]
    fn sync(&self, arguments: &[&str]) -> (i32, Value) {
        let command = [&["--output", "json", "exec", "stackset-sync"], arguments].concat();
        let ended = self.run(&command);
        let document = ended.json().unwrap();
        assert_adds_up(&document);
        (ended.code, document)
    }

    /// A sync that must end so.
    #[track_caller]
    fn sync_ends(&self, code: i32, arguments: &[&str]) -> Value {
        let (ended, document) = self.sync(arguments);
        assert_eq!(ended, code, "{document:#}");
        document
    }

    fn admin(&self, path: &str, body: Option<&Value>) -> Value {
        self.runtime
            .block_on(self.wire.admin(path, body))
            .unwrap_or_else(|error| panic!("{path}: {error:#}"))
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.admin(path, Some(body))
    }

    /// Calls that the sandbox has seen so far.
    fn calls(&self) -> BTreeMap<String, u64> {
        serde_json::from_value(self.admin("calls", None)["calls"].clone()).unwrap()
    }

    /// Calls since an earlier look that can have changed something.
    fn writes_since(&self, before: &BTreeMap<String, u64>) -> BTreeSet<String> {
        let now = self.calls();
        now.into_iter()
            .filter(|(call, count)| before.get(call).copied().unwrap_or(0) < *count)
            .map(|(call, _)| call)
            .filter(|call| is_write(call))
            .collect()
    }

    /// Member accounts and the management account, as the admin API shows them.
    fn accounts(&self) -> Vec<Value> {
        self.admin("accounts", None)["accounts"]
            .as_array()
            .unwrap()
            .clone()
    }

    /// The ids of the accounts for which this holds.
    fn account_ids(&self, wanted: impl Fn(&Value) -> bool) -> Vec<String> {
        let accounts = self.accounts();
        let wanted = accounts.iter().filter(|account| wanted(account));
        wanted.map(|account| text(&account["id"])).collect()
    }

    /// Member accounts that are active and can be enrolled.
    fn members(&self) -> Vec<String> {
        self.account_ids(|account| {
            account["management"] == false
                && account["scp_blocked"] == false
                && account["state"] == "ACTIVE"
        })
    }

    fn spot_accounts(&self) -> Vec<SpotAccount> {
        let all = self.admin("spot", None);
        let all = all["accounts"].as_array().unwrap();
        all.iter()
            .map(|account| SpotAccount {
                id: text(&account["id"]),
                name: text(&account["name"]),
                aws_account: account["cloud_account"].as_str().map(str::to_owned),
                role: account["role"].as_str().map(str::to_owned),
                works: account["link_works"] == true,
            })
            .collect()
    }

    /// The Spot accounts that are linked to an AWS account.
    fn links_of(&self, account: &str) -> Vec<SpotAccount> {
        let mut all = self.spot_accounts();
        all.retain(|spot| spot.aws_account.as_deref() == Some(account));
        all
    }

    /// Asserts that these accounts, and no others beside `before`, have one Spot account each: linked to the role that
    /// their stack made, named like the AWS account.
    #[track_caller]
    fn assert_enrolled_once(&self, accounts: &[String], before: &[SpotAccount]) {
        let names: BTreeMap<String, String> = self
            .accounts()
            .iter()
            .map(|account| (text(&account["id"]), text(&account["name"])))
            .collect();
        let all = self.spot_accounts();
        for account in accounts {
            let links: Vec<_> = all
                .iter()
                .filter(|spot| spot.aws_account.as_ref() == Some(account))
                .collect();
            let [spot] = links[..] else {
                panic!("{account} is linked to {links:?}");
            };
            assert!(spot.works, "{spot:?}");
            assert_eq!(spot.name, names[account], "{spot:?}");
            let role = spot.role.as_deref().unwrap_or_default();
            assert!(
                role.starts_with(&format!("arn:aws:iam::{account}:role/")),
                "{spot:?}"
            );
        }
        let known: BTreeSet<&str> = before.iter().map(|spot| spot.id.as_str()).collect();
        let others: Vec<_> = all
            .iter()
            .filter(|spot| !known.contains(spot.id.as_str()))
            .filter(|spot| {
                spot.aws_account
                    .as_ref()
                    .is_none_or(|account| !accounts.contains(account))
            })
            .collect();
        assert!(others.is_empty(), "left over in Spot: {others:?}");
    }

    /// `runner status`, the account's row.
    fn standing(&self, account: &str) -> Value {
        let arguments = ["--output", "json", "status", "--account", account];
        self.run(&arguments).json().unwrap_or(Value::Null)
    }

    /// Asks the sandbox until there is a value.
    #[track_caller]
    fn until<T>(&self, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
        process::until(LIMIT, what, || Ok(probe())).unwrap()
    }

    /// Waits until no stack set has an operation that runs or waits in line.
    fn until_operations_end(&self) {
        self.until("the operations end", || {
            let state = self.admin("state", None);
            let sets = state["stack_sets"].as_array().unwrap();
            let idle = |set: &Value| set["running"] == json!([]) && set["queued"] == json!([]);
            sets.iter().all(idle).then_some(())
        });
    }

    /// The instances of the one stack set, counted by status.
    fn instances(&self) -> BTreeMap<String, u64> {
        let state = self.admin("state", None);
        serde_json::from_value(state["stack_sets"][0]["instances"].clone()).unwrap_or_default()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The accounts that a document lists with a reason, under `skipped`, `failed` or `pending`.
fn listed(document: &Value, list: &str, reason: &str) -> Vec<String> {
    let rows = document[list].as_array().unwrap();
    rows.iter()
        .filter(|row| row["reason"] == reason)
        .map(|row| text(&row["account"]))
        .collect()
}

/// How many accounts the document counts so.
fn count(document: &Value, what: &str) -> usize {
    document["summary"][what]
        .as_u64()
        .unwrap()
        .try_into()
        .unwrap()
}

/// The ids of the document's steps.
fn steps(document: &Value) -> Vec<String> {
    let steps = document["steps"].as_array().unwrap();
    steps.iter().map(|step| text(&step["id"])).collect()
}

/// The document's own count of calls that can have changed something.
fn written(document: &Value) -> Vec<&String> {
    let calls = document["api_calls"].as_object().unwrap();
    calls.keys().filter(|call| is_write(call)).collect()
}

/// Whether a call can change something. To receive from the queue takes messages from others, so it counts.
fn is_write(call: &str) -> bool {
    let (service, operation) = call.split_once(':').unwrap();
    let reads = match service {
        "spot" => &["GET "][..],
        "config" => &["Get", "Describe", "BatchGet", "Select"][..],
        _ => &["Get", "List", "Describe"][..],
    };
    !reads.iter().any(|read| operation.starts_with(read))
}

#[track_caller]
fn assert_adds_up(document: &Value) {
    let count = |what| count(document, what);
    let parts = ["ok", "planned", "pending", "failed", "skipped"];
    let sum: usize = parts.into_iter().map(count).sum();
    assert_eq!(count("targeted"), sum, "{document:#}");
    assert_eq!(
        count("ok"),
        count("changed") + count("unchanged"),
        "{document:#}"
    );
    for list in ["skipped", "failed"] {
        let rows = document[list].as_array().unwrap();
        assert_eq!(rows.len(), count(list), "{document:#}");
    }
}

#[track_caller]
fn assert_no_panic(ended: &Ended) {
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    assert_ne!(ended.code, 101, "{}", ended.stderr);
}

/// Whether any file below a directory contains a text.
fn any_file_contains(directory: &Path, needle: &str) -> bool {
    fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return any_file_contains(&path, needle);
        }
        let bytes = fs::read(&path).unwrap();
        bytes
            .windows(needle.len())
            .any(|window| window == needle.as_bytes())
    })
}
