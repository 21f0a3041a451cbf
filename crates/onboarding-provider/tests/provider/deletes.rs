//! What the Delete of a stack's resources does: the rule of ownership, vetoes, tombstones.

use std::sync::Arc;

use onboarding_core::{
    custom_resource::{Holder, Status, TombstoneReason},
    template::Deletion,
};
use onboarding_provider::{
    AdoptRule, Assigned, Assignment, Event, Intent, Intents as _, Owner, Provider,
    ProviderSettings, Refusal, ResourceResponse, events::no_events,
};

use parking_lot::Mutex;
use serde_json::json;

use super::{
    spot::Fault,
    stack::{
        ACCOUNT, Home, KINDS, OTHER, create_event, create_stack, delete, delete_resource, in_time,
        request, resource_event, role, settings,
    },
};

fn deleting(home: &Home) -> Provider {
    let settings = ProviderSettings {
        deletion: Deletion::Stack,
        ..settings()
    };
    home.provider_with(settings, no_events())
}

/// The same, with the codes of what it refuses.
fn counting(home: &Home) -> (Provider, Arc<Mutex<Vec<&'static str>>>) {
    let refusals = Arc::new(Mutex::new(Vec::new()));
    let sink = refusals.clone();
    let settings = ProviderSettings {
        deletion: Deletion::Stack,
        ..settings()
    };
    let events =
        Arc::new(move |event: Event| sink.lock().extend(event.refusal().map(Refusal::code)));
    (home.provider_with(settings, events), refusals)
}

/// Deletes the resources of a stack as CloudFormation does; returns the answer of the Spot account.
async fn delete_stack(home: &Home, provider: &Provider, stack: &str, id: &str) -> ResourceResponse {
    home.says(stack, "DELETE_IN_PROGRESS");
    let mut last = None;
    for kind in KINDS.into_iter().rev() {
        let answer = provider
            .handle(&request(&delete(stack, ACCOUNT, kind, id)), in_time())
            .await;
        assert_eq!(
            (answer.status, answer.physical_resource_id.as_str()),
            (Status::Success, id),
            "{kind}"
        );
        last = Some(answer);
    }
    last.unwrap()
}

fn tombstone(home: &Home, id: &str) -> Option<TombstoneReason> {
    let tombstone = home.intents.tombstone(&id.parse().unwrap());
    tombstone.map(|tombstone| tombstone.reason)
}

fn deleted(home: &Home) -> Vec<String> {
    home.spot.world.lock().deleted.clone()
}

#[tokio::test]
async fn a_stack_takes_its_spot_account_with_it_and_the_next_one_gets_a_new_one() {
    let home = Home::new().await;
    let id = create_stack(&home, "stack", ACCOUNT).await;
    let answer = delete_stack(&home, &deleting(&home), "stack", &id).await;
    assert!(answer.reason.contains("is deleted"), "{}", answer.reason);
    assert_eq!(deleted(&home), [id.as_str()]);
    assert_eq!(tombstone(&home, &id), None);
    assert_eq!(
        home.intents.owner(&id.parse().unwrap()).await.unwrap(),
        None
    );
    let next = create_stack(&home, "next", ACCOUNT).await;
    assert_ne!(next, id);
    assert_eq!(home.spot.world.lock().accounts.len(), 1);
}

#[tokio::test]
async fn by_default_a_spot_account_stays_with_a_tombstone_that_the_next_link_cancels() {
    let home = Home::new().await;
    let id = create_stack(&home, "stack", ACCOUNT).await;
    let calls = home.spot.world.lock().calls.len();
    let answer = delete_stack(&home, &home.provider(), "stack", &id).await;
    assert!(answer.reason.contains("reconciling"), "{}", answer.reason);
    assert_eq!(home.spot.world.lock().calls.len(), calls);
    let left = home.intents.tombstone(&id.parse().unwrap()).unwrap();
    assert_eq!(left.reason, TombstoneReason::Reconcile);
    assert_eq!(left.account.to_string(), ACCOUNT);
    assert!(left.stack_id.as_str().contains("stack/stack/"));
    assert_eq!(create_stack(&home, "next", ACCOUNT).await, id);
    assert_eq!(tombstone(&home, &id), None);
}

#[tokio::test]
async fn an_account_that_was_adopted_is_never_deleted() {
    for rule in [AdoptRule::KeepLink, AdoptRule::Relink] {
        let home = Home::with_rule(rule).await;
        let id = home.spot.world.lock().add("theirs", Some(ACCOUNT));
        assert_eq!(create_stack(&home, "stack", ACCOUNT).await, id);
        delete_stack(&home, &deleting(&home), "stack", &id).await;
        assert_eq!(deleted(&home), Vec::<String>::new());
        let expected = (rule == AdoptRule::Relink).then_some(TombstoneReason::Adopted);
        assert_eq!(tombstone(&home, &id), expected, "{rule:?}");
    }
}

