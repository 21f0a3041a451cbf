//! `cargo xtask soak`: the tests of faults that go on, for longer than `cargo xtask test` has time for.

use anyhow::Result;

use crate::test;

/// How much of it.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often a daemon is killed at a random moment, with and without a Spot and an AWS that fail; how often one of two is
    /// killed or paused. A database fails once in fifty.
    #[arg(long, default_value_t = 200)]
    faults: u32,
    /// How many accounts are enrolled meanwhile.
    #[arg(long, default_value_t = 100)]
    accounts: usize,
    /// Where the random moments come from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only tests whose name contains this.
    #[arg(default_value = "")]
    name: String,
}

/// Runs them one after the other, and shows what they print.
pub(crate) fn run(options: &Options) -> Result<()> {
    let filter = format!("test(/::soak::.*{}/)", options.name);
    test::rust(
        &["--profile", "soak", "-E", &filter],
        &[
            ("SOAK_FAULTS", options.faults.to_string()),
            ("SOAK_ACCOUNTS", options.accounts.to_string()),
            ("SOAK_SEED", options.seed.to_string()),
        ],
    )
}
