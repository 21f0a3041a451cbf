//! What an aggregator of AWS Config lets us know about an account's role, and why it lets us know nothing.
//!
//! All that it tells is from earlier. An account of which it has nothing, or has had nothing for too long, is not known: its role is
//! neither fine nor missing.

use std::collections::{BTreeMap, BTreeSet};

use super::truth::{RoleTruth, TruthReading};
use crate::{
    ids::{AwsAccountId, Region},
    inventory::{
        AggregatedSource, AttachedPolicy, PolicyReading, RecordedPolicy, RecordedRole, SourceStatus,
    },
};

/// Which accounts an aggregator has IAM's roles of, and since when it has heard nothing of them.
#[derive(Debug, Clone)]
pub struct AggregatorCoverage {
    sources: BTreeMap<(Option<AwsAccountId>, Region), AggregatedSource>,
    recorded: BTreeMap<AwsAccountId, BTreeSet<Region>>,
    now: i64,
    max_age: i64,
}

/// What is told of an account, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenAt {
    /// Until when the aggregator has collected from it, in Unix seconds.
    pub collected: i64,
    /// When its role was captured, in Unix seconds; none when there is no such role.
    pub role: Option<i64>,
    /// When the policies of the account's own that are attached to it were, by ARN.
    pub policies: BTreeMap<String, i64>,
}

impl AggregatorCoverage {
    /// By where an aggregator collects from. What it collected longer ago than `max_age` seconds is too old.
    #[must_use]
    pub fn new(sources: Vec<AggregatedSource>, now: i64, max_age: i64) -> Self {
        let sources = sources.into_iter();
        Self {
            sources: sources
                .map(|source| ((source.account, source.region.clone()), source))
                .collect(),
            recorded: BTreeMap::new(),
            now,
            max_age,
        }
    }

    /// The Regions that it collects from.
    #[must_use]
    pub fn regions(&self) -> BTreeSet<&Region> {
        self.sources.keys().map(|(_, region)| region).collect()
    }

    /// Notes that roles of these accounts are recorded in a Region.
    pub fn record(&mut self, region: &Region, accounts: impl IntoIterator<Item = AwsAccountId>) {
        for account in accounts {
            let regions = self.recorded.entry(account).or_default();
            regions.insert(region.clone());
        }
    }

    /// The Regions that an account's roles can be read from, each with when that was collected last (Unix seconds).
    ///
    /// # Errors
    /// Why they cannot be, for people.
    pub fn of(&self, account: AwsAccountId) -> Result<BTreeMap<Region, i64>, String> {
        let Some(recorded) = self.recorded.get(&account) else {
            return Err(self.why_nothing(account));
        };
        let mut readable = BTreeMap::new();
        let mut wrong = Vec::new();
        for region in recorded {
            match self.collected(account, region) {
                Ok(at) => {
                    readable.insert(region.clone(), at);
                }
                Err(why) => wrong.push(why),
            }
        }
        match readable.is_empty() {
            true => Err(format!(
                "what the aggregator has of this account is not recent: {}",
                wrong.join("; ")
            )),
            false => Ok(readable),
        }
    }

    /// Whether the absence of a role that was linked then is no sign that it is gone: AWS Config may not have seen it yet.
    #[must_use]
    pub fn is_too_new(&self, linked_at: Option<i64>) -> bool {
        linked_at.is_some_and(|at| self.now.saturating_sub(at) < self.max_age)
    }

    fn source(&self, account: AwsAccountId, region: &Region) -> Option<&AggregatedSource> {
        let of = |account| self.sources.get(&(account, region.clone()));
        of(Some(account)).or_else(|| of(None))
    }

    /// When it last collected from an account in a Region, unless that is too long ago.
    fn collected(&self, account: AwsAccountId, region: &Region) -> Result<i64, String> {
        let Some(source) = self.source(account, region) else {
            return Err(format!(
                "it does not say when it last collected in {region}"
            ));
        };
        let ago = source
            .updated
            .map_or_else(String::new, |at| format!(" {} ago", self.age(at)));
        match (source.status, source.updated) {
            (SourceStatus::Succeeded, Some(at)) if self.now.saturating_sub(at) <= self.max_age => {
                Ok(at)
            }
            (SourceStatus::Succeeded, Some(_)) => {
                Err(format!("it last collected in {region}{ago}"))
            }
            (SourceStatus::Succeeded, None) => Err(format!(
                "it does not say when it last collected in {region}"
            )),
            (SourceStatus::Outdated, _) => Err(format!(
                "AWS Config says that it is OUTDATED in {region}{ago}"
            )),
            (SourceStatus::Failed, _) => Err(failed(source)),
        }
    }

