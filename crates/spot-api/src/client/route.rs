//! A route of the Spot API: method and path template. Templates, never ids, name calls in counts, metrics and errors.

use std::fmt;

/// One route, such as `GET /setup/account`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    /// The HTTP method.
    pub method: &'static str,
    /// The path; `{accountId}` stands for a Spot account, `{userGroupId}` for a user group.
    pub template: &'static str,
}

impl Route {
    pub(crate) const fn get(template: &'static str) -> Self {
        Self {
            method: "GET",
            template,
        }
    }

    pub(crate) const fn post(template: &'static str) -> Self {
        Self {
            method: "POST",
            template,
        }
    }

    pub(crate) const fn put(template: &'static str) -> Self {
        Self {
            method: "PUT",
            template,
        }
    }

    pub(crate) const fn delete(template: &'static str) -> Self {
        Self {
            method: "DELETE",
            template,
        }
    }

    /// Whether sending it twice is the same as sending it once.
    pub(crate) fn repeatable(self) -> bool {
        self.method != "POST"
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.template)
    }
}
