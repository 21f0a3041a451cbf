//! The management account, which stack sets never deploy to: neither its stack nor an audit role. Its stack is a plain one, and
//! its role is read with our own credentials, which are this account's.

use std::{collections::BTreeMap, sync::Arc};

use aws_ops::{AccountAccess, Aws, AwsError, ErrorClass};
use onboarding_core::{
    desired::Profile,
    drift::{Meanings, RoleTruth, TruthReading},
    ids::AwsAccountId,
    stackset_sync::{PlainStack, SyncObserved, spot_links::SpotLinks},
};

use super::{Place, Subject, ours, read};
use crate::jobs::accounts::OnAccounts;

impl OnAccounts {
    /// The management account, when it is enrolled by us: what its stack means, or why nobody can say. One whose stack is not
    /// there, is being changed, or waits for a person is told by its row.
    pub(super) fn management(
        &self,
        sync: &SyncObserved,
        links: &SpotLinks<'_>,
    ) -> Option<(AwsAccountId, Result<Subject, String>)> {
        let account = sync.organization.management_account;
        let spot = ours(sync, links, account)?;
        let profiles = self.sync.desired.profiles.iter().zip(&sync.profiles);
        let mut enrolling = profiles.filter(|(profile, _)| profile.management.is_some());
        let Some((profile, state)) = enrolling.next() else {
            let is_ours = sync.owned_links.get(&account) == Some(spot);
            let why = "we enrolled it, and no profile has management_account = true, so that nobody says what its role should \
                       be; configure it where the runner has the management account's credentials";
            // Some profiles are left out of this run.
            let is_whole = self.profiles.is_empty();
            return (is_ours && is_whole).then(|| (account, Err(why.to_owned())));
        };
        let stack = state
            .management
            .as_ref()
            .filter(|stack| is_settled(stack))?;
        let meanings = self.plain_meanings(profile, stack);
        let subject = meanings.map(|meanings| Subject {
            account,
            spot: spot.clone(),
            // The plain stack is read with our own credentials, and its role's name is in its template.
            stack: None,
            meanings: Arc::new(meanings),
            instance: None,
            overrides: BTreeMap::new(),
            place: Place::Management,
            now: sync.now,
        });
        Some((account, subject))
    }

    fn plain_meanings(&self, profile: &Profile, stack: &PlainStack) -> Result<Meanings, String> {
        let partition = self.sync.home.config.runner.partition();
        let parameters = stack.parameters.clone();
        let region = profile.region.clone();
        Meanings::new(&stack.template_body, partition, region, parameters).map_err(|error| {
            let stack = &profile.stack_set;
            format!(
                "the template of the management account's stack {stack} cannot be read: {error}"
            )
        })
    }

    /// Its role with all policies. An audit role that every account has may be there, too, where our own identity may not read.
    pub(super) async fn read_management(
        &self,
        access: Option<&AccountAccess>,
        account: AwsAccountId,
        name: &str,
    ) -> TruthReading {
        let home = &self.sync.home;
        let error = match read_here(&home.aws, account, name).await {
            Ok(Some(truth)) => return TruthReading::Present(Box::new(truth)),
            Ok(None) => return TruthReading::Absent,
            Err(error) => error,
        };
        let denied = error.class() == ErrorClass::Denied;
        let advice = if denied {
            "; give our identity what `runner iam-policy` prints"
        } else {
            ""
        };
        let why = format!("it is read as ourselves, and {error}{advice}");
        let named = home.config.runner.audit.role_name.is_some();
        let Some(access) = access.filter(|_| denied && named) else {
            return TruthReading::Denied(why);
        };
        match read(access, account, name).await {
            TruthReading::Denied(other) => TruthReading::Denied(format!("{why}; and {other}")),
            read => read,
        }
    }
}

/// Whether CloudFormation has made of it what its template says, as far as it knows.
fn is_settled(stack: &PlainStack) -> bool {
    stack.blocked.is_none() && !stack.status.ends_with("_IN_PROGRESS")
}

async fn read_here(
    aws: &Aws,
    account: AwsAccountId,
    name: &str,
) -> Result<Option<RoleTruth>, AwsError> {
    let Some(role) = aws.get_role(name).await? else {
        return Ok(None);
    };
    let policies = aws.role_policies(name, account).await?;
    Ok(policies.map(|policies| RoleTruth::new(role, policies)))
}
