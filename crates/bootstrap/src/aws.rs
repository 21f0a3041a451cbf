//! AWS, connected when it is first needed: a token in the environment and a request that is refused need none of it.

use aws_ops::{Aws, AwsError, AwsSettings};
use tokio::sync::OnceCell;

/// See the module documentation.
#[derive(Default)]
pub(crate) struct LazyAws(OnceCell<Aws>);

impl LazyAws {
    /// The client of AWS, as the function's role. Region and credentials are in the environment of every function.
    pub(crate) async fn get(&self) -> Result<&Aws, AwsError> {
        let connect = || Aws::connect(AwsSettings::default());
        self.0.get_or_try_init(connect).await
    }
}
