//! What an aggregator of AWS Config has of the accounts' roles, instead of looking into each: by pages, and from earlier.
//!
//! Resources are found first, by the names that our stacks give and by those of the links; then their configuration items are read
//! for a hundred accounts at a time, compared and forgotten. What it tells is never acted upon: an audit that is asked to fix reads
//! the account itself before.

mod recorded;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_ops::{
    AwsError, ErrorClass as AwsErrorClass,
    aggregator::{Aggregator, AggregatorPlace, Listed, Named},
};
use futures_util::{StreamExt as _, stream};
use onboarding_core::{
    desired::Purpose,
    drift::{AggregatorCoverage, Collected, Drift, SeenAt, TruthReading, aggregated, newest},
    ids::{AwsAccountId, Region},
    template::OurNames,
};
use recorded::Recorded;

use super::{Drifts, Place, Subject, Used, is_unreadable, judge::Meant, note};
use crate::{
    engine::{ErrorClass, JobError},
    home::aws_error,
    jobs::accounts::OnAccounts,
};

/// Accounts whose roles are asked for in one call.
const ACCOUNTS_A_CALL: usize = 100;

/// So many calls at a time.
const CALLS_AT_ONCE: usize = 4;

/// An aggregator, as it is configured.
#[derive(Debug, Clone)]
pub(in crate::jobs) struct AggregatorSource {
    /// Where it is.
    pub(in crate::jobs) place: AggregatorPlace,
    /// How old, in seconds, what it tells may be.
    pub(in crate::jobs) max_age: i64,
}

/// What it has.
struct Known {
    coverage: AggregatorCoverage,
    /// The roles by account and name: one that was made anew may be known by both ids.
    roles: HashMap<(AwsAccountId, Box<str>), Vec<Listed>>,
    /// The managed policies by ARN.
    policies: HashMap<Box<str>, Listed>,
    /// Whose roles are listed and were not understood; none of an account that nobody can tell.
    odd: BTreeSet<Option<AwsAccountId>>,
}

/// An account whose role can be read, and the Regions that recorded it.
struct Readable<'a> {
    subject: &'a Subject,
    meant: Meant,
    regions: BTreeMap<Region, i64>,
}

/// How an account differs, and when that was seen.
type OfAccount = (AwsAccountId, Vec<Drift>, Option<SeenAt>);

/// What it tells of all accounts.
#[derive(Default)]
pub(super) struct Told {
    pub(super) drifts: Drifts,
    /// When AWS Config saw that, of accounts that differ.
    pub(super) seen: BTreeMap<AwsAccountId, SeenAt>,
    pub(super) collected: Collected,
}

impl OnAccounts {
    /// How accounts differ as AWS Config saw them. The management account is read as ourselves.
    pub(super) async fn in_aggregator(
        &self,
        source: &AggregatorSource,
        subjects: Vec<Subject>,
        now: i64,
    ) -> Result<Told, JobError> {
        let is_ours = |subject: &Subject| subject.place == Place::Management;
        let (ours, members): (Vec<Subject>, Vec<Subject>) = subjects.into_iter().partition(is_ours);
        let aggregator = self.open(&source.place).await?;
        let members = &members;
        let used: Vec<Result<Used, String>> = stream::iter(0..members.len())
            .map(|index| self.used(None, &members[index]))
            .buffered(self.at_once())
            .collect()
            .await;
        let coverage = coverage(&aggregator, now, source.max_age).await;
        let coverage = coverage.map_err(aws_error)?;
        let known = self.known(&aggregator, coverage, &used).await;
        let known = known.map_err(aws_error)?;
        let (aggregator, known, used) = (&aggregator, &known, &used);
        let firsts = (0..members.len()).step_by(ACCOUNTS_A_CALL);
        let of_some: Vec<Vec<OfAccount>> = stream::iter(firsts)
            .map(|first| {
                let some = first..members.len().min(first + ACCOUNTS_A_CALL);
                self.told(aggregator, known, &members[some.clone()], &used[some])
            })
            .buffer_unordered(CALLS_AT_ONCE)
            .collect()
            .await;
        let mut told = Told::default();
        for (account, drifts, seen) in of_some.into_iter().flatten() {
            if let Some(seen) = &seen {
                let tells = known.coverage.tells_recorders(account);
                told.collected.note(seen, tells);
            }
            if let Some(seen) = seen.filter(|_| !drifts.is_empty()) {
                told.seen.insert(account, seen);
            }
            note(&mut told.drifts, account, drifts);
        }
        let ours: Vec<&Subject> = ours.iter().collect();
        told.drifts.extend(self.in_accounts(&ours).await);
        if self.writes() {
            self.confirm(members, &mut told).await;
        }
        Ok(told)
    }

