//! What Spot itself shows of our doing, for a process whose state no other one shares (`shared_state` is off).
//!
//! Two such processes may create a Spot account each for one AWS account: so a creation lists once more, and takes its
//! own back when there was another. And one may be asked about what another has created or linked: an account that is
//! linked to nothing and has the name of a creation was created for that AWS account; a link to a role of the requesting
//! stack was made for that stack.

use onboarding_core::{
    custom_resource::{
        Holder, Resource, ResourceRequest, Standing, account::kept_instead, naming::creation_names,
    },
    ids::{RoleArn, SpotAccountId},
    inventory::SpotAccountRecord,
};
use spot_api::SendBy;
use tokio::time::Instant;

use super::Trouble;
use crate::provider::Provider;

impl Provider {
    /// The standing of a Spot account, with what Spot shows.
    pub(super) async fn standing_at_spot(
        &self,
        request: &ResourceRequest,
        record: &SpotAccountRecord,
        standing: Standing,
    ) -> Result<Standing, Trouble> {
        let names = creation_names(request.account);
        Ok(match standing {
            Standing::Foreign
                if !self.settings.shared_state
                    && record.unlinked
                    && names.iter().any(|name| **name == *record.name) =>
            {
                Standing::Ours
            }
            Standing::LinkedElsewhere if self.is_link_of(request, &record.id).await? => {
                Standing::Ours
            }
            standing => standing,
        })
    }

    /// Whether a Spot account that is linked to the requesting AWS account has the role of the requesting stack. Never,
    /// where the state knows better.
    pub(super) async fn is_link_of(
        &self,
        request: &ResourceRequest,
        id: &SpotAccountId,
    ) -> Result<bool, Trouble> {
        if self.settings.shared_state {
            return Ok(false);
        }
        let role = self.spot.stored_role(id).await?;
        Ok(role.is_some_and(|role| is_of_stack(&role, request)))
    }

    /// Takes an account back that was created although there is another one for the AWS account, by the rule of core's
    /// `kept_instead`. Only one that is linked to nothing is.
    pub(super) async fn confirm_creation(
        &self,
        request: &ResourceRequest,
        created: &SpotAccountId,
    ) -> Result<(), Trouble> {
        if self.settings.shared_state {
            return Ok(());
        }
        let (account, holder) = (request.account, Holder::of(request));
        let listing = self.listings.since(Instant::now()).await?;
        if kept_instead(&listing.known, account, created).is_none() {
            return Ok(());
        }
        let slot = self.spot.reserve_delete().await;
        // The governor may have held us back for minutes, in which somebody may have used it, or given the other one up.
        let now = self.listings.since(Instant::now()).await?;
        let Some(kept) = kept_instead(&now.known, account, created) else {
            return Ok(());
        };
        let unlinked = now.known.get(created).is_some_and(|record| record.unlinked);
        let held = self.intents.intent(account).await?.holders;
        if !unlinked || held.iter().any(|other| *other != holder) {
            return Ok(());
        }
        tracing::warn!(spot_account = %created, %kept, "created at the same time as another; deleted again");
        let send_by = SendBy::within(self.settings.send_window);
        slot.send(created, send_by).await?;
        self.intents.forget(account, created, None).await?;
        self.take_hold(request, kept, &holder).await?;
        self.listings.forget();
        Err(Trouble::Passing(format!(
            "another process has created Spot account {kept} at the same time"
        )))
    }
}

fn is_of_stack(role: &RoleArn, request: &ResourceRequest) -> bool {
    let linked = |resource: &Resource| match resource {
        Resource::SpotLinkedCredentials { role, .. } => Some(role.clone()),
        _ => None,
    };
    let named = [
        request.resource.as_ref().ok(),
        request.old_resource.as_ref(),
    ];
    let is_named = named
        .into_iter()
        .flatten()
        .any(|resource| linked(resource).as_ref() == Some(role));
    let stack = request.stack_id.as_str().split('/').nth(1);
    role.account() == Some(request.account)
        && (is_named || stack.is_some_and(|stack| is_named_after(role.role_name(), stack)))
}

/// CloudFormation begins the name of a role that the template does not name with that of its stack and a hyphen. It may
/// cut a long one off (CloudFormation user guide, "Name type"), and such a role is nobody's: other stacks begin alike.
fn is_named_after(role: &str, stack: &str) -> bool {
    !stack.is_empty()
        && role
            .strip_prefix(stack)
            .is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::is_named_after;

    #[test]
    fn a_role_is_told_by_the_whole_name_of_its_stack() {
        for (role, stack) in [
            ("spot-SpotRole-1ABC", "spot"),
            (
                "StackSet-spot-onboarding-0b1c-2d3e-SpotRole-1ABC",
                "StackSet-spot-onboarding-0b1c-2d3e",
            ),
        ] {
            assert!(is_named_after(role, stack), "{role} {stack}");
        }
        for (role, stack) in [
            ("SpotRole", "spot"),
            ("spotrole", "spot"),
            ("spot", "spot"),
            (
                "StackSet-spot-onboarding-SpotRole-1ABC",
                "StackSet-spot-onboarding-0b1c-2d3e",
            ),
            ("", ""),
            ("-x", ""),
        ] {
            assert!(!is_named_after(role, stack), "{role} {stack}");
        }
    }
}
