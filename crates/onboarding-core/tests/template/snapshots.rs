//! The main renderings as text, so that a change to the template is seen as what it does to the template.

use onboarding_core::template::{Format, Template};

use crate::samples;

#[test]
fn the_main_renderings_are_as_reviewed() {
    for name in [
        "queue-full-costs-default",
        "queue-split-stack",
        "hosted-ci-full-costs-stack",
    ] {
        let samples = samples::samples();
        let (_, spec) = samples.iter().find(|(sample, _)| sample == name).unwrap();
        let rendered = Template::new(spec).unwrap().render(Format::Yaml).unwrap();
        insta::assert_snapshot!(name, rendered.body);
    }
}

#[test]
fn the_audit_role_is_as_reviewed() {
    let samples = samples::audit_samples();
    for name in ["audit-aws-default", "audit-aws-cn-full"] {
        let (_, spec) = samples.iter().find(|(sample, _)| sample == name).unwrap();
        let rendered = spec.template().unwrap().render(Format::Yaml).unwrap();
        insta::assert_snapshot!(name, rendered.body);
    }
}

#[test]
fn the_remediation_role_is_as_reviewed() {
    let samples = samples::remediation_samples();
    for name in [
        "remediation-aws-default",
        "remediation-aws-leftovers",
        "remediation-aws-cn-full",
    ] {
        let (_, spec) = samples.iter().find(|(sample, _)| sample == name).unwrap();
        let rendered = spec.template().unwrap().render(Format::Yaml).unwrap();
        insta::assert_snapshot!(name, rendered.body);
    }
}
