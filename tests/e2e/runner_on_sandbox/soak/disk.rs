//! A disk that is full: the daemon sees a file system of its own, of a few dozen megabytes, in a mount namespace that ends with it.

use std::{path::PathBuf, process::Command};

use super::*;

/// The size of the file system. The log of SQLite alone takes four megabytes.
const SIZE: &str = "32m";

/// Whether an unprivileged process may mount a file system in namespaces of its own here. That is a right that the machine gives or
/// not, and no component that could be installed: so this is said, and nothing else, also with `CI=true`.
fn can_mount() -> bool {
    let tried = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "mount",
            "-t",
            "tmpfs",
            "tmpfs",
            "/mnt",
        ])
        .status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        eprintln!("SKIPPED: there are no user namespaces here, which a disk that is full needs");
    }
    can
}

/// The same command, with a small disk at `disk` below its directory.
fn with_small_disk(rehearsal: &Rehearsal, arguments: &[&str]) -> Background {
    let plain = rehearsal.runner.command(arguments);
    let script = format!("mount -t tmpfs -o size={SIZE} tmpfs disk && exec \"$0\" \"$@\"");
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(rehearsal.runner.directory())
        .env_clear();
    for (name, value) in plain.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    if let Some(path) = env::var_os("PATH") {
        command.env("PATH", path);
    }
    Background::start(&mut command).unwrap()
}

#[test]
fn a_disk_that_is_full_stops_effects_and_the_daemon_goes_on_when_there_is_room_again() {
    if !can_mount() {
        return;
    }
    let extent = Extent::at_least(1, 12).seldom();
    let rehearsal = with_job(&extent.scenario(""), EVERY_SECOND);
    let sections = format!(
        "[state]\nurl = \"sqlite://disk/runner.db\"\n{SECTIONS}[stack_set]\nmax_concurrent = 2\n"
    );
    rehearsal.configure(&sections, "", "ous = [\"root\"]");
    fs::create_dir(rehearsal.path("disk")).unwrap();
    let before = rehearsal.spot_accounts();
    let mut daemon = with_small_disk(&rehearsal, &["daemon"]);
    // As the daemon sees it, from outside.
    let disk = PathBuf::from(format!("/proc/{}/root", daemon.id()))
        .join(rehearsal.path("disk").strip_prefix("/").unwrap());
    rehearsal.until("an account is linked", || {
        daemon.check().unwrap();
        (rehearsal.linked() > 0).then_some(())
    });
    for _ in 0..extent.faults {
        let ballast = disk.join("ballast");
        fill(&ballast);
        let said = daemon.stderr().unwrap().len();
        rehearsal.until("it says so", || {
            daemon.check().unwrap();
            let news = daemon.stderr().unwrap().split_off(said);
            news.contains("full").then_some(())
        });
        // What was being sent at that moment has arrived. From now on nothing new may be begun at Spot.
        thread::sleep(Duration::from_secs(2));
        let created = rehearsal.calls().get("spot:POST /setup/account").copied();
        thread::sleep(Duration::from_secs(8));
        let now = rehearsal.calls().get("spot:POST /setup/account").copied();
        assert_eq!(now, created, "a creation without a journal");
        fs::remove_file(&ballast).unwrap();
    }
    let members = rehearsal.members();
    let found = format!("ok={} ", members.len());
    let settled = process::until(SETTLED, "a run finds everything done", || {
        daemon.check()?;
        let is_linked = rehearsal.linked() >= members.len();
        Ok((is_linked && daemon.stderr()?.contains(&found)).then_some(()))
    });
    if let Err(error) = settled {
        panic!("{error:#}\n{}", daemon.stderr().unwrap());
    }
    daemon.signal(Signal::TERM).unwrap();
    assert_eq!(
        daemon.wait(LIMIT).unwrap(),
        0,
        "{}",
        daemon.stderr().unwrap()
    );
    rehearsal.assert_enrolled_once(&members, &before);
}

/// Writes until there is no room for one byte more.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = fs::File::create(path).unwrap();
    for size in [64 * 1024, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}
