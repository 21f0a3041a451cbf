//! What a plugin writes to stderr: lines of our log, short and not too many, the last of them kept for when it fails.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::Instant,
};

use super::redactor::Redactor;

/// Most bytes of a line that are logged.
const LONGEST: usize = 2000;

/// Most lines that are logged in a second.
const MOST_A_SECOND: u32 = 50;

/// How many lines are kept, and how much of each.
const KEPT: usize = 5;
const KEPT_CHARACTERS: usize = 300;

/// The last lines.
#[derive(Debug, Clone, Default)]
pub(super) struct Said(Arc<Mutex<VecDeque<String>>>);

impl Said {
    /// The last lines, the oldest first.
    pub(super) fn last(&self) -> Vec<String> {
        self.0.lock().iter().cloned().collect()
    }

    fn keep(&self, line: &str) {
        let mut kept = self.0.lock();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(line.chars().take(KEPT_CHARACTERS).collect());
    }

    /// Logs what is written, until there is nothing more.
    pub(super) async fn log(
        self,
        plugin: String,
        mut from: impl AsyncRead + Unpin,
        redactor: Redactor,
    ) {
        let mut rate = Rate::default();
        let mut line = Vec::new();
        let mut chunk = vec![0; 8 << 10];
        let most = most(&redactor);
        while let Ok(count @ 1..) = from.read(&mut chunk).await {
            for byte in &chunk[..count] {
                match byte {
                    b'\n' => self.end_line(&plugin, &mut line, &redactor, &mut rate),
                    // What is beyond is dropped with the line's end.
                    _ if line.len() < most => line.push(*byte),
                    _ => {}
                }
            }
        }
        self.end_line(&plugin, &mut line, &redactor, &mut rate);
        rate.tell(&plugin);
    }

    fn end_line(&self, plugin: &str, line: &mut Vec<u8>, redactor: &Redactor, rate: &mut Rate) {
        let text = shown(line, redactor);
        line.clear();
        if text.is_empty() {
            return;
        }
        self.keep(&text);
        if rate.allows(plugin) {
            log(plugin, &text);
        }
    }
}

/// How many bytes of a line are looked at: enough that what was granted is found before the line is cut.
fn most(redactor: &Redactor) -> usize {
    LONGEST.saturating_add(redactor.longest())
}

fn shown(line: &[u8], redactor: &Redactor) -> String {
    match line.len() < most(redactor) {
        true => redactor.shown(line, LONGEST),
        false => redactor.shown_of_beginning(line, LONGEST),
    }
}

/// A line that begins with a level has it; any other is worth knowing.
fn log(plugin: &str, line: &str) {
    let (level, text) = line.split_once(':').unwrap_or(("", line));
    let text = text.trim_start();
    match level {
        "error" => tracing::error!(plugin, "{text}"),
        "warning" => tracing::warn!(plugin, "{text}"),
        "info" => tracing::info!(plugin, "{text}"),
        "debug" => tracing::debug!(plugin, "{text}"),
        _ => tracing::info!(plugin, "{line}"),
    }
}

/// How many lines are logged.
#[derive(Default)]
struct Rate {
    since: Option<Instant>,
    logged: u32,
    left_out: u64,
}

impl Rate {
    fn allows(&mut self, plugin: &str) -> bool {
        let now = Instant::now();
        let is_over = self
            .since
            .is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1));
        if is_over {
            self.tell(plugin);
            self.since = Some(now);
            self.logged = 0;
        }
        self.logged += 1;
        let allows = self.logged <= MOST_A_SECOND;
        self.left_out += u64::from(!allows);
        allows
    }

    /// Says how many lines were left out since this was said.
    fn tell(&mut self, plugin: &str) {
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            tracing::warn!(
                plugin,
                left_out,
                "the plugin wrote more than {MOST_A_SECOND} lines a second to stderr; the rest was left out"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use onboarding_core::secret::SecretText;

    use super::*;

    #[tokio::test]
    async fn the_last_lines_are_kept_whole_or_not() {
        let said = Said::default();
        let mut text: Vec<u8> = (0..100)
            .flat_map(|line| format!("line {line}\n").into_bytes())
            .collect();
        text.extend(vec![b'x'; 100_000]);
        let log = said
            .clone()
            .log("rogue".to_owned(), &text[..], Redactor::default());
        log.await;
        let last = said.last();
        assert_eq!(last.len(), KEPT);
        assert_eq!(last[0], "line 96");
        assert_eq!(last[KEPT - 1], "x".repeat(KEPT_CHARACTERS));
    }
    /// What is found only after the cut would be shown in part.
    #[tokio::test]
    async fn what_was_granted_is_taken_out_before_a_line_is_cut() {
        let secret = "gr4nted-s3cr3t".repeat(20);
        let redactor = Redactor::new(&[SecretText::new(&secret)]);
        for before in (LONGEST - secret.len() - 1)..(LONGEST + secret.len()) {
            let text = format!("{}{secret}", "x".repeat(before));
            let looked_at = text.len().min(most(&redactor));
            let shown = shown(&text.as_bytes()[..looked_at], &redactor);
            assert!(!shown.contains("gr4"), "{before}: {shown}");
        }
        let said = Said::default();
        let text = format!("{}{secret}\n", "x".repeat(KEPT_CHARACTERS - 20));
        said.clone()
            .log("rogue".to_owned(), text.as_bytes(), redactor)
            .await;
        assert!(said.last()[0].ends_with("[redacted]"), "{:?}", said.last());
    }
}
