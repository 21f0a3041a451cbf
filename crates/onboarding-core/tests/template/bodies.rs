//! Templates that were read back: ours in another form, and Spot's own.

use onboarding_core::template::{
    Deletion, Format, Provider, Template, parse_body, service_token_changes, template_digest_of,
};
use serde_json::{Value, json};

use crate::samples::base;

/// The custom resources of Spot's template, in its own notation.
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
      PolicyDocument:
        Version: '2012-10-17'
  SpotAccount:
    Type: Custom::SpotAccount
    Properties:
      ServiceToken: !Sub
        - arn:aws:lambda:${Region}:178579023202:function:onboarding-stackset-account-lambda
        - Region: !Ref 'AWS::Region'
      AwsAccountId: !Ref 'AWS::AccountId'
      Token: !Ref 'Token'
    DependsOn:
      - 'SpotManagedPolicy'
  SpotLinkedCredentials:
    Type: Custom::SpotLinkedCredentials
    Properties:
      ServiceToken: !Sub
        - arn:aws:lambda:${Region}:178579023202:function:spotinst-set-credentials
        - Region: !Ref 'AWS::Region'
      IamRoleArn: !GetAtt 'SpotRole.Arn'
      isTokenEncrypted: \"false\"
";

#[test]
fn short_forms_are_read_as_long_forms() {
    let value = parse_body(SPOT_TEMPLATE).unwrap();
    assert_eq!(value["AWSTemplateFormatVersion"], "2010-09-09");
    assert_eq!(value["Parameters"]["Token"]["NoEcho"], true);
    let account = &value["Resources"]["SpotAccount"]["Properties"];
    assert_eq!(account["AwsAccountId"], json!({"Ref": "AWS::AccountId"}));
    assert_eq!(
        account["ServiceToken"]["Fn::Sub"][1],
        json!({"Region": {"Ref": "AWS::Region"}})
    );
    let credentials = &value["Resources"]["SpotLinkedCredentials"]["Properties"];
    assert_eq!(
        credentials["IamRoleArn"],
        json!({"Fn::GetAtt": ["SpotRole", "Arn"]})
    );
    assert_eq!(credentials["isTokenEncrypted"], "false");
    let body = "Conditions:\n  A: !Not [!Condition B]\n  B: !Equals [!Ref X, 012345678901]\n  C: !If [A, {K: !Base64 x}, ~]\n";
    assert_eq!(
        parse_body(body).unwrap(),
        json!({"Conditions": {
            "A": {"Fn::Not": [{"Condition": "B"}]},
            "B": {"Fn::Equals": [{"Ref": "X"}, "012345678901"]},
            "C": {"Fn::If": ["A", {"K": {"Fn::Base64": "x"}}, null]},
        }})
    );
}

#[test]
fn a_body_in_another_form_keeps_its_digest_and_a_changed_one_does_not() {
    let template = Template::new(&base()).unwrap();
    let rendered = template.render(Format::CompactJson).unwrap();
    let mut value: Value = serde_json::from_str(&rendered.body).unwrap();
    let sections = value.as_object_mut().unwrap();
    let first = sections.shift_remove("Resources").unwrap();
    sections.insert("Resources".into(), first);
    let reordered = format!("\n{value:#}");
    assert_ne!(reordered, rendered.body);
    assert_eq!(template_digest_of(&reordered).unwrap(), rendered.digest);
    let yaml = template.render(Format::Yaml).unwrap().body;
    let tagged = yaml.replace(
        "Value:\n      \"Fn::GetAtt\":\n      - SpotRole\n      - Arn",
        "Value: !GetAtt SpotRole.Arn",
    );
    assert_ne!(tagged, yaml);
    assert_eq!(template_digest_of(&tagged).unwrap(), rendered.digest);
    let changed = rendered.body.replace("ec2:RunInstances", "ec2:RunInstance");
    assert_ne!(template_digest_of(&changed).unwrap(), rendered.digest);
}

#[test]
fn what_is_no_template_is_an_error() {
    for body in [
        "",
        "{",
        "just text",
        "- a\n- b",
        "a: [",
        "a: &x 1\nb: *y",
        "a: 1\na: 2",
    ] {
        assert!(template_digest_of(body).is_err(), "{body:?}");
    }
}

#[test]
fn a_changed_service_token_is_found() {
    let queue = Template::new(&base()).unwrap();
    let mut spec = base();
    spec.provider = Provider::Queue {
        topic_arn: "arn:aws:sns:us-east-1:123456789012:another"
            .parse()
            .unwrap(),
    };
    let other_queue = Template::new(&spec).unwrap();
    spec.provider = Provider::SpotHosted {
        cost_intelligence_function: None,
    };
    let hosted = Template::new(&spec).unwrap();
    spec.deletion = Deletion::Stack;
    spec.rename = false;
    spec.service_timeout_seconds = 60;
    let hosted_without_name = Template::new(&spec).unwrap();
    let body = |template: &Template| template.render(Format::CompactJson).unwrap().body;

    let all = [
        "SpotAccount",
        "SpotExternalId",
        "SpotLinkedCredentials",
        "RenamedSpotAccountByAlias",
    ];
    let none: [&str; 0] = [];
    let changes = |old: &str, new: &Template| service_token_changes(old, &body(new)).unwrap();
    assert_eq!(changes(&body(&queue), &queue), none);
    assert_eq!(changes(&body(&queue), &other_queue), all);
    assert_eq!(changes(&body(&queue), &hosted), all);
    assert_eq!(changes(&body(&hosted), &hosted_without_name), none);
    assert_eq!(changes(&body(&hosted_without_name), &queue), all[..3]);
    assert_eq!(changes(SPOT_TEMPLATE, &hosted), none);
    assert_eq!(
        changes(SPOT_TEMPLATE, &queue),
        ["SpotAccount", "SpotLinkedCredentials"]
    );
    let odd = SPOT_TEMPLATE.replace("- Region: !Ref 'AWS::Region'", "- Region: !ImportValue x");
    assert_eq!(
        changes(&odd, &hosted),
        ["SpotAccount", "SpotLinkedCredentials"]
    );
}
