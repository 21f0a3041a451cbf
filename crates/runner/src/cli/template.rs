//! `runner template`: the CloudFormation template that a profile's stack set deploys.

use onboarding_core::{ids::AwsAccountId, template::Format};

use super::{Failure, Global, load, print};

/// The CloudFormation template that enrolls an account.
#[derive(Debug, clap::Subcommand)]
pub enum Template {
    /// Print the template of a profile. Needs no credentials.
    Render {
        /// The profile; not needed when there is only one.
        #[arg(long, value_name = "NAME")]
        profile: Option<String>,
        /// The form. What is sent to AWS is compact JSON with the same digest.
        #[arg(long, value_enum, default_value_t = Form::Yaml)]
        format: Form,
        /// The home account, which the default topic belongs to, when enrollment.topic_arn is not set.
        #[arg(long, value_name = "ID")]
        home_account: Option<AwsAccountId>,
    },
}

/// The form of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// YAML.
    Yaml,
    /// JSON with indentation.
    Json,
}

impl Template {
    pub(super) fn run(self, global: &Global) -> Result<u8, Failure> {
        let Self::Render {
            profile,
            format,
            home_account,
        } = self;
        let config = load(global)?;
        let format = match format {
            Form::Yaml => Format::Yaml,
            Form::Json => Format::Json,
        };
        let names: Vec<&str> = config
            .runner
            .profiles
            .iter()
            .map(|profile| profile.name.as_str())
            .collect();
        let name = match (profile.as_deref(), names.as_slice()) {
            (Some(name), _) => name,
            (None, [only]) => only,
            (None, _) => {
                return Err(Failure::Config(format!(
                    "say which profile with --profile; there are: {}",
                    names.join(", ")
                )));
            }
        };
        let template = config
            .template(name, home_account)
            .map_err(|errors| Failure::Config(errors.to_string()))?;
        let rendered = template
            .render(format)
            .map_err(|error| Failure::Config(error.to_string()))?;
        print(&rendered.body);
        if !rendered.body.ends_with('\n') {
            print("\n");
        }
        Ok(0)
    }
}
