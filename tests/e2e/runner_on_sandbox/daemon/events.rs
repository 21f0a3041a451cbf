//! Events of AWS wake jobs: accounts that come are enrolled without a tick, many at once by few runs, and what the runs themselves do
//! wakes nobody.

use e2e::{
    components,
    otlp::{OtlpReceiver, attribute},
    postgres,
};

use super::*;
use crate::runner_on_sandbox::bootstraps::bootstrapped;

/// Short waits, so that tests are: what they are made of is the same.
const EVENTS: &str = "[daemon]\nlisten = \"127.0.0.1:0\"\n[enrollment]\nserved_by = \"provider\"\n[events]\nquiet = \"2s\"\nmax_delay = \"10s\"\n";

/// A job that no tick wakes.
fn far(kind: &str, more: &str) -> String {
    format!("kind = {kind:?}\nschedule = {{ cron = \"0 0 0 1 1 * 2099\" }}\n{more}")
}

/// Eight accounts, and nobody who enrolls new ones but us.
const BARE: &str = "[provider]\nenabled = false\n[spot]\nrate_limit = 60\nwindow = \"1s\"\n";

/// An account with what `runner bootstrap` makes, and these jobs; nothing is enrolled yet.
fn with_events(sections: &str, jobs: &[(&str, &str)]) -> Rehearsal {
    // An hour, which CloudFormation waits for an answer, is two minutes: enough for many accounts on a machine that is busy.
    let slow = SMALL.replace("120.0", "30.0");
    let rehearsal = Rehearsal::new(&format!("{slow}{BARE}"));
    fs::remove_dir_all(rehearsal.path("config/jobs")).unwrap();
    fs::create_dir(rehearsal.path("config/jobs")).unwrap();
    let sections = format!("{sections}{EVENTS}[spot]\nrate_window = \"1s\"\n");
    rehearsal.configure(&sections, "deployment = \"runner\"", "ous = [\"root\"]");
    for (name, text) in jobs {
        rehearsal.write(&format!("config/jobs/{name}.toml"), text);
    }
    bootstrapped(&rehearsal);
    rehearsal
}

fn ends(mut daemon: Daemon) {
    daemon.process.signal(Signal::TERM).unwrap();
    let said = daemon.process.wait(LIMIT);
    assert_eq!(said.unwrap(), 0, "{}", daemon.process.stderr().unwrap());
}

impl Rehearsal {
    /// A new account, in the first unit where `placed`; its id.
    fn joins(&self, placed: bool) -> String {
        let units = self.admin("ous", None);
        let mut account = json!({ "name": "new account" });
        if placed {
            account["ou"] = units["ous"][1]["id"].clone();
        }
        text(&self.post("accounts", &account)["id"])
    }

    /// Puts a text into the wake-up queue.
    fn wakes_up(&self, body: &str) {
        self.runtime.block_on(async {
            let queue = json!({ "QueueName": "spot-onboarding-wake-up" });
            let queue = self.wire.json("sqs", "AmazonSQS.GetQueueUrl", &queue).await;
            let message = json!({ "QueueUrl": queue.unwrap()["QueueUrl"], "MessageBody": body });
            let sent = self
                .wire
                .json("sqs", "AmazonSQS.SendMessage", &message)
                .await;
            sent.unwrap();
        });
    }

    /// The messages of the wake-up queue that are not deleted yet.
    fn left_in_queue(&self) -> u64 {
        self.runtime.block_on(async {
            let queue = json!({ "QueueName": "spot-onboarding-wake-up" });
            let queue = self.wire.json("sqs", "AmazonSQS.GetQueueUrl", &queue).await;
            let ask = json!({ "QueueUrl": queue.unwrap()["QueueUrl"], "AttributeNames": ["All"] });
            let answer = self
                .wire
                .json("sqs", "AmazonSQS.GetQueueAttributes", &ask)
                .await;
            let answer = answer.unwrap();
            let names = [
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
            ];
            let counts =
                names.map(|name| text(&answer["Attributes"][name]).parse::<u64>().unwrap());
            counts.iter().sum()
        })
    }

    /// Waits until everything that was told is dealt with and no run of it waits or goes on; gives the runs that ended.
    fn calm(&self, daemon: &mut Daemon) -> Vec<Value> {
        self.until("everything is dealt with", || {
            daemon.process.check().unwrap();
            if self.left_in_queue() > 0 {
                return None;
            }
            let runs = runs(self);
            let is_over = |run: &Value| run["state"] != "queued" && run["state"] != "running";
            runs.iter().all(is_over).then_some(runs)
        })
    }

