//! What was granted to a plugin is taken out of its words, and what it plans is refused where that cannot be.

use std::sync::Arc;

use onboarding_core::{
    plan::{Finding, Step},
    secret::SecretText,
};
use serde_json::Value;

use super::{
    error::Wrong,
    protocol::{WrittenFinding, WrittenStep},
};

/// A value that was granted and has fewer bytes is a switch, and no secret.
const SHORTEST_SECRET: usize = 4;

/// A line of a secret with several lines that has fewer characters is not told from other words, and neither is, in an id or a payload,
/// a secret with fewer.
const SHORTEST_TOLD: usize = 8;

/// How much of an id is shown.
const ID: usize = 64;

/// What stands where something was taken out.
const REDACTED: &str = "[redacted]";

/// What must not be shown of a plugin's words.
#[derive(Debug, Clone, Default)]
pub(super) struct Redactor(Arc<[SecretText]>);

impl Redactor {
    pub(super) fn new(secrets: &[SecretText]) -> Self {
        let mut forms: Vec<SecretText> = secrets.iter().flat_map(forms).collect();
        // A part is not found before the whole.
        forms.sort_by_key(|form| std::cmp::Reverse(form.expose().len()));
        forms.dedup();
        Self(forms.into())
    }

    /// The length of the longest secret, in bytes.
    pub(super) fn longest(&self) -> usize {
        self.0.first().map_or(0, |form| form.expose().len())
    }

    /// Without what was granted.
    pub(super) fn redacted(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for form in self.0.iter() {
            text = text.replace(form.expose(), REDACTED);
        }
        text
    }

    /// Text that can be shown: in one line, without what was granted, and nothing that moves a cursor.
    pub(super) fn shown(&self, text: &[u8], most: usize) -> String {
        one_line(&self.redacted(&String::from_utf8_lossy(text)), most)
    }

    /// As [`Redactor::shown`], of the beginning of a text: what was granted may be cut off at its end.
    pub(super) fn shown_of_beginning(&self, text: &[u8], most: usize) -> String {
        let text = self.redacted(&String::from_utf8_lossy(text));
        let mut end = text.len().saturating_sub(self.longest());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let beginning = text.get(..end).unwrap_or_default();
        one_line(&format!("{beginning}…"), most)
    }

    /// Whether something that was granted is in a text.
    fn is_in(&self, text: &str) -> bool {
        let mut forms = self.0.iter().map(SecretText::expose);
        forms.any(|form| form.chars().count() >= SHORTEST_TOLD && text.contains(form))
    }

    /// Refuses what is kept as it is, when something that was granted is in it.
    pub(super) fn check(&self, what: &str, kept: &Value) -> Result<(), Wrong> {
        match !self.0.is_empty() && self.is_in(&kept.to_string()) {
            true => Err(Wrong::Told(what.to_owned())),
            false => Ok(()),
        }
    }

    fn check_text(&self, what: &str, kept: &str) -> Result<(), Wrong> {
        match self.is_in(kept) {
            true => Err(Wrong::Told(what.to_owned())),
            false => Ok(()),
        }
    }

    /// A step: what is for people is redacted, and what it is told by and done with is refused.
    pub(super) fn step(&self, mut step: WrittenStep) -> Result<Step, Wrong> {
        self.check_text("the id of a step", &step.id)?;
        let id = self.shown(step.id.as_bytes(), ID);
        let of = |what: &str| format!("{what} of step {id}");
        self.check_text(&of("the kind"), &step.kind)?;
        self.check_text(&of("the action"), &step.action)?;
        for precondition in &step.preconditions {
            self.check_text(&of("a precondition"), precondition)?;
        }
        self.check(&of("the payload"), &step.payload)?;
        step.reason = self.redacted(&step.reason);
        for change in &mut step.changes {
            *change = self.redacted(change);
        }
        Ok(step.into())
    }

    /// A finding, likewise.
    pub(super) fn finding(&self, mut finding: WrittenFinding) -> Result<Finding, Wrong> {
        self.check_text("the id of a finding", &finding.id)?;
        let id = self.shown(finding.id.as_bytes(), ID);
        self.check_text(&format!("the reason of finding {id}"), &finding.reason)?;
        finding.message = self.redacted(&finding.message);
        let more = [
            &mut finding.resource,
            &mut finding.expected,
            &mut finding.actual,
            &mut finding.fix,
        ];
        for text in more.into_iter().flatten() {
            *text = self.redacted(text);
        }
        Ok(finding.into())
    }

    /// What is wrong with a description, which quotes it.
    pub(super) fn wrong(&self, wrong: Wrong) -> Wrong {
        match wrong {
            Wrong::Kind(said) => Wrong::Kind(self.redacted(&said)),
            Wrong::Description(why) => Wrong::Description(self.redacted(&why)),
            other => other,
        }
    }
}

