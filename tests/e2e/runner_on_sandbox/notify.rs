//! Notifications: who is told, once, signed, again when it did not get through, and without anybody having to wait.

mod delivery;
mod events;

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{
    Router,
    body::Bytes,
    extract::State as Shared,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::process::Signal;
use sha2::Sha256;
use tokio::sync::watch;

use super::*;

/// The key behind it is 24 bytes.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Sections for a daemon on a port of its own.
const DAEMON: &str = "[daemon]\nlisten = \"127.0.0.1:0\"\n[enrollment]\nserved_by = \"provider\"\n";

/// How a receiver answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// At once.
    Is(StatusCode),
    /// At once, and asks to be left alone for so long.
    Later(StatusCode, &'static str),
    /// As soon as it is released, that it is well.
    Held,
}

/// How it answers, by how many it got before.
type Answers = fn(usize) -> Answer;

/// What a receiver got.
#[derive(Debug, Clone)]
pub(super) struct Got {
    headers: HeaderMap,
    body: String,
}

/// Receives on the loopback interface.
#[derive(Clone)]
pub(super) struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<Got>>>,
    answers: Arc<Mutex<Answers>>,
    is_released: watch::Sender<bool>,
}

impl Receiver {
    pub(super) fn start(rehearsal: &Rehearsal, answers: Answers) -> Self {
        rehearsal.runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let receiver = Self {
                url: format!("http://{}/told", listener.local_addr().unwrap()),
                got: Arc::default(),
                answers: Arc::new(Mutex::new(answers)),
                is_released: watch::Sender::new(false),
            };
            let app = Router::new()
                .route("/told", post(receive))
                .with_state(receiver.clone());
            tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
            receiver
        })
    }

    pub(super) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    fn answer(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }

    /// Answers what is held.
    fn release(&self) {
        self.is_released.send_replace(true);
    }

    fn webhook(&self, name: &str, more: &str) -> String {
        self.with_secret(name, "{ env = \"WEBHOOK_SECRET\" }", more)
    }

    fn with_secret(&self, name: &str, secret: &str, more: &str) -> String {
        format!(
            "[[notify]]\nname = {name:?}\nwebhook = {:?}\nsecret = {secret}\n{more}\n",
            self.url
        )
    }

    /// A target whose secret is in a file, for commands that see no variable for it.
    pub(super) fn by_file(&self, rehearsal: &Rehearsal, name: &str, more: &str) -> String {
        rehearsal.write("webhook-secret", SECRET);
        self.with_secret(name, "{ file = \"webhook-secret\" }", more)
    }
}

fn receive(
    Shared(receiver): Shared<Receiver>,
    headers: HeaderMap,
    body: Bytes,
) -> impl Future<Output = Response> + Send {
    let before = {
        let mut got = receiver.got.lock().unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        got.push(Got { headers, body });
        got.len() - 1
    };
    let answer = (*receiver.answers.lock().unwrap())(before);
    let mut is_released = receiver.is_released.subscribe();
    async move {
        match answer {
            Answer::Is(status) => status.into_response(),
            Answer::Later(status, wait) => (status, [("retry-after", wait)]).into_response(),
            Answer::Held => {
                is_released.wait_for(|is| *is).await.unwrap();
                StatusCode::OK.into_response()
            }
        }
    }
}

pub(super) fn always_ok(_: usize) -> Answer {
    Answer::Is(StatusCode::NO_CONTENT)
}

fn always_broken(_: usize) -> Answer {
    Answer::Is(StatusCode::INTERNAL_SERVER_ERROR)
}

