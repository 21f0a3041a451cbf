//! Writes every sample template into a directory, as compact JSON and as YAML, for tools that we did not write:
//! `cargo run -p onboarding-core --example render_all -- DIR`.

use std::{env, error::Error, fs, path::PathBuf};

use onboarding_core::template::{Format, Template, home};

#[path = "../tests/template/home_samples.rs"]
#[expect(clippy::expect_used, reason = "samples are valid by construction")]
mod home_samples;

#[path = "../tests/template/samples.rs"]
#[expect(dead_code, reason = "tests use the rest of it")]
#[expect(clippy::expect_used, reason = "samples are valid by construction")]
mod samples;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(env::args_os().nth(1).ok_or("usage: render_all DIR")?);
    fs::create_dir_all(&directory)?;
    let mut templates = Vec::new();
    for (name, spec) in samples::samples()
        .into_iter()
        .chain(samples::direct_samples())
        .chain(samples::rollout_samples())
    {
        templates.push((name, Template::new(&spec)?));
    }
    for (name, spec) in samples::audit_samples() {
        templates.push((name, spec.template()?));
    }
    for (name, spec) in samples::remediation_samples() {
        templates.push((name, spec.template()?));
    }
    for (name, spec) in home_samples::samples() {
        for stack in home::stacks(&spec)? {
            templates.push((format!("{name}-in-{}", stack.region), stack.template));
        }
    }
    for (name, template) in templates {
        for (format, extension) in [(Format::CompactJson, "json"), (Format::Yaml, "yaml")] {
            let path = directory.join(format!("{name}.{extension}"));
            fs::write(path, template.render(format)?.body)?;
        }
    }
    Ok(())
}