    /// Waits until these accounts are enrolled.
    fn are_enrolled(&self, daemon: &mut Daemon, accounts: &[String]) {
        process::until(Duration::from_secs(240), "all are enrolled", || {
            daemon.process.check()?;
            let all = self.spot_accounts();
            let linked: BTreeSet<&String> = all
                .iter()
                .filter(|spot| spot.works)
                .filter_map(|spot| spot.aws_account.as_ref())
                .collect();
            let is_linked = |account| linked.contains(account);
            Ok(accounts.iter().all(is_linked).then_some(()))
        })
        .unwrap();
    }

    /// Waits until an account is enrolled.
    fn is_enrolled(&self, daemon: &mut Daemon, account: &str) {
        self.until("the account is enrolled", || {
            daemon.process.check().unwrap();
            let links = self.links_of(account);
            links.iter().any(|link| link.works).then_some(())
        });
    }
}

/// How many events of a kind woke a run.
fn woken(run: &Value, kind: &str) -> u64 {
    run["events"]["kinds"][kind].as_u64().unwrap_or(0)
}

#[test]
fn an_account_that_comes_is_enrolled_without_a_tick_and_nothing_wakes_itself() {
    let rehearsal = with_events(
        "",
        &[
            ("enroll", &far("enroll", "")),
            ("sync", &far("stackset-sync", "")),
        ],
    );
    let before = rehearsal.spot_accounts();
    let mut daemon = start(&rehearsal.runner);
    // The stack set is there, and so are its accounts.
    assert_eq!(rehearsal.run(&["exec", "sync"]).code, 0);
    let first = rehearsal.calm(&mut daemon).len();

    let account = rehearsal.joins(true);
    rehearsal.is_enrolled(&mut daemon, &account);
    let all = rehearsal.calm(&mut daemon);
    let by_events: Vec<&Value> = all[first..].iter().collect();
    assert!(
        by_events
            .iter()
            .all(|run| run["woken_by"] == "event" && run["state"] == "done"),
        "{by_events:#?}"
    );
    // What they did to the stack set is told, and is no news.
    assert!(
        by_events
            .iter()
            .all(|run| woken(run, "stack-set-changed") == 0),
        "{by_events:#?}"
    );
    // One for each job; another where its move came after the first had looked.
    assert!((2..=4).contains(&by_events.len()), "{by_events:#?}");
    let kinds = |kind: &str| by_events.iter().map(|run| woken(run, kind)).sum::<u64>();
    assert!(
        kinds("account-joined") >= 4 && kinds("account-moved") >= 2,
        "{by_events:#?}"
    );
    assert!(
        by_events
            .iter()
            .any(|run| run["events"]["accounts"] == json!([account])),
        "{by_events:#?}"
    );
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
    // For people, too.
    let shown = rehearsal.run(&["runs", "show", &text(&by_events[0]["id"])]);
    assert!(shown.stdout.contains("woken by event"), "{}", shown.stdout);
    assert!(
        shown.stdout.contains("account-joined") && shown.stdout.contains(&account),
        "{}",
        shown.stdout
    );

    // The operations of these runs were told, too, and woke nobody: an event of somebody else is the first after them.
    let seen = all.len();
    let moved = json!({ "ou": rehearsal.admin("ous", None)["ous"][2]["id"] });
    rehearsal.post(&format!("accounts/{account}/move"), &moved);
    let next = rehearsal.until("a run is woken", || runs(&rehearsal).get(seen).cloned());
    assert_eq!(
        (
            woken(&next, "account-moved"),
            woken(&next, "stack-set-changed")
        ),
        (1, 0),
        "{next:#}"
    );
    rehearsal.calm(&mut daemon);
    ends(daemon);
}

#[test]
fn a_hundred_accounts_at_once_make_few_runs() {
    let rehearsal = with_events("", &[("sync", &far("stackset-sync", ""))]);
    let before = rehearsal.spot_accounts();
    let mut daemon = start(&rehearsal.runner);
    let accounts: Vec<String> = (0..100).map(|_| rehearsal.joins(false)).collect();
    rehearsal.are_enrolled(&mut daemon, &accounts);
    let runs = rehearsal.calm(&mut daemon);
    assert!(runs.len() <= 3, "{} runs", runs.len());
    let joined: u64 = runs.iter().map(|run| woken(run, "account-joined")).sum();
    // Each is told twice: that it was created, and that it joined.
    assert!(joined >= 200, "{joined}");
    assert!(runs.iter().all(|run| {
        run["events"]["accounts"]
            .as_array()
            .is_some_and(|named| named.len() <= 20)
    }));
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
    ends(daemon);
}

