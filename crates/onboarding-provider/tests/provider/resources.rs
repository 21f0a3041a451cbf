//! What each resource does at Spot, and answers.

use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use onboarding_core::custom_resource::Status;
use onboarding_provider::{
    Intents as _, ProviderSettings, RememberedExternalId, events::no_events,
};
use serde_json::json;

use super::stack::{
    ACCOUNT, Home, KINDS, OTHER, create, create_event, create_stack, event, in_time, properties,
    request, role, settings,
};

#[tokio::test]
async fn a_stack_enrolls_its_account() {
    let home = Home::new().await;
    let id = create_stack(&home, "stack", ACCOUNT).await;
    let world = home.spot.world.lock();
    assert_eq!(world.accounts.len(), 1);
    let account = world.account(&id);
    assert_eq!(account.linked.as_deref(), Some(ACCOUNT));
    assert_eq!(
        account.role.as_deref(),
        Some(role(ACCOUNT, "stack").as_str())
    );
    assert_eq!(account.name, "Payments");
    assert!(account.cost_intelligence);
    assert_eq!(account.external_ids.len(), 1);
    assert_eq!(
        world.calls,
        [
            "GET /setup/account",
            "GET /setup/account?cloudAccountId",
            "POST /setup/account",
            "POST /setup/credentials/aws/externalId",
            "POST /setup/credentials/aws",
            "PUT /setup/account/act-1",
            "POST /cbi/v1/setup/account/validation",
            "POST /cbi/v1/setup/account",
        ]
    );
}

