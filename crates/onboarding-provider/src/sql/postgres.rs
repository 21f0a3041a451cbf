//! The address of a PostgreSQL database: checked before it is used, and shown without its password.

use std::{fmt, str::FromStr};

use onboarding_core::secret::SecretText;
use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};
use url::Url;

/// Parameters that sqlx knows. It logs others with their values, and a password may be in one that is misspelled.
const PARAMETERS: [&str; 16] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "ssl-mode",
    "ssl-root-cert",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "host",
    "port",
    "dbname",
    "user",
    "application_name",
    "options",
    "statement-cache-capacity",
];

/// A `postgres://` URL, as libpq has them. Without `sslmode`, a server on another machine must have a certificate that
/// can be verified.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    url: SecretText,
    shown: String,
}

/// Why a URL is refused. It never shows a value of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostgresUrlError {
    /// It is none.
    #[error("it is not a URL such as postgres://user@host/database")]
    Url,
    /// Another scheme.
    #[error("it does not begin with postgres://")]
    Scheme,
    /// A parameter that is not known.
    #[error("the parameter {0:?} is not known")]
    Parameter(String),
    /// A parameter with a wrong value.
    #[error("a parameter's value is not understood: {0}")]
    Value(String),
}

impl PostgresUrl {
    /// Whether a text is meant to be one.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("postgres:") || text.starts_with("postgresql:")
    }

    /// The same, verifying the server with the certificates in this file, unless the URL names a file itself.
    #[must_use]
    pub fn verified_with(mut self, ca_file: &str) -> Self {
        // It was parsed before.
        if let Ok(mut url) = Url::parse(self.url.expose()) {
            let says = |name: &str| matches!(name, "sslrootcert" | "ssl-root-cert" | "ssl-ca");
            if !url.query_pairs().any(|(name, _)| says(&name)) {
                url.query_pairs_mut().append_pair("sslrootcert", ca_file);
                self.url = SecretText::new(url.as_str());
            }
        }
        self
    }

    /// With its password, to connect.
    pub(super) fn expose(&self) -> &str {
        self.url.expose()
    }
}

impl FromStr for PostgresUrl {
    type Err = PostgresUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !Self::is_meant(text) {
            return Err(PostgresUrlError::Scheme);
        }
        let mut url = Url::parse(text).map_err(|_| PostgresUrlError::Url)?;
        if url.cannot_be_a_base() {
            return Err(PostgresUrlError::Url);
        }
        for (name, _) in url.query_pairs() {
            if !PARAMETERS.contains(&&*name) && !name.starts_with("options[") {
                return Err(PostgresUrlError::Parameter(name.into_owned()));
            }
        }
        let options = PgConnectOptions::from_url(&url)
            .map_err(|error| PostgresUrlError::Value(error.to_string()))?;
        let says = |name: &str| name == "sslmode" || name == "ssl-mode";
        let local = options.get_socket().is_some()
            || matches!(
                options.get_host(),
                "localhost" | "127.0.0.1" | "::1" | "[::1]"
            )
            || options.get_host().starts_with('/');
        let said = url.query_pairs().any(|(name, _)| says(&name));
        if !local && !said && std::env::var_os("PGSSLMODE").is_none() {
            url.query_pairs_mut().append_pair("sslmode", "verify-full");
        }
        Ok(Self {
            url: SecretText::new(url.as_str()),
            shown: redacted(text),
        })
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The URL of a state as it may be shown: without a password, without parameters, and if it cannot be read, without
/// anything but its scheme.
#[must_use]
pub fn redacted(text: &str) -> String {
    let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
    if scheme == "sqlite" || !rest.contains('@') {
        return text.split('?').next().unwrap_or_default().to_owned();
    }
    let shown = Url::parse(text).ok().and_then(|mut url| {
        url.set_password(None).ok()?;
        url.set_query(None);
        url.set_fragment(None);
        Some(url.to_string())
    });
    shown.unwrap_or_else(|| format!("{scheme}:…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for text in [
            "postgres://user:canary@db.example/state?sslmode=disable",
            "postgres://user:canary@db.example/state",
            "postgresql://user:canary@%2Frun%2Fpostgresql/state",
        ] {
            let url: PostgresUrl = text.parse().unwrap();
            assert!(url.expose().contains("canary"));
            let shown = format!("{url} {url:?}");
            assert!(
                shown.contains("user@") && !shown.contains("canary"),
                "{shown}"
            );
        }
        for text in [
            "postgres://user@db.example/state?pasword=canary",
            "postgres://user:canary@db.example:port/state",
            "postgres:user:canary@db",
            "mysql://user:canary@db.example/state",
            "postgress://user:canary@db.example",
        ] {
            let error = text.parse::<PostgresUrl>().unwrap_err();
            let shown = format!("{error} {error:?} {}", redacted(text));
            assert!(!shown.contains("canary"), "{shown}");
        }
    }

    #[test]
    fn a_server_is_verified_with_the_file_that_is_nearest() {
        let url = |text: &str| {
            let url: PostgresUrl = text.parse().unwrap();
            url.verified_with("/var/task/ca.pem").expose().to_owned()
        };
        let given = url("postgres://user:canary@db.example/state");
        assert!(given.contains("sslmode=verify-full"), "{given}");
        assert!(
            given.ends_with("&sslrootcert=%2Fvar%2Ftask%2Fca.pem"),
            "{given}"
        );
        let own = url("postgres://user@db.example/state?sslrootcert=/own.pem");
        assert!(!own.contains("task"), "{own}");
    }

    #[test]
    fn a_server_elsewhere_is_verified_unless_told_otherwise() {
        let verified = |text: &str| {
            let url: PostgresUrl = text.parse().unwrap();
            url.expose().contains("sslmode=verify-full")
        };
        assert!(verified("postgres://user@db.example/state"));
        assert!(!verified(
            "postgres://user@db.example/state?sslmode=require"
        ));
        assert!(!verified("postgres://user@127.0.0.1:5432/state"));
        assert!(!verified("postgres://user@%2Frun%2Fpostgresql/state"));
    }
}