fn never(_: usize) -> Answer {
    Answer::Held
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(super) fn document(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Checks the signature as a receiver does that knows the secret.
    #[track_caller]
    pub(super) fn assert_signed(&self) {
        self.assert_signed_by(SECRET);
    }

    #[track_caller]
    fn assert_signed_by(&self, secret: &str) {
        let key = STANDARD
            .decode(secret.trim_start_matches("whsec_"))
            .unwrap();
        let (id, at) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{id}.{at}.{}", self.body).as_bytes());
        let mut given = self.header("webhook-signature").split(' ');
        let is_ours = given.any(|one| {
            let signature = STANDARD.decode(one.strip_prefix("v1,").unwrap()).unwrap();
            mac.clone().verify_slice(&signature).is_ok()
        });
        assert!(is_ours, "{:?}", self.headers);
        let at: i64 = at.parse().unwrap();
        let now = jiff::Timestamp::now().as_second();
        assert!((now - at).abs() < 300, "{at}");
    }
}

/// A rehearsal in which a run fails: Spot does not know the token.
fn failing(sections: &str) -> Rehearsal {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.configure(sections, "", "ous = [\"root\"]");
    rehearsal
}

#[track_caller]
fn fails(rehearsal: &Rehearsal) -> Ended {
    job_fails(rehearsal, "stackset-sync")
}

#[track_caller]
fn job_fails(rehearsal: &Rehearsal, job: &str) -> Ended {
    let variables = [("SPOTINST_TOKEN", "unknown"), ("WEBHOOK_SECRET", SECRET)];
    let ended = rehearsal.run_with(&variables, &["exec", job]);
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    ended
}

/// `runner notify list`, the oldest first.
fn listed_notifications(rehearsal: &Rehearsal) -> Vec<Value> {
    let ended = rehearsal.run(&["--output", "json", "notify", "list"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let mut rows = ended.json().unwrap().as_array().unwrap().clone();
    rows.reverse();
    rows
}

#[test]
fn a_run_that_failed_is_told_once_with_a_signature_that_holds() {
    let rehearsal = failing("");
    let receiver = Receiver::start(&rehearsal, always_ok);
    let other = receiver.webhook("other", "jobs = [\"drift-audit\"]");
    let template = "[notify.templates]\nrun-failed = \"{job} of {kind} {status}{times}: {what}\"\n";
    let on_call = receiver.webhook("on-call", template);
    rehearsal.configure(&format!("{other}{on_call}"), "", "ous = [\"root\"]");

    let ended = fails(&rehearsal);
    let got = receiver.got();
    assert_eq!(got.len(), 1, "{got:?}\n{}", ended.stderr);
    got[0].assert_signed();
    let told = got[0].document();
    assert_eq!(told["type"], "run-failed", "{told:#}");
    let data = &told["data"];
    assert_eq!(
        (&data["job"], &data["count"]),
        (&json!("stackset-sync"), &json!(1))
    );
    let runs = rehearsal.run(&["--output", "json", "runs", "list"]);
    let runs = runs.json().unwrap();
    assert_eq!(data["run_id"], runs[0]["id"]);
    let words = text(&data["text"]);
    assert!(
        words.starts_with("stackset-sync of stackset-sync failed: "),
        "{words}"
    );
    assert!(words.contains(&text(&data["what"])), "{words}");
    assert!(text(&data["command"]).contains("runner runs show"));

    // The same again is not told again, and counted.
    fails(&rehearsal);
    fails(&rehearsal);
    assert_eq!(receiver.got().len(), 1);
    let rows = listed_notifications(&rehearsal);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (&rows[0]["state"], &rows[0]["repeats"]),
        (&json!("sent"), &json!(2))
    );
    // Nobody wrote the secret down.
    assert!(!ended.stderr.contains(SECRET) && !ended.stdout.contains(SECRET));
    assert!(!any_file_contains(rehearsal.runner.directory(), SECRET));

    // What looks only tells nothing.
    let variables = [("SPOTINST_TOKEN", "unknown"), ("WEBHOOK_SECRET", SECRET)];
    rehearsal.run_with(&variables, &["exec", "drift-audit", "--dry-run"]);
    assert_eq!(receiver.got().len(), 1);
}

#[test]
fn a_receiver_that_fails_twice_is_told_the_third_time_as_the_same() {
    let rehearsal = failing("");
    let receiver = Receiver::start(&rehearsal, |before| match before {
        0 => Answer::Is(StatusCode::INTERNAL_SERVER_ERROR),
        1 => Answer::Is(StatusCode::FOUND),
        _ => Answer::Is(StatusCode::OK),
    });
    rehearsal.configure(&receiver.webhook("on-call", ""), "", "ous = [\"root\"]");
    let ended = fails(&rehearsal);
    let got = receiver.got();
    assert_eq!(got.len(), 3, "{}", ended.stderr);
    for one in &got {
        one.assert_signed();
        assert_eq!(one.header("webhook-id"), got[0].header("webhook-id"));
    }
    let rows = listed_notifications(&rehearsal);
    assert_eq!(
        (&rows[0]["state"], &rows[0]["attempts"]),
        (&json!("sent"), &json!(3))
    );
}

#[test]
fn a_target_that_is_not_reached_for_long_is_given_up_aloud() {
    let rehearsal = failing("");
    let receiver = Receiver::start(&rehearsal, always_broken);
    let target = receiver.webhook("on-call", "give_up_after = \"4s\"");
    rehearsal.configure(&target, "", "ous = [\"root\"]");
    let ended = fails(&rehearsal);
    assert!(ended.stderr.contains("it is given up"), "{}", ended.stderr);
    let rows = listed_notifications(&rehearsal);
    assert_eq!(rows[0]["state"], "given-up", "{rows:?}");
    assert!(text(&rows[0]["error"]).contains("500"), "{rows:?}");
    assert!(receiver.got().len() > 1);
}

#[test]
fn a_target_is_told_no_more_than_it_may_be_within_an_hour() {
    let rehearsal = failing("");
    let receiver = Receiver::start(&rehearsal, always_ok);
    let target = receiver.webhook("on-call", "per_hour = 1");
    rehearsal.configure(&target, "", "ous = [\"root\"]");
    fails(&rehearsal);
    let ended = job_fails(&rehearsal, "drift-audit");
    assert_eq!(receiver.got().len(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("the others wait"), "{}", ended.stderr);
    let rows = listed_notifications(&rehearsal);
    assert_eq!(rows[1]["state"], "waiting", "{rows:?}");
    // In about an hour.
    let wait = rows[1]["due_at"].as_i64().unwrap() - rows[0]["created_at"].as_i64().unwrap();
    assert!((3_590_000..3_700_000).contains(&wait), "{rows:?}");
    // When that is over, it is told.
    rehearsal.in_state("UPDATE notification_attempts SET at = at - 3700000");
    rehearsal.in_state("UPDATE notification_targets SET not_before = not_before - 3700000");
    fails(&rehearsal);
    let got = receiver.got();
    assert_eq!(got.len(), 2);
    assert_eq!(got[1].document()["data"]["job"], "drift-audit");
}

#[test]
fn one_that_never_answers_delays_nobody_else_and_the_end_of_a_run_by_seconds_only() {
    let rehearsal = failing("");
    let (silent, good) = (
        Receiver::start(&rehearsal, never),
        Receiver::start(&rehearsal, always_ok),
    );
    let both = silent.webhook("silent", "") + &good.webhook("good", "");
    rehearsal.configure(&both, "", "ous = [\"root\"]");
    let begun = Instant::now();
    let ended = fails(&rehearsal);
    let took = begun.elapsed();
    assert_eq!(good.got().len(), 1, "{}", ended.stderr);
    assert!(!silent.got().is_empty());
    assert!(
        ended.stderr.contains("no answer within"),
        "{}",
        ended.stderr
    );
    // The run itself had ended before.
    let runs = rehearsal.run(&["--output", "json", "runs", "list"]);
    let run = &runs.json().unwrap()[0];
    let ended_at = run["ended_at"].as_i64().unwrap();
    let sent_at: i64 = silent.got()[0].header("webhook-timestamp").parse().unwrap();
    assert!(ended_at < (sent_at + 1) * 1_000, "{run:#}");
    let lasted = ended_at - run["started_at"].as_i64().unwrap();
    let lasted = Duration::from_millis(lasted.try_into().unwrap());
    assert!(
        took < lasted + Duration::from_secs(25),
        "{took:?} of {lasted:?}"
    );
    let rows = listed_notifications(&rehearsal);
    let waiting: Vec<&Value> = rows
        .iter()
        .filter(|row| row["state"] == "waiting")
        .collect();
    assert_eq!(waiting.len(), 1, "{rows:?}");
    assert_eq!(waiting[0]["target"], "silent");

    // Whoever is alive next tells it.
    let id = silent.got()[0].header("webhook-id").to_owned();
    silent.answer(always_ok);
    rehearsal.configure(&format!("{both}{DAEMON}"), "", "ous = [\"root\"]");
    fs::remove_dir_all(rehearsal.path("config/jobs")).unwrap();
    let mut command = rehearsal.runner.command(&["daemon"]);
    let mut daemon = Background::start(command.env("WEBHOOK_SECRET", SECRET)).unwrap();
    let tries = silent.got().len();
    let told = rehearsal.until("the daemon tells it", || {
        daemon.check().unwrap();
        silent.got().get(tries).cloned()
    });
    told.assert_signed();
    assert_eq!(told.header("webhook-id"), id);
    daemon.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.wait(LIMIT).unwrap(), 0);
    assert_eq!(good.got().len(), 1);
}

#[test]
fn a_plan_that_waits_for_an_approval_is_told_with_how_to_approve_it() {
    let rehearsal = failing("");
    let receiver = Receiver::start(&rehearsal, always_ok);
    let slack = format!(
        "[[notify]]\nname = \"chat\"\nslack = {{ file = \"slack\" }}\nevents = [\"approval-needed\"]\n{}",
        receiver.webhook("other", "events = [\"run-failed\", \"new-findings\"]")
    );
    rehearsal.configure(&slack, "", "ous = [\"root\"]");
    rehearsal.write("slack", &receiver.url);
    rehearsal.write(
        "config/jobs/stackset-sync.toml",
        "kind = \"stackset-sync\"\napproval = \"required\"\n",
    );
    let (code, document) = rehearsal.sync(&[]);
    assert_eq!(code, 4, "{document:#}");
    // The same plan waits on.
    rehearsal.sync(&[]);
    let got = receiver.got();
    assert_eq!(got.len(), 1, "{got:?}");
    assert!(!got[0].headers.contains_key("webhook-signature"));
    let told = got[0].document();
    let words = text(&told["text"]);
    let run = text(&document["run_id"]);
    assert!(words.contains("waits for an approval"), "{words}");
    assert!(
        words.contains(&format!("runner runs approve {run}")),
        "{words}"
    );
}

#[test]
fn a_topic_is_notified() {
    let rehearsal = failing("");
    let wire = &rehearsal.wire;
    let queue = "arn:aws:sqs:us-east-1:{account}:told";
    let topic = rehearsal.runtime.block_on(async {
        let made = wire.query(
            "sns",
            "CreateTopic",
            &[("Version", "2010-03-31"), ("Name", "alerts")],
        );
        let made = made.await.unwrap();
        let arn = made.split_once("<TopicArn>").unwrap().1;
        arn.split_once('<').unwrap().0.to_owned()
    });
    let account = topic.split(':').nth(4).unwrap();
    let queue = queue.replace("{account}", account);
    let url = rehearsal.runtime.block_on(async {
        let policy = json!({"Statement": [{
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": queue,
        }]});
        let made = json!({"QueueName": "told", "Attributes": {"Policy": policy.to_string()}});
        let made = wire.json("sqs", "AmazonSQS.CreateQueue", &made).await.unwrap();
        let subscription = [
            ("Version", "2010-03-31"),("TopicArn", &*topic), ("Protocol", "sqs"), ("Endpoint", &*queue)];
        wire.query("sns", "Subscribe", &subscription).await.unwrap();
        text(&made["QueueUrl"])
    });
    let target = format!("[[notify]]\nname = \"alerts\"\nsns = {topic:?}\n");
    rehearsal.configure(&target, "", "ous = [\"root\"]");
    let ended = fails(&rehearsal);
    let received = rehearsal.runtime.block_on(async {
        let input = json!({ "QueueUrl": url });
        let received = wire.json("sqs", "AmazonSQS.ReceiveMessage", &input).await;
        received.unwrap()
    });
    let envelope: Value =
        serde_json::from_str(&text(&received["Messages"][0]["Body"])).unwrap_or_default();
    assert_eq!(
        envelope["Subject"], "spot-onboarding: run-failed stackset-sync",
        "{}",
        ended.stderr
    );
    assert!(text(&envelope["Message"]).contains("Job stackset-sync: the run failed."));
    let attributes = &envelope["MessageAttributes"];
    assert_eq!(attributes["event"]["Value"], "run-failed", "{envelope:#}");
    assert_eq!(attributes["job"]["Value"], "stackset-sync");
    // A test is of no job, and SNS takes no attribute without a value.
    let tried = rehearsal.run(&["notify", "test"]);
    assert_eq!(
        (tried.code, &*tried.stdout),
        (0, "alerts: sent\n"),
        "{}",
        tried.stderr
    );

    // What the identity must be allowed for it, and only then.
    let policy = |rehearsal: &Rehearsal| {
        let ended = rehearsal.run(&["iam-policy", "--home-account", account]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.json().unwrap()
    };
    let of_topics = |policy: &Value| -> Option<Value> {
        let statements = policy["Statement"].as_array().unwrap();
        statements
            .iter()
            .find(|one| one["Sid"] == "Topics")
            .cloned()
    };
    let allowed = of_topics(&policy(&rehearsal)).unwrap();
    assert_eq!(allowed["Action"], json!(["sns:Publish"]));
    assert_eq!(allowed["Resource"], json!([topic]));
    rehearsal.configure("", "", "ous = [\"root\"]");
    assert_eq!(of_topics(&policy(&rehearsal)), None);
}

#[test]
fn a_daemon_tells_of_a_job_whose_file_is_wrong_once() {
    let rehearsal = failing("");
    let receiver = Receiver::start(&rehearsal, always_ok);
    let sections = receiver.webhook("on-call", "") + DAEMON;
    rehearsal.configure(&sections, "", "ous = [\"root\"]");
    rehearsal.write("config/jobs/broken.toml", "kind = \"stackset-sink\"\n");
    for starts in 0..2 {
        let mut command = rehearsal.runner.command(&["daemon"]);
        let mut process = Background::start(command.env("WEBHOOK_SECRET", SECRET)).unwrap();
        rehearsal.until("it is told", || {
            process.check().unwrap();
            let rows = listed_notifications(&rehearsal);
            rows.iter()
                .find(|row| row["event"] == "definition-broken" && row["state"] == "sent")
                .map(|_| ())
        });
        // The next daemon sees the same, which has not happened once more, and says so of what is new.
        let another = format!("config/jobs/broken-{starts}.toml");
        rehearsal.write(&another, "kind = \"stackset-sink\"\n");
        rehearsal.until("what is new is told", || {
            process.check().unwrap();
            let name = format!("broken-{starts}");
            let rows = listed_notifications(&rehearsal);
            rows.iter()
                .find(|row| row["job"] == *name && row["state"] == "sent")
                .map(|_| ())
        });
        process.signal(Signal::TERM).unwrap();
        assert_eq!(process.wait(LIMIT).unwrap(), 0);
    }
    let rows = listed_notifications(&rehearsal);
    assert!(rows.iter().all(|row| row["repeats"] == 0), "{rows:?}");
    let got = receiver.got();
    assert_eq!(got.len(), 3);
    got[0].assert_signed();
    let told = got[0].document();
    assert_eq!(told["type"], "definition-broken", "{told:#}");
    assert_eq!(told["data"]["job"], "broken");
    let what = text(&told["data"]["what"]);
    assert!(what.contains("stackset-sink"), "{what}");
}

#[test]
fn people_try_targets_and_see_why_one_is_not_reached() {
    let rehearsal = failing("");
    let none = rehearsal.run(&["notify", "test"]);
    assert_eq!(none.code, 2);
    assert!(
        none.stderr.contains("docs/notifications.md"),
        "{}",
        none.stderr
    );

    let (good, bad) = (
        Receiver::start(&rehearsal, always_ok),
        Receiver::start(&rehearsal, always_broken),
    );
    let both = good.webhook("good", "") + &bad.webhook("bad", "");
    rehearsal.configure(&both, "", "ous = [\"root\"]");
    let secret = [("WEBHOOK_SECRET", SECRET)];
    let one = rehearsal.run_with(&secret, &["notify", "test", "good"]);
    assert_eq!(
        (one.code, &*one.stdout),
        (0, "good: sent\n"),
        "{}",
        one.stderr
    );
    let told = good.got()[0].clone();
    told.assert_signed();
    assert_eq!(told.document()["type"], "test");
    let all = rehearsal.run_with(&secret, &["--output", "json", "notify", "test"]);
    assert_eq!(all.code, 1);
    let all = all.json().unwrap();
    assert_eq!(all[0], json!({"target": "good", "error": null}));
    assert!(text(&all[1]["error"]).contains("500"), "{all:#}");
    let without = rehearsal.run(&["notify", "test", "good"]);
    assert!(
        without.stdout.contains("WEBHOOK_SECRET"),
        "{}",
        without.stdout
    );
    let unknown = rehearsal.run(&["notify", "test", "goood"]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.stderr.contains("did you mean \"good\""),
        "{}",
        unknown.stderr
    );

    // What would go over the network in the clear is refused before anything is sent.
    let clear = both.replace("http://127.0.0.1", "http://192.0.2.1");
    rehearsal.configure(&clear, "", "ous = [\"root\"]");
    let refused = rehearsal.run_with(&secret, &["notify", "test"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("use https"), "{}", refused.stderr);
}

#[test]
fn old_runs_are_forgotten_on_request_and_young_ones_are_not() {
    let rehearsal = failing("");
    fails(&rehearsal);
    fails(&rehearsal);
    let young = rehearsal.run(&["--output", "json", "runs", "prune", "--older-than", "1d"]);
    assert_eq!(young.code, 0, "{}", young.stderr);
    assert_eq!(young.json().unwrap()["forgotten"]["runs"], 0);
    let all = rehearsal.run(&["runs", "prune", "--older-than", "1h"]);
    assert_eq!(all.code, 2, "{}", all.stdout);
    // As if they had ended long ago.
    rehearsal.in_state("UPDATE runs SET ended_at = ended_at - 91 * 86400000");
    let counted = rehearsal.run(&["runs", "prune", "--dry-run"]);
    assert!(counted.stdout.starts_with("1 runs"), "{}", counted.stdout);
    let forgotten = rehearsal.run(&["--output", "json", "runs", "prune"]);
    assert_eq!(forgotten.json().unwrap()["forgotten"]["runs"], 1);
    let left = rehearsal.run(&["--output", "json", "runs", "list"]);
    // The last run of a job stays.
    assert_eq!(left.json().unwrap().as_array().unwrap().len(), 1);
}
