//! What an aggregator of AWS Config lets us know about an account's role, and why it lets us know nothing.
//!
//! All that it tells is from earlier. An account of which it has nothing, has had nothing for too long, or whose recorder was stopped
//! is not known: its role is neither fine nor missing.

use std::collections::{BTreeMap, BTreeSet};

use super::truth::{RoleTruth, TruthReading};
use crate::{
    ids::{AwsAccountId, Region},
    inventory::{
        AggregatedSource, AttachedPolicy, PolicyReading, RecordedPolicy, RecordedRole, Recorder,
        RecorderState, SourceStatus,
    },
};

/// Which accounts an aggregator has IAM's roles of, and since when it has heard nothing of them.
#[derive(Debug, Clone)]
pub struct AggregatorCoverage {
    sources: BTreeMap<(Option<AwsAccountId>, Region), AggregatedSource>,
    recorded: BTreeMap<AwsAccountId, BTreeSet<Region>>,
    recorders: BTreeMap<(AwsAccountId, Region), RecorderState>,
    now: i64,
    max_age: i64,
}

/// What is told of an account, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenAt {
    /// Of when the status of its source is, in Unix seconds; of several Regions, the oldest.
    pub collected: i64,
    /// When its role was captured, in Unix seconds; none when there is no such role.
    pub role: Option<i64>,
    /// When the policies of the account's own that are attached to it were, by ARN.
    pub policies: BTreeMap<String, i64>,
}

/// As of when all is known that an aggregator told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// Of when the oldest status of a source is, in Unix seconds.
    pub oldest: Option<i64>,
    /// Accounts of which it does not tell whether their recorders run.
    pub untold_recorders: usize,
}

impl Collected {
    /// Adds what was told of an account.
    pub fn note(&mut self, seen: &SeenAt, tells_recorders: bool) {
        let oldest = self.oldest.unwrap_or(seen.collected);
        self.oldest = Some(oldest.min(seen.collected));
        self.untold_recorders += usize::from(!tells_recorders);
    }
}

