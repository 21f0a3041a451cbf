//! Writes IAM's structures as XML, and pages its lists.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::store::{ManagedPolicy, PolicyVersion, Role};
use crate::ids::AccountId;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::Xml;

/// RFC 3986's unreserved characters stay as they are.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A policy document as IAM answers it: URL-encoded (RFC 3986).
pub(crate) fn encode(document: &str) -> String {
    utf8_percent_encode(document, RESERVED).to_string()
}

/// The inside of a `Role`.
pub(super) fn role(xml: &mut Xml, account: AccountId, role: &Role, whole: bool) {
    xml.text("Path", &role.path)
        .text("RoleName", &role.name)
        .text("RoleId", &role.id)
        .text("Arn", role.arn(account))
        .text("CreateDate", role.created)
        .text("AssumeRolePolicyDocument", encode(&role.trust))
        .optional("Description", role.description.as_deref())
        .text("MaxSessionDuration", role.max_session);
    if !whole {
        return;
    }
    if let Some(boundary) = &role.boundary {
        xml.element("PermissionsBoundary", |xml| {
            xml.text("PermissionsBoundaryType", "Policy")
                .text("PermissionsBoundaryArn", boundary);
        });
    }
    if !role.tags.is_empty() {
        tags(xml, &role.tags);
    }
    xml.element("RoleLastUsed", |xml| {
        if let Some(used) = role.last_used {
            xml.text("LastUsedDate", used).text("Region", "us-east-1");
        }
    });
}

/// A list of tags.
pub(super) fn tags(xml: &mut Xml, tags: &[(Box<str>, Box<str>)]) {
    xml.list("Tags", tags, |xml, (key, value)| {
        xml.text("Key", key).text("Value", value);
    });
}

/// The inside of a `Policy`, which never has its document.
pub(super) fn policy(xml: &mut Xml, arn: &str, policy: &ManagedPolicy, attachments: usize) {
    xml.text("PolicyName", &policy.name)
        .text("PolicyId", &policy.id)
        .text("Arn", arn)
        .text("Path", &policy.path)
        .text("DefaultVersionId", format_args!("v{}", policy.default))
        .text("AttachmentCount", attachments)
        .text("PermissionsBoundaryUsageCount", 0)
        .text("IsAttachable", true)
        .optional("Description", policy.description.as_deref())
        .text("CreateDate", policy.created)
        .text("UpdateDate", policy.updated);
}

/// The inside of a `PolicyVersion`; lists leave the document out.
pub(super) fn version(xml: &mut Xml, policy: &ManagedPolicy, version: &PolicyVersion, whole: bool) {
    if whole {
        xml.text("Document", encode(&version.document));
    }
    xml.text("VersionId", format_args!("v{}", version.number))
        .text("IsDefaultVersion", version.number == policy.default)
        .text("CreateDate", version.created);
}

/// The items of one page of a list, after its IsTruncated and Marker: as many as MaxItems (1 to 1000, default 100), and
/// at most `largest`.
pub(super) fn page<T>(
    xml: &mut Xml,
    request: &QueryRequest,
    largest: u32,
    items: Vec<T>,
) -> Result<Vec<T>, AwsError> {
    let size = request.number("MaxItems")?.unwrap_or(100);
    if !(1..=1000).contains(&size) {
        return Err(AwsError::validation(format!(
            "1 validation error detected: Value '{size}' at 'maxItems' failed to satisfy constraint: Member must have value between 1 and 1000"
        )));
    }
    let start = match request.get("Marker") {
        None => 0,
        Some(marker) => marker
            .strip_prefix("AAF")
            .and_then(|text| text.parse::<usize>().ok())
            .ok_or_else(|| AwsError::validation("Invalid Marker."))?,
    };
    let size = (size as usize).min(largest.max(1) as usize);
    let end = items.len().min(start.saturating_add(size));
    let truncated = end < items.len();
    xml.text("IsTruncated", truncated);
    if truncated {
        xml.text("Marker", format_args!("AAF{end}"));
    }
    Ok(items.into_iter().take(end).skip(start).collect())
}
