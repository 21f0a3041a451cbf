//! Stacks that were kept in accounts which left the targets: the remediation role deletes them, then the Spot accounts go.

mod failures;

use rustix::process::Signal;

use super::*;

/// Four units below the root, and accounts in all of them. Where a service control policy is switched on, it denies DeleteStack.
const UNITS: &str = "seed = 7\nclock_speed = 120.0\n\
                     [organization]\naccounts = 40\nous = 4\ndepth = 1\ntrusted_access = true\n\
                     scp_denied_actions = [\"cloudformation:DeleteStack\"]\n";

const DELETE_STACK: &str = "cloudformation:DeleteStack";

const OUTSIDE: &str = "remove_outside_targets = true";

/// An enrolled organization of which two units are targeted, and a third one has the remediation role as well.
struct Left {
    rehearsal: Rehearsal,
    /// The targeted units.
    inside: [String; 2],
    /// Not targeted, with the remediation role.
    with_role: String,
    /// Not targeted, without it.
    without_role: String,
    /// Accounts of the targeted units.
    members: Vec<String>,
}

impl Left {
    fn new() -> Self {
        let rehearsal = Rehearsal::new(UNITS);
        let units = rehearsal.admin("ous", None);
        let units = units["ous"].as_array().unwrap().iter();
        let units: Vec<String> = units
            .filter(|unit| !unit["parent"].is_null())
            .map(|unit| text(&unit["id"]))
            .collect();
        let [one, two, with_role, without_role] = &units[..] else {
            panic!("{units:?}")
        };
        let inside = [one.clone(), two.clone()];
        let organization = rehearsal.runtime.block_on(rehearsal.wire.json(
            "organizations",
            "AWSOrganizationsV20161128.DescribeOrganization",
            &json!({}),
        ));
        let organization = text(&organization.unwrap()["Organization"]["Id"]);
        let principals = "principals = [\"user/administrator\"]";
        let sections = format!(
            "[removal]\nclosed_grace = \"0s\"\n\
             [audit]\nenabled = true\n{principals}\norganization_id = {organization:?}\n\
             [remediation]\nenabled = true\n{principals}\nleftover_stacks = true\n\
             organizational_units = [{with_role:?}]\n"
        );
        rehearsal.configure(&sections, "", &format!("ous = {inside:?}"));
        rehearsal.sync_ends(0, &[]);
        rehearsal.cleanup_ends(0, "", &[]);
        let members = rehearsal.members().into_iter();
        let members = members.filter(|account| !rehearsal.links_of(account).is_empty());
        Self {
            inside,
            with_role: with_role.clone(),
            without_role: without_role.clone(),
            members: members.collect(),
            rehearsal,
        }
    }

    /// The id of an account's remediation role; none when it has none.
    fn remediation_role(&self, account: &str) -> Option<String> {
        let name = [("RoleName", "spot-onboarding-remediation")];
        let told = in_account(&self.rehearsal, account, "iam", "GetRole", &name).ok()?;
        let rest = told.split("<RoleId>").nth(1).unwrap();
        Some(rest.split('<').next().unwrap().to_owned())
    }

    /// AWS has taken an account's remediation role away, or made another one, and all that follows from a move besides.
    fn until_moved(&self, account: &str, before: Option<&String>, is_there: bool) {
        self.rehearsal.until("AWS has followed the account", || {
            let now = self.remediation_role(account);
            (now.as_ref() != before && now.is_some() == is_there).then_some(())
        });
        self.rehearsal.until_operations_end();
        if is_there {
            let role = format!("arn:aws:iam::{account}:role/spot-onboarding-remediation");
            self.rehearsal.session(&role);
        }
    }

    /// An account moves, and AWS has done what follows from that.
    fn moves(&self, account: &str, unit: &str) {
        let before = self.remediation_role(account);
        let path = format!("accounts/{account}/move");
        self.rehearsal.post(&path, &json!({ "ou": unit }));
        self.until_moved(account, before.as_ref(), unit != self.without_role);
    }

