//! Who serves the queue: a provider beside runs, one that ends by itself, and the look at what nobody answered.

use e2e::{components, postgres};
use rustix::process::Signal;

use super::*;

/// The queue that a sandbox has from its start.
fn queue_url(rehearsal: &Rehearsal) -> String {
    let named = rehearsal.runtime.block_on(rehearsal.wire.json(
        "sqs",
        "AmazonSQS.GetQueueUrl",
        &json!({ "QueueName": "spot-onboarding" }),
    ));
    text(&named.unwrap()["QueueUrl"])
}

fn letters(rehearsal: &Rehearsal, arguments: &[&str]) -> Vec<Value> {
    let command = [&["--output", "json", "provider", "dead-letters"], arguments].concat();
    let ended = rehearsal.run(&command);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.json().unwrap().as_array().unwrap().clone()
}

#[test]
fn what_nobody_answered_is_listed_and_served_while_it_can_be() {
    let rehearsal = Rehearsal::new(&SMALL.replace("120.0", "20.0"));
    rehearsal.sync_ends(0, &[]);
    let before = rehearsal.spot_accounts();
    let unit = text(&rehearsal.admin("ous", None)["ous"][1]["id"]);
    let joined = rehearsal.post("accounts", &json!({ "name": "newcomer", "ou": unit }));
    let joined = text(&joined["id"]);

    // Nobody serves it, and no dead-letter queue has it yet: it waits in the queue itself.
    assert_eq!(letters(&rehearsal, &[]), Vec::<Value>::new());
    let queue = queue_url(&rehearsal);
    let of_queue = ["--queue-url", &queue];
    let waiting = rehearsal.until("the newcomer's request waits", || {
        letters(&rehearsal, &of_queue).pop()
    });
    assert_eq!(
        waiting["request"]["account"],
        joined.as_str(),
        "{waiting:#}"
    );
    assert_eq!(waiting["request"]["request_type"], "Create");
    assert_eq!(waiting["request"]["answerable"], true);
    // A look gives it back, and shows no permission to answer.
    let again = letters(&rehearsal, &of_queue);
    assert_eq!(again, [waiting]);
    assert!(!again[0].to_string().contains("ResponseURL"));

    let redrive = [
        "provider",
        "dead-letters",
        "--redrive",
        "--queue-url",
        &queue,
    ];
    assert_eq!(rehearsal.run(&redrive).code, 0);
    rehearsal.until("the newcomer is enrolled", || {
        assert_eq!(rehearsal.run(&["provider", "--once"]).code, 0);
        (rehearsal.standing(&joined)["reason"] == "enrolled").then_some(())
    });
    rehearsal.assert_enrolled_once(&[joined], &before);
}

#[test]
fn a_message_that_is_no_request_ends_in_the_dead_letter_queue_and_is_not_shown() {
    let rehearsal = Rehearsal::new(&SMALL.replace("120.0", "600.0"));
    let queue = queue_url(&rehearsal);
    let sent = json!({ "QueueUrl": queue, "MessageBody": "{\"canary\": 1}" });
    let send = rehearsal.wire.json("sqs", "AmazonSQS.SendMessage", &sent);
    rehearsal.runtime.block_on(send).unwrap();
    let mut provider = rehearsal.runner.start(&["provider"]).unwrap();
    let letter = rehearsal.until("the message is received too often", || {
        provider.check().unwrap();
        letters(&rehearsal, &[]).pop()
    });
    assert!(letter["request"].is_null(), "{letter:#}");
    assert!(letter["problem"].is_string(), "{letter:#}");
    let shown = rehearsal.run(&["provider", "dead-letters"]).stdout;
    assert!(!(letter.to_string() + &shown).contains("canary"), "{shown}");
    // It is nothing that a last chance could answer.
    assert_eq!(
        rehearsal
            .run(&["provider", "dead-letters", "--redrive"])
            .code,
        0
    );
    rehearsal.until("it is still there", || letters(&rehearsal, &[]).pop());
}

