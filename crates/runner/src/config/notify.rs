//! `[[notify]]`: who is told what about jobs.

use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc};

use onboarding_core::{
    ids::TopicArn,
    notify::{Event, Route, Template},
    plan::Severity,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::{
    duration::{self, HumanDuration},
    runner::{RunnerConfig, TokenSource},
    text::{Text, TextForm},
};

/// A target of notifications: one of `webhook`, `slack` and `sns`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifyConfig {
    /// Its name, for logs and `runner notify test`.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// A webhook: JSON is posted to this URL, signed as Standard Webhooks has it. https only; http on the loopback interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Text<WebhookUrl>>,
    /// Where the secret comes from that a webhook's signature is made with; exactly one source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<TokenSource>,
    /// Where the secret before comes from, while its receivers are given the new one: what is told is signed with both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret: Option<TokenSource>,
    /// An incoming webhook of Slack, or of what understands the same: where its URL comes from, which is a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<TokenSource>,
    /// An SNS topic that is published to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sns: Option<Text<TopicArn>>,
    /// What it is told of.
    #[serde(default = "all_events")]
    #[schemars(length(min = 1))]
    pub events: Vec<EventName>,
    /// The jobs that it is told of, by name; without any, all.
    #[serde(default)]
    pub jobs: Vec<String>,
    /// New findings from this severity on.
    #[serde(default)]
    pub severity: SeverityName,
    /// For how long what it was told is not told again. What happens meanwhile is counted, and the count is told with the next one.
    #[serde(default = "quiet")]
    pub quiet: Text<HumanDuration>,
    /// At most this many attempts to notify it an hour, whatever becomes of them; what is left waits.
    #[serde(default = "per_hour")]
    #[schemars(range(min = 1, max = 3600))]
    pub per_hour: u32,
    /// For how long a notification is tried that does not get through.
    #[serde(default = "give_up_after")]
    pub give_up_after: Text<HumanDuration>,
    /// The words for each event: docs/notifications.md has the placeholders.
    #[serde(default)]
    pub templates: TemplatesConfig,
}

fn all_events() -> Vec<EventName> {
    EventName::ALL.into()
}

fn quiet() -> Text<HumanDuration> {
    duration::seconds(60 * 60)
}

fn per_hour() -> u32 {
    30
}

fn give_up_after() -> Text<HumanDuration> {
    duration::seconds(24 * 60 * 60)
}

/// What a target can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventName {
    /// A run failed, could not begin, or was refused by a guard rail.
    RunFailed,
    /// A gate of a rollout was not passed.
    RolloutHalted,
    /// A plan waits for an approval.
    ApprovalNeeded,
    /// A run found what the job's last run did not find.
    NewFindings,
    /// The file of a job is wrong.
    DefinitionBroken,
    /// Three runs of a job have died with their process, one after the other.
    RunsDied,
}

impl EventName {
    const ALL: [Self; 6] = [
        Self::RunFailed,
        Self::RolloutHalted,
        Self::ApprovalNeeded,
        Self::NewFindings,
        Self::DefinitionBroken,
        Self::RunsDied,
    ];
}