impl AggregatorCoverage {
    /// By where an aggregator collects from. A status that is older than `max_age` seconds is too old.
    #[must_use]
    pub fn new(sources: Vec<AggregatedSource>, now: i64, max_age: i64) -> Self {
        let sources = sources.into_iter();
        Self {
            sources: sources
                .map(|source| ((source.account, source.region.clone()), source))
                .collect(),
            recorded: BTreeMap::new(),
            recorders: BTreeMap::new(),
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

    /// Notes which recorders record. Of several in a Region, one that was stopped counts: nobody can tell which of them has what. Those
    /// of services of AWS tell nothing: IAM is what an account's own recorder records, and they run on when that is gone.
    pub fn note_recorders(&mut self, recorders: impl IntoIterator<Item = Recorder>) {
        let recorders = recorders.into_iter();
        for recorder in recorders.filter(|recorder| !recorder.is_of_service) {
            let known = self
                .recorders
                .entry((recorder.account, recorder.region))
                .or_insert(recorder.state);
            *known = recorder.state.max(*known);
        }
    }

    /// The Regions that record an account's roles, each with of when its status is (Unix seconds).
    ///
    /// # Errors
    /// Why nobody can tell what the account has, for people: what any of these Regions has may not be so any more.
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
        match wrong.is_empty() {
            true => Ok(readable),
            false => Err(format!(
                "what the aggregator has of this account is not recent: {}",
                wrong.join("; ")
            )),
        }
    }

    /// Whether AWS Config tells of each Region that records an account's roles that its recorder runs. Where it does not, one that was
    /// stopped could not be told from one that runs.
    #[must_use]
    pub fn tells_recorders(&self, account: AwsAccountId) -> bool {
        let recorded = self.recorded.get(&account);
        recorded.is_some_and(|regions| {
            let mut regions = regions.iter();
            regions.all(|region| self.recorder(account, region) == Some(RecorderState::Running))
        })
    }

    /// Whether the absence of a role that was linked then is no sign that it is gone: AWS Config may not have seen it yet.
    #[must_use]
    pub fn is_too_new(&self, linked_at: Option<i64>) -> bool {
        linked_at.is_some_and(|at| self.now.saturating_sub(at) < self.max_age)
    }

    fn recorder(&self, account: AwsAccountId, region: &Region) -> Option<RecorderState> {
        self.recorders.get(&(account, region.clone())).copied()
    }

    /// Of when an account's status in a Region is, unless that is too long ago, or its recorder does not record any more. What AWS
    /// Config says of the organization as a whole says nothing of an account.
    fn collected(&self, account: AwsAccountId, region: &Region) -> Result<i64, String> {
        let Some(source) = self.sources.get(&(Some(account), region.clone())) else {
            return Err(format!(
                "the aggregator has no status of this account in {region}"
            ));
        };
        match self.recorder(account, region) {
            Some(RecorderState::Stopped) => {
                return Err(format!(
                    "its recorder in {region} is stopped, so that what it saw last stays as it is; start it"
                ));
            }
            Some(RecorderState::Deleted) => {
                return Err(format!(
                    "its recorder in {region} was deleted, so that what it saw last stays as it is"
                ));
            }
            Some(RecorderState::Running) | None => {}
        }
        let ago = source
            .updated
            .map_or_else(String::new, |at| format!(" {} ago", self.age(at)));
        match (source.status, source.updated) {
            (SourceStatus::Succeeded, Some(at)) if self.now.saturating_sub(at) <= self.max_age => {
                Ok(at)
            }
            (SourceStatus::Succeeded, Some(_)) => {
                Err(format!("its status in {region} is from{ago}"))
            }
            (SourceStatus::Succeeded, None) => Err(format!(
                "AWS Config does not say of when its status in {region} is"
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
/// Why nobody can tell: only some of them have it.
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
            "AWS Config has the role {}",
            in_some(&with, &without)
        ));
    }
    Ok(found.values().max_by_key(|role| role.captured))
}

fn in_some(with: &[&str], without: &[&str]) -> String {
    format!(
        "in {} and not in {}; see which of them still records",
        with.join(", "),
        without.join(", ")
    )
}

/// A recorded role with what is known of its policies, and when all of it was seen. What counts of a policy is the newest of the
/// Regions, all of which must have it.
#[must_use]
pub fn aggregated(
    account: AwsAccountId,
    role: RecordedRole,
    policies: &BTreeMap<String, BTreeMap<Region, RecordedPolicy>>,
    regions: &BTreeMap<Region, i64>,
) -> (TruthReading, SeenAt) {
    let mut seen = SeenAt {
        collected: regions.values().copied().min().unwrap_or_default(),
        role: Some(role.captured),
        policies: BTreeMap::new(),
    };
    let none = BTreeMap::new();
    let attached = role.attached.into_iter().map(|(arn, name)| {
        let document = match owner(&arn) {
            "aws" => PolicyReading::Unread("an AWS managed policy".to_owned()),
            other if *other != account.to_string() => {
                PolicyReading::Unread("a policy of another account".to_owned())
            }
            _ => {
                let found = policies.get(&arn).unwrap_or(&none);
                let (captured, document) = newest_policy(regions, found);
                let captured = captured.map(|captured| (arn.clone(), captured));
                seen.policies.extend(captured);
                document
            }
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

/// What several Regions recorded of one policy, and when the newest was captured.
fn newest_policy(
    regions: &BTreeMap<Region, i64>,
    found: &BTreeMap<Region, RecordedPolicy>,
) -> (Option<i64>, PolicyReading) {
    let (with, without): (Vec<&str>, Vec<&str>) = regions
        .keys()
        .map(Region::as_str)
        .partition(|region| found.keys().any(|one| one.as_str() == *region));
    let newest = found.values().max_by_key(|policy| policy.captured);
    match newest.filter(|_| !with.is_empty()) {
        None => (
            None,
            PolicyReading::Unread(
                "AWS Config has nothing of it; let its recorder record AWS::IAM::Policy".to_owned(),
            ),
        ),
        Some(policy) if without.is_empty() => (Some(policy.captured), policy.document.clone()),
        Some(policy) => (
            Some(policy.captured),
            PolicyReading::Unread(format!("AWS Config has it {}", in_some(&with, &without))),
        ),
    }
}

/// Whose policy an ARN names: an account, or `aws`.
fn owner(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}