/// The forms in which a secret is found: as it is, its lines, and each of them as it is written in JSON.
fn forms(secret: &SecretText) -> Vec<SecretText> {
    let whole = secret.expose();
    let lines = whole.lines().map(str::trim);
    let lines = lines.filter(|line| line.chars().count() >= SHORTEST_TOLD);
    let mut forms = Vec::new();
    for form in std::iter::once(whole).chain(lines) {
        if form.len() < SHORTEST_SECRET {
            continue;
        }
        forms.push(SecretText::new(form));
        let written = Value::from(form).to_string();
        let written = &written[1..written.len() - 1];
        if written != form {
            forms.push(SecretText::new(written));
        }
    }
    forms
}

/// A text in one line, with nothing that moves a cursor.
fn one_line(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for (index, c) in text.trim_end().chars().enumerate() {
        if index == most {
            shown.push('…');
            break;
        }
        match c {
            '\t' => shown.push(' '),
            c if c.is_control() => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        let secrets: Vec<SecretText> = secrets.iter().map(|text| SecretText::new(text)).collect();
        Redactor::new(&secrets)
    }

    #[test]
    fn what_was_granted_is_not_shown_and_no_cursor_is_moved() {
        let redactor = redactor(&["s3cr3t", ""]);
        assert_eq!(
            redactor.shown(b"token s3cr3t\x1b[2J\tand more\r\n", 100),
            "token [redacted]\\u{1b}[2J and more"
        );
        assert_eq!(redactor.shown("äöü".as_bytes(), 2), "äö…");
        assert_eq!(redactor.shown(b"\xff\n", 10), "\u{fffd}");
    }

    #[test]
    fn a_secret_is_found_whole_by_its_lines_and_as_json_writes_it() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0B==\nab\n-----END KEY-----\n";
        let redactor = redactor(&[key, "pass\"word"]);
        for (text, shown) in [
            (key, "[redacted]\n"),
            ("then kqhkiG9w0B== alone", "then [redacted] alone"),
            (
                "{\"password\": \"pass\\\"word\"}",
                "{\"password\": \"[redacted]\"}",
            ),
            ("pass\"word", "[redacted]"),
            ("ab is no secret", "ab is no secret"),
        ] {
            assert_eq!(redactor.redacted(text), shown, "{text}");
        }
        let written = json!({ "key": key }).to_string();
        assert!(!redactor.redacted(&written).contains("MII"), "{written}");
        assert!(
            redactor
                .check("it", &json!({ "a": [{ "b": key }] }))
                .is_err()
        );
        assert!(redactor.check("it", &json!({ "pass\"word": 1 })).is_err());
        assert!(redactor.check("it", &json!({ "a": "ab" })).is_ok());
    }

    /// Wherever the beginning ends, no part of a secret that it cuts is shown.
    #[test]
    fn a_secret_that_is_cut_off_is_not_shown() {
        let redactor = redactor(&["0123456789abcdef"]);
        let text = "0123456789abcdef and 0123456789abcdef, ".repeat(4);
        for end in 0..text.len() {
            let shown = redactor.shown_of_beginning(&text.as_bytes()[..end], 1000);
            assert!(!shown.contains("012"), "{end}: {shown}");
        }
    }

    #[test]
    fn a_step_and_a_finding_tell_nothing_that_was_granted() {
        let redactor = redactor(&["gr4nted-s3cr3t"]);
        let written = |change: &dyn Fn(&mut Value)| {
            let mut step = json!({
                "id": "make:1", "kind": "k", "action": "make", "reason": "uses gr4nted-s3cr3t", "risk": "low",
                "changes": ["to gr4nted-s3cr3t"], "preconditions": [], "payload": {},
            });
            change(&mut step);
            serde_json::from_value::<WrittenStep>(step).unwrap()
        };
        let step = redactor.step(written(&|_| ())).unwrap();
        assert_eq!(step.reason, "uses [redacted]");
        assert_eq!(step.changes, ["to [redacted]"]);
        for (key, value) in [
            ("id", json!("make:gr4nted-s3cr3t")),
            ("kind", json!("gr4nted-s3cr3t")),
            ("action", json!("gr4nted-s3cr3t")),
            ("preconditions", json!(["gr4nted-s3cr3t"])),
            ("payload", json!({ "header": "Bearer gr4nted-s3cr3t" })),
        ] {
            let step = written(&|step| step[key] = value.clone());
            let wrong = redactor.step(step).unwrap_err().to_string();
            assert!(!wrong.contains("gr4nted"), "{wrong}");
        }
        let finding = |id: &str| {
            let finding = json!({
                "id": id, "severity": "info", "reason": "r", "message": "gr4nted-s3cr3t", "resource": "a gr4nted-s3cr3t",
                "expected": "gr4nted-s3cr3t", "actual": "gr4nted-s3cr3t", "fix": "gr4nted-s3cr3t",
            });
            serde_json::from_value::<WrittenFinding>(finding).unwrap()
        };
        let told = redactor.finding(finding("f:1")).unwrap();
        let told = serde_json::to_string(&told).unwrap();
        assert!(!told.contains("gr4nted"), "{told}");
        assert_eq!(told.matches("[redacted]").count(), 5);
        assert!(redactor.finding(finding("f:gr4nted-s3cr3t")).is_err());
    }
}