#[tokio::test]
async fn an_account_that_moved_belongs_to_its_new_stack_whichever_request_comes_first() {
    // The new stack is whole, or has only been given the account.
    for resources in [KINDS.len(), 1] {
        let home = Home::new().await;
        let id = create_stack(&home, "old", ACCOUNT).await;
        let provider = deleting(&home);
        for kind in &KINDS[..resources] {
            let event = super::stack::create_event("new", ACCOUNT, kind, &id);
            let answer = provider.handle(&request(&event), in_time()).await;
            assert_eq!(answer.status, Status::Success, "{}", answer.reason);
        }
        delete_stack(&home, &provider, "old", &id).await;
        assert_eq!(deleted(&home), Vec::<String>::new());
        // The rest of the new stack finds everything in its place.
        assert_eq!(create_stack(&home, "new", ACCOUNT).await, id);
        assert_eq!(tombstone(&home, &id), None);
        delete_stack(&home, &provider, "new", &id).await;
        assert_eq!(deleted(&home), [id]);
    }
}

#[tokio::test]
async fn a_new_stack_that_rolls_back_does_not_take_the_account_of_the_old_one() {
    let home = Home::new().await;
    let id = create_stack(&home, "old", ACCOUNT).await;
    create_stack(&home, "new", ACCOUNT).await;
    delete_stack(&home, &deleting(&home), "new", &id).await;
    assert_eq!(deleted(&home), Vec::<String>::new());
    assert_eq!(tombstone(&home, &id), Some(TombstoneReason::HeldByAnother));
}

#[tokio::test]
async fn a_rollback_removes_only_what_its_own_stack_created() {
    for left_over in [false, true] {
        let home = Home::new().await;
        if left_over {
            home.spot.world.lock().add(ACCOUNT, None);
        }
        let provider = deleting(&home);
        let event = super::stack::create_event("stack", ACCOUNT, "SpotAccount", "");
        let answer = provider.handle(&request(&event), in_time()).await;
        let id = answer.physical_resource_id;
        // The link fails, so the stack is rolled back.
        home.says("stack", "ROLLBACK_IN_PROGRESS");
        let rollback = delete("stack", ACCOUNT, "SpotAccount", &id);
        let answer = provider.handle(&request(&rollback), in_time()).await;
        assert_eq!(answer.status, Status::Success);
        assert_eq!(deleted(&home).len(), usize::from(!left_over));
        assert_eq!(tombstone(&home, &id), None);
    }
}

#[tokio::test]
async fn what_a_failed_creation_made_stays_for_the_next_one() {
    let home = Home::new().await;
    let provider = deleting(&home);
    let event = super::stack::create_event("stack", ACCOUNT, "SpotAccount", "");
    let answer = provider.handle(&request(&event), in_time()).await;
    let id = answer.physical_resource_id;
    let marker = delete("stack", ACCOUNT, "SpotAccount", "SpotAccount-CREATE_FAILED");
    let answer = provider.handle(&request(&marker), in_time()).await;
    assert_eq!(answer.physical_resource_id, "SpotAccount-CREATE_FAILED");
    assert_eq!(deleted(&home), Vec::<String>::new());
    assert_eq!(tombstone(&home, &id), Some(TombstoneReason::CreateFailed));
    assert_eq!(create_stack(&home, "next", ACCOUNT).await, id);
    assert_eq!(tombstone(&home, &id), None);
}

#[tokio::test]
async fn nothing_is_deleted_under_running_groups() {
    let home = Home::new().await;
    let id = create_stack(&home, "stack", ACCOUNT).await;
    home.spot.world.lock().accounts[0].running = vec!["web"];
    let answer = delete_stack(&home, &deleting(&home), "stack", &id).await;
    assert!(answer.reason.contains("(web)"), "{}", answer.reason);
    assert_eq!(deleted(&home), Vec::<String>::new());
    assert_eq!(tombstone(&home, &id), Some(TombstoneReason::Running));
}

