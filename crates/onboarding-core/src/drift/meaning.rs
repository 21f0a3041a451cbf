//! What the enrollment template of a stack set means for one account.

mod conditions;
mod resolve;
mod role;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use self::resolve::{Inputs, Resolver};
use super::document::MeantDocument;
use crate::{
    ids::{AwsAccountId, ExternalId, Region},
    template::{BodyError, Partition, REPAIR_NONCE_PARAMETER, parse_body},
};

/// What a role should be, as far as a template says.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleMeaning {
    /// Its name, when the template fixes it.
    pub role_name: Option<String>,
    /// Its path; none: `/`.
    pub path: Option<String>,
    /// Its trust policy.
    pub trust: MeantDocument,
    /// The managed policies of the template that are attached to it.
    pub policies: Vec<MeantPolicy>,
    /// ARNs of managed policies from elsewhere that are attached to it.
    pub attached_arns: BTreeSet<String>,
    /// Its inline policies by name.
    pub inline: BTreeMap<String, MeantDocument>,
    /// The ARN of its permissions boundary.
    pub boundary: Option<String>,
    /// The tags that the template gives it.
    pub tags: BTreeMap<String, String>,
    /// Whether a new `RepairNonce` makes CloudFormation write trust policy and managed policies again.
    pub has_repair_nonce: bool,
}

/// A managed policy of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct MeantPolicy {
    /// Its logical id.
    pub logical_id: String,
    /// Its name, when the template fixes it.
    pub name: Option<String>,
    /// What it says.
    pub document: Arc<MeantDocument>,
}

/// The stack that a template is evaluated for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackContext {
    /// The partition of its account.
    pub partition: Partition,
    /// Its Region.
    pub region: Region,
    /// Its account.
    pub account: AwsAccountId,
    /// Its parameters: the stack set's with the overrides of its instance. The template's defaults stand for the others.
    pub parameters: BTreeMap<String, String>,
    /// What `SpotExternalId` returned, when that is known.
    pub external_id: Option<ExternalId>,
}

/// A template that does not say what the role should be.
#[derive(Debug, thiserror::Error)]
pub enum MeaningError {
    /// The text is no template.
    #[error("the stack set's template could not be read")]
    Body(#[from] BodyError),
    /// It has no role for Spot.
    #[error("the stack set's template has no AWS::IAM::Role named SpotRole")]
    NoRole,
    /// The role has no trust policy, or one that is no object.
    #[error("the template's SpotRole has no AssumeRolePolicyDocument that can be evaluated")]
    NoTrust,
    /// Whether a resource is made, or what it is like, depends on what is not known.
    #[error(
        "what the template means by {logical_id} depends on its condition {condition}, which has values that are not known \
         here: give its parameters"
    )]
    Undecided {
        /// The logical id.
        logical_id: String,
        /// The name of the condition.
        condition: String,
    },
}

/// What a template means for the account of one stack; none when no role is made there, as in a stack of the provider
/// `direct` without external ID. For many accounts of one stack set, [`Meanings`] does the same faster.
///
/// # Errors
/// [`MeaningError`] when the template does not tell.
pub fn meaning(
    template_body: &str,
    context: &StackContext,
) -> Result<Option<RoleMeaning>, MeaningError> {
    let (partition, region) = (context.partition, context.region.clone());
    let parameters = context.parameters.clone();
    Meanings::new(template_body, partition, region, parameters)?.for_account(
        context.account,
        &BTreeMap::new(),
        context.external_id.as_ref(),
    )
}

/// A template, read once for all accounts of a stack set.
#[derive(Debug)]
pub struct Meanings {
    template: Value,
    partition: Partition,
    region: Region,
    parameters: BTreeMap<String, String>,
    /// The managed policies as they are without account, overrides and external ID, and what went into each; those that
    /// nothing could be told about are not among them.
    policies: BTreeMap<String, (Arc<MeantDocument>, Inputs)>,
}

impl Meanings {
    /// Reads a template, to be evaluated with the parameters of its stack set.
    ///
    /// # Errors
    /// The text is no template.
    pub fn new(
        template_body: &str,
        partition: Partition,
        region: Region,
        parameters: BTreeMap<String, String>,
    ) -> Result<Self, MeaningError> {
        let mut meanings = Self {
            template: parse_body(template_body)?,
            partition,
            region,
            parameters,
            policies: BTreeMap::new(),
        };
        let none = BTreeMap::new();
        let ids = meanings.resources("AWS::IAM::ManagedPolicy");
        let policies = ids.filter_map(|(id, policy)| {
            let mut resolver = Resolver::new(&meanings, None, &none, None);
            let document = resolver.document(&policy["Properties"]["PolicyDocument"]);
            let is_told = resolver.undecided().is_none();
            is_told.then(|| (id.clone(), (Arc::new(document), resolver.into_inputs())))
        });
        meanings.policies = policies.collect();
        Ok(meanings)
    }

    /// What it means for one account, with the parameters that its stack instance overrides, and what `SpotExternalId`
    /// returned there when that is known; none when no role is made there.
    ///
    /// # Errors
    /// [`MeaningError`] when the template does not tell.
    pub fn for_account(
        &self,
        account: AwsAccountId,
        overrides: &BTreeMap<String, String>,
        external_id: Option<&ExternalId>,
    ) -> Result<Option<RoleMeaning>, MeaningError> {
        let resolver = Resolver::new(self, Some(account), overrides, external_id);
        role::meaning(self, resolver)
    }

    /// A managed policy's document: the one for all accounts where nothing of this one goes into it.
    fn policy(
        &self,
        logical_id: &str,
        policy: &Value,
        resolver: &mut Resolver<'_>,
    ) -> Arc<MeantDocument> {
        match self.policies.get(logical_id) {
            Some((document, inputs)) if resolver.agrees_with(inputs) => Arc::clone(document),
            _ => Arc::new(resolver.document(&policy["Properties"]["PolicyDocument"])),
        }
    }

    fn has_repair_nonce(&self) -> bool {
        let parameters = self.template.get("Parameters");
        parameters.is_some_and(|parameters| parameters.get(REPAIR_NONCE_PARAMETER).is_some())
    }

    /// The resources of a type, with their logical ids.
    fn resources(&self, kind: &'static str) -> impl Iterator<Item = (&String, &Value)> {
        let resources = self.template.get("Resources").and_then(Value::as_object);
        let resources = resources.into_iter().flatten();
        resources.filter(move |(_, resource)| resource["Type"] == kind)
    }
}