    /// The ids of the stacks that made an account's roles.
    fn stacks(&self, account: &str) -> Vec<String> {
        let listed = in_account(
            &self.rehearsal,
            account,
            "cloudformation",
            "ListStacks",
            &[],
        );
        let listed = listed.unwrap();
        let ids = listed.split("<StackId>").skip(1);
        let ids = ids.map(|rest| rest.split('<').next().unwrap());
        ids.filter(|id| id.contains("StackSet-spot-onboarding-default-"))
            .map(str::to_owned)
            .collect()
    }

    /// The id of the stack that made an account's role.
    fn stack(&self, account: &str) -> String {
        self.stacks(account).remove(0)
    }

    /// An account moves to where the remediation role is. The id of its stack.
    fn stack_of_moved(&self, account: &str) -> String {
        let stack = self.stack(account);
        self.moves(account, &self.with_role);
        stack
    }

    /// How CloudFormation says that a stack is, by its name or id; none when it says that there is none.
    fn status(&self, account: &str, stack: &str) -> Option<String> {
        let input = [("StackName", stack)];
        let asked = in_account(
            &self.rehearsal,
            account,
            "cloudformation",
            "DescribeStacks",
            &input,
        );
        let told = asked.ok()?;
        let rest = told.split("<StackStatus>").nth(1).unwrap();
        Some(rest.split('<').next().unwrap().to_owned())
    }

    fn name(&self, account: &str) -> String {
        let accounts = self.rehearsal.accounts();
        let account = accounts.iter().find(|one| one["id"] == account);
        text(&account.unwrap()["name"])
    }

    /// Whether the account's role, by name, is there.
    fn has_role(&self, account: &str, role: &str) -> bool {
        let input = [("RoleName", role)];
        in_account(&self.rehearsal, account, "iam", "GetRole", &input).is_ok()
    }

    /// The names of the policies that our stacks made in an account.
    fn policies(&self, account: &str) -> usize {
        let listed = self
            .rehearsal
            .iam(account, "ListPolicies", &[("Scope", "Local")]);
        listed
            .matches("<PolicyName>StackSet-spot-onboarding-default")
            .count()
    }
}

fn only(calls: &[&str]) -> BTreeSet<String> {
    calls.iter().map(|call| (*call).to_owned()).collect()
}

