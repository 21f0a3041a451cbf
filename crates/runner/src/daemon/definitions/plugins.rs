//! Whether the files of jobs whose kinds are plugins are what the plugins ask for. Only the plugins know.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};

use crate::{
    config::{ExternalJob, JobFile, JobParams, Loaded},
    engine::Interrupt,
    plugin::Plugin,
};

/// How many plugins are asked at the same time.
const AT_ONCE: usize = 4;

/// Asks the plugins of the jobs that are not among those in force; what is wrong with each job.
pub(super) async fn wrong(read: &Loaded, in_force: &[JobFile]) -> BTreeMap<String, String> {
    let others = read.jobs.iter().filter(|job| !in_force.contains(job));
    let asked = others.filter_map(|job| match &job.params {
        JobParams::External(external) => Some(async move {
            let wrong = ask(external, read).await.err()?;
            Some((job.name.clone(), wrong))
        }),
        _ => None,
    });
    let asked = stream::iter(asked).buffer_unordered(AT_ONCE);
    asked.filter_map(std::future::ready).collect().await
}

/// Asks a plugin what it is, which takes no longer than it may, and compares the job's file with that.
async fn ask(job: &ExternalJob, config: &Loaded) -> Result<(), String> {
    let plugin = Plugin::of(job, &config.runner.plugins);
    let description = plugin.describe(&Interrupt::default()).await;
    let description = description.map_err(|error| error.to_string())?;
    let checked = job.check(&description.asking);
    checked.map_err(|errors| errors.to_string())
}