#[tokio::test]
async fn the_answers_carry_what_the_template_reads() {
    let home = Home::new().await;
    let provider = home.provider();
    let account = create(&provider, "SpotAccount", json!({"AwsAccountId": ACCOUNT})).await;
    assert_eq!(account.physical_resource_id, "act-1");
    assert_eq!(account.data["Adopted"], "false");
    let external = create(
        &provider,
        "SpotExternalId",
        json!({"SpotAccountId": "act-1"}),
    )
    .await;
    assert_eq!(external.physical_resource_id, "spotinst:aws:extid:act-1-0");
    let owner = home.intents.owner(&"act-1".parse().unwrap()).await.unwrap();
    assert!(owner.is_none());
    let properties = properties("SpotLinkedCredentials", "stack", ACCOUNT, "act-1");
    create(&provider, "SpotLinkedCredentials", properties).await;
    let owner = home
        .intents
        .owner(&"act-1".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert!(!owner.adopted && owner.stack_id.as_str().contains("stack/stack/"));
}

#[tokio::test]
async fn an_account_gets_a_name_with_a_letter_where_spot_demands_one() {
    let home = Home::new().await;
    home.spot.world.lock().names_need_letters = true;
    let provider = home.provider();
    for account in [ACCOUNT, OTHER] {
        let event = event(
            "stack",
            account,
            "SpotAccount",
            json!({"AwsAccountId": account}),
        );
        assert_eq!(
            provider.handle(&request(&event), in_time()).await.status,
            Status::Success
        );
    }
    let world = home.spot.world.lock();
    assert_eq!(world.accounts[0].name, "aws-111111111111");
    assert_eq!(world.accounts[1].name, "aws-222222222222");
    // Learned once.
    assert_eq!(world.writes().len(), 3);
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_answer_without_a_call() {
    let home = Home::new().await;
    create_stack(&home, "stack", ACCOUNT).await;
    let calls = home.spot.world.lock().calls.len();
    create_stack(&home, "stack", ACCOUNT).await;
    assert_eq!(home.spot.world.lock().calls.len(), calls);
}

#[tokio::test]
async fn another_stack_of_the_account_finds_everything_and_becomes_the_owner() {
    let home = Home::new().await;
    let first = create_stack(&home, "old", ACCOUNT).await;
    let second = create_stack(&home, "new", ACCOUNT).await;
    assert_eq!(first, second);
    let world = home.spot.world.lock().account(&first).clone();
    assert_eq!(world.external_ids.len(), 1);
    assert_eq!(world.role.as_deref(), Some(role(ACCOUNT, "new").as_str()));
    let owner = home
        .intents
        .owner(&first.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert!(owner.stack_id.as_str().contains("stack/new/") && !owner.adopted);
}

#[tokio::test]
async fn of_two_stacks_that_link_at_the_same_time_the_later_one_is_the_owner() {
    let home = Home::new().await;
    for stack in ["old", "new"] {
        let created = create_event(stack, ACCOUNT, "SpotAccount", "");
        let created = home.provider().handle(&request(&created), in_time()).await;
        assert_eq!(created.physical_resource_id, "act-1");
    }
    let link = "POST /setup/credentials/aws".to_owned();
    let slow = (link.clone(), Duration::from_millis(300));
    home.spot.world.lock().answers_take.extend([slow]);
    let (one, two) = (home.provider(), home.provider());
    let linked = |stack| {
        request(&create_event(
            stack,
            ACCOUNT,
            "SpotLinkedCredentials",
            "act-1",
        ))
    };
    let (old, new) = (linked("old"), linked("new"));
    let (old, new) = tokio::join!(one.handle(&old, in_time()), async {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !home.spot.world.lock().calls.contains(&link) {
            assert!(std::time::Instant::now() < deadline, "no link");
            tokio::task::yield_now().await;
        }
        two.handle(&new, in_time()).await
    });
    assert_eq!((old.status, new.status), (Status::Success, Status::Success));
    let owner = home.intents.owner(&"act-1".parse().unwrap()).await.unwrap();
    let owner = owner.unwrap();
    let linked = home.spot.world.lock().account("act-1").role.clone();
    assert_eq!(linked, Some(role(ACCOUNT, "new")));
    assert_eq!(owner.role.to_string(), role(ACCOUNT, "new"));
    assert!(owner.stack_id.as_str().contains("stack/new/"));
}

#[tokio::test]
async fn a_role_that_is_not_visible_yet_is_tried_again() {
    let home = Home::new().await;
    home.spot.world.lock().not_assumable = 5;
    create_stack(&home, "stack", ACCOUNT).await;
    let writes = home.spot.world.lock().writes();
    assert_eq!(
        writes
            .iter()
            .filter(|call| *call == "POST /setup/credentials/aws")
            .count(),
        6
    );
}

#[tokio::test]
async fn a_role_that_never_can_be_assumed_fails_in_time_and_says_why() {
    let home = Home::new().await;
    // Time enough for the answer where the machine is busy.
    let margin = ProviderSettings {
        answer_margin: Duration::from_secs(1),
        ..settings()
    };
    let provider = home.provider_with(margin, no_events());
    create(&provider, "SpotAccount", json!({"AwsAccountId": ACCOUNT})).await;
    home.spot.world.lock().not_assumable = u32::MAX;
    let properties = properties("SpotLinkedCredentials", "stack", ACCOUNT, "act-1");
    let request = request(&event(
        "stack",
        ACCOUNT,
        "SpotLinkedCredentials",
        properties,
    ));
    let deadline = jiff::Timestamp::now()
        .checked_add(Duration::from_secs(5))
        .unwrap();
    let response = provider.handle(&request, deadline).await;
    assert!(jiff::Timestamp::now() < deadline);
    assert_eq!(response.status, Status::Failed);
    for words in [
        "not done in time",
        "failed to assume role",
        "organization policies",
    ] {
        assert!(response.reason.contains(words), "{}", response.reason);
    }
    // These words in CloudFormation's reason mean that AWS itself has named the policy.
    assert!(!response.reason.contains("resource control policy"));
    assert_eq!(
        response.physical_resource_id,
        "SpotLinkedCredentials-CREATE_FAILED"
    );
}

#[tokio::test]
async fn an_external_id_that_expired_before_the_first_link_says_so() {
    let home = Home::new().await;
    let provider = home.provider();
    create(&provider, "SpotAccount", json!({"AwsAccountId": ACCOUNT})).await;
    create(
        &provider,
        "SpotExternalId",
        json!({"SpotAccountId": "act-1"}),
    )
    .await;
    let id = "act-1".parse().unwrap();
    let made = home.intents.external_id(&id).await.unwrap().unwrap();
    let expired = RememberedExternalId {
        valid_until: Some("2026-01-02T03:04:05Z".parse().unwrap()),
        ..made
    };
    home.intents
        .remember_external_id(&id, &expired)
        .await
        .unwrap();
    home.spot.world.lock().not_assumable = u32::MAX;
    let properties = properties("SpotLinkedCredentials", "stack", ACCOUNT, "act-1");
    let answer = create(&provider, "SpotLinkedCredentials", properties).await;
    assert_eq!(answer.status, Status::Failed);
    for words in ["expired at 2026-01-02T03:04:05Z", "create the stack again"] {
        assert!(answer.reason.contains(words), "{}", answer.reason);
    }
}

#[tokio::test]
async fn a_role_that_cannot_be_assumed_is_tried_until_the_deadline() {
    let home = Home::new().await;
    home.spot.world.lock().not_assumable = u32::MAX;
    let provider = home.provider();
    create(&provider, "SpotAccount", json!({"AwsAccountId": ACCOUNT})).await;
    let properties = properties("SpotLinkedCredentials", "stack", ACCOUNT, "act-1");
    let link = event("stack", ACCOUNT, "SpotLinkedCredentials", properties);
    let deadline = Timestamp::now() + 1.second();
    let response = provider.handle(&request(&link), deadline).await;
    assert_eq!(response.status, Status::Failed);
    for words in ["not done in time", "Spot cannot assume the role"] {
        assert!(response.reason.contains(words), "{}", response.reason);
    }
    let world = home.spot.world.lock();
    let link = |call: &&String| *call == "POST /setup/credentials/aws";
    let tried = world.calls.iter().filter(link).count();
    assert!(tried > 3, "{tried}");
}

#[tokio::test]
async fn a_refused_permission_is_waited_for_a_little() {
    for status in [401, 403, 404] {
        let home = Home::new().await;
        let patient = ProviderSettings {
            refusal_patience: Duration::from_secs(30),
            ..settings()
        };
        let provider = home.provider_with(patient, no_events());
        create(&provider, "SpotAccount", json!({"AwsAccountId": ACCOUNT})).await;
        home.spot.world.lock().refuse_links = Some((status, "who?"));
        let properties = properties("SpotLinkedCredentials", "stack", ACCOUNT, "act-1");
        let calls = home.spot.world.lock().calls.len();
        let (response, ()) = tokio::join!(
            create(&provider, "SpotLinkedCredentials", properties),
            async {
                home.spot.called(calls + 2).await;
                home.spot.world.lock().refuse_links = None;
            }
        );
        assert_eq!(response.status, Status::Success, "{status}");

        home.spot.world.lock().refuse_links = Some((status, "who?"));
        let properties = json!({"AccountId": "act-1", "IamRoleArn": role(ACCOUNT, "new")});
        let event = event("new", ACCOUNT, "SpotLinkedCredentials", properties);
        let impatient = home.provider();
        let response = impatient.handle(&request(&event), in_time()).await;
        assert_eq!(response.status, Status::Failed, "{status}");
        assert!(response.reason.contains("who?"), "{}", response.reason);
    }
}

#[tokio::test]
async fn an_account_that_only_the_filtered_list_shows_is_not_doubled() {
    let home = Home::new().await;
    let id = home.spot.world.lock().add("ours", Some(ACCOUNT));
    home.spot.world.lock().left_out.insert(id.clone());
    let provider = home.provider();
    let (response, ()) = tokio::join!(
        create(&provider, "SpotAccount", json!({"AwsAccountId": ACCOUNT})),
        async {
            home.spot.called(4).await;
            home.spot.world.lock().left_out.clear();
        }
    );
    assert_eq!(response.physical_resource_id, id);
    assert_eq!(home.spot.world.lock().writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_definite_refusal_fails_at_once_in_spots_words() {
    let home = Home::new().await;
    let provider = home.provider();
    create(&provider, "SpotAccount", json!({"AwsAccountId": ACCOUNT})).await;
    home.spot.world.lock().refuse_links = Some((400, "the external ID has expired"));
    let properties = properties("SpotLinkedCredentials", "stack", ACCOUNT, "act-1");
    let response = create(&provider, "SpotLinkedCredentials", properties).await;
    assert_eq!(response.status, Status::Failed);
    assert!(
        response.reason.contains("the external ID has expired"),
        "{}",
        response.reason
    );
    let calls = home.spot.world.lock().writes();
    assert_eq!(
        calls
            .iter()
            .filter(|call| *call == "POST /setup/credentials/aws")
            .count(),
        1
    );
}

#[tokio::test]
async fn spot_may_be_down_for_a_while() {
    let home = Home::new().await;
    home.spot.world.lock().down = true;
    let provider = home.provider();
    let (response, ()) = tokio::join!(
        create(&provider, "SpotAccount", json!({"AwsAccountId": ACCOUNT})),
        async {
            home.spot.called(4).await;
            home.spot.world.lock().down = false;
        }
    );
    assert_eq!(response.status, Status::Success, "{}", response.reason);
    assert_eq!(home.spot.world.lock().accounts.len(), 1);
}

#[tokio::test]
async fn a_name_that_is_right_already_costs_no_call() {
    let home = Home::new().await;
    let provider = home.provider();
    create_stack(&home, "old", ACCOUNT).await;
    let properties = properties("RenamedSpotAccountByAlias", "stack", ACCOUNT, "act-1");
    create(&provider, "RenamedSpotAccountByAlias", properties).await;
    let writes = home.spot.world.lock().writes();
    assert_eq!(
        writes.iter().filter(|call| call.starts_with("PUT")).count(),
        1
    );
}

#[tokio::test]
async fn a_failed_validation_reports_its_steps_and_switches_nothing_on() {
    let home = Home::new().await;
    let provider = home.provider();
    create(&provider, "SpotAccount", json!({"AwsAccountId": ACCOUNT})).await;
    home.spot.world.lock().validation_fails = true;
    let response = create(
        &provider,
        "EnableCostIntelligence",
        json!({"SpotAccountId": "act-1"}),
    )
    .await;
    assert_eq!(response.status, Status::Failed);
    assert!(
        response.reason.contains("the role: why not"),
        "{}",
        response.reason
    );
    assert!(!home.spot.world.lock().accounts[0].cost_intelligence);
}

#[tokio::test]
async fn on_already_is_a_success() {
    let home = Home::new().await;
    let provider = home.provider();
    create(&provider, "SpotAccount", json!({"AwsAccountId": ACCOUNT})).await;
    home.spot.world.lock().accounts[0].cost_intelligence = true;
    let response = create(
        &provider,
        "EnableCostIntelligence",
        json!({"SpotAccountId": "act-1"}),
    )
    .await;
    assert_eq!(response.status, Status::Success, "{}", response.reason);
}

#[tokio::test]
async fn late_requests_change_nothing() {
    let home = Home::new().await;
    create_stack(&home, "stack", ACCOUNT).await;
    let calls = home.spot.world.lock().calls.len();
    let provider = home.provider();
    for kind in KINDS {
        let late = event(
            "late",
            OTHER,
            kind,
            properties(kind, "late", OTHER, "act-1"),
        );
        let deadline = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(1);
        let response = provider.handle(&request(&late), deadline).await;
        assert_eq!(response.status, Status::Failed);
    }
    assert_eq!(home.spot.world.lock().calls.len(), calls);
}

#[tokio::test]
async fn an_alias_names_the_account_where_it_is_known() {
    for (alias, name) in [(Some("pay-prod"), "pay-prod"), (None, "Payments")] {
        let home = Home::new().await;
        {
            let mut details = home.directory.details.lock();
            details.naming = "alias".parse().unwrap();
            details.alias = alias.map(str::to_owned);
        }
        let id = create_stack(&home, "stack", ACCOUNT).await;
        assert_eq!(home.spot.world.lock().account(&id).name, name);
    }
}

#[tokio::test]
async fn an_update_does_what_changed() {
    let home = Home::new().await;
    create_stack(&home, "stack", ACCOUNT).await;
    let provider = home.provider();
    let update = |kind: &str, id: &str, old: serde_json::Value, new: serde_json::Value| {
        let mut update = event("stack", ACCOUNT, kind, new);
        update["RequestType"] = json!("Update");
        update["RequestId"] = json!(format!("update-{kind}-{}", rand_suffix()));
        update["PhysicalResourceId"] = json!(id);
        update["OldResourceProperties"] = old;
        request(&update)
    };
    let calls = home.spot.world.lock().writes().len();
    let same = properties("SpotLinkedCredentials", "stack", ACCOUNT, "act-1");
    for (kind, id, properties) in [
        ("SpotAccount", "act-1", json!({"AwsAccountId": ACCOUNT})),
        (
            "SpotExternalId",
            "spotinst:aws:extid:act-1-0",
            json!({"SpotAccountId": "act-1"}),
        ),
        ("SpotLinkedCredentials", "act-1", same.clone()),
        (
            "RenamedSpotAccountByAlias",
            "act-1",
            json!({"SpotAccountId": "act-1", "AwsAccountId": ACCOUNT}),
        ),
    ] {
        let response = provider
            .handle(&update(kind, id, properties.clone(), properties), in_time())
            .await;
        assert_eq!(
            (response.status, response.physical_resource_id.as_str()),
            (Status::Success, id),
            "{kind}"
        );
    }
    assert_eq!(home.spot.world.lock().writes().len(), calls);
    let new = properties("SpotLinkedCredentials", "other-role", ACCOUNT, "act-1");
    let response = provider
        .handle(
            &update("SpotLinkedCredentials", "act-1", same, new),
            in_time(),
        )
        .await;
    assert_eq!(response.status, Status::Success);
    let role_now = home.spot.world.lock().accounts[0].role.clone();
    assert_eq!(role_now, Some(role(ACCOUNT, "other-role")));
}

#[tokio::test]
async fn an_update_is_checked_for_the_spot_accounts_that_it_has_from_before() {
    let home = Home::new().await;
    let id = create_stack(&home, "stack", ACCOUNT).await;
    let theirs = home.spot.world.lock().add("theirs", Some(OTHER));
    let updated = async |kind: &str, physical: &str, old: &str, new: &str| {
        let mut update = create_event("stack", ACCOUNT, kind, new);
        update["RequestType"] = json!("Update");
        update["RequestId"] = json!(format!("update-{}", rand_suffix()));
        update["PhysicalResourceId"] = json!(physical);
        update["OldResourceProperties"] = properties(kind, "old", ACCOUNT, old);
        home.provider().handle(&request(&update), in_time()).await
    };
    let writes = home.spot.world.lock().writes().len();
    for kind in &KINDS[1..] {
        let refused = updated(kind, "act-404", &theirs, &id).await;
        assert_eq!(refused.status, Status::Failed, "{kind}");
        assert!(refused.reason.contains(&theirs), "{}", refused.reason);
        if *kind != "SpotExternalId" {
            let refused = updated(kind, &theirs, &id, &id).await;
            assert_eq!(refused.status, Status::Failed, "{kind}");
        }
    }
    assert_eq!(home.spot.world.lock().writes().len(), writes);

    // One that was deleted at Spot: its stack can still be changed, and rolled back,
    home.spot.world.lock().accounts.retain(|one| one.id != id);
    let kept = updated("SpotAccount", &id, "", "").await;
    assert_eq!(kept.status, Status::Success, "{}", kept.reason);
    assert_eq!(kept.physical_resource_id, id);
    // and goes on to the one that was made instead.
    let lagging = ProviderSettings {
        listing_lag: Duration::ZERO,
        ..settings()
    };
    let provider = home.provider_with(lagging, no_events());
    let again = create_event("again", ACCOUNT, "SpotAccount", "");
    let made = provider.handle(&request(&again), in_time()).await;
    assert_eq!(made.status, Status::Success, "{}", made.reason);
    let made = made.physical_resource_id;
    assert_ne!(made, id);
    for kind in &KINDS[1..] {
        let answer = updated(kind, &id, &id, &made).await;
        assert_eq!(answer.status, Status::Success, "{kind}: {}", answer.reason);
    }
}

fn rand_suffix() -> u128 {
    rand::random()
}

#[tokio::test]
async fn many_accounts_share_their_listings() {
    let home = Home::new().await;
    home.spot.world.lock().names_need_letters = true;
    let provider = home.provider();
    let requests: Vec<_> = (0..60)
        .map(|i| {
            let account = format!("3000000000{i:02}");
            request(&event(
                "stack",
                &account,
                "SpotAccount",
                json!({"AwsAccountId": account}),
            ))
        })
        .collect();
    let answers = futures_util::future::join_all(
        requests
            .iter()
            .map(|request| provider.handle(request, in_time())),
    )
    .await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == Status::Success)
    );
    let world = home.spot.world.lock();
    assert_eq!(world.accounts.len(), 60);
    let listings = world
        .calls
        .iter()
        .filter(|call| *call == "GET /setup/account")
        .count();
    assert_eq!(listings, 1, "listings for 60 accounts");
    // One of them finds out which names Spot takes.
    assert_eq!(world.writes().len(), 61);
}

#[tokio::test]
async fn a_listing_that_took_longer_than_it_is_good_for_still_serves_all_that_wait_for_it() {
    let home = Home::new().await;
    home.spot.world.lock().listing_takes = Duration::from_millis(600);
    let hasty = ProviderSettings {
        listing_age: Duration::from_millis(300),
        ..settings()
    };
    let provider = home.provider_with(hasty, no_events());
    let requests: Vec<_> = (0..20)
        .map(|i| {
            let account = format!("3000000000{i:02}");
            let properties = json!({"AwsAccountId": account});
            request(&event("stack", &account, "SpotAccount", properties))
        })
        .collect();
    let handled = requests
        .iter()
        .map(|request| provider.handle(request, in_time()));
    for answer in futures_util::future::join_all(handled).await {
        assert_eq!(answer.status, Status::Success, "{}", answer.reason);
    }
    let world = home.spot.world.lock();
    let listings = world
        .calls
        .iter()
        .filter(|call| *call == "GET /setup/account")
        .count();
    assert!(listings <= 2, "{listings} listings for 20 accounts");
}

#[tokio::test]
async fn an_update_does_not_fail_because_its_account_is_no_longer_in_scope() {
    let home = Home::new().await;
    let id = create_stack(&home, "stack", ACCOUNT).await;
    *home.directory.left.lock() = Some(ACCOUNT.parse().unwrap());
    let calls = home.spot.world.lock().writes().len();
    for kind in KINDS {
        let mut update = create_event("stack", ACCOUNT, kind, &id);
        update["RequestType"] = json!("Update");
        update["RequestId"] = json!(format!("update-{kind}"));
        update["PhysicalResourceId"] = json!(id);
        update["OldResourceProperties"] = update["ResourceProperties"].clone();
        update["ResourceProperties"]["ServiceTimeout"] = json!("1800");
        let response = home.provider().handle(&request(&update), in_time()).await;
        assert_eq!(response.status, Status::Success, "{}", response.reason);
        assert_eq!(response.physical_resource_id, id);
    }
    assert_eq!(home.spot.world.lock().writes().len(), calls);

    // A new role is linked: without it our own link would be lost.
    let mut update = create_event("stack", ACCOUNT, "SpotLinkedCredentials", &id);
    update["RequestType"] = json!("Update");
    update["RequestId"] = json!("update-role");
    update["PhysicalResourceId"] = json!(id);
    update["OldResourceProperties"] = update["ResourceProperties"].clone();
    update["ResourceProperties"]["IamRoleArn"] = json!(role(ACCOUNT, "newer"));
    let response = home.provider().handle(&request(&update), in_time()).await;
    assert_eq!(response.status, Status::Success, "{}", response.reason);
    assert_eq!(
        home.spot.world.lock().account(&id).role,
        Some(role(ACCOUNT, "newer"))
    );

    // What is not ours, or not there any more, is left alone.
    let foreign = home.spot.world.lock().add("foreign", Some(OTHER));
    for (number, spot_account) in [foreign.as_str(), "act-gone"].iter().enumerate() {
        update["RequestId"] = json!(format!("update-{number}"));
        update["ResourceProperties"]["AccountId"] = json!(spot_account);
        let writes = home.spot.world.lock().writes().len();
        let response = home.provider().handle(&request(&update), in_time()).await;
        assert_eq!(response.status, Status::Success, "{}", response.reason);
        assert_eq!(home.spot.world.lock().writes().len(), writes);
    }
}
