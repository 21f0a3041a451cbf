//! A Spot account as the Spot API lists it.

use serde::{Deserialize, Serialize};

use crate::ids::{AwsAccountId, SpotAccountId};

/// One account of the Spot organization (`GET /setup/account`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpotAccountRecord {
    /// Its id.
    pub id: SpotAccountId,
    /// Its name.
    pub name: Box<str>,
    /// The AWS account that it is linked to; none when it is not linked, or linked to another cloud.
    pub aws_account: Option<AwsAccountId>,
    /// Whether it may be taken for an unlinked leftover of ours: not linked to any account of any cloud.
    pub unlinked: bool,
}
