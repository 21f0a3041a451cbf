//! On a terminal, what is deleted is agreed to by typing how much of it there is; `--yes` does not stand for that there.

use std::process::Command;

use super::*;

/// Runs a program on a terminal of its own, types a line when it is asked to type something, and shows what was on the terminal.
const TERMINAL: &str = r#"
import os, pty, sys
line, *command = sys.argv[1:]
child, terminal = pty.fork()
if child == 0:
    os.execv(command[0], command)
shown, typed = b"", False
while True:
    try:
        more = os.read(terminal, 4096)
    except OSError:
        break
    if not more:
        break
    shown += more
    if not typed and b": " in shown[shown.find(b"\nType ") :] and b"\nType " in shown:
        os.write(terminal, line.encode() + b"\n")
        typed = True
sys.stdout.buffer.write(shown)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

impl Rehearsal {
    /// Runs a command of the runner on a terminal, where this is typed.
    fn typing(&self, line: &str, arguments: &[&str]) -> Ended {
        let plain = self.runner.command(arguments);
        let mut command = Command::new("python3");
        command
            .args(["-c", TERMINAL, line])
            .arg(plain.get_program())
            .args(plain.get_args())
            .current_dir(self.runner.directory())
            .env_clear();
        for (name, value) in plain.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        let mut process = Background::start(&mut command).unwrap();
        let code = process.wait(COMMAND_LIMIT).unwrap();
        let (stdout, stderr) = (process.stdout().unwrap(), process.stderr().unwrap());
        Ended {
            code,
            stdout,
            stderr,
        }
    }
}

#[test]
fn only_the_number_of_what_goes_is_an_answer_on_a_terminal() {
    let rehearsal = Rehearsal::enrolled(THIRTY, "", "");
    let gone = rehearsal.members()[..2].to_vec();
    for account in &gone {
        rehearsal.departs(account);
    }
    rehearsal.cleanup_ends(3, "grace_period = \"0s\"", &[]);
    rehearsal.define_cleanup(&format!("[params]\n{AT_ONCE}"));
    for (line, arguments) in [
        ("1", &["exec", "orphan-cleanup"][..]),
        ("yes", &["exec", "orphan-cleanup", "--yes"]),
    ] {
        let ended = rehearsal.typing(line, arguments);
        assert_eq!(ended.code, 4, "{}{}", ended.stdout, ended.stderr);
        for part in ["Type 2 to delete 2 Spot accounts", "not confirmed"] {
            assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
        }
        assert_eq!(rehearsal.deletions(), 0);
    }
    let ended = rehearsal.typing("2", &["exec", "orphan-cleanup"]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert_eq!(rehearsal.deletions(), 2);
}
