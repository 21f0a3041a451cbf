//! Accounts that move between organizational units or leave them, with both settings of `enrollment.deletion`.

use super::*;

const MOVES: &str = "seed = 7\nclock_speed = 120.0\n\
                     [organization]\naccounts = 4\nous = 3\ndepth = 1\ntrusted_access = true\n\
                     [spot]\nlinked = 1\n";

/// An enrolled organization with one profile for each of its first two units, and a provider that goes on serving.
struct Enrolled {
    _provider: Background,
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
            _provider: provider,
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
