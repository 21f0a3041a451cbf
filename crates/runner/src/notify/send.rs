//! One notification to one target, tried once. No secret and no URL is in what it says of a failure.

use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use aws_ops::{Aws, ErrorClass};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use onboarding_core::{
    ids::TopicArn,
    notify::{Notice, TemplateError, Told},
};
use reqwest::{
    Client, Response,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::{Value, json};

use super::signature;
use crate::{
    config::{NotifyConfig, TokenSource, WebhookUrl},
    secret,
};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long one attempt may take.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(10);

/// Most characters of the subject of a message of SNS (SNS API reference, Publish).
const SUBJECT: usize = 100;

/// What is told.
#[derive(Debug, Clone)]
pub struct Message {
    /// What the receiver knows it by: the same for each attempt.
    pub id: String,
    /// What it is about.
    pub notice: Notice,
    /// How often that happened.
    pub count: u64,
}

/// A notification that did not get through.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct SendError {
    /// Why, and what to do.
    why: String,
    /// The earliest moment for another attempt, as the target told.
    pub(super) retry_after: Option<Duration>,
    /// Whether the target refuses what this one says, and may take others.
    pub(super) is_of_content: bool,
}

impl SendError {
    fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            retry_after: None,
            is_of_content: false,
        }
    }
}

impl From<TemplateError> for SendError {
    fn from(error: TemplateError) -> Self {
        Self {
            is_of_content: true,
            ..Self::new(error.to_string())
        }
    }
}

/// Sends to every kind of target.
pub struct Sender {
    aws: Aws,
    /// Over the network, by the proxies that the environment names.
    outside: OnceLock<Client>,
    /// To this machine.
    here: OnceLock<Client>,
}

impl Sender {
    /// Sends as the home account where AWS is asked.
    #[must_use]
    pub fn new(aws: Aws) -> Self {
        Self {
            aws,
            outside: OnceLock::new(),
            here: OnceLock::new(),
        }
    }

    /// Sends once, and waits so long for an answer at most.
    ///
    /// # Errors
    /// It did not get through, or nobody knows whether it did.
    pub async fn send(
        &self,
        target: &NotifyConfig,
        message: &Message,
        patience: Duration,
    ) -> Result<(), SendError> {
        let notice = &message.notice;
        let at = moment(notice.at);
        let text = target.template(notice.event)?.text(Told {
            notice,
            count: message.count,
            at: &at,
        });
        let sent = async {
            match (&target.webhook, &target.slack, &target.sns) {
                (Some(url), _, _) => self.webhook(url, target, message, &text, &at).await,
                (None, Some(source), _) => self.slack(source, &text).await,
                (None, None, Some(topic)) => self.topic(topic, notice, &text).await,
                (None, None, None) => Err(SendError::new("the target has no place to send to")),
            }
        };
        let patience = patience.min(ATTEMPT);
        let late = || format!("no answer within {:.1} s", patience.as_secs_f64());
        tokio::time::timeout(patience, sent)
            .await
            .unwrap_or_else(|_| Err(SendError::new(late())))
    }

    async fn webhook(
        &self,
        url: &WebhookUrl,
        target: &NotifyConfig,
        message: &Message,
        text: &str,
        at: &str,
    ) -> Result<(), SendError> {
        let body = document(message, text, at).to_string();
        let now = Timestamp::now().as_second();
        let signature = self.signatures(target, (&message.id, now, &body)).await?;
        let request = self.client(url.is_loopback())?.post(url.url().clone());
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", signature)
            .body(body);
        accepted(request.send().await)
    }

    /// A signature by the secret, and one by the secret before where receivers may still have that.
    async fn signatures(
        &self,
        target: &NotifyConfig,
        signed: (&str, i64, &str),
    ) -> Result<String, SendError> {
        let Some(source) = &target.secret else {
            return Err(SendError::new("the webhook has no secret to sign with"));
        };
        let signature = self.signature(source, signed).await;
        let signature = signature.map_err(SendError::new)?;
        let Some(source) = &target.previous_secret else {
            return Ok(signature);
        };
        Ok(match self.signature(source, signed).await {
            Ok(previous) => format!("{signature} {previous}"),
            Err(why) => {
                tracing::warn!(
                    notify.target = target.name,
                    why,
                    "nothing is signed with the secret before; take notify.previous_secret away when nobody needs it any more"
                );
                signature
            }
        })
    }

    async fn signature(
        &self,
        source: &TokenSource,
        (id, at, body): (&str, i64, &str),
    ) -> Result<String, String> {
        let secret = secret::read(source, &self.aws).await?;
        signature::sign(&secret, id, at, body).map_err(|error| error.to_string())
    }

    async fn slack(&self, source: &TokenSource, text: &str) -> Result<(), SendError> {
        let url = secret::read(source, &self.aws).await;
        let url = url.map_err(SendError::new)?;
        let url: WebhookUrl = url
            .expose()
            .parse()
            .map_err(|why| SendError::new(format!("what {source} has cannot be used: {why}")))?;
        let body = json!({ "text": escaped(text) }).to_string();
        let request = self.client(url.is_loopback())?.post(url.url().clone());
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        accepted(request.send().await)
    }

    async fn topic(&self, topic: &TopicArn, notice: &Notice, text: &str) -> Result<(), SendError> {
        let subject = subject(notice);
        self.aws
            .publish(topic, &subject, text, &attributes(notice))
            .await
            .map_err(|error| SendError {
                is_of_content: error.class() == ErrorClass::Invalid,
                ..SendError::new(error.to_string())
            })
    }

