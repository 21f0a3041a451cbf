//! The tags of the accounts that tags decide about: from the state while they are young enough, the others from AWS, one
//! call each. Whole or an error, so that nobody is taken for untagged because nobody looked.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::TryStreamExt;
use onboarding_core::{
    ids::AwsAccountId,
    inventory::{AccountTags, OrganizationSnapshot, Tags},
    stackset_sync::targets,
};

use super::StackSetSync;
use crate::{
    engine::{ErrorClass, JobError},
    home::aws_error,
};

/// What was read is remembered after so many accounts, so that a run that is stopped has not read for nothing.
const REMEMBERED_AT_ONCE: usize = 100;

impl StackSetSync {
    /// Reads what is not known. An account that left the organization since it was listed is missing in what it returns.
    /// `now` is in Unix seconds.
    pub(super) async fn account_tags(
        &self,
        organization: &OrganizationSnapshot,
        now: i64,
    ) -> Result<Arc<AccountTags>, JobError> {
        // Targets that the organization does not have are the plan's to report.
        let decided = targets::decided_by_tags(organization, &self.desired).unwrap_or_default();
        self.tags_of(organization, decided, now).await
    }

    /// The tags of these accounts, those of the state where they are young enough.
    pub(in crate::jobs) async fn tags_of(
        &self,
        organization: &OrganizationSnapshot,
        decided: BTreeSet<AwsAccountId>,
        now: i64,
    ) -> Result<Arc<AccountTags>, JobError> {
        if decided.is_empty() {
            return Ok(Arc::default());
        }
        let max_age = self.home.config.runner.aws.tags_max_age.get().as_secs();
        let max_age = i64::try_from(max_age).unwrap_or(i64::MAX);
        let mut known = self
            .home
            .state
            .account_tags(now.saturating_sub(max_age))
            .await?;
        // One that left and came back is tagged anew: it lost its tags.
        let left: Vec<_> = known
            .keys()
            .filter(|account| organization.account(**account).is_none())
            .map(|account| (*account, None))
            .collect();
        if !left.is_empty() {
            self.home.state.remember_tags(&left, now).await?;
        }
        known.retain(|account, _| decided.contains(account));
        let unread: Vec<AwsAccountId> = decided
            .into_iter()
            .filter(|account| !known.contains_key(account))
            .collect();
        if !unread.is_empty() {
            self.read_tags(unread, &mut known, now).await?;
        }
        Ok(Arc::new(known))
    }

    /// Reads the tags of these accounts. The first error ends it, with what was read until then remembered.
    async fn read_tags(
        &self,
        accounts: Vec<AwsAccountId>,
        known: &mut AccountTags,
        now: i64,
    ) -> Result<(), JobError> {
        tracing::info!(accounts = accounts.len(), "reading the tags of accounts");
        let reading = self.home.aws.tags_of_accounts(accounts);
        let mut reading = std::pin::pin!(reading.try_chunks(REMEMBERED_AT_ONCE));
        loop {
            let (read, failed) = match reading.try_next().await {
                Ok(None) => return Ok(()),
                Ok(Some(read)) => (read, None),
                Err(error) => (error.0, Some(error.1)),
            };
            self.home.state.remember_tags(&read, now).await?;
            if let Some(error) = failed {
                return Err(tags_error(error));
            }
            known.extend(read.into_iter().filter_map(with_tags));
        }
    }
}

fn with_tags((account, tags): (AwsAccountId, Option<Tags>)) -> Option<(AwsAccountId, Tags)> {
    Some((account, tags?))
}

fn tags_error(error: aws_ops::AwsError) -> JobError {
    if error.class() != aws_ops::ErrorClass::Denied {
        return aws_error(error);
    }
    JobError::new(
        ErrorClass::Denied,
        format!(
            "the tags of accounts cannot be read, so it is not known whom the profiles target, and nothing was changed: \
             {error}; give our identity the permission organizations:ListTagsForResource, or take `tags` out of the \
             profiles' targets"
        ),
    )
}
