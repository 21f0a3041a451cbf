//! The template that Spot publishes: YAML with short forms, no nonce, no version. What is here has its form.

use onboarding_core::drift::{DriftKind, Fix};

use crate::world::{self, EXTERNAL_ID, codes, drifts, text_of, truth};

const SPOT_TEMPLATE: &str = "
AWSTemplateFormatVersion: '2010-09-09'
Parameters:
  Token:
    Type: String
    NoEcho: true
Resources:
  SpotManagedPolicy:
    Type: AWS::IAM::ManagedPolicy
    Properties:
      Description: Spot.io Account Policy
      PolicyDocument:
        Version: '2012-10-17'
        Statement:
          - Sid: Instances
            Action:
              - ec2:Describe*
              - ec2:RunInstances
            Effect: Allow
            Resource:
              - '*'
  SpotAccount:
    Type: Custom::SpotAccount
    Properties:
      ServiceToken: !Sub
        - arn:aws:lambda:${Region}:178579023202:function:onboarding-stackset-account-lambda
        - Region: !Ref 'AWS::Region'
      Token: !Ref 'Token'
  SpotExternalId:
    Type: Custom::SpotExternalId
    Properties:
      SpotAccountId: !Ref 'SpotAccount'
  SpotRole:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: '2012-10-17'
        Statement:
          - Effect: Allow
            Principal:
              AWS: arn:aws:iam::922761411349:root
            Action: sts:AssumeRole
            Condition:
              StringEquals:
                sts:ExternalId: !Ref 'SpotExternalId'
      ManagedPolicyArns:
        - !Ref 'SpotManagedPolicy'
";

#[test]
fn spots_own_template_is_understood() {
    let meaning = world::meaning(SPOT_TEMPLATE);
    assert_eq!((&meaning.role_name, &meaning.path), (&None, &None));
    assert!(!meaning.has_repair_nonce);
    let [policy] = &meaning.policies[..] else {
        panic!("{meaning:?}");
    };
    assert_eq!(policy.logical_id, "SpotManagedPolicy");
    let trust = meaning.trust.value().to_string();
    assert!(trust.contains(EXTERNAL_ID), "{trust}");
    assert_eq!(drifts(&meaning, &truth(&meaning)), []);
}

#[test]
fn without_a_nonce_a_person_writes_the_documents_again() {
    let meaning = world::meaning(SPOT_TEMPLATE);
    let mut truth = truth(&meaning);
    let text = text_of(&mut truth.attached[0]);
    *text = text.replace("ec2:Describe*", "ec2:*");
    truth.role.trust_policy = truth.role.trust_policy.replace(EXTERNAL_ID, "another");
    let drifts = drifts(&meaning, &truth);
    assert_eq!(codes(&drifts), ["trust-differs", "policy-document-differs"]);
    let commands: Vec<&str> = drifts
        .iter()
        .map(|drift| match &drift.fix {
            Fix::NeedsPerson(command) => command.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    let role = "StackSet-spot-1b2c-SpotRole-AB12CD34EF56";
    let trust = &meaning.trust;
    assert_eq!(
        commands[0],
        format!(
            "aws iam update-assume-role-policy --role-name {role} --policy-document '{}'",
            trust.value()
        )
    );
    let arn = &drifts[1].resource;
    let document = meaning.policies[0].document.value();
    assert_eq!(drifts[1].kind, DriftKind::PolicyDocumentDiffers);
    assert_eq!(
        commands[1],
        format!(
            "aws iam create-policy-version --policy-arn {arn} --policy-document '{document}' --set-as-default"
        )
    );
}
