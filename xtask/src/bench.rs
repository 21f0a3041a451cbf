//! `cargo xtask bench`: the programs measured from outside, as JSON. Never a timed test: the smoke
//! run only proves that the benches work.

mod audit;
mod bootstrap;
mod bound;
mod idle;
mod inventory;
mod measure;
mod policy;
mod report;

use anyhow::Result;

/// The benches there are.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Read an organization of 10,000 accounts (and one of 100,000), and run a stackset-sync that has nothing to do.
    Inventory {
        /// A small organization and the dev profile; figures are printed but not held against their limits.
        #[arg(long)]
        smoke: bool,
    },
    /// Compare policies of the greatest length, again and again.
    Policy {
        /// Two rounds and the dev profile; figures are printed but not held against their limits.
        #[arg(long)]
        smoke: bool,
    },
    /// Plan for 100,000 accounts, and audit 10,000 at both depths.
    Audit {
        /// Few accounts and the dev profile; figures are printed but not held against their limits.
        #[arg(long)]
        smoke: bool,
    },
    /// Start the Lambda function cold, again and again: time to its first call of Spot, and memory.
    Bootstrap {
        /// Two starts and the dev profile; figures are printed but not held against their limits.
        #[arg(long)]
        smoke: bool,
    },
    /// A daemon at rest that is scraped: its memory and CPU time.
    Idle {
        /// A moment and the dev profile; figures are printed but not held against their limits.
        #[arg(long)]
        smoke: bool,
    },
}

impl Bench {
    /// What continuous integration runs.
    pub(crate) fn smoke() -> [Self; 5] {
        [
            Self::Inventory { smoke: true },
            Self::Policy { smoke: true },
            Self::Audit { smoke: true },
            Self::Bootstrap { smoke: true },
            Self::Idle { smoke: true },
        ]
    }
}

/// Runs one bench.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Inventory { smoke } => inventory::run(*smoke),
        Bench::Policy { smoke } => policy::run(*smoke),
        Bench::Audit { smoke } => audit::run(*smoke),
        Bench::Bootstrap { smoke } => bootstrap::run(*smoke),
        Bench::Idle { smoke } => idle::run(*smoke),
    }
}
