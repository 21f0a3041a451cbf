//! Reads the organization that the AWS environment points to, twice, and prints what it took beside what it could have
//! taken: the second time with the names of the units known.
//!
//! `read_organization [auto|list-accounts|walk] [share of the published rates, or "off"]`

use std::time::Instant;

use aws_ops::{Aws, AwsSettings, Rates, SnapshotOptions, SnapshotStrategy, StrategyChoice, bounds};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let strategy = match arguments.next().as_deref() {
        None | Some("auto") => StrategyChoice::Auto,
        Some("list-accounts") => StrategyChoice::Fixed(SnapshotStrategy::ListAccounts),
        Some("walk") => StrategyChoice::Fixed(SnapshotStrategy::Walk),
        Some(other) => return Err(format!("{other} is not a strategy").into()),
    };
    let share = arguments.next().unwrap_or_else(|| "0.5".to_owned());
    let mut options = SnapshotOptions {
        strategy,
        ..SnapshotOptions::default()
    };
    for round in 1..=2 {
        // A handle of its own for each round: full buckets, and counts from zero.
        let aws = Aws::connect(AwsSettings {
            rates_off: share == "off",
            organizations_share: share.parse().unwrap_or(1.0),
            ..AwsSettings::default()
        })
        .await?;
        let rates = if share == "off" {
            Rates::Off
        } else {
            Rates::Published {
                share: share.parse()?,
            }
        };
        let asked = Instant::now();
        aws.caller_identity().await?;
        let latency = asked.elapsed();
        let started = Instant::now();
        let listing = aws.organization_snapshot(&options).await?;
        let took = started.elapsed();
        let names_known = !options.known_names.is_empty();
        println!(
            "round {round}: {} accounts, {} units by {:?} in {took:?}; one call {latency:?}; bounds {:?}; {} pages \
             needed; calls {:?}",
            listing.snapshot.accounts.len(),
            listing.snapshot.units.len(),
            listing.strategy,
            bounds(&listing.shape, names_known, latency, rates),
            listing.shape.calls(listing.strategy, names_known),
            aws.api_calls(),
        );
        options.known_names = listing.snapshot.unit_names();
        options.shape = Some(listing.shape);
    }
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        print!(
            "{}",
            status
                .lines()
                .filter(|line| line.starts_with("VmHWM"))
                .collect::<String>()
        );
        println!();
    }
    Ok(())
}
