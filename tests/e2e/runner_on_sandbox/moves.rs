//! Accounts that move between organizational units or leave them, with both settings of `enrollment.deletion`.

use super::{audits::in_account, *};

const MOVES: &str = "seed = 7\nclock_speed = 120.0\n\
                     [organization]\naccounts = 4\nous = 3\ndepth = 1\ntrusted_access = true\n\
                     [spot]\nlinked = 1\n";

/// An enrolled organization with one profile for each of its first two units, and a provider that goes on serving.
struct Enrolled {
    provider: Option<Background>,
    rehearsal: Rehearsal,
    /// Two targeted units and one that is not.
    units: Vec<String>,
    /// The Spot account that somebody else had linked before.
    theirs: SpotAccount,
}

impl Enrolled {
    /// All accounts start in the first unit.
    fn new(deletion: &str, adopt: &str) -> Self {
        let rehearsal = Rehearsal::new(MOVES);
        let theirs = rehearsal.spot_accounts();
        let theirs = theirs.into_iter().find(|spot| spot.aws_account.is_some());
        let units = rehearsal.admin("ous", None);
        let units = units["ous"].as_array().unwrap();
        let units: Vec<String> = units
            .iter()
            .filter(|unit| unit["parent"].is_string())
            .map(|unit| text(&unit["id"]))
            .collect();
        let profile = |name: &str, unit: &str| {
            format!(
                "[[profiles]]\nname = {name:?}\nadopt = {adopt:?}\ntargets = {{ ous = [{unit:?}] }}\n"
            )
        };
        rehearsal.write(
            "config/runner.toml",
            &format!(
                "[enrollment]\nserved_by = \"run\"\ndeletion = {deletion:?}\n[aws]\nregion = \"us-east-1\"\n\
                 [audit]\nenabled = true\nrole_name = \"OrganizationAccountAccessRole\"\n{}{}",
                profile("first", &units[0]),
                profile("second", &units[1])
            ),
        );
        for account in rehearsal.members() {
            rehearsal.post(
                &format!("accounts/{account}/move"),
                &json!({"ou": units[0]}),
            );
        }
        rehearsal.sync_ends(0, &[]);
        let provider = rehearsal.runner.start(&["provider"]).unwrap();
        Self {
            provider: Some(provider),
            rehearsal,
            units,
            theirs: theirs.unwrap(),
        }
    }

    /// Moves an account and waits until what auto-deployment makes of it is done.
    fn relocate(&self, account: &str, unit: &str) {
        let rehearsal = &self.rehearsal;
        let before = rehearsal.admin("state", None)["stack_sets"].clone();
        rehearsal.post(&format!("accounts/{account}/move"), &json!({"ou": unit}));
        rehearsal.until("auto-deployment sees the move", || {
            (rehearsal.admin("state", None)["stack_sets"] != before).then_some(())
        });
        rehearsal.until_operations_end();
    }

    /// The Spot account of an account that we enrolled.
    fn ours(&self) -> SpotAccount {
        let mut all = self.rehearsal.spot_accounts();
        all.retain(|spot| spot.aws_account.is_some() && spot.id != self.theirs.id);
        all.remove(0)
    }
}

#[test]
fn an_account_taken_out_takes_its_own_spot_account_with_it_but_not_an_adopted_one() {
    let enrolled = Enrolled::new("stack", "relink");
    let (ours, theirs) = (enrolled.ours(), &enrolled.theirs);
    for spot in [&ours, theirs] {
        enrolled.relocate(spot.aws_account.as_deref().unwrap(), &enrolled.units[2]);
    }
    let left = enrolled.rehearsal.spot_accounts();
    let left: Vec<&str> = left.iter().map(|spot| spot.id.as_str()).collect();
    assert!(!left.contains(&ours.id.as_str()), "{ours:?}");
    assert!(left.contains(&theirs.id.as_str()), "{theirs:?}");
}

#[test]
fn an_account_that_moves_has_one_spot_account_linked_to_its_new_stack() {
    for deletion in ["stack", "reconcile"] {
        let enrolled = Enrolled::new(deletion, "keep-link");
        let rehearsal = &enrolled.rehearsal;
        let ours = enrolled.ours();
        let account = ours.aws_account.clone().unwrap();
        enrolled.relocate(&account, &enrolled.units[1]);
        let link = rehearsal.until("the new stack links it", || {
            match &rehearsal.links_of(&account)[..] {
                [one] if one.role != ours.role => Some(one.clone()),
                _ => None,
            }
        });
        assert!(link.works, "{deletion}: {link:?}");
        // With "stack" it depends on which of the two stacks asks first.
        assert!(deletion == "stack" || link.id == ours.id, "{link:?}");
        assert_eq!(rehearsal.links_of(&account).len(), 1, "{deletion}");
    }
}

