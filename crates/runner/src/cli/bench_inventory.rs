//! `runner bench-inventory`: reads the organization once, for `cargo xtask bench inventory`.

use std::{collections::BTreeMap, time::Instant};

use aws_ops::{Aws, AwsSettings, SnapshotOptions, SnapshotStrategy, StrategyChoice};
use serde::Serialize;

use super::{Failure, print_json};
use crate::home::aws_error;

/// Read the organization once and print what that took.
#[derive(Debug, clap::Args)]
pub struct BenchInventory {
    /// How to read it.
    #[arg(long, value_enum, default_value_t = Strategy::Auto)]
    strategy: Strategy,
    /// The share of the published request rates to take, or `off`.
    #[arg(long, default_value = "0.5", value_parser = rates)]
    rates: Rates,
}

/// How to read an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Strategy {
    /// The one that the governor expects to be faster.
    Auto,
    /// ListAccounts with its Paths.
    Accounts,
    /// A walk of the tree.
    Tree,
}

#[derive(Debug, Clone, Copy)]
enum Rates {
    Off,
    Share(f64),
}

fn rates(text: &str) -> Result<Rates, String> {
    match text {
        "off" => Ok(Rates::Off),
        share => match share.parse() {
            Ok(share) if share > 0.0 && share <= 1.0 => Ok(Rates::Share(share)),
            _ => Err("`off`, or a share over 0 and up to 1".to_owned()),
        },
    }
}

#[derive(Serialize)]
struct Reading {
    strategy: &'static str,
    concurrency: usize,
    accounts: usize,
    organizational_units: usize,
    duration_ms: u64,
    api_calls: BTreeMap<String, u64>,
}

impl BenchInventory {
    pub(super) async fn run(self) -> Result<u8, Failure> {
        let mut settings = AwsSettings::default();
        match self.rates {
            Rates::Off => settings.rates_off = true,
            Rates::Share(share) => settings.organizations_share = share,
        }
        let aws = Aws::connect(settings).await.map_err(aws_error)?;
        let strategy = match self.strategy {
            Strategy::Auto => StrategyChoice::Auto,
            Strategy::Accounts => StrategyChoice::Fixed(SnapshotStrategy::ListAccounts),
            Strategy::Tree => StrategyChoice::Fixed(SnapshotStrategy::Walk),
        };
        let started = Instant::now();
        let options = SnapshotOptions {
            strategy,
            ..SnapshotOptions::default()
        };
        let listing = aws
            .organization_snapshot(&options)
            .await
            .map_err(aws_error)?;
        let duration = started.elapsed();
        print_json(&Reading {
            strategy: match listing.strategy {
                SnapshotStrategy::ListAccounts => "accounts",
                SnapshotStrategy::Walk => "tree",
            },
            concurrency: aws.concurrency("organizations:ListAccountsForParent"),
            accounts: listing.snapshot.accounts.len(),
            // Without the root.
            organizational_units: listing.snapshot.units.len().saturating_sub(1),
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            api_calls: aws.api_calls(),
        })
    }
}
