//! The progress display on stderr. Quiet when stderr is not a terminal, except for notices.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use crate::engine::{Phase, Progress, ProgressSink};

/// Shows how far a run is, on one line that is redrawn.
pub struct TerminalProgress {
    bar: ProgressBar,
}

impl TerminalProgress {
    /// A display on stderr; hidden when stderr is not a terminal or `quiet`.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let bar = if quiet || !std::io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            ProgressBar::new_spinner()
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {wide_msg}") {
            bar.set_style(style);
        }
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar }
    }

    /// Removes the display.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl ProgressSink for TerminalProgress {
    fn phase(&self, phase: Phase) {
        let text = match phase {
            Phase::Observe => "looking at AWS and Spot",
            Phase::Apply => "applying",
            Phase::Verify => "looking again, to verify",
        };
        self.bar.set_message(text);
    }

    fn progress(&self, progress: &Progress) {
        let operation = progress
            .operation
            .as_deref()
            .map(|operation| format!(" · {operation}"))
            .unwrap_or_default();
        self.bar.set_message(format!(
            "{} of {} accounts done, {} failed, {} waiting{operation}",
            progress.done, progress.total, progress.failed, progress.waiting
        ));
    }

    fn notice(&self, text: &str) {
        if self.bar.is_hidden() {
            #[expect(
                clippy::print_stderr,
                reason = "notices are for the person at the terminal"
            )]
            {
                eprintln!("{text}");
            }
        } else {
            self.bar.println(text);
        }
    }
}
