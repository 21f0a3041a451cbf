//! `runner iam-policy`: the least that the runner's identity in AWS must be allowed.

use super::{Failure, Global, home_place::NamedPlace, load, print_json};

/// Print the policy that the runner's identity in AWS needs, and nothing broader.
///
/// For the jobs and the provider that are configured. Resources are named as far as IAM takes names and as far as they are
/// known: with --home-account alone, any organization stands for yours.
#[derive(Debug, clap::Args)]
pub struct IamPolicy {
    #[command(flatten)]
    place: NamedPlace,
}

impl IamPolicy {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let config = load(global)?;
        let place = self.place.find(&config).await?;
        let policy = config
            .runner_policy(&place)
            .map_err(|errors| Failure::Config(errors.to_string()))?;
        print_json(&policy.to_value())
    }
}
