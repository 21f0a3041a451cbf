//! The AWS CLI commands with which a person puts right what a redeployment does not (AWS CLI Command Reference, iam).

use serde_json::Value;

use super::unknown;

/// Shows the role: when it was made, and by whom as far as its tags tell.
pub(super) fn look(role: &str) -> String {
    command("get-role", &[("role-name", role)])
}

pub(super) fn delete_inline(role: &str, policy: &str) -> String {
    command(
        "delete-role-policy",
        &[("role-name", role), ("policy-name", policy)],
    )
}

pub(super) fn put_inline(role: &str, policy: &str, document: &Value) -> String {
    put_inline_text(role, policy, &document.to_string())
}

pub(super) fn put_inline_text(role: &str, policy: &str, document: &str) -> String {
    let arguments = [
        ("role-name", role),
        ("policy-name", policy),
        ("policy-document", document),
    ];
    command("put-role-policy", &arguments)
}

pub(super) fn detach(role: &str, arn: &str) -> String {
    command(
        "detach-role-policy",
        &[("role-name", role), ("policy-arn", arn)],
    )
}

pub(super) fn attach(role: &str, arn: &str) -> String {
    command(
        "attach-role-policy",
        &[("role-name", role), ("policy-arn", arn)],
    )
}

/// Attaches the policy that a stack made. Its name is CloudFormation's, so that the stack is asked for its ARN.
pub(super) fn attach_of_stack(role: &str, stack: &str, logical_id: &str) -> String {
    let (role, logical_id) = (quoted(role), quoted(logical_id));
    let region = stack.split(':').nth(3).unwrap_or_default();
    format!(
        "aws iam attach-role-policy --role-name {role} --policy-arn \"$(aws cloudformation describe-stack-resource \
         --region {} --stack-name {} --logical-resource-id {logical_id} \
         --query StackResourceDetail.PhysicalResourceId --output text)\"",
        quoted(region),
        quoted(stack),
    )
}

pub(super) fn set_trust(role: &str, document: &Value) -> String {
    let document = document.to_string();
    let arguments = [("role-name", role), ("policy-document", document.as_str())];
    command("update-assume-role-policy", &arguments)
}

pub(super) fn new_version(arn: &str, document: &Value) -> String {
    let document = document.to_string();
    let arguments = [("policy-arn", arn), ("policy-document", document.as_str())];
    let command = command("create-policy-version", &arguments);
    format!("{command} --set-as-default")
}

pub(super) fn set_boundary(role: &str, arn: &str) -> String {
    let arguments = [("role-name", role), ("permissions-boundary", arn)];
    command("put-role-permissions-boundary", &arguments)
}

pub(super) fn delete_boundary(role: &str) -> String {
    command("delete-role-permissions-boundary", &[("role-name", role)])
}

pub(super) fn tag(role: &str, key: &str, value: &str) -> String {
    let tags = serde_json::json!([{"Key": key, "Value": value}]).to_string();
    command("tag-role", &[("role-name", role), ("tags", &tags)])
}

fn command(verb: &str, arguments: &[(&str, &str)]) -> String {
    let mut text = format!("aws iam {verb}");
    for (name, value) in arguments {
        text.push_str(&format!(" --{name} {}", quoted(&unknown::readable(value))));
    }
    text
}

/// One word of a POSIX shell.
fn quoted(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b);
    if !text.is_empty() && text.bytes().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_name_is_it_stays_one_word() {
        assert_eq!(
            delete_inline("Spot+Role", "it's; rm"),
            r"aws iam delete-role-policy --role-name Spot+Role --policy-name 'it'\''s; rm'"
        );
        assert_eq!(quoted(""), "''");
    }
}
