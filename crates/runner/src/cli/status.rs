//! `runner status`: coverage by organizational unit and the ledger of accounts, from a fresh look at AWS and Spot.

use std::sync::Arc;

use onboarding_core::{ids::AwsAccountId, plan::AccountRow};
use serde::Serialize;

use super::{Failure, Global, load, print, print_json, telemetry};
use crate::{
    home::Home,
    jobs::stackset_sync::StackSetSync,
    report::{Output, coverage, findings, table},
};

/// Show the coverage of each organizational unit and where each account stands. Reads only.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// Lists every account, not only those that need attention.
    #[arg(long)]
    accounts: bool,
    /// Shows only this account.
    #[arg(long, value_name = "ID")]
    account: Option<AwsAccountId>,
}

#[derive(Serialize)]
struct Document<'a> {
    coverage: Vec<OuCoverage<'a>>,
    total: coverage::Coverage,
    accounts: Vec<Account<'a>>,
}

#[derive(Serialize)]
struct Account<'a> {
    #[serde(flatten)]
    row: &'a AccountRow,
    /// What mends it, by its reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<&'static str>,
}

impl<'a> Account<'a> {
    fn of(row: &'a AccountRow) -> Self {
        let fix = findings::own_fix(row, &[]);
        Self { row, fix }
    }
}

#[derive(Serialize)]
struct OuCoverage<'a> {
    ou_path: &'a str,
    #[serde(flatten)]
    counts: &'a coverage::Coverage,
}

impl Status {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let config = load(global)?;
        let guard = telemetry(global, &config)?;
        let home = Home::connect(Arc::new(config)).await?;
        let sync = StackSetSync::new(home, &[], false)?;
        let (_, plan) = Box::pin(sync.look()).await?;
        guard.shutdown().await;
        let rows = &plan.accounts;
        if let Some(account) = self.account {
            let Some(row) = rows.iter().find(|row| row.account == account) else {
                return Err(Failure::Failed(format!(
                    "account {account} is neither targeted by a profile nor has a stack instance"
                )));
            };
            return match global.output {
                Output::Json => print_json(&Account::of(row)),
                Output::Table => {
                    print(&table::ledger([row]));
                    print(&format!("{}: {}\n", row.reason, row.reason.explanation()));
                    if let Some(fix) = findings::own_fix(row, &[]) {
                        print(&format!("  fix: {fix}\n"));
                    }
                    Ok(0)
                }
            };
        }
        match global.output {
            Output::Json => {
                let by_ou = coverage::by_ou(rows);
                print_json(&Document {
                    coverage: by_ou
                        .iter()
                        .map(|(path, counts)| OuCoverage {
                            ou_path: path,
                            counts,
                        })
                        .collect(),
                    total: coverage::total(rows),
                    accounts: rows.iter().map(Account::of).collect(),
                })
            }
            Output::Table => {
                print(&table::coverage(rows));
                print(&table::problems(rows, (&[], &[]), false));
                if self.accounts {
                    print(&format!("\n{}", table::ledger(rows)));
                }
                Ok(0)
            }
        }
    }
}