impl From<EventName> for Event {
    fn from(name: EventName) -> Self {
        match name {
            EventName::RunFailed => Self::RunFailed,
            EventName::RolloutHalted => Self::RolloutHalted,
            EventName::ApprovalNeeded => Self::ApprovalNeeded,
            EventName::NewFindings => Self::NewFindings,
            EventName::DefinitionBroken => Self::DefinitionBroken,
            EventName::RunsDied => Self::RunsDied,
        }
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SeverityName {
    /// Worth knowing.
    Info,
    /// Somebody should look.
    #[default]
    Warning,
    /// Something is wrong.
    Error,
}

impl From<SeverityName> for Severity {
    fn from(name: SeverityName) -> Self {
        match name {
            SeverityName::Info => Self::Info,
            SeverityName::Warning => Self::Warning,
            SeverityName::Error => Self::Error,
        }
    }
}

/// The words of notifications, by event.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TemplatesConfig {
    /// Of a run that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_failed: Option<String>,
    /// Of a rollout that is halted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout_halted: Option<String>,
    /// Of a plan that waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_needed: Option<String>,
    /// Of new findings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_findings: Option<String>,
    /// Of a job file that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition_broken: Option<String>,
    /// Of runs that died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs_died: Option<String>,
}

impl TemplatesConfig {
    /// The text that is given for an event.
    #[must_use]
    pub fn of(&self, event: Event) -> Option<&str> {
        match event {
            Event::RunFailed => self.run_failed.as_deref(),
            Event::RolloutHalted => self.rollout_halted.as_deref(),
            Event::ApprovalNeeded => self.approval_needed.as_deref(),
            Event::NewFindings => self.new_findings.as_deref(),
            Event::DefinitionBroken => self.definition_broken.as_deref(),
            Event::RunsDied => self.runs_died.as_deref(),
            Event::Test => None,
        }
    }
}

impl RunnerConfig {
    /// What each target wants to be told.
    #[must_use]
    pub fn routes(&self) -> Arc<[Route]> {
        self.notify.iter().map(NotifyConfig::route).collect()
    }
}

impl NotifyConfig {
    /// What it wants to be told.
    #[must_use]
    pub fn route(&self) -> Route {
        let milliseconds =
            |duration: Text<HumanDuration>| i64::try_from(duration.get().as_millis());
        Route {
            target: self.name.clone(),
            events: self.events.iter().copied().map(Event::from).collect(),
            jobs: self.jobs.iter().cloned().collect::<BTreeSet<_>>(),
            severity: self.severity.into(),
            quiet: milliseconds(self.quiet).unwrap_or(i64::MAX),
            give_up_after: milliseconds(self.give_up_after).unwrap_or(i64::MAX),
        }
    }

    /// The words for an event: those that are given, or else the standard ones.
    ///
    /// # Errors
    /// They are no text for the event, which reading the configuration refuses.
    pub fn template(
        &self,
        event: Event,
    ) -> Result<Template, onboarding_core::notify::TemplateError> {
        let given = self.templates.of(event);
        Template::read(given.unwrap_or_else(|| Template::standard(event)), event)
    }

    /// Where its secrets are.
    pub fn secrets(&self) -> impl Iterator<Item = &TokenSource> {
        let of_webhook = self.secret.iter().chain(&self.previous_secret);
        of_webhook.chain(&self.slack)
    }
}

/// The URL of a webhook. Never shown as a whole: it may have a secret in it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

impl WebhookUrl {
    /// The URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({})", self.0.host_str().unwrap_or_default())
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for WebhookUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url: Url = text.trim().parse().map_err(|_| "this is no URL")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("this URL has a user or a password in it, which would not be sent");
        }
        let url = Self(url);
        match url.0.scheme() {
            "https" => Ok(url),
            "http" if url.is_loopback() => Ok(url),
            "http" => Err("what is told would go over the network in the clear: use https"),
            _ => Err("only https URLs can be notified"),
        }
    }
}

impl TextForm for WebhookUrl {
    const FORMAT: &'static str = "webhook-url";
    const EXPECTED: &'static str = "an https URL (\"https://hooks.example.com/spot\"), or an http URL on the loopback interface";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_read_on_the_way_is_a_url_of_a_webhook() {
        for (text, is_one) in [
            ("https://hooks.example.com/a?b=c", true),
            ("http://127.0.0.1:8080/", true),
            ("http://[::1]/x", true),
            ("http://localhost:1/", true),
            ("http://hooks.example.com/", false),
            ("http://127.0.0.1.example.com/", false),
            ("http://10.0.0.1/", false),
            ("https://user:canary@example.com/", false),
            ("ftp://example.com/", false),
            ("hooks.example.com", false),
        ] {
            let read = text.parse::<WebhookUrl>();
            assert_eq!(read.is_ok(), is_one, "{text}: {read:?}");
            assert!(!format!("{read:?}").contains("canary"));
        }
        let secret: WebhookUrl = "https://example.com/canary".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "WebhookUrl(example.com)");
    }

    #[test]
    fn every_event_can_be_chosen_and_worded() {
        let events: Vec<Event> = all_events().into_iter().map(Event::from).collect();
        assert_eq!(events, Event::ALL);
        let words = TemplatesConfig {
            run_failed: Some("1".to_owned()),
            rollout_halted: Some("2".to_owned()),
            approval_needed: Some("3".to_owned()),
            new_findings: Some("4".to_owned()),
            definition_broken: Some("5".to_owned()),
            runs_died: Some("6".to_owned()),
        };
        let given: Vec<_> = Event::ALL
            .into_iter()
            .map(|event| words.of(event))
            .collect();
        assert_eq!(given, ["1", "2", "3", "4", "5", "6"].map(Some));
    }
}
