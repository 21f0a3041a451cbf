//! The process of a plugin: in a process group of its own, with a directory of its own, and its end.

use std::{
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::{Instant, sleep},
};

use super::{error::Wrong, scratch::Scratch};

/// How often it is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(10);

/// How often that is looked at while it is asked something: its stdout tells it sooner, as a rule.
const WATCH: Duration = Duration::from_millis(100);

/// A running plugin. When it is dropped, its process group is killed.
pub(super) struct Process {
    child: Child,
    /// The process group; none when it was waited for, so that its number may be another one's by now.
    group: Option<Pid>,
    _scratch: Scratch,
}

/// Its ends that we hold.
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl Process {
    /// Starts an executable with these variables and no others, but those that say where its directory is.
    pub(super) fn start(
        program: &Path,
        variables: &[(String, String)],
    ) -> Result<(Self, Pipes), Wrong> {
        let scratch = Scratch::new().map_err(Wrong::NoScratch)?;
        let mut child = Command::new(program)
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env("HOME", scratch.path())
            .env("TMPDIR", scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A signal of the terminal is for us: the plugin is told to cancel.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(Wrong::NotStarted)?;
        let group = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(Wrong::NotStarted(io::Error::other("it has no pipes")));
        };
        let process = Self {
            child,
            group,
            _scratch: scratch,
        };
        Ok((
            process,
            Pipes {
                stdin,
                stdout,
                stderr,
            },
        ))
    }

    /// Waits for its end, at most for so long, then kills what is left of its group. How it ended; none when it was killed.
    pub(super) async fn end(&mut self, grace: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + grace;
        let mut ended = self.has_ended();
        while !ended && Instant::now() < deadline {
            sleep(LOOK).await;
            ended = self.has_ended();
        }
        // Before it is waited for: until then, the group's number is nobody else's.
        self.kill();
        let status = self.child.wait().await.ok();
        self.group = None;
        status.filter(|_| ended)
    }

    /// Ends when it has ended by itself. It is not waited for.
    pub(super) async fn ended(&self) {
        while !self.has_ended() {
            sleep(WATCH).await;
        }
    }

    /// Whether it has ended by itself. It is not waited for.
    pub(super) fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.group
            .is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), options), Ok(None)))
    }

    /// Kills its process group.
    pub(super) fn kill(&self) {
        if let Some(group) = self.group {
            // One that is gone needs no killing.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