    /// Why there is nothing of an account.
    fn why_nothing(&self, account: AwsAccountId) -> String {
        let own: Vec<&AggregatedSource> = self
            .sources
            .values()
            .filter(|source| source.account == Some(account))
            .collect();
        let failures: Vec<String> = own
            .iter()
            .filter(|source| source.status == SourceStatus::Failed)
            .map(|source| failed(source))
            .collect();
        let collects_from_all = self.sources.keys().any(|(account, _)| account.is_none());
        if !failures.is_empty() {
            format!(
                "the aggregator has none of this account's roles: {}",
                failures.join("; ")
            )
        } else if own.is_empty() && !collects_from_all {
            "the aggregator does not collect from this account; add the account to its sources, or make it one of the organization"
                .to_owned()
        } else {
            let regions: Vec<&str> = self.regions().into_iter().map(Region::as_str).collect();
            format!(
                "AWS Config records none of this account's roles in {}; let its recorder record AWS::IAM::Role and \
                 AWS::IAM::Policy in one of these Regions",
                regions.join(", ")
            )
        }
    }

    fn age(&self, at: i64) -> String {
        const UNITS: [(i64, &str); 3] = [(86_400, "days"), (3_600, "hours"), (60, "minutes")];
        let seconds = self.now.saturating_sub(at).max(0);
        let unit = UNITS.iter().find(|(unit, _)| seconds >= 2 * unit);
        match unit {
            Some((unit, name)) => format!("{} {name}", seconds / unit),
            None => format!("{seconds} seconds"),
        }
    }
}

fn failed(source: &AggregatedSource) -> String {
    let words = source.error.as_deref().unwrap_or("AWS does not say why");
    format!("collecting in {} FAILED ({words})", source.region)
}

/// The newest of what several Regions recorded of one role; none where no Region has it.
///
/// # Errors
/// Why nobody can tell: only some of them have it. One whose recorder was stopped goes on telling what it saw last.
pub fn newest<'a>(
    regions: &BTreeMap<Region, i64>,
    found: &'a BTreeMap<Region, RecordedRole>,
) -> Result<Option<&'a RecordedRole>, String> {
    let without: Vec<&str> = regions
        .keys()
        .filter(|region| !found.contains_key(region))
        .map(Region::as_str)
        .collect();
    if !found.is_empty() && !without.is_empty() {
        let with: Vec<&str> = found.keys().map(Region::as_str).collect();
        return Err(format!(
            "AWS Config has the role in {} and not in {}; see which of them still records",
            with.join(", "),
            without.join(", ")
        ));
    }
    Ok(found.values().max_by_key(|role| role.captured))
}

/// A recorded role with what is known of its policies, and when all of it was seen.
#[must_use]
pub fn aggregated(
    account: AwsAccountId,
    role: RecordedRole,
    policies: &BTreeMap<String, RecordedPolicy>,
    collected: i64,
) -> (TruthReading, SeenAt) {
    let mut seen = SeenAt {
        collected,
        role: Some(role.captured),
        policies: BTreeMap::new(),
    };
    let attached = role.attached.into_iter().map(|(arn, name)| {
        let document = match (owner(&arn), policies.get(&arn)) {
            ("aws", _) => PolicyReading::Unread("an AWS managed policy".to_owned()),
            (other, _) if *other != account.to_string() => {
                PolicyReading::Unread("a policy of another account".to_owned())
            }
            (_, Some(policy)) => {
                seen.policies.insert(arn.clone(), policy.captured);
                policy.document.clone()
            }
            (_, None) => PolicyReading::Unread(
                "AWS Config has nothing of it; let its recorder record AWS::IAM::Policy".to_owned(),
            ),
        };
        AttachedPolicy {
            arn,
            name,
            document,
        }
    });
    let truth = RoleTruth {
        role: role.role,
        attached: attached.collect(),
        inline: role.inline,
    };
    (TruthReading::Present(Box::new(truth)), seen)
}

/// Whose policy an ARN names: an account, or `aws`.
fn owner(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}
