//! Hosts that answers may go to beside CloudFormation's own buckets: where CloudFormation is simulated, as in tests and
//! rehearsals. Nobody else names any.

use std::str::FromStr;

use url::{Host, Url};

/// The environment variable that names them, of the runner and the function alike.
pub const VARIABLE: &str = "PROVIDER_RESPONSE_HOSTS";

/// See the module documentation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResponseHosts(Vec<Host>);

/// A text that is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{VARIABLE} has {0:?}; it must name hosts without ports, such as 127.0.0.1, with commas between"
)]
pub struct InvalidHost(String);

impl ResponseHosts {
    /// Whether an answer may go there: over TLS, or to this machine.
    pub(crate) fn include(&self, url: &Url) -> bool {
        let Some(host) = url.host() else { return false };
        let is_safe = match url.scheme() {
            "https" => true,
            "http" => is_this_machine(&host),
            _ => false,
        };
        is_safe && self.0.iter().any(|named| *named == host.to_owned())
    }
}

impl FromStr for ResponseHosts {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hosts = text.split(',').map(str::trim).filter(|one| !one.is_empty());
        let parse = |one: &str| Host::parse(one).map_err(|_| InvalidHost(one.to_owned()));
        Ok(Self(hosts.map(parse).collect::<Result<_, _>>()?))
    }
}

/// Whether a host is this machine.
pub(crate) fn is_this_machine(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_to_named_hosts_by_tls_and_unencrypted_to_this_machine_only() {
        let hosts: ResponseHosts = "127.0.0.1, [::1],localhost ,s3.example.com"
            .parse()
            .unwrap();
        for (url, included) in [
            ("http://127.0.0.1:81/x", true),
            ("http://[::1]:81/x", true),
            ("http://localhost/x", true),
            ("https://s3.example.com/x", true),
            ("http://s3.example.com/x", false),
            ("ftp://127.0.0.1/x", false),
            ("http://127.0.0.2/x", false),
            ("https://x.s3.example.com/x", false),
        ] {
            assert_eq!(hosts.include(&Url::parse(url).unwrap()), included, "{url}");
        }
        assert!(!ResponseHosts::default().include(&Url::parse("http://127.0.0.1/x").unwrap()));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "http://127.0.0.1",
            "a b",
            "127.0.0.1:80",
            "[::1",
            "x,1.2.3.4.5/6",
        ] {
            assert!(text.parse::<ResponseHosts>().is_err(), "{text}");
        }
        assert_eq!(" , ".parse(), Ok(ResponseHosts::default()));
    }
}
