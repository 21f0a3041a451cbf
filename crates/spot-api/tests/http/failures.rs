//! What is repeated, what is not, and that no failure shows a secret.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use onboarding_core::secret::SecretText;
use serde_json::json;
use spot_api::{ErrorClass, SendBy, SpotClient, SpotError, SpotSettings, TokenError, TokenSource};

use super::canned::{Server, TOKEN, dropped, items, json_answer, raw, refused, settings};

fn account() -> onboarding_core::ids::SpotAccountId {
    "act-1".parse().unwrap()
}

#[tokio::test]
async fn reads_renames_and_deletes_are_repeated_after_a_server_error() {
    let server = Server::start(|n, _| match n % 3 {
        1 => raw(503, "<html>busy</html>"),
        2 => dropped(),
        _ => items(json!([])),
    })
    .await;
    let client = server.client();
    client.list_accounts().await.unwrap();
    client.rename_account(&account(), "n").await.unwrap();
    client.delete_account(&account()).await.unwrap();
    assert_eq!(server.calls().len(), 9);
    assert_eq!(client.calls().values().sum::<u64>(), 9);
}

#[tokio::test]
async fn a_create_is_never_repeated_after_an_ambiguous_failure() {
    type Answer = fn() -> axum::response::Response;
    let answers: [(&str, Answer); 5] = [
        ("server error", || refused(500, "E", "m")),
        ("html", || raw(502, "<html>bad gateway</html>")),
        ("dropped", dropped),
        ("not json", || raw(200, "ok")),
        ("no account in it", || items(json!([]))),
    ];
    for (name, answer) in answers {
        let server = Server::start(move |_, _| answer()).await;
        let error = server.client().create_account("a1").await.unwrap_err();
        assert!(
            matches!(error, SpotError::AmbiguousCreate { .. }),
            "{name}: {error}"
        );
        assert_eq!(error.class(), ErrorClass::Ambiguous);
        assert_eq!(server.calls().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_create_without_an_answer_in_time_is_ambiguous() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = SpotSettings {
        call_timeout: Duration::from_millis(300),
        ..settings(listener.local_addr().unwrap())
    };
    let client = SpotClient::new(settings, Arc::new(SecretText::new(TOKEN)), None).unwrap();
    // The connection is accepted by the system; nobody answers.
    let error = client.create_account("a1").await.unwrap_err();
    assert!(
        matches!(&error, SpotError::AmbiguousCreate { source, .. }
        if matches!(**source, SpotError::TimedOut { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn a_refused_create_is_definite() {
    let server = Server::start(|_, _| refused(400, "INVALID_NAME", "needs a letter")).await;
    let error = server.client().create_account("123").await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert_eq!(error.message(), Some("needs a letter"));
}

#[tokio::test]
async fn a_refusal_of_the_token_is_told_from_one_of_what_was_asked_for() {
    for (status, code, message, of_the_token) in [
        (401, "UNAUTHORIZED", "", true),
        (403, "FORBIDDEN", "the token has expired", true),
        (403, "INVALID_TOKEN", "", true),
        (403, "AUTHENTICATION_FAILED", "no", true),
        (
            403,
            "ACCOUNTS_LIMIT_EXCEEDED",
            "the organization has reached its maximum number of accounts",
            false,
        ),
        (
            403,
            "FORBIDDEN",
            "the organization is not permitted to create accounts",
            false,
        ),
        (400, "E", "the token is too long", false),
    ] {
        let server = Server::start(move |_, _| refused(status, code, message)).await;
        let error = server.client().create_account("a1").await.unwrap_err();
        assert_eq!(error.is_about_the_token(), of_the_token, "{error}");
    }
}

#[tokio::test]
async fn without_a_connection_nothing_was_sent_and_a_create_is_repeated() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let settings = SpotSettings {
        base_url: format!("http://{address}/path"),
        ..settings(address)
    };
    let client = SpotClient::new(settings, Arc::new(SecretText::new(TOKEN)), None).unwrap();
    let error = client.create_account("a1").await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unreachable);
    let text = error.to_string();
    assert!(
        text.contains(&format!("Spot at http://{address} for")),
        "{text}"
    );
    assert!(text.contains("check SPOT_API_URL"), "{text}");
    assert_eq!(client.calls()["spot:POST /setup/account"], 4);
}

#[tokio::test]
async fn a_slot_sends_once_and_not_after_its_deadline() {
    let server = Server::start(|_, _| items(json!([{"id": "act-9", "name": "n"}]))).await;
    let client = server.client();
    let (steady, wall) = (Instant::now(), SystemTime::now());
    let minute = Duration::from_secs(60);
    let late = Duration::from_millis(1);
    let passed = [
        SendBy::new(steady + minute, wall - late),
        // A clock that was set back meanwhile makes nothing sooner.
        SendBy::new(steady - late, wall + minute),
    ];
    for passed in passed {
        let slot = client.reserve_create().await;
        let error = slot.send("n", passed).await.unwrap_err();
        assert!(matches!(error, SpotError::SendDeadlinePassed { .. }));
        let slot = client.reserve_delete().await;
        let error = slot.send(&"act-9".parse().unwrap(), passed).await;
        assert!(matches!(error, Err(SpotError::SendDeadlinePassed { .. })));
    }
    assert!(server.calls().is_empty());
    let in_time = SendBy::within(minute);
    let created = client
        .reserve_create()
        .await
        .send("n", in_time)
        .await
        .unwrap();
    assert_eq!(created.id.as_str(), "act-9");
}

#[tokio::test]
async fn no_failure_shows_the_token_or_a_body() {
    let canary = "spotinst-secret-canary";
    let bodies = [
        format!("{{\"response\":{{\"items\":[{{\"accountId\":\"{canary}\"}}]}}}}"),
        format!("{{\"response\":{{\"items\":[{{\"accountId\": {{\"{canary}\":1}} }}]}}}}"),
        format!("{{\"response\":{{\"items\":[ \"{canary}"),
        format!("<html>{canary}</html>"),
    ];
    for body in bodies {
        for status in [200, 302, 400, 500] {
            let body = body.clone();
            let server = Server::start(move |_, _| raw(status, body.clone())).await;
            let client = server.client();
            let error = client.list_accounts().await.unwrap_err();
            let text = format!("{error} {error:?} {client:?}");
            assert!(!text.contains(canary) && !text.contains(TOKEN), "{text}");
        }
    }
    let server = Server::start(|_, _| refused(400, "E", "the token canarytoken4711 is bad")).await;
    let error = server.client().list_accounts().await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(TOKEN));
}

struct Rotating(AtomicUsize);

#[async_trait]
impl TokenSource for Rotating {
    async fn token(&self) -> Result<SecretText, TokenError> {
        Ok(SecretText::new(&format!(
            "token{}",
            self.0.load(Ordering::SeqCst)
        )))
    }

    async fn refused(&self) {
        self.0.store(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_refused_token_is_read_again_once() {
    let server = Server::start(|_, seen| match seen.authorization.as_str() {
        "Bearer token1" => items(json!([])),
        _ => refused(401, "UNAUTHORIZED", "bad token"),
    })
    .await;
    let source = Arc::new(Rotating(AtomicUsize::new(0)));
    let client = SpotClient::new(settings(server.address), source, None).unwrap();
    client.list_accounts().await.unwrap();
    assert_eq!(server.calls().len(), 2);

    let server = Server::start(|_, _| refused(401, "UNAUTHORIZED", "bad token")).await;
    let error = server.client().list_accounts().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Denied);
    assert_eq!(server.calls().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = Server::start(|_, _| {
        axum::response::Response::builder()
            .status(307)
            .header("location", "http://127.0.0.1:1/elsewhere")
            .body(axum::body::Body::empty())
            .unwrap()
    })
    .await;
    let error = server.client().list_accounts().await.unwrap_err();
    assert!(
        matches!(error, SpotError::Unexpected { status: 307, .. }),
        "{error}"
    );
    assert_eq!(server.calls().len(), 1);
}

#[tokio::test]
async fn an_answer_without_spots_envelope_is_not_an_empty_list() {
    let server = Server::start(|_, _| json_answer(200, json!({"message": "hello"}))).await;
    let error = server.client().list_accounts().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Bug);
}

#[test]
fn a_machine_without_ca_certificates_gets_an_error_and_no_panic() {
    // The store is found through the environment, so the check runs in a process of its own.
    const INNER: &str = "ONBOARDING_TEST_WITHOUT_CA";
    if std::env::var_os(INNER).is_some() {
        let token = Arc::new(SecretText::new(TOKEN));
        let result = SpotClient::new(SpotSettings::default(), token, None);
        assert!(matches!(result, Err(SpotError::Setup { .. })), "{result:?}");
        return;
    }
    let empty = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "http::failures::a_machine_without_ca_certificates_gets_an_error_and_no_panic",
        ])
        .env(INNER, "1")
        .env("SSL_CERT_FILE", empty.path().join("none.pem"))
        .env("SSL_CERT_DIR", empty.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}
