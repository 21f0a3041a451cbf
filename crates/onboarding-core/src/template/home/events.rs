//! Events of AWS that say "look now": which, and where they appear.
//!
//! They are hints: late, repeated, lost. What they say is looked up anew.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{HomeSpec, messaging::WAKE_UP, resource};
use crate::{
    ids::Region,
    template::{Resource, parts::attribute},
};

/// Where events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The stack sets of the profiles.
    StackSets,
    /// AWS Organizations.
    Organizations,
    /// AWS Control Tower.
    ControlTower,
}

impl Source {
    fn logical_id(self) -> &'static str {
        match self {
            Self::StackSets => "StackSetEvents",
            Self::Organizations => "OrganizationEvents",
            Self::ControlTower => "ControlTowerEvents",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::StackSets => "A stack set of the runner has changed",
            Self::Organizations => "An account or unit of the organization has changed",
            Self::ControlTower => "AWS Control Tower has made or changed an account",
        }
    }

    /// The pattern. Names of events from the AWS Organizations User Guide ("Logging and monitoring"), the AWS Control
    /// Tower User Guide ("Lifecycle events") and the AWS CloudFormation User Guide ("Managing events with EventBridge").
    fn pattern(self, spec: &HomeSpec) -> Value {
        match self {
            Self::StackSets => {
                // Any account: a delegated administrator's stack sets are the management account's.
                let arn = |name| {
                    let (partition, region) = (spec.partition(), &spec.region);
                    json!({"wildcard": format!("arn:{partition}:cloudformation:{region}:*:stackset/{name}:*")})
                };
                json!({
                    "source": ["aws.cloudformation"],
                    "detail-type": [
                        "CloudFormation StackSet Operation Status Change",
                        "CloudFormation StackSet StackInstance Status Change",
                        "CloudFormation StackSet Status Change",
                    ],
                    "detail": {"stack-set-arn": spec.stack_sets.iter().map(arn).collect::<Vec<_>>()},
                })
            }
            Self::Organizations => json!({
                "source": ["aws.organizations"],
                "detail": {"eventName": [
                    "AccountDepartedOrganization",
                    "AccountJoinedOrganization",
                    "CloseAccountResult",
                    "CreateAccountResult",
                    "MoveAccount",
                    "RemoveAccountFromOrganization",
                    "TagResource",
                    "UntagResource",
                    "UpdateOrganizationalUnit",
                ]},
            }),
            Self::ControlTower => json!({
                "source": ["aws.controltower"],
                "detail": {"eventName": [
                    "CreateManagedAccount",
                    "DeregisterOrganizationalUnit",
                    "RegisterOrganizationalUnit",
                    "UpdateManagedAccount",
                ]},
            }),
        }
    }

    /// A rule that sends the events to a target.
    pub(super) fn rule(self, spec: &HomeSpec, target: Value) -> Resource {
        resource(
            self.logical_id(),
            "AWS::Events::Rule",
            [
                ("Description", self.description().into()),
                ("EventPattern", self.pattern(spec)),
                ("State", "ENABLED".into()),
                ("Targets", json!([target])),
            ],
        )
    }
}

/// The rules of the home Region: whatever arrives there goes to the wake-up queue.
pub(super) fn rules(spec: &HomeSpec) -> Vec<Resource> {
    let sources = [
        (Source::StackSets, !spec.stack_sets.is_empty()),
        (Source::Organizations, spec.organization_events),
        (Source::ControlTower, spec.control_tower_region.is_some()),
    ];
    let wanted = sources.into_iter().filter(|(_, wanted)| *wanted);
    wanted
        .map(|(source, _)| {
            let target = json!({"Id": "WakeUp", "Arn": attribute(WAKE_UP.0, "Arn")});
            source.rule(spec, target)
        })
        .collect()
}

/// The Regions beside the home Region in which events appear, with what appears there.
pub(super) fn relayed(spec: &HomeSpec) -> BTreeMap<Region, Vec<Source>> {
    let mut regions: BTreeMap<Region, Vec<Source>> = BTreeMap::new();
    let organizations = spec
        .organization_events
        .then(|| spec.organizations_region().parse().ok())
        .flatten();
    for (source, region) in [
        (Source::Organizations, organizations),
        (Source::ControlTower, spec.control_tower_region.clone()),
    ] {
        if let Some(region) = region.filter(|region| *region != spec.region) {
            regions.entry(region).or_default().push(source);
        }
    }
    regions
}
