//! How the client is set up, and what of it is refused.

use std::time::Duration;

use onboarding_core::governor::spot::GovernorSettings;
use url::{Host, Url};

use crate::error::SpotError;

/// How to reach Spot.
#[derive(Debug, Clone)]
pub struct SpotSettings {
    /// The base address. Plain http is accepted to a loopback address only: the token travels in a header.
    pub base_url: String,
    /// Time allowed for making a connection.
    pub connect_timeout: Duration,
    /// Time allowed for one request, from sending to the last byte of the answer. Waiting for the governor is not in it.
    pub call_timeout: Duration,
    /// The User-Agent header.
    pub user_agent: String,
    /// Requests made at most for one call that may be repeated, the first one included.
    pub attempts: u32,
    /// The pause before the second request; it doubles with each further one, with jitter.
    pub retry_initial: Duration,
    /// When the change of a user group that no lock kept apart from other processes' is looked at again: after this, or up to
    /// twice as long.
    pub access_recheck: Duration,
    /// What the rate governor assumes about Spot's window.
    pub governor: GovernorSettings,
}

impl Default for SpotSettings {
    fn default() -> Self {
        Self {
            base_url: "https://api.spotinst.io".to_owned(),
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            user_agent: concat!("spot-onboarding/", env!("CARGO_PKG_VERSION")).to_owned(),
            attempts: 4,
            retry_initial: Duration::from_millis(500),
            access_recheck: Duration::from_secs(5),
            governor: GovernorSettings::default(),
        }
    }
}

/// Parses the base address and refuses one that would show the token.
pub(crate) fn base_url(text: &str) -> Result<Url, SpotError> {
    let refused = |reason: &str| SpotError::Setup {
        reason: format!("the Spot API address (SPOT_API_URL) {reason}"),
    };
    let url = Url::parse(text).map_err(|error| refused(&format!("is not a URL: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(refused("must have no user, password or query"));
    }
    match url.scheme() {
        "https" if url.host().is_some() => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(refused(
            "uses plain http to a host that is not a loopback address; use https",
        )),
        _ => Err(refused("must be an https address with a host")),
    }
}

/// Whether the host is this machine, by address or as `localhost`.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_only() {
        for good in [
            "https://api.spotinst.io",
            "http://127.0.0.1:8080",
            "http://[::1]:80/spot/",
            "http://localhost:1",
        ] {
            assert!(base_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://api.spotinst.io",
            "http://127.0.0.1.evil.example",
            "http://10.0.0.1",
            "ftp://127.0.0.1",
            "https://user:pass@api.spotinst.io",
            "https://api.spotinst.io/?token=x",
            "api.spotinst.io",
            "",
        ] {
            let error = base_url(bad).unwrap_err().to_string();
            assert!(
                error.contains("SPOT_API_URL") && !error.contains("pass@"),
                "{bad}"
            );
        }
    }
}