    /// Redirects are not followed: they could lead anywhere.
    fn client(&self, is_here: bool) -> Result<&Client, SendError> {
        let place = if is_here { &self.here } else { &self.outside };
        if let Some(client) = place.get() {
            return Ok(client);
        }
        let builder = Client::builder()
            .user_agent(concat!("spot-onboarding/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .timeout(ATTEMPT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        let builder = if is_here {
            builder.no_proxy()
        } else {
            builder.https_only(true)
        };
        let client = builder.build().map_err(|error| {
            SendError::new(format!(
                "TLS cannot be set up ({error}); install the certificates of the operating system"
            ))
        })?;
        Ok(place.get_or_init(|| client))
    }
}

/// What a webhook is told, in the form that Standard Webhooks suggests.
fn document(message: &Message, text: &str, at: &str) -> Value {
    let notice = &message.notice;
    json!({
        "type": notice.event.code(),
        "timestamp": at,
        "data": {
            "job": (!notice.job.is_empty()).then_some(&notice.job),
            "kind": notice.kind,
            "run_id": notice.run,
            "status": notice.status,
            "count": message.count,
            "text": text,
            "what": notice.what,
            "command": notice.command,
            "summary": notice.summary,
            "findings": notice.findings,
            "findings_left_off": notice.findings_left_off,
        },
    })
}

fn accepted(answer: Result<Response, reqwest::Error>) -> Result<(), SendError> {
    let answer = answer.map_err(|error| {
        let error = error.without_url();
        let mut why = format!("it cannot be reached: {error}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            why = format!("{why}: {cause}");
            source = cause.source();
        }
        SendError::new(why)
    })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let asked = answer.headers().get(RETRY_AFTER);
    let asked = asked.and_then(|value| wait(value.to_str().ok()?, Timestamp::now()));
    let hint = match status.as_u16() {
        300..=399 => "; redirects are not followed, so name the place that it leads to",
        401 | 403 => "; is the secret the same on both sides?",
        404 | 410 => "; is the address still right?",
        _ => "",
    };
    Err(SendError {
        why: format!("it answered {status}{hint}"),
        is_of_content: asked.is_none() && matches!(status.as_u16(), 400 | 413 | 422),
        retry_after: asked,
    })
}

/// How long to wait by the header `Retry-After`: so many seconds, or until a moment (RFC 9110, section 10.2.3).
fn wait(asked: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = asked.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTimeParser::new().parse_timestamp(asked.trim()).ok()?;
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

/// What subscriptions to a topic can filter by. SNS takes none without a value.
fn attributes(notice: &Notice) -> BTreeMap<String, String> {
    let all = [("event", notice.event.code()), ("job", notice.job.as_str())];
    let given = all.into_iter().filter(|(_, value)| !value.is_empty());
    given
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A text in which nothing means a link, a mention or a channel to Slack.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// One line of printable ASCII that begins with a letter.
fn subject(notice: &Notice) -> String {
    let text = format!("spot-onboarding: {} {}", notice.event, notice.job);
    let printable = text.trim().chars().filter(|c| (' '..='~').contains(c));
    printable.take(SUBJECT).collect()
}

/// A moment in Unix milliseconds, as RFC 3339 has it.
fn moment(at: i64) -> String {
    Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use onboarding_core::{notify::Event, plan::Finding};

    use super::*;

    #[test]
    fn slack_sees_no_mention_in_what_others_wrote() {
        assert_eq!(escaped("<!here> a & b"), "&lt;!here&gt; a &amp; b");
    }

    #[test]
    fn a_subject_is_one_short_line_of_ascii() {
        let notice = |job: &str| Notice::new(Event::RunFailed, job, 0, String::new(), "");
        assert_eq!(subject(&notice("sync")), "spot-onboarding: run-failed sync");
        assert_eq!(subject(&notice("é\nx")), "spot-onboarding: run-failed x");
        assert_eq!(subject(&notice(&"x".repeat(200))).len(), SUBJECT);
    }

    #[test]
    fn a_wait_is_asked_for_in_seconds_or_as_a_moment() {
        let now: Timestamp = "2027-01-15T08:00:00Z".parse().unwrap();
        for (asked, wanted) in [
            ("60", Some(60)),
            (" 0 ", Some(0)),
            ("Fri, 15 Jan 2027 08:01:30 GMT", Some(90)),
            ("Fri, 15 Jan 2027 07:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            let seconds = wait(asked, now).map(|wait| wait.as_secs());
            assert_eq!(seconds, wanted, "{asked}");
        }
    }

    #[test]
    fn a_message_of_no_job_has_no_attribute_for_it() {
        let names = |job: &str| -> Vec<String> {
            let notice = Notice::new(Event::Test, job, 0, String::new(), "");
            attributes(&notice).into_keys().collect()
        };
        assert_eq!(names("sync"), ["event", "job"]);
        assert_eq!(names(""), ["event"]);
    }

    #[test]
    fn a_webhook_is_told_how_many_findings_it_does_not_see() {
        let mut notice = Notice::new(Event::NewFindings, "audit", 0, String::new(), "");
        notice.findings = vec![Finding::default(); 2];
        notice.findings_left_off = 3;
        let message = Message {
            id: "id".to_owned(),
            notice,
            count: 2,
        };
        let document = document(&message, "text", &moment(1_800_000_000_000));
        assert_eq!(document["type"], "new-findings");
        assert_eq!(document["timestamp"], "2027-01-15T08:00:00Z");
        assert_eq!(document["data"]["findings"].as_array().unwrap().len(), 2);
        assert_eq!(document["data"]["findings_left_off"], 3);
        assert_eq!(document["data"]["run_id"], Value::Null);
    }
}
