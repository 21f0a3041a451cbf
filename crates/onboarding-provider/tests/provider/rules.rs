//! Whom the provider serves, and what it does with accounts that somebody else has linked.

use std::time::Duration;

use onboarding_core::{
    custom_resource::{Holder, ServedStacks, Status, TombstoneReason},
    template::Deletion,
};
use onboarding_provider::{
    AdoptRule, Assignment, Freeze, Intents as _, ProviderSettings, RememberedExternalId,
    events::no_events,
};
use serde_json::{Value, json};

use super::stack::{
    ACCOUNT, Home, KINDS, OTHER, create, create_event, create_stack, delete, event, in_time,
    properties, request, role, settings,
};

#[tokio::test]
async fn a_kept_link_is_left_alone_by_every_resource() {
    let home = Home::with_rule(AdoptRule::KeepLink).await;
    let id = home.spot.world.lock().add("theirs", Some(ACCOUNT));
    assert_eq!(create_stack(&home, "stack", ACCOUNT).await, id);
    let world = home.spot.world.lock();
    assert_eq!(world.writes(), Vec::<String>::new());
    assert_eq!(world.account(&id).name, "theirs");
}

#[tokio::test]
async fn a_kept_link_gets_its_own_external_id_or_one_that_nobody_can_use() {
    let home = Home::with_rule(AdoptRule::KeepLink).await;
    let id = home.spot.world.lock().add("theirs", Some(ACCOUNT));
    let ask = async |stack: &str| {
        let event = event(
            stack,
            ACCOUNT,
            "SpotExternalId",
            json!({"SpotAccountId": id}),
        );
        home.provider()
            .handle(&request(&event), in_time())
            .await
            .physical_resource_id
    };
    assert_eq!(ask("nobody-knows").await, "onboarding:kept-link:act-1");
    *home.directory.in_use.lock() = Some("from-the-trust-policy".parse().unwrap());
    assert_eq!(ask("aws-knows").await, "from-the-trust-policy");
    {
        let mut world = home.spot.world.lock();
        world.tells_external_ids = true;
        world.accounts[0].external_ids.push("from-spot".to_owned());
    }
    assert_eq!(ask("spot-knows").await, "from-spot");
    assert_eq!(home.spot.world.lock().writes(), Vec::<String>::new());
    // Nobody compares the role of such an account with it.
    let remembered = home.intents.external_id(&id.parse().unwrap()).await;
    assert_eq!(remembered.unwrap(), None);
}

#[tokio::test]
async fn the_external_id_of_a_link_that_is_taken_over_is_remembered() {
    for spot_tells in [true, false] {
        let home = Home::with_rule(AdoptRule::Relink).await;
        let id = home.spot.world.lock().add("theirs", Some(ACCOUNT));
        {
            let mut world = home.spot.world.lock();
            world.tells_external_ids = spot_tells;
            world.accounts[0].external_ids.push("in-use".to_owned());
        }
        *home.directory.in_use.lock() = (!spot_tells).then(|| "in-use".parse().unwrap());
        assert_eq!(create_stack(&home, "stack", ACCOUNT).await, id);
        let spot = id.parse().unwrap();
        let remembered = home.intents.external_id(&spot).await.unwrap();
        let expected = RememberedExternalId {
            external_id: "in-use".parse().unwrap(),
            valid_until: None,
        };
        assert_eq!(remembered, Some(expected), "{spot_tells}");
    }
}

#[tokio::test]
async fn an_external_id_that_was_in_use_makes_way_for_the_one_that_spot_has_now() {
    let home = Home::new().await;
    let properties = json!({"AwsAccountId": ACCOUNT});
    let made = create(&home.provider(), "SpotAccount", properties).await;
    let spot = made.physical_resource_id.parse().unwrap();
    // It was linked once, and is not any more.
    let was_in_use = RememberedExternalId {
        external_id: "was-in-use".parse().unwrap(),
        valid_until: None,
    };
    let remembered = home.intents.remember_external_id(&spot, &was_in_use).await;
    remembered.unwrap();
    let ask = async |stack: &str| {
        let properties = json!({"SpotAccountId": made.physical_resource_id});
        let mut event = event("stack", ACCOUNT, "SpotExternalId", properties);
        event["RequestId"] = json!(stack);
        let answer = home.provider().handle(&request(&event), in_time()).await;
        answer.physical_resource_id
    };
    assert_eq!(ask("first").await, "was-in-use");
    {
        let mut world = home.spot.world.lock();
        world.tells_external_ids = true;
        world.accounts[0].external_ids.push("newer".to_owned());
    }
    assert_eq!(ask("second").await, "newer");
}

