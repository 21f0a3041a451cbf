//! The words of a notification: a text with placeholders, checked for its event when it is read.

use std::fmt::Write as _;

use super::{Event, Notice, shortened};

/// Most characters of a text; what is longer is cut.
pub(super) const LONGEST: usize = 3_000;

/// A text with placeholders such as `{job}`. `{{` and `}}` stand for braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Placeholder(&'static str),
}

/// What a text is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It has a placeholder that the event has no value for.
    #[error("{{{name}}} is no placeholder of {event}")]
    Unknown {
        /// The placeholder.
        name: String,
        /// The event.
        event: Event,
    },
    /// A brace has no other one.
    #[error("a brace stands alone; write {{{{ or }}}} for a brace")]
    Brace,
    /// Nothing would be told.
    #[error("the text is empty")]
    Empty,
}

/// What is put in the place of placeholders beside the notice.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The notice.
    pub notice: &'a Notice,
    /// How often it happened since it was told last, this time included.
    pub count: u64,
    /// When it happened, for people.
    pub at: &'a str,
}

/// Placeholders of every event.
const COMMON: [&str; 7] = ["event", "job", "at", "count", "times", "what", "command"];

impl Template {
    /// The placeholders that a text for an event may have.
    #[must_use]
    pub fn placeholders(event: Event) -> Vec<&'static str> {
        let own: &[&str] = match event {
            Event::RunFailed
            | Event::RolloutHalted
            | Event::ApprovalNeeded
            | Event::NewFindings => &["kind", "run", "status"],
            Event::RunsDied => &["run"],
            Event::DefinitionBroken | Event::Test => &[],
        };
        COMMON.iter().chain(own).copied().collect()
    }

    /// The text that is used when none is given.
    #[must_use]
    pub fn standard(event: Event) -> &'static str {
        match event {
            Event::RunFailed => "Job {job}: the run {status}{times}. {what}\n{command}",
            Event::RolloutHalted => "Job {job}: the rollout is halted{times}. {what}\n{command}",
            Event::ApprovalNeeded => {
                "Job {job}: a plan waits for an approval{times}. {what}\n{command}"
            }
            Event::NewFindings => "Job {job} has new findings{times}.\n{what}\n{command}",
            Event::DefinitionBroken => "The definition {job} is wrong{times}.\n{what}\n{command}",
            Event::RunsDied => "Job {job}: its runs die{times}. {what}\n{command}",
            Event::Test => "{what}",
        }
    }

    /// Reads a text for an event.
    ///
    /// # Errors
    /// It has a placeholder that is not one of the event's, or a brace that stands alone, or nothing.
    pub fn read(text: &str, event: Event) -> Result<Self, TemplateError> {
        if text.trim().is_empty() {
            return Err(TemplateError::Empty);
        }
        let known = Self::placeholders(event);
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let inner = (brace == "{").then(|| rest.split_once('}')).flatten();
            let (name, after) = inner.ok_or(TemplateError::Brace)?;
            let Some(placeholder) = known.iter().find(|known| **known == name) else {
                return Err(match name.contains('{') {
                    true => TemplateError::Brace,
                    false => TemplateError::Unknown {
                        name: name.to_owned(),
                        event,
                    },
                });
            };
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(Part::Placeholder(placeholder));
            rest = after;
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        Ok(Self(parts))
    }

    /// The text about a notice, at most 3,000 characters of it. What happened is shortened first: what to do often stands behind it.
    #[must_use]
    pub fn text(&self, told: Told<'_>) -> String {
        let what = &told.notice.what;
        let text = self.with(told, what);
        let Some(excess) = text.chars().count().checked_sub(LONGEST + 1) else {
            return text;
        };
        // One more for the mark.
        let most = what.chars().count().saturating_sub(excess + 2);
        shortened(&self.with(told, &shortened(what, most)), LONGEST)
    }

    fn with(&self, told: Told<'_>, what: &str) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Placeholder("what") => text.push_str(what),
                Part::Placeholder(name) => put(&mut text, name, told),
            }
        }
        text.trim().to_owned()
    }
}

/// What is read where no job's file is.
const WHOLE: &str = "runner.toml";