#[tokio::test]
async fn a_deletion_that_spot_refuses_does_not_hold_the_stack_up() {
    for refusal in [
        (400, "the default account cannot be deleted"),
        (403, "who?"),
    ] {
        let home = Home::new().await;
        let id = create_stack(&home, "stack", ACCOUNT).await;
        home.spot.world.lock().refuse_deletions = Some(refusal);
        let answer = delete_stack(&home, &deleting(&home), "stack", &id).await;
        assert!(answer.reason.contains(refusal.1), "{}", answer.reason);
        assert_eq!(tombstone(&home, &id), Some(TombstoneReason::NotDone));
        // Whoever comes next may use it.
        home.spot.world.lock().refuse_deletions = None;
        assert_eq!(create_stack(&home, "next", ACCOUNT).await, id);
    }
}

#[tokio::test]
async fn what_never_was_and_what_is_gone_are_deleted_without_a_call() {
    let home = Home::new().await;
    let id = create_stack(&home, "stack", ACCOUNT).await;
    let (provider, refusals) = counting(&home);
    let calls = home.spot.world.lock().calls.len();
    for (stack, account, id) in [
        ("stack", ACCOUNT, "SpotAccount-CREATE_FAILED"),
        ("stack", ACCOUNT, "act-404"),
        ("stack", ACCOUNT, "junk/../"),
        ("other", ACCOUNT, &id),
        ("stack", OTHER, &id),
    ] {
        let event = delete(stack, account, "SpotAccount", id);
        let mut event = event;
        event["RequestId"] = format!("{stack}{account}{id}").into();
        let answer = provider.handle(&request(&event), in_time()).await;
        assert_eq!(answer.status, Status::Success);
        assert_eq!(answer.physical_resource_id, id);
    }
    assert_eq!(home.spot.world.lock().calls.len(), calls);
    // Of another AWS account's.
    assert_eq!(*refusals.lock(), ["foreign-spot-account"]);
    home.spot.world.lock().accounts.clear();
    let gone = ProviderSettings {
        deletion: Deletion::Stack,
        listing_lag: std::time::Duration::ZERO,
        ..settings()
    };
    let provider = home.provider_with(gone, no_events());
    let answer = delete_stack(&home, &provider, "stack", &id).await;
    assert!(answer.reason.contains("gone already"), "{}", answer.reason);
    assert_eq!(
        home.spot.world.lock().writes().last().unwrap(),
        "POST /cbi/v1/setup/account"
    );
}

#[tokio::test]
async fn a_fault_at_any_call_of_a_deletion_ends_in_one_deleted_account() {
    const CALLS: usize = 5;
    let faults = [
        Fault::DieBefore,
        Fault::DieAfter,
        Fault::ErrorBefore,
        Fault::ErrorAfter,
    ];
    let runs = (0..CALLS).flat_map(|call| {
        faults.map(|fault| async move {
            let home = Home::new().await;
            let id = create_stack(&home, "stack", ACCOUNT).await;
            {
                let mut world = home.spot.world.lock();
                let next = world.calls.len() + call;
                world.faults.insert(next, fault);
            }
            home.says("stack", "DELETE_IN_PROGRESS");
            let event = request(&delete("stack", ACCOUNT, "SpotAccount", &id));
            let mut provider = deleting(&home);
            let answer = loop {
                tokio::select! {
                    answer = provider.handle(&event, in_time()) => break answer,
                    () = home.spot.died.notified() => provider = deleting(&home),
                }
            };
            assert_eq!(answer.status, Status::Success);
            assert_eq!(
                deleted(&home),
                [id.as_str()],
                "{call} {fault:?}: {}",
                answer.reason
            );
            let next = create_stack(&home, "next", ACCOUNT).await;
            assert_ne!(next, id);
            assert_eq!(home.spot.world.lock().accounts.len(), 1, "{call} {fault:?}");
        })
    });
    futures_util::future::join_all(runs).await;
}

#[tokio::test]
async fn a_fault_at_any_write_of_a_deletion_ends_in_one_deleted_account() {
    let faults = [
        Fault::DieBefore,
        Fault::DieAfter,
        Fault::ErrorBefore,
        Fault::ErrorAfter,
    ];
    let runs = (0..6).flat_map(|write| {
        faults.map(|fault| async move {
            let home = Home::new().await;
            let id = create_stack(&home, "stack", ACCOUNT).await;
            home.says("stack", "DELETE_IN_PROGRESS");
            home.writes.fate(Some((write, fault)));
            let event = request(&delete("stack", ACCOUNT, "SpotAccount", &id));
            let mut provider = deleting(&home);
            let answer = loop {
                tokio::select! {
                    answer = provider.handle(&event, in_time()) => break answer,
                    () = home.spot.died.notified() => provider = deleting(&home),
                }
            };
            assert_eq!(answer.status, Status::Success);
            let reason = format!("{write} {fault:?}: {}", answer.reason);
            assert_eq!(deleted(&home), [id.as_str()], "{reason}");
            let next = create_stack(&home, "next", ACCOUNT).await;
            assert_ne!(next, id);
            assert_eq!(home.spot.world.lock().accounts.len(), 1, "{reason}");
        })
    });
    futures_util::future::join_all(runs).await;
}

