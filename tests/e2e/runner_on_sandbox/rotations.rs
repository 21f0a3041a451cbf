//! A Spot token that is rotated under a provider that goes on serving: read again on SIGHUP, and when Spot refuses it.

use e2e::moto::Moto;
use rustix::process::Signal;

use super::{
    plain_stacks::{Member, PLAIN},
    relay::Relay,
    *,
};

/// Creates a stack, and returns the tokens that this took.
#[track_caller]
fn tokens_of(member: &Member<'_>, relay: &Relay, name: &str) -> Vec<String> {
    member.create(name);
    member.until_created(name);
    let mut tokens = relay.tokens();
    tokens.dedup();
    tokens
}

#[test]
fn a_token_that_is_kept_in_memory_is_read_again_on_sighup_and_when_spot_refuses_it() {
    let rehearsal = Rehearsal::new(PLAIN);
    let Some(moto) = Moto::start().unwrap() else {
        return;
    };
    let member = Member::of(&rehearsal, &rehearsal.members()[0]);
    member.configure("[spot]\ntoken = { ssm_parameter = \"/spot/token\" }\n");
    let put = |token: &str| {
        let parameter = json!({ "Name": "/spot/token", "Value": token, "Type": "SecureString", "Overwrite": true });
        let wire = moto.wire();
        let put = wire.json("ssm", "AmazonSSM.PutParameter", &parameter);
        rehearsal.runtime.block_on(put).unwrap();
    };
    let relay = Relay::start(&rehearsal);
    relay.accept(&["first", "second"]);
    put("first");
    let mut command = rehearsal.runner.command(&["provider"]);
    command
        .env("SPOT_API_URL", &relay.endpoint)
        .env("AWS_ENDPOINT_URL_SSM", moto.endpoint())
        .env_remove("SPOTINST_TOKEN");
    let mut provider = Background::start(&mut command).unwrap();
    assert_eq!(tokens_of(&member, &relay, "plain-a"), ["first"]);
    put("second");
    assert_eq!(tokens_of(&member, &relay, "plain-b"), ["first"]);

    // Spot takes both: only the signal makes the difference.
    provider.signal(Signal::HUP).unwrap();
    let tokens = tokens_of(&member, &relay, "plain-c");
    assert_eq!(tokens.last().unwrap(), "second", "{tokens:?}");
    provider.check().unwrap();

    relay.accept(&["third"]);
    put("third");
    assert_eq!(tokens_of(&member, &relay, "plain-d"), ["second", "third"]);
    provider.check().unwrap();
    assert!(member.link().works);
}

#[test]
fn a_token_file_is_read_anew_and_sighup_ends_nobody() {
    let rehearsal = Rehearsal::new(PLAIN);
    let member = Member::of(&rehearsal, &rehearsal.members()[0]);
    member.configure("[spot]\ntoken = { file = \"token\" }\n");
    rehearsal.write("token", "old\n");
    let relay = Relay::start(&rehearsal);
    relay.accept(&["new"]);
    let mut command = rehearsal.runner.command(&["provider"]);
    command
        .env("SPOT_API_URL", &relay.endpoint)
        .env_remove("SPOTINST_TOKEN");
    let mut provider = Background::start(&mut command).unwrap();
    member.create("plain-a");
    rehearsal.until("Spot refuses the old one", || {
        provider.check().unwrap();
        let tokens = relay.tokens();
        tokens.contains(&"old".to_owned()).then_some(())
    });
    // At once, as whoever mounts a secret does it: half a token is none.
    rehearsal.write("token.new", "new\n");
    fs::rename(rehearsal.path("token.new"), rehearsal.path("token")).unwrap();
    provider.signal(Signal::HUP).unwrap();
    member.until_created("plain-a");
    assert!(relay.tokens().contains(&"new".to_owned()));
    assert!(member.link().works);
    // It still serves, with nothing but the new one.
    assert_eq!(tokens_of(&member, &relay, "plain-b"), ["new"]);
    provider.check().unwrap();
}
