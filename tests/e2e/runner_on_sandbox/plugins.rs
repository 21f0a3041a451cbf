//! Plugins: executables that are job kinds of their own. Here is what the tests share; one module per concern.

mod daemon;
mod definitions;
mod examples;
mod failures;
mod steps;

use std::os::unix::fs::symlink;

use e2e::components;

use super::*;

/// What bounds plugins in tests: what hangs is found soon.
const LIMITS: &str = "start_timeout = \"30s\"\ncall_timeout = \"30s\"\ncancel_grace = \"10s\"\n";

/// Less time, for those that hang.
const SHORT: &str = "start_timeout = \"30s\"\ncall_timeout = \"2s\"\ncancel_grace = \"1s\"\n";

impl Rehearsal {
    /// Plugins are looked for in `config/plugins`, under these limits.
    fn with_plugins(scenario: &str, limits: &str) -> Self {
        let rehearsal = Self::new(scenario);
        fs::create_dir(rehearsal.path("config/plugins")).unwrap();
        rehearsal.bound(limits, "");
        rehearsal
    }

    /// Bounds plugins otherwise; `before` stands at the beginning of runner.toml.
    fn bound(&self, limits: &str, before: &str) {
        let sections = format!(
            "{before}\n[daemon]\nlisten = \"127.0.0.1:0\"\n[plugins]\npath = [\"plugins\"]\n{limits}"
        );
        self.configure(&sections, "", "ous = [\"root\"]");
    }

    /// Puts a plugin there under a kind.
    fn put(&self, kind: &str, program: &Path) {
        let name = format!("config/plugins/runner-job-{kind}");
        symlink(program, self.path(&name)).unwrap();
    }

    /// A job of the plugin for tests, which does what its kind says, with a directory and a log of its own.
    fn rogue(&self, what: &str, params: &str) -> String {
        let kind = format!("rogue-{what}");
        let program = components::checkout().join("tests/plugins/runner-job-rogue");
        self.put(&kind, &program);
        self.define_plugin_job(&kind, "", params);
        kind
    }

    /// Writes the job of this kind, with other settings of the job and of its plugin.
    fn define_plugin_job(&self, kind: &str, job: &str, params: &str) {
        fs::create_dir_all(self.path("made")).unwrap();
        let settings = "[params.settings]\ndirectory = \"made\"\nlog = \"log\"\n";
        let text =
            format!("kind = {kind:?}\n{job}\n[retry]\ninitial = \"1ms\"\n[params]\n{params}\n");
        let text = match text.contains("[params.settings]") {
            true => text,
            false => text + settings,
        };
        self.write(&format!("config/jobs/{kind}.toml"), &text);
    }

    /// `runner --output json exec JOB`, with its document.
    #[track_caller]
    fn exec(&self, job: &str, arguments: &[&str]) -> (Ended, Value) {
        let command = [&["--output", "json", "exec", job], arguments].concat();
        let ended = self.run(&command);
        let document = ended.json().unwrap();
        assert_adds_up(&document);
        (ended, document)
    }

    /// A run that must end so.
    #[track_caller]
    fn exec_ends(&self, job: &str, code: i32, arguments: &[&str]) -> Value {
        let (ended, document) = self.exec(job, arguments);
        assert_eq!(ended.code, code, "{document:#}\n{}", ended.stderr);
        document
    }

    /// The accounts that a plugin is given: all that the root has.
    fn given(&self) -> Vec<String> {
        let mut ids = self.account_ids(|_| true);
        ids.sort();
        ids
    }

    /// The files of a directory, sorted.
    fn files(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// What the plugin for tests says that it did.
    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits until the processes are gone that a plugin named which hangs.
    #[track_caller]
    fn until_gone(&self) {
        let pids = fs::read_to_string(self.path("pids")).unwrap();
        let pids: Vec<&str> = pids.split_whitespace().collect();
        assert_eq!(pids.len(), 2);
        self.until("the plugin and its child are gone", || {
            let is_there = |pid: &&&str| is_alive(pid);
            (pids.iter().filter(is_there).count() == 0).then_some(())
        });
    }
}

/// Whether a process is there, and not only waited for by nobody.
fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('Z'))
    })
}