const CLEANUP: &str = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS";

/// A stack of which one more resource stands for the Spot account.
async fn with_resource(home: &Home, stack: &str, resource: &str) -> String {
    let id = create_stack(home, stack, ACCOUNT).await;
    let created = resource_event(stack, ACCOUNT, resource, "Create");
    let answer = home.provider().handle(&request(&created), in_time()).await;
    assert_eq!(answer.physical_resource_id, id, "{}", answer.reason);
    id
}

async fn ended(provider: &Provider, resource: &str, id: &str) -> ResourceResponse {
    let event = delete_resource("stack", ACCOUNT, resource, id);
    let answer = provider.handle(&request(&event), in_time()).await;
    assert_eq!(answer.status, Status::Success, "{}", answer.reason);
    answer
}

#[tokio::test]
async fn a_resource_that_is_renamed_does_not_take_the_spot_account_with_it() {
    // With and without somebody who can tell what the stack does.
    for status in [Some(CLEANUP), None] {
        let home = Home::new().await;
        let id = with_resource(&home, "stack", "Renamed").await;
        let provider = deleting(&home);
        home.says("stack", status);
        let answer = ended(&provider, "SpotAccount", &id).await;
        assert!(
            answer.reason.contains("another resource"),
            "{}",
            answer.reason
        );
        assert_eq!(deleted(&home), Vec::<String>::new());
        assert_eq!(tombstone(&home, &id), None);
        // The stack goes on.
        home.says("stack", None);
        let mut update = create_event("stack", ACCOUNT, "SpotLinkedCredentials", &id);
        update["RequestType"] = json!("Update");
        update["RequestId"] = json!("update");
        update["PhysicalResourceId"] = json!(id);
        update["OldResourceProperties"] = update["ResourceProperties"].clone();
        update["ResourceProperties"]["IamRoleArn"] = json!(role(ACCOUNT, "newer"));
        let answer = provider.handle(&request(&update), in_time()).await;
        assert_eq!(answer.status, Status::Success, "{}", answer.reason);
        // And ends with its new name.
        home.says("stack", "DELETE_IN_PROGRESS");
        ended(&provider, "Renamed", &id).await;
        assert_eq!(deleted(&home), [id]);
    }
}

#[tokio::test]
async fn of_several_resources_the_last_one_takes_the_spot_account_with_it() {
    for order in [["SpotAccount", "Second"], ["Second", "SpotAccount"]] {
        let home = Home::new().await;
        let id = with_resource(&home, "stack", "Second").await;
        let provider = deleting(&home);
        home.says("stack", "DELETE_IN_PROGRESS");
        ended(&provider, order[0], &id).await;
        assert_eq!(deleted(&home), Vec::<String>::new());
        // Should the other one have been retained, this is what is left of them.
        let reason = TombstoneReason::HeldByAnotherResource;
        assert_eq!(tombstone(&home, &id), Some(reason));
        ended(&provider, order[1], &id).await;
        assert_eq!(deleted(&home), [id.as_str()]);
        assert_eq!(tombstone(&home, &id), None);
    }
    for _ in 0..10 {
        let home = Home::new().await;
        let id = with_resource(&home, "stack", "Second").await;
        let (one, two) = (deleting(&home), deleting(&home));
        home.says("stack", "DELETE_IN_PROGRESS");
        tokio::join!(ended(&one, "SpotAccount", &id), ended(&two, "Second", &id));
        assert_eq!(deleted(&home), [id]);
    }
}

