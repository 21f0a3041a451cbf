//! The signature of a webhook, as Standard Webhooks has it (<https://www.standardwebhooks.com>): HMAC-SHA256 over the id, the time and
//! the body, so that receivers can check it with a library that is there already.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use onboarding_core::secret::SecretText;
use sha2::Sha256;

/// How a secret of Standard Webhooks begins; the key in Base64 follows.
const PREFIX: &str = "whsec_";

/// The fewest bytes of a key: shorter ones can be guessed.
const SHORTEST: usize = 16;

/// A secret cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    /// What follows `whsec_` is no Base64.
    #[error("the webhook's secret begins with whsec_, and what follows is no Base64")]
    Base64,
    /// It has too few bytes.
    #[error(
        "the webhook's secret has fewer than {SHORTEST} bytes; make one with `openssl rand -base64 32`"
    )]
    Short,
}

/// The value of the header `webhook-signature`. A secret that begins with `whsec_` is the key in Base64, any other is the key itself.
pub(super) fn sign(
    secret: &SecretText,
    id: &str,
    timestamp: i64,
    body: &str,
) -> Result<String, KeyError> {
    let text = secret.expose();
    let key = match text.strip_prefix(PREFIX) {
        Some(key) => STANDARD.decode(key).map_err(|_| KeyError::Base64)?,
        None => text.as_bytes().to_vec(),
    };
    if key.len() < SHORTEST {
        return Err(KeyError::Short);
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| KeyError::Short)?;
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    Ok(format!("v1,{signature}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_another_implementation_computes() {
        // Recomputed with another HMAC implementation (the standard library of Python).
        for (secret, id, timestamp, body, wanted) in [
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
        ] {
            let signature = sign(&SecretText::new(secret), id, timestamp, body);
            assert_eq!(signature.as_deref(), Ok(wanted));
        }
    }

    #[test]
    fn the_example_of_the_documentation_is_signed_by_its_secret() {
        let page = include_str!("../../../../docs/notifications.md");
        let after = |start: &str| {
            let (_, rest) = page.split_once(start).unwrap();
            rest.split(['\n', '`']).next().unwrap()
        };
        let secret = SecretText::new(after("its secret is `"));
        let (id, timestamp) = (after("webhook-id: "), after("webhook-timestamp: "));
        let body = format!("{{\"type\":{}", after("    {\"type\":"));
        let signature = sign(&secret, id, timestamp.parse().unwrap(), &body);
        assert_eq!(signature.as_deref(), Ok(after("webhook-signature: ")));
    }

    #[test]
    fn everything_that_is_signed_counts() {
        let of = |secret: &str, id, timestamp, body| {
            sign(&SecretText::new(secret), id, timestamp, body).unwrap()
        };
        let (one, other) = (
            "a secret that is long enough",
            "another that is long enough",
        );
        let signature = of(one, "id", 1, "{}");
        for changed in [
            of(other, "id", 1, "{}"),
            of(one, "ie", 1, "{}"),
            of(one, "id", 2, "{}"),
            of(one, "id", 1, "{ }"),
        ] {
            assert_ne!(changed, signature);
        }
    }

    #[test]
    fn a_secret_that_protects_nothing_is_refused_and_not_shown() {
        for (secret, wanted) in [
            ("whsec_canary!", KeyError::Base64),
            ("whsec_Y2FuYXJ5", KeyError::Short),
            ("canary", KeyError::Short),
            ("", KeyError::Short),
        ] {
            let error = sign(&SecretText::new(secret), "id", 1, "{}").unwrap_err();
            assert_eq!(error, wanted);
            assert!(!error.to_string().contains("canary"));
        }
    }
}