/// A request of CloudFormation that was taken out of the queue.
struct Taken {
    body: String,
    request: Value,
}

impl Enrolled {
    fn sqs(&self, operation: &str, input: &Value) -> Value {
        let target = format!("AmazonSQS.{operation}");
        let call = self.rehearsal.wire.json("sqs", &target, input);
        self.rehearsal.runtime.block_on(call).unwrap()
    }

    /// Takes what stacks have sent out of the queue, until what was taken is enough.
    fn take(&self, queue: &str, is_enough: impl Fn(&[Taken]) -> bool) -> Vec<Taken> {
        let mut taken = Vec::new();
        self.rehearsal.until("stacks have sent requests", || {
            let received = self.sqs("ReceiveMessage", &json!({ "QueueUrl": queue }));
            for message in received["Messages"].as_array().into_iter().flatten() {
                let receipt = &message["ReceiptHandle"];
                let delete = json!({ "QueueUrl": queue, "ReceiptHandle": receipt });
                self.sqs("DeleteMessage", &delete);
                let body = text(&message["Body"]);
                // SNS puts what was published into an envelope.
                let envelope: Value = serde_json::from_str(&body).unwrap();
                let request = match envelope["Message"].as_str() {
                    Some(message) => serde_json::from_str(message).unwrap(),
                    None => envelope,
                };
                taken.push(Taken { body, request });
            }
            is_enough(&taken).then_some(())
        });
        taken
    }
}

/// Whether a request is of something that is deleted.
fn ends(taken: &Taken) -> bool {
    taken.request["RequestType"] == "Delete"
}

#[test]
fn a_delete_of_the_old_stack_that_comes_long_after_a_move_takes_nothing() {
    let mut enrolled = Enrolled::new("stack", "keep-link");
    let ours = enrolled.ours();
    let account = ours.aws_account.clone().unwrap();
    // Nobody serves while the account moves, so that the requests of both stacks are in the queue.
    drop(enrolled.provider.take());
    let rehearsal = &enrolled.rehearsal;
    let queue = enrolled.sqs("GetQueueUrl", &json!({ "QueueName": "spot-onboarding" }));
    let queue = text(&queue["QueueUrl"]);
    let unit = &enrolled.units[1];
    rehearsal.post(&format!("accounts/{account}/move"), &json!({ "ou": unit }));
    let taken = enrolled.take(&queue, |taken| {
        taken.iter().any(ends) && taken.iter().any(|one| !ends(one))
    });
    let (late, others): (Vec<Taken>, Vec<Taken>) = taken.into_iter().partition(ends);
    let put = |taken: &[Taken]| {
        for one in taken {
            let input = json!({ "QueueUrl": queue, "MessageBody": one.body });
            enrolled.sqs("SendMessage", &input);
        }
    };
    let old = text(&late[0].request["StackId"]);
    let is_old = |status: &str| {
        let shown = in_account(
            rehearsal,
            &account,
            "cloudformation",
            "DescribeStacks",
            &[("StackName", &old)],
        );
        shown
            .unwrap()
            .contains(&format!("<StackStatus>{status}</StackStatus>"))
    };

    // The new stack takes the Spot account over while the old one still waits to be deleted.
    put(&others);
    let mut provider = rehearsal.runner.start(&["-vv", "provider"]).unwrap();
    let link = rehearsal.until("the new stack links it", || {
        provider.check().unwrap();
        match &rehearsal.links_of(&account)[..] {
            [one] if one.role != ours.role => Some(one.clone()),
            _ => None,
        }
    });
    assert_eq!(link.id, ours.id);
    assert!(link.works, "{link:?}");
    assert!(is_old("DELETE_IN_PROGRESS"));

    // Its Delete comes, and the ones after it.
    put(&late);
    rehearsal.until("the old stack is deleted", || {
        provider.check().unwrap();
        is_old("DELETE_COMPLETE").then_some(())
    });
    assert_eq!(rehearsal.links_of(&account), [link]);
    let deletions = rehearsal.calls();
    let deletions = deletions.get("spot:DELETE /setup/account/{accountId}");
    assert_eq!(deletions, None);
    let said = provider.stderr().unwrap();
    let spared = "another stack owns the Spot account";
    assert!(said.contains(spared), "{said}");
    rehearsal.until_operations_end();
    rehearsal.sync_ends(0, &[]);
}