#[tokio::test]
async fn what_an_earlier_version_gave_to_a_stack_is_deleted_only_when_the_whole_stack_ends() {
    let account = ACCOUNT.parse().unwrap();
    for status in [Some("DELETE_IN_PROGRESS"), Some(CLEANUP), None] {
        let home = Home::new().await;
        let id = home.spot.world.lock().add("ours", Some(ACCOUNT));
        let spot_account = id.parse().unwrap();
        let event = request(&create_event("stack", ACCOUNT, "SpotAccount", &id));
        // As that version wrote it down: by the stack alone.
        let now = jiff::Timestamp::now();
        let assignment = Assignment {
            spot_account,
            holder: Holder::stack(&event.stack_id),
            asked: now,
            created_by: None,
        };
        let until = now + std::time::Duration::from_secs(60);
        home.intents.claim(account, "link", until).await.unwrap();
        let seen = Intent::default();
        let assigned = home.intents.assign(account, "link", &seen, &assignment);
        assert_eq!(assigned.await.unwrap(), Assigned::Held);
        let owner = Owner {
            stack_id: event.stack_id,
            account,
            role: role(ACCOUNT, "stack").parse().unwrap(),
            adopted: false,
            linked_at: now,
        };
        home.intents
            .set_owner(&assignment.spot_account, &owner, "link")
            .await
            .unwrap();
        home.intents.release(account, "link").await.unwrap();
        home.says("stack", status);
        ended(&deleting(&home), "SpotAccount", &id).await;
        let whole = status == Some("DELETE_IN_PROGRESS");
        assert_eq!(deleted(&home).len(), usize::from(whole), "{status:?}");
        let left = (!whole).then_some(TombstoneReason::UnclearResource);
        assert_eq!(tombstone(&home, &id), left, "{status:?}");
    }
}

#[tokio::test]
async fn nothing_is_deleted_while_nobody_can_tell_what_the_stack_does() {
    for status in [None, Some("SOMETHING_NEW")] {
        let home = Home::new().await;
        let id = create_stack(&home, "stack", ACCOUNT).await;
        home.says("stack", status);
        let answer = ended(&deleting(&home), "SpotAccount", &id).await;
        assert!(
            answer.reason.contains("nobody can tell"),
            "{}",
            answer.reason
        );
        assert_eq!(deleted(&home), Vec::<String>::new());
        assert_eq!(tombstone(&home, &id), Some(TombstoneReason::NotDone));
    }
    // For some time it is looked at again.
    let home = Home::new().await;
    let id = create_stack(&home, "stack", ACCOUNT).await;
    let patient = ProviderSettings {
        deletion: Deletion::Stack,
        refusal_patience: std::time::Duration::from_secs(10),
        ..settings()
    };
    let provider = home.provider_with(patient, no_events());
    let looked = || home.directory.stack_status.lock().1;
    let before = looked();
    tokio::join!(ended(&provider, "SpotAccount", &id), async {
        while looked() < before + 2 {
            tokio::task::yield_now().await;
        }
        home.says("stack", "DELETE_IN_PROGRESS");
    });
    assert_eq!(deleted(&home), [id]);
}

#[tokio::test]
async fn a_delete_that_its_stack_cannot_have_sent_changes_nothing() {
    let home = Home::new().await;
    let id = create_stack(&home, "stack", ACCOUNT).await;
    let (provider, refusals) = counting(&home);
    let asked_until = async |name: &str, status, deadline| {
        *home.directory.stack_status.lock() = (status, 0);
        let mut event = delete("stack", ACCOUNT, "SpotAccount", &id);
        event["RequestId"] = name.into();
        provider.handle(&request(&event), deadline).await
    };
    let asked = async |name, status| asked_until(name, Some(status), in_time()).await;
    let intent = home.intents.intent(ACCOUNT.parse().unwrap()).await.unwrap();
    for status in ["CREATE_COMPLETE", "UPDATE_IN_PROGRESS", "DELETE_COMPLETE"] {
        let answer = asked(status, status).await;
        assert_eq!(answer.status, Status::Success);
        assert!(
            answer.reason.contains("deletes nothing"),
            "{}",
            answer.reason
        );
    }
    // Its sender says how long it may take: with no time left it is the same.
    let over = jiff::Timestamp::now();
    let answer = asked_until("late", Some("CREATE_COMPLETE"), over).await;
    assert!(
        answer.reason.contains("deletes nothing"),
        "{}",
        answer.reason
    );
    assert_eq!(*refusals.lock(), ["stack-ended"; 4]);
    assert_eq!(tombstone(&home, &id), None);
    // While nobody can tell, the stack still stands for it.
    for status in [None, Some("SOMETHING_NEW")] {
        let answer = asked_until(status.unwrap_or("unknown"), status, over).await;
        assert_eq!(answer.status, Status::Success);
        assert_eq!(tombstone(&home, &id), Some(TombstoneReason::NotDone));
    }
    assert_eq!(deleted(&home), Vec::<String>::new());
    let unchanged = home.intents.intent(ACCOUNT.parse().unwrap()).await.unwrap();
    assert_eq!(unchanged, intent);
    asked("its-own", "DELETE_IN_PROGRESS").await;
    assert_eq!(deleted(&home), [id]);
}
