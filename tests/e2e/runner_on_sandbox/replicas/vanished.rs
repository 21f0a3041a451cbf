//! A database that vanishes without a word, as where a network drops packets: who is told to end beside it ends in time.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use super::{
    super::daemon::{start, with_job},
    *,
};

/// The name of a server's socket (PostgreSQL manual, unix_socket_directories).
const SOCKET: &str = ".s.PGSQL.5432";

/// Within that it ends, and a moment more where the machine is busy (docs/operations.md, Signals). Whoever only waits for an answer waits
/// for two leases, and a custom resource for as long as its stack does.
const IN_TIME: Duration = Duration::from_secs(45);

/// Passes on what goes through a socket in this directory to the server, until that is to be silent: then nothing arrives any more, and
/// nothing ends. All of it ends with the process.
fn relay(directory: &Path, server: PathBuf) -> Arc<AtomicBool> {
    let listener = UnixListener::bind(directory.join(SOCKET)).unwrap();
    let silent = Arc::<AtomicBool>::default();
    let is_silent = Arc::clone(&silent);
    thread::spawn(move || {
        for caller in listener.incoming() {
            let caller = caller.unwrap();
            let server = UnixStream::connect(&server).unwrap();
            let (to_server, to_caller) = (server.try_clone().unwrap(), caller.try_clone().unwrap());
            for (from, to) in [(caller, to_server), (server, to_caller)] {
                let is_silent = Arc::clone(&is_silent);
                thread::spawn(move || pass(from, to, &is_silent));
            }
        }
    });
    silent
}

fn pass(mut from: UnixStream, mut to: UnixStream, is_silent: &AtomicBool) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        while is_silent.load(Ordering::Relaxed) {
            thread::park();
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // Whoever ended it.
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn who_is_told_to_end_beside_a_database_that_has_vanished_ends_in_time() {
    let Some(database) = postgres::database().unwrap() else {
        return;
    };
    let url: url::Url = database.parse().unwrap();
    let directory = tempfile::tempdir().unwrap();
    // The directory of a socket is a host, with its slashes escaped.
    let there = url.host_str().unwrap().to_owned();
    let here = directory.path().display().to_string().replace('/', "%2F");
    let server = Path::new(&there.replace("%2F", "/")).join(SOCKET);
    let silent = relay(directory.path(), server);
    let every_second = "kind = \"stackset-sync\"\nschedule = { cron = \"@every 1s\" }\n";
    let rehearsal = with_job(SMALL, every_second);
    let state = database.replacen(&there, &here, 1);
    let sections = format!(
        "[state]\nurl = \"{state}\"\nlease = \"60s\"\n[daemon]\nlisten = \"127.0.0.1:0\"\n[enrollment]\nserved_by = \"provider\"\n"
    );
    rehearsal.configure(&sections, "", "ous = [\"root\"]");
    let mut daemon = start(&rehearsal.runner);
    rehearsal.until("an account is being enrolled", || {
        daemon.process.check().unwrap();
        let creates = rehearsal.calls().contains_key("spot:POST /setup/account");
        creates.then_some(())
    });
    silent.store(true, Ordering::Relaxed);
    rehearsal.until("it is not ready without its state", || {
        (daemon.get(&rehearsal, "/readyz") == 503).then_some(())
    });
    let told = Instant::now();
    daemon.process.signal(Signal::TERM).unwrap();
    let code = daemon.process.wait(COMMAND_LIMIT);
    let took = told.elapsed();
    let log = daemon.process.stderr().unwrap();
    assert!(took < IN_TIME, "{took:?}\n{log}");
    assert_eq!(code.unwrap(), 0, "{log}");
}
