//! Tags of accounts, organizational units and the root. AWS has no listing of them: one call per resource at least.

use futures_util::{Stream, StreamExt, stream};
use onboarding_core::{ids::AwsAccountId, inventory::Tags};

use crate::{Aws, AwsError};

/// Accounts that are read at the same time: enough to keep up with AWS's published rate at a second per call.
const AT_ONCE: usize = 10;

impl Aws {
    /// The tags of an account, organizational unit or root, by its id; none when the organization does not have it (any
    /// more).
    ///
    /// # Errors
    /// As any call.
    pub async fn resource_tags(&self, resource_id: &str) -> Result<Option<Tags>, AwsError> {
        const OPERATION: &str = "organizations:ListTagsForResource";
        let mut tags = Tags::new();
        let read = self
            .governed
            .pages(
                OPERATION,
                |token| {
                    self.clients
                        .organizations()
                        .list_tags_for_resource()
                        .resource_id(resource_id)
                        .set_next_token(token)
                        .send()
                },
                |output| {
                    tags.extend(
                        output
                            .tags
                            .unwrap_or_default()
                            .into_iter()
                            .map(|tag| (tag.key, tag.value)),
                    );
                    Ok(output.next_token)
                },
            )
            .await;
        match read {
            Err(error) if error.is_code("TargetNotFoundException") => Ok(None),
            read => read.map(|()| Some(tags)),
        }
    }

    /// The tags of many accounts, in the order in which AWS answers; none for one that left the organization. Ten
    /// accounts a second at AWS's published rate, five at the half of it that we take by default. Dropping the stream
    /// ends the reading.
    pub fn tags_of_accounts(
        &self,
        accounts: Vec<AwsAccountId>,
    ) -> impl Stream<Item = Result<(AwsAccountId, Option<Tags>), AwsError>> + Send {
        let aws = self.clone();
        stream::iter(accounts)
            .map(move |account| {
                let aws = aws.clone();
                async move { Ok((account, aws.resource_tags(&account.to_string()).await?)) }
            })
            .buffer_unordered(AT_ONCE)
    }
}
