//! Whatever the function is invoked with, or a queue delivers: read or refused, without a panic, and without more time
//! than CloudFormation gives. Run with `cargo xtask fuzz`.

#![no_main]

use std::{sync::LazyLock, time::Duration};

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use onboarding_provider::{Contract, Invocation, lambda, wire};

static NOW: LazyLock<Timestamp> = LazyLock::new(Timestamp::now);

fn check(body: &str, sent_at: Timestamp) {
    for contract in [
        Contract {
            response_hosts: "127.0.0.1".parse().unwrap_or_default(),
            ..Contract::default()
        },
        Contract {
            topic: "arn:aws:sns:us-east-1:999999999999:spot-onboarding"
                .parse()
                .ok(),
            ends: Some(*NOW),
            ..Contract::default()
        },
    ] {
        match wire::read(body, sent_at, &contract) {
            Ok(delivered) => {
                let request = &delivered.request;
                assert!(delivered.deadline <= sent_at + Duration::from_secs(3600));
                assert_eq!(Some(request.account), request.stack_id.account());
                assert!(!request.request_id.is_empty() && !request.logical_id.is_empty());
            }
            Err(error) => assert!(error.to_string().len() < 300),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    check(text, *NOW);
    let Ok(event) = serde_json::from_str(text) else {
        return;
    };
    match lambda::read(&event, *NOW) {
        Ok(Invocation::Queue { messages, .. }) => {
            for message in messages {
                assert!(!message.receipt.is_empty() && message.sent_at <= *NOW);
                check(&message.body, message.sent_at);
            }
        }
        Ok(Invocation::Topic(message) | Invocation::Function(message)) => {
            check(&message.body, message.sent_at);
        }
        Err(error) => assert!(error.to_string().len() < 300),
    }
});