    async fn open(&self, place: &AggregatorPlace) -> Result<Aggregator, JobError> {
        let AggregatorPlace {
            name, region, role, ..
        } = place;
        let home = &self.sync.home;
        let opened = Aggregator::open(&home.aws, place).await;
        let opened = opened.map_err(|error| match (role, error.class()) {
            (Some(role), AwsErrorClass::Denied) => JobError::new(
                ErrorClass::Denied,
                format!(
                    "the aggregator {name} cannot be asked through {role} ({error}); let that role trust our identity, and allow it \
                     what docs/jobs/drift-audit.md says"
                ),
            ),
            _ => aws_error(error),
        })?;
        let role = role.as_ref().and_then(|role| role.account());
        let account = role.unwrap_or(home.identity.account);
        opened.ok_or_else(|| {
            JobError::new(
                ErrorClass::Prerequisite,
                format!(
                    "there is no AWS Config aggregator {name:?} in {region} of account {account}; see which there are with `aws \
                     configservice describe-configuration-aggregators --region {region}`, and name one, with its Region and the role \
                     of its account, in params.aggregator; without params.aggregator, the accounts are read through the audit role"
                ),
            )
        })
    }

    /// Finds the roles and managed policies of our stacks, and whatever else Spot uses.
    async fn known(
        &self,
        aggregator: &Aggregator,
        coverage: AggregatorCoverage,
        used: &[Result<Used, String>],
    ) -> Result<Known, AwsError> {
        let profiles = self.sync.desired.profiles.iter();
        let profiles = profiles.filter(|profile| profile.purpose == Purpose::Enrollment);
        let names: BTreeSet<OurNames> = profiles.map(|profile| profile.names()).collect();
        let others: BTreeSet<&str> = used
            .iter()
            .flatten()
            .map(|used| used.own.as_ref().unwrap_or(&used.role).role_name())
            .filter(|role| !names.iter().any(|names| names.has_role(role)))
            .collect();
        let mut wanted: Vec<Named> = names
            .iter()
            .map(|names| match names {
                OurNames::OfStackSet(_) => Named::Beginning(names.beginning()),
                OurNames::Given { role, .. } => Named::One(vec![role.clone()]),
            })
            .collect();
        wanted.push(Named::One(others.into_iter().map(str::to_owned).collect()));
        let mut known = Known {
            coverage,
            roles: HashMap::new(),
            policies: HashMap::new(),
            odd: BTreeSet::new(),
        };
        let beginnings: BTreeSet<String> = names.iter().map(OurNames::beginning).collect();
        let (mut roles, mut policies) = (BTreeSet::new(), BTreeSet::new());
        for named in &wanted {
            let found = aggregator.roles(named).await?;
            roles.extend(found.resources);
            known.odd.extend(found.odd);
        }
        for beginning in beginnings {
            let named = Named::Beginning(beginning);
            // One that is not understood is as good as not recorded.
            policies.extend(aggregator.policies(&named).await?.resources);
        }
        for role in roles {
            let of = known.roles.entry((role.account, role.name.clone()));
            of.or_default().push(role);
        }
        let policies = policies.into_iter();
        known
            .policies
            .extend(policies.map(|policy| (policy.arn.clone(), policy)));
        Ok(known)
    }

    /// How some accounts differ. When AWS Config fails about them, they cannot be read, and the audit goes on.
    async fn told(
        &self,
        aggregator: &Aggregator,
        known: &Known,
        subjects: &[Subject],
        used: &[Result<Used, String>],
    ) -> Vec<OfAccount> {
        let mut told = Vec::new();
        let mut readable = Vec::new();
        for (subject, used) in subjects.iter().zip(used) {
            let meant = match subject.meant(used.clone()) {
                None => continue,
                Some(Err(drifts)) => {
                    told.push((subject.account, drifts, None));
                    continue;
                }
                Some(Ok(meant)) => meant,
            };
            match known.coverage.of(subject.account) {
                Ok(regions) => readable.push(Readable {
                    subject,
                    meant,
                    regions,
                }),
                Err(why) => {
                    let denied = TruthReading::Denied(why);
                    told.push(self.of_truth(subject, meant, denied, None).await);
                }
            }
        }
        let recorded = Recorded::read(aggregator, known, &readable).await;
        for Readable {
            subject,
            meant,
            regions,
        } in readable
        {
            let (truth, seen) = match &recorded {
                Ok(recorded) => truth(known, recorded, (subject, &meant), &regions),
                Err(error) => (TruthReading::Denied(error.to_string()), None),
            };
            told.push(self.of_truth(subject, meant, truth, seen).await);
        }
        told
    }

