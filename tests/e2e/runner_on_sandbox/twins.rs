//! Two providers on one state, and two stacks that enroll one account at the same time.

use rustix::process::Signal;

use super::{
    plain_stacks::{Member, PLAIN, StateFile},
    relay::{Hold, Relay},
    *,
};

const CREATION: &str = "POST /setup/account";

const STACKS: [&str; 2] = ["plain-one", "plain-two"];

impl Member<'_> {
    /// Waits until both stacks are created, and asserts that they share one Spot account, which is owned by the one whose role
    /// it has.
    #[track_caller]
    fn assert_shared(&self, rehearsal: &Rehearsal, state: &StateFile, before: usize) {
        for name in STACKS {
            self.until_created(name);
        }
        let (link, owner) = (self.link(), state.owner(&self.account));
        assert_eq!(rehearsal.spot_accounts().len(), before + 1);
        assert_eq!(rehearsal.calls()[&format!("spot:{CREATION}")], 1);
        assert!(link.works, "{link:?}");
        assert_eq!(owner["spot_account"], link.id.as_str());
        assert_eq!(owner["role"], link.role.clone().unwrap().as_str());
        let stack = text(&owner["stack_id"]);
        let is_owner = |name: &&str| stack.contains(&format!(":stack/{name}/"));
        let name = STACKS.into_iter().find(is_owner).unwrap();
        assert!(link.role.unwrap().contains(name), "{owner}");
    }
}

#[test]
fn two_providers_with_one_state_give_two_stacks_of_an_account_one_spot_account() {
    let rehearsal = Rehearsal::new(&format!("{PLAIN}[latency]\nspot = \"100ms\"\n"));
    let Some(state) = StateFile::of(&rehearsal) else {
        return;
    };
    let before = rehearsal.spot_accounts().len();
    let member = Member::of(&rehearsal, &rehearsal.members()[0]);
    // Who works takes nothing else, so the two Creates are never one provider's alone.
    member.configure("[enrollment]\nconsumers = 1\n");
    let mut providers = [(); 2].map(|()| rehearsal.runner.start(&["-vv", "provider"]).unwrap());
    rehearsal.until("both serve", || {
        for provider in &mut providers {
            provider.check().unwrap();
        }
        let calls = rehearsal.calls();
        (calls.get("sqs:ReceiveMessage").copied() >= Some(2)).then_some(())
    });
    for name in STACKS {
        member.create(name);
    }
    member.assert_shared(&rehearsal, &state, before);
    for provider in &mut providers {
        provider.check().unwrap();
        let said = provider.stderr().unwrap();
        assert!(said.contains("request served"), "{said}");
    }
}

/// Kills a provider in the middle of a creation, beside another one that serves a second stack of the account.
fn another_one_is_killed(hold: Hold) {
    let rehearsal = Rehearsal::new(PLAIN);
    let Some(state) = StateFile::of(&rehearsal) else {
        return;
    };
    let before = rehearsal.spot_accounts().len();
    let member = Member::of(&rehearsal, &rehearsal.members()[0]);
    let relay = Relay::start(&rehearsal);
    relay.hold(CREATION, hold);
    let mut command = rehearsal.runner.command(&["provider"]);
    let mut killed = Background::start(command.env("SPOT_API_URL", &relay.endpoint)).unwrap();
    member.create(STACKS[0]);
    rehearsal.until("the creation waits", || {
        killed.check().unwrap();
        relay.is_held().then_some(())
    });
    let created = before + usize::from(hold == Hold::Answer);
    assert_eq!(rehearsal.spot_accounts().len(), created);

    // The other one looks at Spot, knows that somebody creates, and looks again.
    let looks = || rehearsal.calls().get("spot:GET /setup/account").copied();
    let seen = looks().unwrap_or(0);
    let mut other = rehearsal.runner.start(&["provider"]).unwrap();
    member.create(STACKS[1]);
    let until_looks = |count: u64| {
        rehearsal.until("the other one looks at Spot", || {
            (looks() >= Some(count)).then_some(())
        });
    };
    until_looks(seen + 2);
    killed.signal(Signal::KILL).unwrap();
    assert!(killed.wait(LIMIT).is_err(), "a signal ended it");
    // What it has not told of Spot's rate limit holds nobody back for half a minute: only its intent does.
    state.rows("DELETE FROM spot_windows");
    // Nor does the other one create after that, as long as nobody can tell how the creation has ended.
    until_looks(looks().unwrap_or(0) + 2);
    assert_eq!(rehearsal.spot_accounts().len(), created);
    let sent = format!(
        "FROM intents WHERE account = '{}' AND sent IS NOT NULL",
        member.account
    );
    let intents = state.rows(&format!("SELECT assigned {sent}"));
    assert_eq!(intents, [json!({ "assigned": null })]);

    // The minutes that this takes have passed.
    let passed = "json_set(sent, '$.send_by', '2026-01-01T00:00:00Z', '$.look_after', '2026-01-01T00:00:00Z')";
    state.rows(&format!(
        "UPDATE intents SET held_until = 0, sent = {passed} WHERE account = '{}' AND sent IS NOT NULL",
        member.account
    ));
    member.assert_shared(&rehearsal, &state, before);
    other.check().unwrap();
    if hold == Hold::Request {
        spot_takes_it_late(&rehearsal, &relay, &member);
    }
}

/// The creation that nobody waits for any more arrives at Spot. What it made is cleaned up, and nothing else.
fn spot_takes_it_late(rehearsal: &Rehearsal, relay: &Relay, member: &Member<'_>) {
    let linked = member.link();
    let before = rehearsal.spot_accounts();
    relay.release();
    let late = rehearsal.until("Spot takes the creation", || {
        let mut listed = rehearsal.spot_accounts().into_iter();
        listed.find(|spot| before.iter().all(|one| one.id != spot.id))
    });
    let clean_up = |params: &str| {
        let job = format!("kind = \"orphan-cleanup\"\n[params]\n{params}\n");
        rehearsal.write("config/jobs/orphan-cleanup.toml", &job);
        let arguments = ["--output", "json", "exec", "orphan-cleanup", "--yes"];
        let ended = rehearsal.run(&arguments);
        assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
        ended.json().unwrap()
    };
    // With the grace period as it is, it waits; both listings have been seen then.
    let waits = clean_up("apply = true\nmax_percent = \"100%\"");
    assert_eq!(waits["steps"], json!([]), "{waits:#}");
    let done = clean_up("apply = true\ngrace_period = \"0s\"\nmax_percent = \"100%\"");
    let steps: Vec<String> = done["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| text(&step["id"]))
        .collect();
    assert_eq!(steps, [format!("delete-spot-account:{}", late.id)]);
    // One repair, and one Spot account of the AWS account.
    assert_eq!(
        rehearsal.calls()["spot:DELETE /setup/account/{accountId}"],
        1
    );
    assert_eq!(rehearsal.spot_accounts(), before);
    assert_eq!(member.link(), linked);
    let again = clean_up("apply = true\ngrace_period = \"0s\"\nmax_percent = \"100%\"");
    assert_eq!(again["steps"], json!([]), "{again:#}");
}

#[test]
fn a_provider_that_is_killed_before_spot_has_its_creation_leaves_one_spot_account() {
    another_one_is_killed(Hold::Request);
}

#[test]
fn a_provider_that_is_killed_before_it_hears_of_its_creation_leaves_one_spot_account() {
    another_one_is_killed(Hold::Answer);
}