#[tokio::test]
async fn a_relinked_account_is_taken_over_and_marked_as_adopted() {
    let home = Home::with_rule(AdoptRule::Relink).await;
    let id = home.spot.world.lock().add("theirs", Some(ACCOUNT));
    assert_eq!(create_stack(&home, "stack", ACCOUNT).await, id);
    let account = home.spot.world.lock().account(&id).clone();
    assert_eq!(account.role, Some(role(ACCOUNT, "stack")));
    assert_eq!(account.name, "Payments");
    let owner = home
        .intents
        .owner(&id.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert!(owner.adopted);
    // It keeps its name once the rule is not to take over any more.
    {
        let mut details = home.directory.details.lock();
        details.adopt = AdoptRule::KeepLink;
        details.name = Some("Renamed".to_owned());
    }
    create_stack(&home, "kept", ACCOUNT).await;
    assert_eq!(home.spot.world.lock().account(&id).name, "Payments");
    home.directory.details.lock().adopt = AdoptRule::Relink;
    // A second stack finds it to be ours, and it stays marked.
    create_stack(&home, "new", ACCOUNT).await;
    assert!(
        home.intents
            .owner(&id.parse().unwrap())
            .await
            .unwrap()
            .unwrap()
            .adopted
    );
}

#[tokio::test]
async fn a_linked_account_is_refused_by_rule() {
    let home = Home::with_rule(AdoptRule::Refuse).await;
    let id = home.spot.world.lock().add("theirs", Some(ACCOUNT));
    let provider = home.provider();
    for kind in KINDS {
        let response = create(&provider, kind, properties(kind, "stack", ACCOUNT, &id)).await;
        assert_eq!(response.status, Status::Failed, "{kind}");
        assert!(
            response.reason.contains("refuse") && response.reason.contains("act-1"),
            "{}",
            response.reason
        );
    }
    assert_eq!(home.spot.world.lock().writes(), Vec::<String>::new());
}

#[tokio::test]
async fn several_linked_accounts_fail_and_are_named() {
    let home = Home::with_rule(AdoptRule::Relink).await;
    for name in ["one", "two"] {
        home.spot.world.lock().add(name, Some(ACCOUNT));
    }
    let response = create(
        &home.provider(),
        "SpotAccount",
        json!({"AwsAccountId": ACCOUNT}),
    )
    .await;
    assert_eq!(response.status, Status::Failed);
    assert!(
        response.reason.contains("act-1, act-2"),
        "{}",
        response.reason
    );
    assert_eq!(response.physical_resource_id, "SpotAccount-CREATE_FAILED");
}

#[tokio::test]
async fn a_creation_that_spot_does_not_permit_fails_at_once_and_only_a_refused_token_is_waited_for()
{
    let ask = json!({"AwsAccountId": ACCOUNT});
    let patient = ProviderSettings {
        refusal_patience: Duration::from_secs(600),
        ..settings()
    };
    let home = Home::new().await;
    let limit = "the organization has reached its maximum number of accounts";
    home.spot.world.lock().refuse_creations = Some((403, limit));
    let provider = home.provider_with(patient.clone(), no_events());
    let response = create(&provider, "SpotAccount", ask.clone()).await;
    assert_eq!(response.status, Status::Failed);
    for words in [
        "maximum number of accounts",
        "Spot's support raises the limit",
    ] {
        assert!(response.reason.contains(words), "{}", response.reason);
    }
    let creations = home.spot.world.lock().writes();
    assert_eq!(creations, ["POST /setup/account"]);

    for refusal in [(401, "unknown"), (403, "authentication failed")] {
        let home = Home::new().await;
        home.spot.world.lock().refuse_creations = Some(refusal);
        let provider = home.provider_with(patient.clone(), no_events());
        let (response, ()) = tokio::join!(create(&provider, "SpotAccount", ask.clone()), async {
            home.spot.called(4).await;
            home.spot.world.lock().refuse_creations = None;
        });
        assert_eq!(response.status, Status::Success, "{}", response.reason);
    }
}

#[tokio::test]
async fn a_leftover_of_an_earlier_attempt_is_taken_and_not_doubled() {
    for name in [ACCOUNT, "aws-111111111111"] {
        let home = Home::new().await;
        let id = home.spot.world.lock().add(name, None);
        assert_eq!(create_stack(&home, "stack", ACCOUNT).await, id);
        assert_eq!(home.spot.world.lock().accounts.len(), 1);
    }
}

#[tokio::test]
async fn a_leftover_that_is_gone_by_now_is_not_given_out() {
    let home = Home::new().await;
    let left = home.spot.world.lock().add(ACCOUNT, None);
    let provider = home.provider();
    // Its listing is recent, and has the one that is left.
    let other = create_event("other", OTHER, "SpotAccount", "");
    let other = provider.handle(&request(&other), in_time()).await;
    assert_eq!(other.status, Status::Success, "{}", other.reason);
    home.spot.world.lock().accounts.retain(|one| one.id != left);
    let created = create_event("stack", ACCOUNT, "SpotAccount", "");
    let created = provider.handle(&request(&created), in_time()).await;
    assert_eq!(created.status, Status::Success, "{}", created.reason);
    assert_ne!(created.physical_resource_id, left);
    let there = home.spot.world.lock();
    assert_eq!(there.account(&created.physical_resource_id).name, ACCOUNT);
}

#[tokio::test]
async fn a_leftover_is_not_given_out_while_a_stack_that_has_it_is_deleted() {
    let home = Home::new().await;
    let created = create_event("old", ACCOUNT, "SpotAccount", "");
    let created = home.provider().handle(&request(&created), in_time()).await;
    let id = created.physical_resource_id;
    // The other one has seen what the state had before, and comes when the account is gone.
    let seen = home.intents.intent(ACCOUNT.parse().unwrap()).await.unwrap();
    let deleting = ProviderSettings {
        deletion: Deletion::Stack,
        ..settings()
    };
    home.says("old", "ROLLBACK_IN_PROGRESS");
    let gone = request(&delete("old", ACCOUNT, "SpotAccount", &id));
    let provider = home.provider_with(deleting, no_events());
    provider.handle(&gone, in_time()).await;
    assert_eq!(home.spot.world.lock().deleted, [id.as_str()]);
    let now = jiff::Timestamp::now();
    let assignment = Assignment {
        spot_account: id.parse().unwrap(),
        holder: Holder::of(&gone),
        asked: now,
        created_by: None,
    };
    let taken = home.intents.take_over(gone.account, &seen, &assignment);
    assert!(!taken.await.unwrap());
    let account = ACCOUNT.parse().unwrap();
    let after = home.intents.intent(account).await.unwrap();
    assert_eq!(after.assigned, None);
    // Not either while somebody holds the claim.
    let until = now + Duration::from_secs(60);
    home.intents.claim(account, "one", until).await.unwrap();
    let taken = home.intents.take_over(account, &after, &assignment);
    assert!(!taken.await.unwrap());
}

#[tokio::test]
async fn an_account_that_spot_lists_late_is_waited_for_and_not_doubled() {
    let home = Home::new().await;
    create(
        &home.provider(),
        "SpotAccount",
        json!({"AwsAccountId": ACCOUNT}),
    )
    .await;
    home.spot.world.lock().hidden.insert("act-1".to_owned());
    let patient = ProviderSettings {
        listing_lag: Duration::from_secs(60),
        ..settings()
    };
    let provider = home.provider_with(patient, no_events());
    let again = request(&event(
        "again",
        ACCOUNT,
        "SpotAccount",
        json!({"AwsAccountId": ACCOUNT}),
    ));
    let calls = home.spot.world.lock().calls.len();
    let (response, ()) = tokio::join!(provider.handle(&again, in_time()), async {
        home.spot.called(calls + 4).await;
        home.spot.world.lock().hidden.clear();
    });
    assert_eq!(response.physical_resource_id, "act-1");
    assert_eq!(home.spot.world.lock().accounts.len(), 1);
}

#[tokio::test]
async fn an_account_that_was_deleted_at_spot_is_made_anew() {
    let home = Home::new().await;
    create(
        &home.provider(),
        "SpotAccount",
        json!({"AwsAccountId": ACCOUNT}),
    )
    .await;
    home.spot.world.lock().hidden.insert("act-1".to_owned());
    let again = request(&event(
        "again",
        ACCOUNT,
        "SpotAccount",
        json!({"AwsAccountId": ACCOUNT}),
    ));
    let response = home.provider().handle(&again, in_time()).await;
    assert_eq!(response.physical_resource_id, "act-2");
}

/// A request that must be refused, with a word of the reason.
fn hostile() -> Vec<(&'static str, Value, &'static str)> {
    let of = |kind: &str, properties: Value| event("evil", ACCOUNT, kind, properties);
    vec![
        (
            "another account",
            of("SpotAccount", json!({"AwsAccountId": OTHER})),
            "may not ask about",
        ),
        (
            "another account's role",
            of(
                "SpotLinkedCredentials",
                json!({"AccountId": "act-1", "IamRoleArn": role(OTHER, "x")}),
            ),
            "may not ask about",
        ),
        (
            "another account's name",
            of(
                "RenamedSpotAccountByAlias",
                json!({"SpotAccountId": "act-1", "AwsAccountId": OTHER}),
            ),
            "may not ask about",
        ),
        (
            "a linked Spot account of another",
            of("SpotExternalId", json!({"SpotAccountId": "act-1"})),
            "is not linked to",
        ),
        (
            "a link over another's",
            of(
                "SpotLinkedCredentials",
                json!({"AccountId": "act-1", "IamRoleArn": role(ACCOUNT, "x")}),
            ),
            "is not linked to",
        ),
        (
            "a name for another's",
            of(
                "RenamedSpotAccountByAlias",
                json!({"SpotAccountId": "act-1", "AwsAccountId": ACCOUNT}),
            ),
            "is not linked to",
        ),
        (
            "a product for another's",
            of("EnableCostIntelligence", json!({"SpotAccountId": "act-1"})),
            "is not linked to",
        ),
        (
            "an unlinked one that is not ours",
            of("SpotExternalId", json!({"SpotAccountId": "act-2"})),
            "is not linked to",
        ),
        (
            "one that does not exist",
            of("SpotExternalId", json!({"SpotAccountId": "act-404"})),
            "is not linked to",
        ),
        (
            "no Spot account id",
            of("SpotExternalId", json!({"SpotAccountId": "../../x"})),
            "SpotAccountId",
        ),
        (
            "an unknown type",
            of("Other", json!({})),
            "unknown resource type",
        ),
        (
            "an account out of scope",
            event(
                "s",
                "999999999999",
                "SpotAccount",
                json!({"AwsAccountId": "999999999999"}),
            ),
            "not in the scope",
        ),
    ]
}

#[tokio::test]
async fn hostile_requests_are_refused_and_write_nothing() {
    let home = Home::with_rule(AdoptRule::Relink).await;
    {
        let mut world = home.spot.world.lock();
        world.add("linked", Some(OTHER));
        world.add("unlinked", None);
    }
    let provider = home.provider();
    for (what, event, reason) in hostile() {
        let mut event = event;
        event["RequestId"] = json!(what.replace(' ', "-"));
        let response = provider.handle(&request(&event), in_time()).await;
        assert_eq!(response.status, Status::Failed, "{what}");
        assert!(
            response.reason.contains(reason),
            "{what}: {}",
            response.reason
        );
    }
    assert_eq!(home.spot.world.lock().writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_late_request_is_served_only_when_its_stack_still_waits() {
    let home = Home::new().await;
    let ask = async |status: Option<&'static str>, age: u64, kind: &str, request_id: &str| {
        home.directory.stack_status.lock().0 = status;
        let mut event = event(
            "stack",
            ACCOUNT,
            "SpotAccount",
            json!({"AwsAccountId": ACCOUNT}),
        );
        event["RequestId"] = json!(request_id);
        event["RequestType"] = json!(kind);
        if kind != "Create" {
            event["PhysicalResourceId"] = json!("act-1");
        }
        let deadline = in_time() + Duration::from_secs(3580 - age);
        home.provider().handle(&request(&event), deadline).await
    };
    for status in [
        "ROLLBACK_COMPLETE",
        "ROLLBACK_IN_PROGRESS",
        "DELETE_COMPLETE",
    ] {
        let late = ask(Some(status), 120, "Create", status).await;
        assert_eq!(late.status, Status::Failed);
        assert!(late.reason.contains(status), "{}", late.reason);
    }
    assert_eq!(home.spot.world.lock().writes(), Vec::<String>::new());
    assert_eq!(home.directory.stack_status.lock().1, 3);
    // A fresh one, one whose stack still waits, and one of which nobody can tell.
    for (status, age) in [
        (Some("ROLLBACK_COMPLETE"), 10),
        (Some("CREATE_IN_PROGRESS"), 120),
        (None, 120),
    ] {
        let request_id = format!("{status:?}-{age}");
        let served = ask(status, age, "Create", &request_id).await;
        assert_eq!(served.status, Status::Success, "{}", served.reason);
    }
    assert_eq!(home.directory.stack_status.lock().1, 5);
    // What was answered is answered again, without a look.
    let again = ask(Some("CREATE_COMPLETE"), 120, "Create", "None-120").await;
    assert_eq!(again.status, Status::Success);
    // The rollback of an update sends Updates, and a Delete is never late; whether its stack can have sent it is looked at.
    let rollback = ask(Some("UPDATE_ROLLBACK_IN_PROGRESS"), 120, "Update", "update").await;
    assert_eq!(rollback.status, Status::Success, "{}", rollback.reason);
    let delete = ask(Some("DELETE_COMPLETE"), 120, "Delete", "delete").await;
    assert_eq!(delete.status, Status::Success, "{}", delete.reason);
    assert_eq!(home.directory.stack_status.lock().1, 7);
}

#[tokio::test]
async fn no_stack_is_looked_at_in_an_account_that_is_not_ours() {
    let home = Home::new().await;
    *home.directory.left.lock() = Some(ACCOUNT.parse().unwrap());
    home.directory.stack_status.lock().0 = Some("ROLLBACK_COMPLETE");
    let event = event(
        "stack",
        ACCOUNT,
        "SpotAccount",
        json!({"AwsAccountId": ACCOUNT}),
    );
    let deadline = in_time() + Duration::from_secs(3460);
    let late = home.provider().handle(&request(&event), deadline).await;
    assert_eq!(late.status, Status::Failed);
    assert!(late.reason.contains("not in the scope"), "{}", late.reason);
    let mut delete = event.clone();
    delete["RequestId"] = json!("delete");
    delete["RequestType"] = json!("Delete");
    delete["PhysicalResourceId"] = json!("act-1");
    let deleted = home.provider().handle(&request(&delete), deadline).await;
    assert_eq!(deleted.status, Status::Success);
    assert_eq!(home.directory.stack_status.lock().1, 0);
}

/// A request of a stack that was published at this second.
fn published(mut event: Value, second: i64) -> Value {
    event["RequestId"] = json!(format!("{}-{second}", event["RequestId"].as_str().unwrap()));
    event["Published"] = json!(second * 1000);
    event
}

#[tokio::test]
async fn a_create_that_comes_after_the_delete_of_its_resource_changes_nothing() {
    let home = Home::new().await;
    let provider = home.provider();
    let served = async |event: Value| provider.handle(&request(&event), in_time()).await;
    let create = |second| published(create_event("stack", ACCOUNT, "SpotAccount", ""), second);
    // CloudFormation makes an id up for what was never answered.
    let made_up = delete("stack", ACCOUNT, "SpotAccount", "stack-SpotAccount-1A2B3C");
    let deleted = served(published(made_up, 20)).await;
    assert_eq!(deleted.status, Status::Success, "{}", deleted.reason);
    let late = served(create(10)).await;
    assert_eq!(late.status, Status::Failed);
    assert!(late.reason.contains("was deleted"), "{}", late.reason);
    assert_eq!(home.spot.world.lock().writes(), Vec::<String>::new());
    // The next update of the stack makes it again.
    let again = served(create(30)).await;
    assert_eq!(again.status, Status::Success, "{}", again.reason);
    let id = again.physical_resource_id;
    let writes = home.spot.world.lock().writes();
    for kind in &KINDS[1..] {
        let deleted = served(published(delete("stack", ACCOUNT, kind, &id), 50)).await;
        assert_eq!(deleted.status, Status::Success, "{kind}");
        let create = |second| published(create_event("stack", ACCOUNT, kind, &id), second);
        let late = served(create(40)).await;
        assert_eq!(late.status, Status::Failed, "{kind}");
        assert_eq!(home.spot.world.lock().writes(), writes, "{kind}");
    }
    let again = published(create_event("stack", ACCOUNT, "SpotExternalId", &id), 60);
    assert_eq!(served(again).await.status, Status::Success);
}

#[tokio::test]
async fn a_creation_whose_resource_is_deleted_meanwhile_leaves_its_account_to_the_next_stack() {
    let home = Home::new().await;
    let takes = Duration::from_millis(300);
    let slow = ("POST /setup/account".to_owned(), takes);
    home.spot.world.lock().answers_take.extend([slow]);
    let (provider, other) = (home.provider(), home.provider());
    let create = published(create_event("stack", ACCOUNT, "SpotAccount", ""), 10);
    let made_up = delete("stack", ACCOUNT, "SpotAccount", "stack-SpotAccount-1A2B3C");
    let made_up = published(made_up, 20);
    let (create, made_up) = (request(&create), request(&made_up));
    let (created, deleted) = tokio::join!(provider.handle(&create, in_time()), async {
        home.spot.called(3).await;
        other.handle(&made_up, in_time()).await
    });
    assert_eq!(deleted.status, Status::Success, "{}", deleted.reason);
    assert_eq!(created.status, Status::Failed);
    assert!(
        created.reason.contains("deleted meanwhile"),
        "{}",
        created.reason
    );
    let id = home.spot.world.lock().accounts[0].id.clone();
    let left = home.intents.tombstone(&id.parse().unwrap()).unwrap();
    assert_eq!(left.reason, TombstoneReason::CreateFailed);
    assert_eq!(create_stack(&home, "next", ACCOUNT).await, id);
    assert_eq!(home.spot.world.lock().accounts.len(), 1);
}

#[tokio::test]
async fn a_stack_of_another_name_gets_nothing_and_loses_nothing() {
    let home = Home::new().await;
    let id = create_stack(&home, "StackSet-ours-0b1c", ACCOUNT).await;
    let settings = ProviderSettings {
        stacks: ServedStacks::named([""; 0]).and_of_stack_set("ours"),
        deletion: Deletion::Stack,
        ..settings()
    };
    let provider = home.provider_with(settings, no_events());
    let mut asked = 0;
    let mut handled = async |event: &Value| {
        asked += 1;
        let mut event = event.clone();
        event["RequestId"] = json!(format!("asked-{asked}"));
        provider.handle(&request(&event), in_time()).await
    };
    let writes = home.spot.world.lock().writes();
    for kind in KINDS {
        let refused = handled(&create_event("StackSet-theirs-0b1c", ACCOUNT, kind, &id)).await;
        assert_eq!(refused.status, Status::Failed, "{kind}");
        assert!(
            refused.reason.contains("does not serve"),
            "{}",
            refused.reason
        );
        let mut update = create_event("StackSet-theirs-0b1c", ACCOUNT, kind, &id);
        update["RequestType"] = json!("Update");
        update["PhysicalResourceId"] = json!(id);
        let deleted = delete("StackSet-theirs-0b1c", ACCOUNT, kind, &id);
        for event in [update, deleted] {
            let answer = handled(&event).await;
            assert_eq!(answer.status, Status::Success, "{kind}");
            assert_eq!(answer.physical_resource_id, id, "{kind}");
        }
    }
    assert_eq!(home.spot.world.lock().writes(), writes);
    // Ours is served as before.
    home.says("StackSet-ours-0b1c", "DELETE_IN_PROGRESS");
    let deleted = handled(&delete("StackSet-ours-0b1c", ACCOUNT, "SpotAccount", &id)).await;
    assert_eq!(deleted.status, Status::Success);
    assert_ne!(home.spot.world.lock().writes(), writes);
}

#[tokio::test]
async fn while_everything_is_frozen_requests_are_answered_and_nothing_is_changed() {
    let home = Home::new().await;
    let provider = home.provider();
    let first = create_event("stack", ACCOUNT, "SpotAccount", "");
    let before = provider.handle(&request(&first), in_time()).await;
    assert_eq!(before.status, Status::Success);
    let id = before.physical_resource_id.clone();
    let freeze = Freeze {
        since: "2026-01-02T03:04:05Z".parse().unwrap(),
        by: "ada".to_owned(),
        reason: "CHG-1234".to_owned(),
    };
    home.intents.freeze(Some(freeze));
    let writes = home.spot.world.lock().writes();

    let again = provider.handle(&request(&first), in_time()).await;
    assert_eq!(again, before, "what was answered stays answered");
    let create = event(
        "other",
        OTHER,
        "SpotAccount",
        json!({"AwsAccountId": OTHER}),
    );
    let refused = provider.handle(&request(&create), in_time()).await;
    assert_eq!(refused.status, Status::Failed);
    for words in [
        "frozen since 2026-01-02T03:04:05Z by ada: CHG-1234",
        "runner freeze off",
    ] {
        assert!(refused.reason.contains(words), "{}", refused.reason);
    }
    let gone = delete("stack", ACCOUNT, "SpotAccount", &id);
    let gone = provider.handle(&request(&gone), in_time()).await;
    assert_eq!(gone.status, Status::Success, "{}", gone.reason);
    assert_eq!(home.spot.world.lock().writes(), writes);

    home.intents.freeze(None);
    let mut later = create.clone();
    later["RequestId"] = json!("later");
    let done = provider.handle(&request(&later), in_time()).await;
    assert_eq!(done.status, Status::Success, "{}", done.reason);
}

#[tokio::test]
async fn while_everything_is_frozen_an_update_and_its_rollback_leave_the_link_as_it_is() {
    let home = Home::new().await;
    let provider = home.provider();
    let id = create_stack(&home, "stack", ACCOUNT).await;
    home.intents.freeze(Some(Freeze {
        since: "2026-01-02T03:04:05Z".parse().unwrap(),
        by: "ada".to_owned(),
        reason: "CHG-1234".to_owned(),
    }));
    let writes = home.spot.world.lock().writes();
    let updated = async |kind: &str, old: Value, new: Value| {
        let mut update = event("stack", ACCOUNT, kind, new);
        update["RequestType"] = json!("Update");
        update["RequestId"] = json!(format!("{kind}-{old}"));
        update["PhysicalResourceId"] = json!(id);
        update["OldResourceProperties"] = old;
        provider.handle(&request(&update), in_time()).await
    };
    let with_role = |name: &str| json!({"AccountId": id, "IamRoleArn": role(ACCOUNT, name)});
    let linked = "SpotLinkedCredentials";
    let forth = updated(linked, with_role("stack"), with_role("another")).await;
    assert_eq!(forth.status, Status::Failed);
    assert!(forth.reason.contains("CHG-1234"), "{}", forth.reason);
    let back = updated(linked, with_role("another"), with_role("stack")).await;
    assert_eq!(back.status, Status::Success, "{}", back.reason);
    let named =
        |version: &str| json!({"SpotAccountId": id, "AwsAccountId": ACCOUNT, "Version": version});
    let renamed = updated("RenamedSpotAccountByAlias", named("1"), named("2")).await;
    assert_eq!(renamed.status, Status::Success, "{}", renamed.reason);
    assert_eq!(home.spot.world.lock().writes(), writes);
}