    async fn of_truth(
        &self,
        subject: &Subject,
        meant: Meant,
        truth: TruthReading,
        seen: Option<SeenAt>,
    ) -> OfAccount {
        // AWS Config does not tell when a role was last used.
        let drifts = self.judged_as_deployed(subject, meant, &truth, None);
        (subject.account, drifts.await, seen)
    }

    /// Reads the accounts themselves of which AWS Config told a difference: only what is so now may be mended.
    async fn confirm(&self, subjects: &[Subject], all: &mut Told) {
        let differs = |subject: &&Subject| {
            let drifts = all.drifts.get(&subject.account);
            drifts.is_some_and(|drifts| !drifts.is_empty() && !is_unreadable(drifts))
        };
        let doubtful: Vec<&Subject> = subjects.iter().filter(differs).collect();
        for (account, mut drifts) in self.in_accounts(&doubtful).await {
            all.seen.remove(&account);
            let told = all.drifts.remove(&account).unwrap_or_default();
            if is_unreadable(&drifts) {
                let told: BTreeSet<&str> = told.iter().map(|drift| drift.kind.code()).collect();
                let told: Vec<&str> = told.into_iter().collect();
                for drift in &mut drifts {
                    drift.actual = format!(
                        "AWS Config told of {}, which could not be confirmed in the account, so that nothing is mended: {}",
                        told.join(", "),
                        drift.actual
                    );
                }
            }
            all.drifts.insert(account, drifts);
        }
    }
}

/// Which accounts it has roles of, and where from.
async fn coverage(
    aggregator: &Aggregator,
    now: i64,
    max_age: i64,
) -> Result<AggregatorCoverage, AwsError> {
    let mut coverage = AggregatorCoverage::new(aggregator.sources().await?, now, max_age);
    let regions: Vec<Region> = coverage.regions().into_iter().cloned().collect();
    let mut recording = BTreeSet::new();
    for region in regions {
        let accounts = aggregator.accounts_with_roles(&region).await?;
        if !accounts.is_empty() {
            coverage.record(&region, accounts);
            recording.insert(region);
        }
    }
    coverage.note_recorders(aggregator.recorders(&recording).await?);
    Ok(coverage)
}

/// What is known of an account's role.
fn truth(
    known: &Known,
    recorded: &Recorded,
    (subject, meant): (&Subject, &Meant),
    regions: &BTreeMap<Region, i64>,
) -> (TruthReading, Option<SeenAt>) {
    let account = subject.account;
    let found = match recorded.roles(known, account, &meant.name, regions) {
        Ok(found) => found,
        Err(why) => return (TruthReading::Denied(why), None),
    };
    match newest(regions, &found) {
        Err(why) => (TruthReading::Denied(why), None),
        Ok(Some(role)) => {
            let none = BTreeMap::new();
            let policies = recorded.policies.get(&account).unwrap_or(&none);
            let (truth, seen) = aggregated(account, role.clone(), policies, regions);
            (truth, Some(seen))
        }
        Ok(None) => {
            let linked_at = meant.used.as_ref().ok().and_then(|used| used.linked_at);
            if known.coverage.is_too_new(linked_at) {
                let why = "AWS Config has no such role, which was linked too short a while ago for that to mean anything";
                return (TruthReading::Denied(why.to_owned()), None);
            }
            if [Some(account), None]
                .iter()
                .any(|whose| known.odd.contains(whose))
            {
                let why = "AWS Config has no such role, and lists one that was not understood";
                return (TruthReading::Denied(why.to_owned()), None);
            }
            let seen = SeenAt {
                collected: regions.values().copied().min().unwrap_or_default(),
                ..SeenAt::default()
            };
            (TruthReading::Absent, Some(seen))
        }
    }
}
