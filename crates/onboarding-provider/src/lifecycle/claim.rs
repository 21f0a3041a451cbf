//! Work on an AWS account that nobody else may do at the same time, without a moment by which it must be sent.
//!
//! The claim is prolonged while the work goes on, as the rate governor may hold it back for many minutes; nothing else is
//! waited for under it. Whoever finds an account claimed comes again later, up to its own deadline. A claim whose holder dies,
//! or comes to its deadline, runs out.

use onboarding_core::custom_resource::ResourceRequest;

use super::Trouble;
use crate::{
    intents::Claim,
    provider::{Provider, from_now},
};

/// A name for who holds a claim for one attempt at a request.
pub(super) fn holder_name(request: &ResourceRequest) -> String {
    format!("{}/{:032x}", request.request_id, rand::random::<u128>())
}

impl Provider {
    /// Does something while `holder` has the claim on the AWS account of a request.
    pub(super) async fn while_claimed<T>(
        &self,
        request: &ResourceRequest,
        holder: &str,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        self.claim(request, holder).await?;
        let prolonged = async {
            loop {
                tokio::time::sleep(self.spot.call_timeout()).await;
                if let Err(lost) = self.claim(request, holder).await {
                    return lost;
                }
            }
        };
        let done = tokio::select! {
            done = work => done,
            lost = prolonged => Err(lost),
        };
        self.intents.release(request.account, holder).await?;
        done
    }

    async fn claim(&self, request: &ResourceRequest, holder: &str) -> Result<(), Trouble> {
        let until = from_now(self.spot.call_timeout() * 2);
        let claim = self.intents.claim(request.account, holder, until);
        match claim.await? {
            Claim::Held(_) => Ok(()),
            Claim::Busy { .. } => Err(Trouble::Passing(
                "another request is working on the Spot account".to_owned(),
            )),
        }
    }
}
