//! `runner template`: the CloudFormation templates that our stack sets deploy.

use onboarding_core::{ids::AwsAccountId, template::Format};

use super::{Failure, Global, load, print};
use crate::config::Loaded;

/// The CloudFormation templates that we deploy.
#[derive(Debug, clap::Subcommand)]
pub enum Template {
    /// Print the template of a profile, which enrolls an account, or that of one of our own roles. Needs no credentials.
    Render {
        /// The profile; not needed when there is only one.
        #[arg(long, value_name = "NAME")]
        profile: Option<String>,
        /// The template of the audit role instead.
        #[arg(long, conflicts_with = "profile")]
        audit_role: bool,
        /// The template of the remediation role instead.
        #[arg(long, conflicts_with_all = ["profile", "audit_role"])]
        remediation_role: bool,
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
            audit_role,
            remediation_role,
            format,
            home_account,
        } = self;
        let config = load(global)?;
        let format = match format {
            Form::Yaml => Format::Yaml,
            Form::Json => Format::Json,
        };
        let template = if audit_role {
            config
                .audit_template(home_account)
                .map_err(|error| Failure::Config(error.to_string()))?
                .ok_or_else(|| {
                    Failure::Config(
                        "there is no audit role of ours: set audit.enabled, and no audit.role_name"
                            .to_owned(),
                    )
                })?
        } else if remediation_role {
            config
                .remediation_template(home_account)
                .map_err(|error| Failure::Config(error.to_string()))?
                .ok_or_else(|| {
                    Failure::Config(
                        "there is no remediation role: set remediation.enabled".to_owned(),
                    )
                })?
        } else {
            enrollment(&config, profile.as_deref(), home_account)?
        };
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

/// The template of a profile, or of the only one.
fn enrollment(
    config: &Loaded,
    profile: Option<&str>,
    home_account: Option<AwsAccountId>,
) -> Result<onboarding_core::template::Template, Failure> {
    let names: Vec<&str> = config
        .runner
        .profiles
        .iter()
        .map(|profile| profile.name.as_str())
        .collect();
    let name = match (profile, names.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, _) => {
            return Err(Failure::Config(format!(
                "say which profile with --profile; there are: {}",
                names.join(", ")
            )));
        }
    };
    config
        .template(name, home_account)
        .map_err(|errors| Failure::Config(errors.to_string()))
}
