//! Creates whose resource is deleted meanwhile: SNS and SQS promise no order, and a creation at Spot takes its time.

use super::{
    plain_stacks::{Member, PLAIN, StateFile},
    relay::{Hold, Relay},
    *,
};

/// The topic and the queue, as CloudFormation and a consumer use them.
struct Messages<'a> {
    rehearsal: &'a Rehearsal,
    member: &'a Member<'a>,
    queue: String,
}

impl<'a> Messages<'a> {
    fn of(rehearsal: &'a Rehearsal, member: &'a Member<'a>) -> Self {
        let mut messages = Self {
            rehearsal,
            member,
            queue: String::new(),
        };
        let name = json!({ "QueueName": "spot-onboarding" });
        messages.queue = text(&messages.sqs("GetQueueUrl", name)["QueueUrl"]);
        messages
    }

    fn sqs(&self, operation: &str, mut input: Value) -> Value {
        if !self.queue.is_empty() {
            input["QueueUrl"] = json!(self.queue);
        }
        let target = format!("AmazonSQS.{operation}");
        let call = self.rehearsal.wire.json("sqs", &target, &input);
        self.rehearsal.runtime.block_on(call).unwrap()
    }

    /// Publishes a request of one resource of one stack.
    fn publish(&self, request_type: &str, request_id: &str) {
        let Member { account, topic, .. } = self.member;
        let endpoint = &self.rehearsal.environment["AWS_ENDPOINT_URL"];
        let mut request = json!({
            "RequestType": request_type, "RequestId": request_id, "LogicalResourceId": "SpotAccount",
            "ResourceType": "Custom::SpotAccount", "ServiceToken": topic,
            "StackId": format!("arn:aws:cloudformation:us-east-1:{account}:stack/plain-late/0b1c2d3e"),
            "ResponseURL": format!("{endpoint}/_cloudformation/response/0b1c2d3e-0000-4000-8000-000000000000"),
            "ResourceProperties": { "ServiceToken": topic, "AwsAccountId": account },
        });
        if request_type == "Delete" {
            // CloudFormation makes an id up for a Create that nobody answered.
            request["PhysicalResourceId"] = json!("plain-late-SpotAccount-0B1C2D3E4F5A");
        }
        let message = request.to_string();
        let input = [
            ("Version", "2010-03-31"),
            ("TopicArn", topic.as_str()),
            ("Message", message.as_str()),
        ];
        let published = self.rehearsal.wire.query("sns", "Publish", &input);
        self.rehearsal.runtime.block_on(published).unwrap();
    }

    /// Takes what SNS has delivered last out of the queue.
    fn take(&self) -> String {
        let message = self.rehearsal.until("a message is delivered", || {
            let received = self.sqs("ReceiveMessage", json!({}));
            received["Messages"].get(0).cloned()
        });
        let receipt = json!({ "ReceiptHandle": message["ReceiptHandle"] });
        self.sqs("DeleteMessage", receipt);
        text(&message["Body"])
    }

    fn put(&self, body: &str) {
        self.sqs("SendMessage", json!({ "MessageBody": body }));
    }
}

#[test]
fn a_create_that_comes_after_its_delete_is_refused_and_a_new_one_is_served() {
    let rehearsal = Rehearsal::new(PLAIN);
    let Some(state) = StateFile::of(&rehearsal) else {
        return;
    };
    let before = rehearsal.spot_accounts();
    let member = Member::of(&rehearsal, &rehearsal.members()[0]);
    let messages = Messages::of(&rehearsal, &member);
    let served = || {
        let ended = rehearsal.run(&["provider", "--once"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    };
    messages.publish("Create", "late");
    let create = messages.take();
    messages.publish("Delete", "end");
    served();
    let answer = state.answer("end").unwrap();
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");

    let calls = rehearsal.calls();
    messages.put(&create);
    served();
    let answer = state.answer("late").unwrap();
    assert_eq!(answer["Status"], "FAILED", "{answer}");
    let reason = text(&answer["Reason"]);
    assert!(
        reason.contains("was deleted before this request"),
        "{answer}"
    );
    let writes = rehearsal.writes_since(&calls);
    assert!(
        writes.iter().all(|call| call.starts_with("sqs:")),
        "{writes:?}"
    );
    assert_eq!(rehearsal.spot_accounts(), before);
    assert_eq!(state.tombstones(&member.account), Vec::<Value>::new());

    // A resource of the same name may be made again.
    messages.publish("Create", "new");
    served();
    let answer = state.answer("new").unwrap();
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    assert_eq!(rehearsal.spot_accounts().len(), before.len() + 1);
}

#[test]
fn what_is_created_while_its_resource_is_deleted_stays_for_the_next_stack() {
    let rehearsal = Rehearsal::new(PLAIN);
    let Some(state) = StateFile::of(&rehearsal) else {
        return;
    };
    let before = rehearsal.spot_accounts();
    let member = Member::of(&rehearsal, &rehearsal.members()[0]);
    let messages = Messages::of(&rehearsal, &member);
    let relay = Relay::start(&rehearsal);
    relay.hold("POST /setup/account", Hold::Request);
    let mut command = rehearsal.runner.command(&["provider"]);
    let mut provider = Background::start(command.env("SPOT_API_URL", &relay.endpoint)).unwrap();

    messages.publish("Create", "overtaken");
    rehearsal.until("the creation is on its way", || {
        provider.check().unwrap();
        relay.is_held().then_some(())
    });
    messages.publish("Delete", "end");
    let ended = rehearsal.until("the Delete is answered", || state.answer("end"));
    assert_eq!(ended["Status"], "SUCCESS", "{ended}");
    assert_eq!(rehearsal.spot_accounts(), before);
    relay.release();
    let answer = rehearsal.until("the Create is answered", || state.answer("overtaken"));
    assert_eq!(answer["Status"], "FAILED", "{answer}");
    let reason = text(&answer["Reason"]);
    assert!(reason.contains("was deleted meanwhile"), "{answer}");
    let left = state.tombstones(&member.account);
    let [left] = &left[..] else {
        panic!("{left:?}")
    };
    assert_eq!(left["reason"], "create-failed");
    assert!(text(&left["stack_id"]).contains(":stack/plain-late/"));

    member.create("plain-next");
    member.until_created("plain-next");
    let link = member.link();
    assert_eq!(left["spot_account"], link.id.as_str());
    assert!(link.works, "{link:?}");
    assert_eq!(state.tombstones(&member.account), Vec::<Value>::new());
    assert_eq!(rehearsal.spot_accounts().len(), before.len() + 1);
    assert_eq!(rehearsal.calls()["spot:POST /setup/account"], 1);
}