#[test]
fn what_comes_twice_or_is_no_event_blocks_nothing() {
    let rehearsal = with_events(
        "",
        &[(
            "sync",
            &far("stackset-sync", "wake_on = [\"account-moved\"]\n"),
        )],
    );
    let mut daemon = start(&rehearsal.runner);
    let moved = json!({
        "version": "0", "id": "7bf73129", "source": "aws.organizations", "detail-type": "AWS API Call via CloudTrail",
        "time": "2026-06-01T12:00:00Z",
        "detail": {"eventName": "MoveAccount", "eventID": "e7a3c6b1", "eventTime": "2026-06-01T12:00:00Z",
                   "requestParameters": {"accountId": "111122223333"}},
    });
    for body in ["no event", "{\"source\": 1}", "[]"] {
        rehearsal.wakes_up(body);
    }
    // Nobody is woken by it.
    rehearsal.joins(false);
    rehearsal.wakes_up(&moved.to_string());
    let events = |outcome: &str, kind: &str| {
        format!("runner_events_total{{event_kind=\"{kind}\",event_outcome=\"{outcome}\"}}")
    };
    metrics::until_is(
        &mut daemon,
        &rehearsal,
        &events("not-understood", "none"),
        3.0,
    );
    let scraped = metrics::until_is(
        &mut daemon,
        &rehearsal,
        &events("wakes", "account-moved"),
        1.0,
    );
    metrics::until_is(
        &mut daemon,
        &rehearsal,
        &events("no-job", "account-joined"),
        2.0,
    );
    let newest = scraped.value("runner_events_newest_timestamp_seconds");
    assert!(newest >= Some(1_780_315_200.0), "{newest:?}");
    let first = rehearsal.calm(&mut daemon);
    let [run] = &first[..] else {
        panic!("{first:#?}")
    };
    assert_eq!(
        (&run["woken_by"], woken(run, "account-moved")),
        (&json!("event"), 1)
    );
    // The account is none of ours: what an event says is no order.
    assert_eq!(run["events"]["accounts"], json!(["111122223333"]));
    assert!(
        !rehearsal
            .spot_accounts()
            .iter()
            .any(|spot| spot.aws_account.as_deref() == Some("111122223333"))
    );

    // The same once more, much later: its id is known.
    rehearsal.wakes_up(&moved.to_string());
    metrics::until_is(
        &mut daemon,
        &rehearsal,
        &events("repeated", "account-moved"),
        1.0,
    );
    assert_eq!(rehearsal.calm(&mut daemon).len(), 1);
    let said = daemon.process.stderr().unwrap();
    assert_eq!(said.matches("are not understood").count(), 1, "{said}");
    ends(daemon);
}

#[test]
fn a_paused_job_leaves_events_out_and_a_freeze_lets_nothing_be_changed() {
    let rehearsal = with_events("", &[("sync", &far("stackset-sync", ""))]);
    let mut daemon = start(&rehearsal.runner);
    let paused = [
        "jobs",
        "pause",
        "sync",
        "--reason",
        "migration",
        "--as",
        "ana",
    ];
    assert_eq!(rehearsal.run(&paused).code, 0);
    let account = rehearsal.joins(true);
    let skipped = rehearsal.until("the events are left out", || run_in(&rehearsal, "skipped"));
    assert_eq!(
        (&skipped["woken_by"], &skipped["error"]),
        (&json!("event"), &json!("paused by ana: migration"))
    );
    assert!(woken(&skipped, "account-joined") >= 1, "{skipped:#}");
    rehearsal.calm(&mut daemon);

    assert_eq!(rehearsal.run(&["jobs", "resume", "sync"]).code, 0);
    let frozen = ["freeze", "on", "--reason", "change window"];
    assert_eq!(rehearsal.run(&frozen).code, 0);
    let other = rehearsal.joins(true);
    let refused = rehearsal.until("the run is refused", || run_in(&rehearsal, "refused"));
    assert_eq!(refused["woken_by"], "event", "{refused:#}");
    assert!(rehearsal.links_of(&account).is_empty() && rehearsal.links_of(&other).is_empty());
    rehearsal.calm(&mut daemon);

    assert_eq!(rehearsal.run(&["freeze", "off"]).code, 0);
    rehearsal.joins(true);
    for account in [&account, &other] {
        rehearsal.is_enrolled(&mut daemon, account);
    }
    rehearsal.calm(&mut daemon);
    ends(daemon);
}

