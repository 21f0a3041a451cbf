//! The program `runner`: parses the command line, builds the async runtime, runs, exits.

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;
use runner::cli::{self, Cli, Command};
use tokio::runtime::Builder;

/// How long work in other threads may take once everything else has ended.
const LAST_WORK: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One crypto provider for every TLS client in the process; a second installation would only be a second call of ours.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    // Whoever waits for AWS and Spot needs no second thread, and on one there are half as many context switches for each
    // call. The sandbox answers many clients at once.
    let mut runtime = match cli.command {
        Command::Sandbox(_) => Builder::new_multi_thread(),
        _ => Builder::new_current_thread(),
    };
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "nothing else is there yet to say it")]
            {
                eprintln!(
                    "error: the async runtime could not be started ({error}); check the limits of processes and open files"
                );
            }
            return ExitCode::from(1);
        }
    };
    let exit = runtime.block_on(cli::run(cli));
    // A look-up of a name whose server does not answer keeps a thread busy that nobody waits for.
    runtime.shutdown_timeout(LAST_WORK);
    ExitCode::from(exit)
}