fn put(text: &mut String, placeholder: &str, Told { notice, count, at }: Told<'_>) {
    let known = match placeholder {
        "event" => notice.event.code(),
        "job" if notice.job.is_empty() => WHOLE,
        "job" => &notice.job,
        "kind" => notice.kind.as_deref().unwrap_or_default(),
        "run" => notice.run.as_deref().unwrap_or_default(),
        "status" => notice.status.as_deref().unwrap_or_default(),
        "at" => at,
        "command" => &notice.command,
        "times" if count > 1 => {
            // Writing to a String cannot fail.
            let _ = write!(text, " ({count} times)");
            return;
        }
        "count" => {
            let _ = write!(text, "{count}");
            return;
        }
        _ => "",
    };
    text.push_str(known);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(event: Event) -> Notice {
        Notice {
            kind: Some("stackset-sync".to_owned()),
            run: Some("0192".to_owned()),
            status: Some("failed".to_owned()),
            command: "runner runs show 0192".to_owned(),
            ..Notice::new(event, "sync", 0, "it broke {job}".to_owned(), "it broke")
        }
    }

    fn told(template: &str, event: Event, count: u64) -> String {
        Template::read(template, event).unwrap().text(Told {
            notice: &notice(event),
            count,
            at: "now",
        })
    }

    #[test]
    fn each_event_has_a_text_that_says_which_job_and_what() {
        for event in Event::ALL {
            let text = told(Template::standard(event), event, 1);
            assert!(text.contains("sync") && text.contains("it broke"), "{text}");
            assert!(!text.contains("times"), "{text}");
            let text = told(Template::standard(event), event, 3);
            assert!(text.contains("(3 times)"), "{text}");
        }
        assert_eq!(
            told(Template::standard(Event::Test), Event::Test, 1),
            "it broke {job}"
        );
    }

    #[test]
    fn placeholders_are_put_in_once_and_braces_can_be_written() {
        let all = "{{{event}}} {job} {kind} {run} {status} {at} {count}{times} {what}";
        assert_eq!(
            told(all, Event::RunFailed, 2),
            "{run-failed} sync stackset-sync 0192 failed now 2 (2 times) it broke {job}"
        );
    }

    #[test]
    fn what_is_no_text_for_the_event_is_refused() {
        let unknown = |name: &str, event| TemplateError::Unknown {
            name: name.to_owned(),
            event,
        };
        for (text, event, wanted) in [
            (
                "{jobb}",
                Event::RunFailed,
                unknown("jobb", Event::RunFailed),
            ),
            (
                "{run}",
                Event::DefinitionBroken,
                unknown("run", Event::DefinitionBroken),
            ),
            ("{}", Event::RunFailed, unknown("", Event::RunFailed)),
            ("{job", Event::RunFailed, TemplateError::Brace),
            ("job}", Event::RunFailed, TemplateError::Brace),
            ("{a {job}", Event::RunFailed, TemplateError::Brace),
            (" \n", Event::RunFailed, TemplateError::Empty),
        ] {
            assert_eq!(Template::read(text, event), Err(wanted), "{text}");
        }
    }

    #[test]
    fn what_happened_is_cut_before_what_to_do() {
        let template = Template::read("{job}: {what}\n{command}", Event::RunFailed).unwrap();
        let text = |what: String| {
            let notice = Notice {
                what,
                ..notice(Event::RunFailed)
            };
            let told = Told {
                notice: &notice,
                count: 1,
                at: "now",
            };
            template.text(told)
        };
        let around = text(String::new()).chars().count();
        let fits = text("é".repeat(LONGEST - around));
        assert_eq!(fits.chars().count(), LONGEST);
        assert!(!fits.contains('…'));
        for more in [1, 2, 5_000] {
            let long = text("é".repeat(LONGEST - around + more));
            assert_eq!(long.chars().count(), LONGEST, "{more}");
            assert!(long.starts_with("sync: éé"), "{long}");
            assert!(long.ends_with("é…\nrunner runs show 0192"), "{long}");
        }
    }

    #[test]
    fn a_definition_that_is_no_jobs_is_named() {
        let notice = Notice::new(Event::DefinitionBroken, "", 0, "line 3".to_owned(), "");
        let standard = Template::standard(Event::DefinitionBroken);
        let template = Template::read(standard, Event::DefinitionBroken).unwrap();
        let text = template.text(Told {
            notice: &notice,
            count: 1,
            at: "now",
        });
        assert_eq!(text, "The definition runner.toml is wrong.\nline 3");
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_between_characters() {
        let long = "é".repeat(LONGEST + 1);
        let text = told(&long, Event::RunFailed, 1);
        assert_eq!(text.chars().count(), LONGEST + 1);
        assert!(text.ends_with("é…"));
    }
}