#[test]
fn a_token_does_not_get_into_the_dead_letter_queue() {
    let rehearsal = Rehearsal::new(&SMALL.replace("120.0", "600.0"));
    let account = rehearsal.members()[0].clone();
    // Of a topic that the configuration does not know: it is refused until it has been received too often.
    let topic = "arn:aws:sns:us-east-1:999999999999:other";
    let request = json!({
        "RequestType": "Create", "RequestId": "request", "LogicalResourceId": "SpotAccount",
        "ResourceType": "Custom::SpotAccount",
        "StackId": format!("arn:aws:cloudformation:us-east-1:{account}:stack/StackSet-spot-onboarding-default-0b1c/0b1c2d3e"),
        "ResponseURL": format!("{}/_cloudformation/response/canary", rehearsal.environment["AWS_ENDPOINT_URL"]),
        "ResourceProperties": { "ServiceToken": topic, "AwsAccountId": account, "Token": "token canary" },
    });
    let queue = queue_url(&rehearsal);
    let published = json!({ "Type": "Notification", "Message": request.to_string(), "Timestamp": jiff::Timestamp::now() });
    let sent = json!({ "QueueUrl": queue, "MessageBody": published.to_string() });
    let send = rehearsal.wire.json("sqs", "AmazonSQS.SendMessage", &sent);
    rehearsal.runtime.block_on(send).unwrap();
    let mut provider = rehearsal.runner.start(&["provider"]).unwrap();
    rehearsal.until("the message is received too often", || {
        provider.check().unwrap();
        letters(&rehearsal, &[]).pop()
    });
    let dead = json!({ "QueueUrl": format!("{queue}-dlq"), "MaxNumberOfMessages": 10 });
    let received = rehearsal
        .wire
        .json("sqs", "AmazonSQS.ReceiveMessage", &dead);
    let received = rehearsal.runtime.block_on(received).unwrap();
    let [letter] = received["Messages"].as_array().unwrap().as_slice() else {
        panic!("{received:#}")
    };
    let body = text(&letter["Body"]);
    assert!(body.contains("SpotAccount"), "{body}");
    assert!(!body.contains("token canary"), "{body}");
    assert_eq!(rehearsal.calls()["sqs:SendMessage"], 2);
}

#[test]
fn a_token_in_a_message_is_never_shown() {
    let rehearsal = Rehearsal::new(SMALL);
    let management = text(&rehearsal.admin("state", None)["organization"]["management"]);
    let account = rehearsal.members()[0].clone();
    let topic = format!("arn:aws:sns:us-east-1:{management}:spot-onboarding");
    let properties = json!({ "ServiceToken": topic, "AwsAccountId": account, "Token": "canary" });
    let request = json!({
        "RequestType": "Update", "RequestId": "request", "LogicalResourceId": "SpotAccount", "PhysicalResourceId": "act-1",
        "ResourceType": "Custom::SpotAccount", "ServiceToken": topic,
        "StackId": format!("arn:aws:cloudformation:us-east-1:{account}:stack/StackSet-spot-onboarding-default-0b1c/0b1c2d3e"),
        "ResponseURL": format!("{}/_cloudformation/response/canary", rehearsal.environment["AWS_ENDPOINT_URL"]),
        "ResourceProperties": properties, "OldResourceProperties": properties,
    });
    let queue = queue_url(&rehearsal);
    let sent = json!({ "QueueUrl": queue, "MessageBody": request.to_string() });
    let send = rehearsal.wire.json("sqs", "AmazonSQS.SendMessage", &sent);
    rehearsal.runtime.block_on(send).unwrap();
    let listed = letters(&rehearsal, &["--queue-url", &queue]);
    assert_eq!(
        listed[0]["request"]["account"],
        account.as_str(),
        "{listed:#?}"
    );
    for command in [
        &["-vv", "provider", "dead-letters", "--queue-url", &queue][..],
        &[
            "-vv",
            "--output",
            "json",
            "provider",
            "dead-letters",
            "--queue-url",
            &queue,
        ],
        &[
            "-vv",
            "provider",
            "dead-letters",
            "--redrive",
            "--queue-url",
            &queue,
        ],
    ] {
        let ended = rehearsal.run(command);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let shown = ended.stdout + &ended.stderr;
        assert!(!shown.contains("canary"), "{shown}");
    }
    assert_eq!(
        letters(&rehearsal, &["--queue-url", &queue]),
        Vec::<Value>::new()
    );
    assert!(!any_file_contains(rehearsal.runner.directory(), "canary"));
}

