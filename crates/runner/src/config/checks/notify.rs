//! What no single key of `[[notify]]` can say.

use std::collections::BTreeSet;

use onboarding_core::notify::{Event, Template};

use super::Checks;
use crate::config::{RunnerConfig, runner::TokenSource};

pub(super) fn targets(config: &RunnerConfig, checks: &mut Checks<'_>) {
    let mut names = BTreeSet::new();
    for (index, target) in config.notify.iter().enumerate() {
        let index = index.to_string();
        let name = &target.name;
        if !names.insert(name.as_str()) {
            checks.report(
                &["notify", &index, "name"],
                format!("there are two targets of notifications with the name {name:?}"),
                "give each a name of its own",
            );
        }
        let kinds = [
            target.webhook.is_some(),
            target.slack.is_some(),
            target.sns.is_some(),
        ];
        if kinds.into_iter().filter(|given| *given).count() != 1 {
            checks.report(
                &["notify", &index, "name"],
                format!("the target {name:?} must have one of `webhook`, `slack` and `sns`"),
                "one [[notify]] notifies one place; write several",
            );
        }
        if target.webhook.is_some() != target.secret.is_some() {
            checks.report(
                &["notify", &index, "name"],
                format!("the target {name:?} has one of `webhook` and `secret` without the other"),
                "a webhook is signed with a secret, such as secret = { env = \"WEBHOOK_SECRET\" }; nothing else is",
            );
        }
        if target.previous_secret.is_some() && target.secret.is_none() {
            checks.report(
                &["notify", &index, "name"],
                format!("the target {name:?} has a `previous_secret` without a `secret`"),
                "`secret` is the one that receivers are to use; the one before stands beside it while they change",
            );
        }
        if target.give_up_after.get().is_zero() {
            checks.report(
                &["notify", &index, "give_up_after"],
                "`notify.give_up_after` is zero: nothing would be tried again".to_owned(),
                "leave it out for the default",
            );
        }
        if target.secrets().any(TokenSource::names_nothing) {
            checks.report(
                &["notify", &index, "name"],
                format!("a secret of the target {name:?} has a source without a name"),
                "name the environment variable, the file, the secret or the parameter",
            );
        }
        for event in Event::ALL {
            let Some(text) = target.templates.of(event) else {
                continue;
            };
            if let Err(error) = Template::read(text, event) {
                let known: Vec<String> = Template::placeholders(event)
                    .iter()
                    .map(|name| format!("{{{name}}}"))
                    .collect();
                checks.report(
                    &["notify", &index, "templates", event.code()],
                    format!("`notify.templates.{event}` cannot be used: {error}"),
                    &format!("placeholders of {event}: {}", known.join(", ")),
                );
            }
        }
    }
}