#[test]
fn an_event_ends_the_run_that_goes_on_where_the_job_says_so() {
    let rehearsal = with_events("[plugins]\npath = [\"plugins\"]\n", &[]);
    for directory in ["made", "config/plugins"] {
        fs::create_dir(rehearsal.path(directory)).unwrap();
    }
    // It works until it is told to cancel.
    let rogue = components::checkout().join("tests/plugins/runner-job-rogue");
    let program = rehearsal.path("config/plugins/runner-job-rogue-slow-apply");
    std::os::unix::fs::symlink(rogue, program).unwrap();
    let job = "overlap = \"replace\"\nwake_on = [\"account-joined\"]\n\
               [params.settings]\ndirectory = \"made\"\nlog = \"log\"\n";
    rehearsal.write("config/jobs/slow.toml", &far("rogue-slow-apply", job));
    let mut daemon = start(&rehearsal.runner);
    let log = || fs::read_to_string(rehearsal.path("log")).unwrap_or_default();
    for ended in 0..2 {
        rehearsal.joins(true);
        rehearsal.until("a run goes on, and the one before it has ended", || {
            daemon.process.check().unwrap();
            let log = log();
            let is_over = log.matches("cancel\n").count() >= ended;
            (is_over && log.trim_end().ends_with("null")).then_some(())
        });
    }
    let cancelled = runs(&rehearsal).into_iter();
    let cancelled = cancelled.filter(|run| run["state"] == "interrupted");
    assert!(cancelled.count() > 0);
    ends(daemon);
}

#[test]
fn two_daemons_on_one_database_make_one_run() {
    let Some(database) = postgres::database().unwrap() else {
        return;
    };
    let state = format!("[state]\nurl = {database:?}\n");
    let rehearsal = with_events(&state, &[("sync", &far("stackset-sync", ""))]);
    let before = rehearsal.spot_accounts();
    let other = Runner::new(rehearsal.environment.clone()).unwrap();
    fs::remove_dir_all(other.directory().join("config/jobs")).unwrap();
    fs::create_dir(other.directory().join("config/jobs")).unwrap();
    for file in ["runner.toml", "jobs/sync.toml"] {
        let from = rehearsal.path(&format!("config/{file}"));
        fs::copy(from, other.directory().join("config").join(file)).unwrap();
    }
    let mut one = start(&rehearsal.runner);
    let mut two = start(&other);
    for daemon in [&mut one, &mut two] {
        rehearsal.until("it takes events", || {
            let said = daemon.process.stderr().unwrap();
            said.contains("events of AWS wake jobs").then_some(())
        });
    }
    for _ in 0..30 {
        rehearsal.joins(false);
    }
    rehearsal.are_enrolled(&mut two, &rehearsal.members());
    let runs = rehearsal.calm(&mut one);
    // Both have heard of some of them.
    for daemon in [&one, &two] {
        let said = daemon.process.stderr().unwrap();
        assert!(said.contains("events ask for a run"), "{said}");
    }
    let joined: u64 = runs.iter().map(|run| woken(run, "account-joined")).sum();
    assert!(joined >= 60, "{joined}");
    assert!(runs.len() <= 2, "{runs:#?}");
    ends(one);
    ends(two);
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
}

#[test]
fn a_run_is_linked_with_the_spans_that_asked_for_it() {
    let mut rehearsal = with_events("", &[("sync", &far("stackset-sync", ""))]);
    let receiver = rehearsal.runtime.block_on(OtlpReceiver::start()).unwrap();
    let mut daemon = metrics::start_with_collector(&mut rehearsal, &receiver.endpoint.clone(), &[]);
    let account = rehearsal.joins(true);
    rehearsal.is_enrolled(&mut daemon, &account);
    rehearsal.calm(&mut daemon);
    // Somebody asks for one by hand, which the daemon runs.
    assert_eq!(rehearsal.run(&["exec", "sync"]).code, 0);
    ends(daemon);

    let received = receiver.received();
    let runs: Vec<_> = received.named("run").collect();
    let linked = |span: &str, run: &opentelemetry_proto::tonic::trace::v1::Span| {
        let mut spans = received.named(span);
        spans.any(|asked| {
            run.links
                .iter()
                .any(|link| link.span_id == asked.span_id && link.trace_id == asked.trace_id)
        })
    };
    let [first, .., last] = &runs[..] else {
        panic!("{runs:?}")
    };
    assert!(linked("events", first), "{first:?}");
    assert!(
        first.parent_span_id.is_empty() && !linked("ask", first),
        "it is a trace of its own"
    );
    assert!(linked("ask", last) && !linked("events", last), "{last:?}");
    let events = received.named("events").next().unwrap();
    assert_eq!(
        attribute(events, "messaging.destination.name"),
        Some("spot-onboarding-wake-up")
    );
}

#[test]
fn a_daemon_without_a_wake_up_queue_goes_by_its_schedules() {
    let rehearsal = with_job(SMALL, &often(""));
    let mut daemon = start(&rehearsal.runner);
    rehearsal.until("a run has enrolled everything", || {
        daemon.process.check().unwrap();
        run_in(&rehearsal, "done")
    });
    let said = daemon.process.stderr().unwrap();
    assert_eq!(
        said.matches("there is no wake-up queue").count(),
        1,
        "{said}"
    );
    ends(daemon);
}