#[test]
fn a_run_with_auto_deployment_is_refused_without_the_provider_that_configuration_promises() {
    let rehearsal = Rehearsal::new(SMALL);
    // The shipped configuration as it is.
    let shipped = components::checkout().join("config/runner.toml");
    fs::copy(shipped, rehearsal.path("config/runner.toml")).unwrap();
    let calls = rehearsal.calls();
    let refused = rehearsal.sync_ends(4, &[]);
    assert_eq!(
        refused["refusals"][0]["guard"], "live-consumer",
        "{refused:#}"
    );
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    let loosened = [
        "--set",
        "enrollment.served_by=\"run\"",
        "exec",
        "stackset-sync",
    ];
    assert_eq!(rehearsal.run(&loosened).code, 2);

    let mut provider = rehearsal.runner.start(&["provider"]).unwrap();
    rehearsal.until("the provider serves", || {
        provider.check().unwrap();
        let polled = rehearsal.calls().contains_key("sqs:ReceiveMessage");
        polled.then_some(())
    });
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&document, "changed"), 8);
    // A provider that was killed is none.
    provider.signal(Signal::KILL).unwrap();
    assert!(provider.wait(LIMIT).is_err(), "a signal ended it");
    let refused = rehearsal.sync_ends(4, &[]);
    let message = text(&refused["refusals"][0]["message"]);
    for way_out in [
        "`runner provider`",
        "deployment = \"runner\"",
        "served_by = \"run\"",
    ] {
        assert!(message.contains(way_out), "{message}");
    }
    // Nobody has to serve when the runner deploys: it serves while it does.
    let served = "[enrollment]\nserved_by = \"provider\"\n";
    rehearsal.configure(served, "deployment = \"runner\"", "ous = [\"root\"]");
    rehearsal.sync_ends(0, &[]);
}

#[test]
fn nobody_serves_beside_the_function() {
    let rehearsal = Rehearsal::new(SMALL);
    let lambda = "[enrollment]\nserved_by = \"lambda\"\n";
    rehearsal.configure(lambda, "", "ous = [\"root\"]");
    for serves in [
        &["provider"][..],
        &["provider", "--once"],
        &["provider", "dead-letters", "--redrive"],
    ] {
        let ended = rehearsal.run(serves);
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        assert!(ended.stderr.contains("served_by"), "{}", ended.stderr);
    }
    assert_eq!(letters(&rehearsal, &[]), Vec::<Value>::new());
}

#[test]
fn a_provider_serves_beside_a_function_that_has_the_same_state() {
    let Some(database) = postgres::database().unwrap() else {
        return;
    };
    let rehearsal = Rehearsal::new(SMALL);
    let shared = format!(
        "[state]\nurl = {:?}\n[enrollment]\nserved_by = \"lambda\"\n\
         [bootstrap.lambda]\nstate = {{ secrets_manager = \"spot/state\" }}\n",
        database
    );
    rehearsal.configure(&shared, "", "ous = [\"root\"]");
    let ended = rehearsal.run(&["provider", "--once"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    // With a file, there is nothing to share.
    let file = shared.replace(&database, "sqlite://runner.db");
    rehearsal.configure(&file, "", "ous = [\"root\"]");
    let ended = rehearsal.run(&["provider", "--once"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("state.url"), "{}", ended.stderr);
}
