//! `runner bootstrap`: shows what would change about the home account's stacks, and does it when told to.

use std::io::{IsTerminal as _, Write as _};

use onboarding_core::template::{
    Format,
    home::{self, HomeSpec, HomeStack},
};

use super::{
    Failure, Global,
    home_place::{self, NamedPlace},
    load, print, print_json, telemetry,
    template::Form,
};
use crate::{
    bootstrap::{
        self, BootstrapError, Prepared,
        words::{self, Document, StackDocument, Status},
    },
    config::{HomePlace, Loaded},
    home::connect_aws,
    report::Output,
};

/// Deploy what the provider needs into the home account: topic, queues, key, alarms, events, role.
///
/// As CloudFormation stacks, each shown as a change set first. Run it as an administrator of the home account; the runner
/// itself needs less.
#[derive(Debug, clap::Args)]
pub struct Bootstrap {
    /// Only show what would change; leave nothing behind. Ends with 3 when something would.
    #[arg(long)]
    plan: bool,
    /// Do it without asking.
    #[arg(long, conflicts_with = "plan")]
    yes: bool,
    /// Only print the templates. With --home-account and --organization, needs no credentials.
    #[arg(long, conflicts_with_all = ["plan", "yes"])]
    render: bool,
    /// The form of the printed templates.
    #[arg(long, value_enum, default_value_t = Form::Yaml, requires = "render")]
    format: Form,
    #[command(flatten)]
    place: NamedPlace,
}

impl Bootstrap {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let config = load(global)?;
        let guard = telemetry(global, &config)?;
        let code = if self.render {
            let place = self.place.find(&config).await?;
            render(&stacks(&spec(&config, &place)?)?, self.format)
        } else {
            Box::pin(self.deploy(global, &config)).await
        };
        guard.shutdown().await;
        code
    }

    async fn deploy(&self, global: &Global, config: &Loaded) -> Result<u8, Failure> {
        let aws = connect_aws(config).await?;
        let spec = spec(config, &home_place::ask(&aws).await?)?;
        if !spec.organization_events {
            super::warn(
                "events of AWS Organizations are in the management account only, so that new accounts do not wake the \
                 runner of a delegated administrator; it finds them on schedule",
            );
        }
        bootstrap::check_stack_sets(&aws, &spec.stack_sets, &spec.topic).await?;
        let prepared = bootstrap::prepare(&aws, stacks(&spec)?).await?;
        let mut documents: Vec<_> = prepared.iter().map(StackDocument::of).collect();
        let pending = documents
            .iter()
            .any(|stack| stack.status == Status::Planned);
        if global.output == Output::Table {
            print(&words::preview(&documents));
        }
        let refused = match bootstrap::check_topic_stays(&prepared) {
            Ok(()) => bootstrap::check_names_are_free(&aws, &spec, &prepared).await,
            refused => refused,
        };
        let go_on = match refused {
            Ok(()) if self.plan || !pending => Ok(false),
            Ok(()) => self.confirmed(global).map(|()| true),
            Err(error) => Err(error.into()),
        };
        if !matches!(go_on, Ok(true)) {
            for one in &prepared {
                one.discard().await?;
            }
            go_on?;
            if global.output == Output::Json {
                print_json(&Document { stacks: documents })?;
            }
            return Ok(if pending { 3 } else { 0 });
        }
        for (one, document) in prepared.iter().zip(&mut documents) {
            if document.status == Status::Unchanged {
                one.discard().await?;
                continue;
            }
            document.outputs = deploy(one, global.quiet).await?;
            document.status = Status::Deployed;
        }
        match global.output {
            Output::Json => print_json(&Document { stacks: documents }),
            Output::Table => {
                print(&words::outputs(&documents));
                Ok(0)
            }
        }
    }

    /// Asks at the terminal; a yes that was typed, or `--yes`, and nothing else.
    fn confirmed(&self, global: &Global) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let refused = |why: &str| {
            Err(Failure::Refused(format!(
                "{why}; nothing was changed: give --yes, or answer yes at a terminal"
            )))
        };
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if !terminal || global.output == Output::Json {
            return refused("nobody is there to confirm the changes");
        }
        let mut stderr = std::io::stderr().lock();
        // A terminal that cannot be written to has no one in front of it, and gets no yes.
        let asked = write!(stderr, "Type yes to deploy this: ").and_then(|()| stderr.flush());
        let mut answer = String::new();
        if asked.is_err() || std::io::stdin().read_line(&mut answer).is_err() {
            return refused("the terminal cannot be used");
        }
        if answer.trim() == "yes" {
            Ok(())
        } else {
            refused("the answer was not yes")
        }
    }
}

/// Deploys one stack and says what happens meanwhile.
async fn deploy(
    prepared: &Prepared,
    quiet: bool,
) -> Result<std::collections::BTreeMap<String, String>, Failure> {
    let outputs = prepared
        .deploy(|event| {
            if !quiet {
                #[expect(
                    clippy::print_stderr,
                    reason = "progress is for the person at the terminal"
                )]
                {
                    eprintln!(
                        "{} {} {} {}",
                        prepared.name(),
                        event.status,
                        event.logical_id,
                        event.resource_type
                    );
                }
            }
        })
        .await?;
    Ok(outputs)
}

fn spec(config: &Loaded, place: &HomePlace) -> Result<HomeSpec, Failure> {
    let organization = place
        .organization
        .clone()
        .ok_or_else(|| Failure::Config("say which organization with --organization".to_owned()))?;
    config
        .home_spec(place, organization)
        .map_err(|errors| Failure::Config(errors.to_string()))
}

fn stacks(spec: &HomeSpec) -> Result<Vec<HomeStack>, Failure> {
    home::stacks(spec).map_err(|error| Failure::Config(error.to_string()))
}

/// Prints all templates, each behind a comment that names its stack.
fn render(stacks: &[HomeStack], format: Form) -> Result<u8, Failure> {
    if format == Form::Json {
        let templates: serde_json::Map<_, _> = stacks
            .iter()
            .map(|stack| {
                (
                    format!("{} in {}", stack.name, stack.region),
                    stack.template.to_value(),
                )
            })
            .collect();
        return print_json(&templates);
    }
    for stack in stacks {
        let rendered = stack
            .template
            .render(Format::Yaml)
            .map_err(|error| Failure::Config(error.to_string()))?;
        print(&format!(
            "--- # stack {} in {}\n{}\n",
            stack.name,
            stack.region,
            rendered.body.trim_end()
        ));
    }
    Ok(0)
}

impl From<BootstrapError> for Failure {
    fn from(error: BootstrapError) -> Self {
        match error {
            BootstrapError::Refused(why) => Self::Refused(why),
            BootstrapError::Aws(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}