#[test]
fn a_stack_that_was_left_is_deleted_through_the_remediation_role_before_its_spot_account() {
    let left = Left::new();
    let rehearsal = &left.rehearsal;
    let [moved, unreached, protected, back, ..] = &left.members[..] else {
        panic!("{:?}", left.members)
    };
    let spot = rehearsal.links_of(moved)[0].clone();
    let (role, stack) = (linked_role(rehearsal, moved), left.stack(moved));
    let is_spot_let_in = || {
        let name = [("RoleName", &*role)];
        rehearsal
            .iam(moved, "GetRole", &name)
            .contains("922761411349")
    };
    left.moves(unreached, &left.without_role);
    for account in [moved, protected, back] {
        left.moves(account, &left.with_role);
    }
    assert!(is_spot_let_in() && left.policies(moved) > 0);
    assert_eq!(
        left.status(moved, &stack).as_deref(),
        Some("CREATE_COMPLETE")
    );

    // They wait for the grace period.
    let calls = rehearsal.calls();
    let name = left.name(protected);
    let params = format!("{OUTSIDE}\nprotected_names = [{name:?}]");
    let waits = rehearsal.cleanup_ends(0, &format!("apply = true\n{params}"), &["--yes"]);
    assert_eq!(
        listed(&waits, "skipped", "grace-period").len(),
        3,
        "{waits:#}"
    );

    // A dry run looks, and changes nothing.
    let params = format!("{AT_ONCE}\n{params}");
    let due = rehearsal.cleanup_ends(3, &params, &["--dry-run"]);
    assert_eq!(rehearsal.writes_since(&calls), only(&["sts:AssumeRole"]));
    assert_eq!(listed(&due, "skipped", "protected"), [protected.as_str()]);
    assert_eq!(
        listed(&due, "skipped", "stack-remains"),
        [unreached.as_str()]
    );
    let said = &found(&due, "stack-remains")[0];
    let command = format!(
        "aws cloudformation delete-stack --region us-east-1 --stack-name {}",
        left.stack(unreached)
    );
    for words in [
        command.as_str(),
        "spot-onboarding-remediation cannot be assumed",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let step = format!("delete-leftover-stack:{moved}");
    let planned = steps(&due);
    assert!(planned.contains(&step) && planned.len() == 4, "{planned:?}");

    // One of two is targeted again before the plan is applied.
    let file = rehearsal.path("plan.json");
    let file = file.to_str().unwrap();
    let planned = rehearsal.run(&["plan", "orphan-cleanup", "-o", file]);
    assert_eq!(planned.code, 3, "{}{}", planned.stdout, planned.stderr);
    let path = format!("accounts/{back}/move");
    rehearsal.post(&path, &json!({ "ou": left.inside[0] }));
    let applied = rehearsal.run(&["--output", "json", "apply", file, "--yes"]);
    let document = applied.json().unwrap();
    assert_adds_up(&document);
    assert_eq!(applied.code, 3, "{document:#}\n{}", applied.stderr);
    assert_eq!(
        steps(&document),
        [step, format!("delete-spot-account:{}", spot.id)]
    );
    assert_eq!(count(&document, "changed"), 1, "{document:#}");
    let calls = &document["api_calls"];
    assert_eq!(calls["cloudformation:DeleteStack"], 1, "{document:#}");
    // The stack, role and policies are gone, and so is the Spot account; nothing of the others is.
    assert_eq!(
        left.status(moved, &stack).as_deref(),
        Some("DELETE_COMPLETE")
    );
    let name = stack.split('/').nth(1).unwrap();
    assert_eq!(left.status(moved, name), None);
    assert!(!left.has_role(moved, &role));
    assert_eq!(left.policies(moved), 0);
    assert!(!rehearsal.is_at_spot(&spot.id));
    assert_eq!(rehearsal.deletions(), 1);
    for account in [unreached, protected, back] {
        let [link] = &rehearsal.links_of(account)[..] else {
            panic!("{account} is not linked once")
        };
        assert!(link.works, "{link:?}");
    }

    // The stack is not put back, and that is said.
    let undone = rehearsal.undo_ends(3, &text(&document["run_id"]), &["--dry-run"]);
    assert!(undone.to_string().contains("is not put back"), "{undone:#}");
}

#[test]
fn a_stack_that_cannot_be_deleted_keeps_its_spot_account_and_the_role_may_nothing_else() {
    let left = Left::new();
    let rehearsal = &left.rehearsal;
    let account = &left.members[0];
    let (role, stack) = (linked_role(rehearsal, account), left.stack(account));
    left.moves(account, &left.with_role);

    // By itself, the role deletes neither what a stack of ours made nor another stack.
    let arn = format!("arn:aws:iam::{account}:role/spot-onboarding-remediation");
    let session = rehearsal.session(&arn);
    let [id, _, token] = session.each_ref().map(|(_, value)| value.as_str());
    let inside = rehearsal.wire.in_session(id, token);
    let refused = |service: &str, version: &str, action: &str, input: (&str, &str)| {
        let input = [("Version", version), input];
        let asked = inside.query(service, action, &input);
        let refused = rehearsal.runtime.block_on(asked).unwrap_err();
        let refused = format!("{refused:#}");
        assert!(refused.contains("AccessDenied"), "{action}: {refused}");
    };
    refused("iam", "2010-05-08", "DeleteRole", ("RoleName", &role));
    refused("iam", "2010-05-08", "GetRole", ("RoleName", &role));
    let (formation, version) = ("cloudformation", "2010-05-15");
    let own = stack.replace("onboarding-default-", "onboarding-audit-role-");
    refused(formation, version, "DeleteStack", ("StackName", &own));
    let named = ("StackSetName", "spot-onboarding-default");
    refused(formation, version, "DescribeStackSet", named);

    // Somebody gave the role a policy, so that IAM does not let CloudFormation delete it.
    let input = [
        ("RoleName", &*role),
        ("PolicyArn", "arn:aws:iam::aws:policy/ReadOnlyAccess"),
    ];
    rehearsal.iam(account, "AttachRolePolicy", &input);
    let params = format!("{AT_ONCE}\n{OUTSIDE}");
    let failed = rehearsal.cleanup_ends(1, &params, &["--yes"]);
    let [removal, deletion] = &failed["steps"].as_array().unwrap()[..] else {
        panic!("{failed:#}")
    };
    assert_eq!(
        (&removal["outcome"], &deletion["outcome"]),
        (&json!("failed"), &json!("skipped"))
    );
    let note = text(&removal["note"]);
    for words in ["DELETE_FAILED", "aws cloudformation delete-stack --region"] {
        assert!(note.contains(words), "{words}: {note}");
    }
    assert_eq!(
        (rehearsal.deletions(), rehearsal.links_of(account).len()),
        (0, 1)
    );

    // Once that is away, the next run goes on.
    rehearsal.iam(account, "DetachRolePolicy", &input);
    let done = rehearsal.cleanup_ends(0, &params, &["--yes"]);
    assert_eq!(count(&done, "changed"), 1, "{done:#}");
    assert!(!left.has_role(account, &role));
    assert_eq!(
        (rehearsal.deletions(), rehearsal.links_of(account).len()),
        (1, 0)
    );
}

#[test]
fn an_account_that_is_protected_or_runs_something_by_then_keeps_its_stack() {
    let left = Left::new();
    let rehearsal = &left.rehearsal;
    let account = &left.members[0];
    let (spot, stack) = (rehearsal.links_of(account)[0].clone(), left.stack(account));
    left.moves(account, &left.with_role);
    let protected = &left.without_role;
    let params = format!("{AT_ONCE}\n{OUTSIDE}\nprotected_ous = [{protected:?}]");
    let runs = |running: bool| {
        let path = format!("spot/{}/running", spot.id);
        rehearsal.post(&path, &json!({ "running": running }));
    };
    let met = rehearsal.cleanup_meets(1, &params, || runs(true));
    let said = super::moment::notes(&met);
    assert!(said[0].contains("run in its Spot account"), "{met:#}");
    assert_eq!(met["steps"][1]["outcome"], "skipped");
    runs(false);
    let role = left.remediation_role(account).unwrap();
    let moves = |unit: &str| {
        let path = format!("accounts/{account}/move");
        rehearsal.post(&path, &json!({ "ou": unit }));
    };
    let met = rehearsal.cleanup_meets(1, &params, || moves(protected));
    let said = super::moment::notes(&met);
    assert!(said[0].contains("`protected_ous` has"), "{met:#}");
    left.until_moved(account, Some(&role), false);
    left.moves(account, &left.with_role);
    let met = rehearsal.cleanup_meets(1, &params, || moves(&left.inside[0]));
    let said = super::moment::notes(&met);
    assert!(said[0].contains("targeted again"), "{met:#}");
    assert_eq!(
        left.status(account, &stack).as_deref(),
        Some("CREATE_COMPLETE")
    );
    assert_eq!(rehearsal.deletions(), 0);
}

#[test]
fn a_run_that_died_or_heard_nothing_after_it_asked_is_followed_and_nothing_is_asked_twice() {
    let left = Left::new();
    let rehearsal = &left.rehearsal;
    let [heard, died, ..] = &left.members[..] else {
        panic!("{:?}", left.members)
    };
    let asked = || rehearsal.calls().get(DELETE_STACK).copied().unwrap_or(0);
    let params = format!("{AT_ONCE}\n{OUTSIDE}");

    // CloudFormation takes the request, and its answer is lost.
    left.moves(heard, &left.with_role);
    let (service, operation) = DELETE_STACK.split_once(':').unwrap();
    let fault =
        json!({ "service": service, "operation": operation, "kind": "drop_after", "times": 1 });
    rehearsal.post("faults", &fault);
    let done = rehearsal.cleanup_ends(0, &params, &["--yes"]);
    assert_eq!(count(&done, "changed"), 1, "{done:#}");
    assert_eq!(rehearsal.links_of(heard).len(), 0);

    // The run is killed once CloudFormation was asked.
    let before = asked();
    let stack = left.stack_of_moved(died);
    let arguments = ["--output", "json", "exec", "orphan-cleanup", "--yes"];
    let mut run = rehearsal.runner.start(&arguments).unwrap();
    rehearsal.until("CloudFormation is asked", || {
        run.check().unwrap();
        (asked() > before).then_some(())
    });
    run.signal(Signal::KILL).unwrap();
    assert!(run.wait(COMMAND_LIMIT).is_err(), "a signal ended it");
    assert_eq!(rehearsal.links_of(died).len(), 1);
    // It has used the day up for others, and not for the one that takes it up.
    let params = format!("{params}\nmax_per_day = 2");
    let done = rehearsal.cleanup_ends(0, &params, &["--yes"]);
    assert_eq!(count(&done, "changed"), 1, "{done:#}");
    assert_eq!(asked(), before + 1);
    assert_eq!(
        left.status(died, &stack).as_deref(),
        Some("DELETE_COMPLETE")
    );
    assert_eq!(rehearsal.links_of(died).len(), 0);
}

#[test]
fn stacks_out_of_reach_keep_no_other_spot_account_from_being_deleted() {
    let left = Left::new();
    let rehearsal = &left.rehearsal;
    let (gone, members) = left.members.split_first().unwrap();
    let unreached = &members[..11];
    for account in unreached {
        left.moves(account, &left.without_role);
    }
    // One may be deleted, and ten stacks are looked at: these are the oldest, and none of them can go.
    let params = format!("{AT_ONCE}\n{OUTSIDE}\nmax_deletions = 1");
    let kept = rehearsal.cleanup_ends(3, &params, &["--yes"]);
    assert_eq!(
        listed(&kept, "skipped", "stack-remains").len(),
        11,
        "{kept:#}"
    );
    assert_eq!(found(&kept, "stack-remains").len(), 10, "{kept:#}");

    let spot = rehearsal.departs(gone);
    let done = rehearsal.cleanup_ends(3, &params, &["--yes"]);
    assert_eq!(count(&done, "changed"), 1, "{done:#}");
    // After it, when nothing more may be deleted, what was looked at before it is told all the same.
    assert_eq!(found(&done, "stack-remains").len(), 10, "{done:#}");
    assert!(!rehearsal.is_at_spot(&spot.id));
    assert_eq!(rehearsal.deletions(), 1);
}

#[test]
fn an_older_stack_of_ours_in_the_account_keeps_both_until_it_is_gone() {
    let left = Left::new();
    let rehearsal = &left.rehearsal;
    let account = &left.members[0];
    let (before, older) = (rehearsal.links_of(account).remove(0), left.stack(account));
    // It moves between two units that are targeted: its stack is kept, and another one takes the link over.
    let accounts = rehearsal.accounts();
    let unit = accounts.iter().find(|one| one["id"] == account.as_str());
    let unit = text(&unit.unwrap()["parent"]);
    let other = left.inside.iter().find(|one| **one != unit).unwrap();
    let mut provider = rehearsal.runner.start(&["provider"]).unwrap();
    left.moves(account, other);
    rehearsal.until("the newer stack links it", || {
        provider.check().unwrap();
        let links = rehearsal.links_of(account);
        links
            .iter()
            .any(|one| one.role != before.role)
            .then_some(())
    });
    drop(provider);
    let newer = left.stacks(account).into_iter().find(|id| *id != older);
    let newer = newer.unwrap();
    left.moves(account, &left.with_role);

    // It may use the Spot account yet: nothing is tried, and that is told.
    let params = format!("{AT_ONCE}\n{OUTSIDE}");
    let kept = rehearsal.cleanup_ends(3, &params, &["--yes"]);
    assert_eq!(steps(&kept), Vec::<String>::new());
    let said = &found(&kept, "stack-remains")[0];
    assert!(said.contains(&older), "{said}");

    // A person deletes it. Nobody but the remediation role can see that.
    let named = [("StackName", older.as_str())];
    in_account(rehearsal, account, "cloudformation", "DeleteStack", &named).unwrap();
    rehearsal.until("the older stack is gone", || {
        let status = left.status(account, &older);
        (status.as_deref() == Some("DELETE_COMPLETE")).then_some(())
    });
    let done = rehearsal.cleanup_ends(0, &params, &["--yes"]);
    assert_eq!(count(&done, "changed"), 1, "{done:#}");
    let status = left.status(account, &newer);
    assert_eq!(status.as_deref(), Some("DELETE_COMPLETE"));
    assert_eq!(rehearsal.links_of(account).len(), 0);
}
