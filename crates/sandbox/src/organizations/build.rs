//! Makes the organization that a scenario describes, the same for the same seed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::tree::{Account, Organization, OuIndex, ROOT, State};
use crate::clock::SimTime;
use crate::ids::{AccountId, Ids};
use crate::scenario::Scenario;

const UNITS: [&str; 12] = [
    "Workloads",
    "Security",
    "Infrastructure",
    "Sandbox",
    "Production",
    "Development",
    "Staging",
    "Data",
    "Platform",
    "Shared",
    "Suspended",
    "Research",
];
const TEAMS: [&str; 16] = [
    "payments",
    "search",
    "billing",
    "checkout",
    "media",
    "analytics",
    "identity",
    "logistics",
    "catalog",
    "support",
    "mobile",
    "ledger",
    "pricing",
    "fraud",
    "reports",
    "gateway",
];
const STAGES: [&str; 4] = ["prod", "stage", "dev", "test"];

impl Organization {
    /// The organization of a scenario at the time `now`.
    pub(crate) fn build(scenario: &Scenario, now: SimTime) -> Self {
        let shape = &scenario.organization;
        let mut ids = Ids::new(scenario.seed, "organization");
        let (id, suffix) = (format!("o-{}", ids.lower(10)), ids.lower(4));
        let member = |id, name: &str| Account {
            id,
            parent: ROOT,
            state: State::Active,
            scp_blocked: false,
            unlisted: false,
            invited: false,
            joined: now - Duration::from_secs(400 * 24 * 3600),
            name: name.into(),
            custom_email: None,
            tags: BTreeMap::new(),
        };
        let management = member(ids.account(), "Management");
        let mut organization = Self::with_root(id, format!("r-{suffix}"), management);
        for number in 0..shape.ous {
            let parent = organization.parent_for_unit(&mut ids, number, shape.depth);
            let name = format!(
                "{}{}",
                UNITS[number % UNITS.len()],
                ordinal(number / UNITS.len())
            );
            organization.insert_ou(format!("ou-{suffix}-{}", ids.lower(8)), name, parent);
        }
        for number in 0..shape.accounts {
            let id = organization.unused_account_id(&mut ids);
            let team = TEAMS[ids.below(TEAMS.len() as u64) as usize];
            let stage = STAGES[ids.below(STAGES.len() as u64) as usize];
            let mut account = member(id, &format!("{team}-{stage}-{number:04}"));
            // One account in twenty sits in the root; the units fill unevenly.
            if shape.ous > 0 && ids.below(20) != 0 {
                let (a, b) = (ids.below(shape.ous as u64), ids.below(shape.ous as u64));
                account.parent = OuIndex(a.min(b) as u32 + 1);
            }
            account.joined = account.joined + Duration::from_secs(ids.below(300 * 24 * 3600));
            organization.insert(account);
        }
        organization.mark_special(scenario);
        organization.tag_accounts(scenario);
        if shape.trusted_access {
            organization.set_stack_sets_access(true, now);
        }
        organization
    }

    /// The member accounts in the scenario's own random order: the first are suspended, the next
    /// closed, the next blocked, and those after them known to Spot.
    pub(crate) fn drawn_members(&self, seed: u64) -> Vec<AccountId> {
        self.shuffled_members(Ids::new(seed, "special accounts"))
    }

    /// The member accounts in a random order.
    fn shuffled_members(&self, mut random: Ids) -> Vec<AccountId> {
        let mut members: Vec<AccountId> = self
            .accounts()
            .map(|account| account.id)
            .filter(|id| *id != self.management)
            .collect();
        for last in (1..members.len()).rev() {
            members.swap(last, random.below(last as u64 + 1) as usize);
        }
        members
    }

    fn mark_special(&mut self, scenario: &Scenario) {
        let shape = &scenario.organization;
        let drawn = self.drawn_members(scenario.seed);
        let mut rest = drawn.iter().copied();
        for id in rest.by_ref().take(shape.suspended) {
            self.set_state(id, State::Suspended);
        }
        for id in rest.by_ref().take(shape.closed) {
            self.set_state(id, State::Closed);
        }
        for id in rest.take(shape.scp_blocked) {
            self.set_scp_blocked(id, true);
        }
        for id in drawn.iter().rev().take(shape.invited) {
            if let Some(account) = self.account_mut(*id) {
                account.invited = true;
            }
        }
    }

    /// One order of the accounts for each key, so that no account is drawn twice for one.
    fn tag_accounts(&mut self, scenario: &Scenario) {
        let mut orders: BTreeMap<&str, std::vec::IntoIter<AccountId>> = BTreeMap::new();
        for tag in &scenario.organization.tags {
            let order = orders.entry(&tag.key).or_insert_with(|| {
                let random = Ids::new(scenario.seed, &format!("tag {}", tag.key));
                self.shuffled_members(random).into_iter()
            });
            for id in order.take(tag.accounts) {
                if let Some(account) = self.account_mut(id) {
                    account.tags.insert(tag.key.clone(), tag.value.clone());
                }
            }
        }
    }

    /// The first units form a chain as deep as asked for; the others go anywhere it is not too deep.
    fn parent_for_unit(&self, ids: &mut Ids, number: usize, depth: usize) -> OuIndex {
        if number < depth {
            return OuIndex(number as u32);
        }
        loop {
            let candidate = OuIndex(ids.below(number as u64 + 1) as u32);
            if self.depth(candidate) < depth {
                return candidate;
            }
        }
    }

    /// A fresh 12-digit account id.
    pub(super) fn unused_account_id(&self, ids: &mut Ids) -> AccountId {
        loop {
            let id = ids.account();
            if self.account(id).is_none() {
                return id;
            }
        }
    }
}

fn ordinal(round: usize) -> String {
    if round == 0 {
        String::new()
    } else {
        format!("-{}", round + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(text: &str) -> Scenario {
        Scenario::parse(text).unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_organization() {
        let text = "seed = 9\n[organization]\naccounts = 200\nous = 30\ndepth = 4\nsuspended = 3\nclosed = 2\nscp_blocked = 4";
        let make = || Organization::build(&scenario(text), SimTime(1));
        let (a, b) = (make(), make());
        assert_eq!(a.id, b.id);
        assert!(
            a.accounts()
                .map(|x| (x.id, x.parent, x.state))
                .eq(b.accounts().map(|x| (x.id, x.parent, x.state)))
        );
        assert_eq!(a.len(), 201);
        assert_eq!(
            a.accounts().filter(|x| x.state == State::Suspended).count(),
            3
        );
        assert_eq!(a.accounts().filter(|x| x.state == State::Closed).count(), 2);
        assert_eq!(a.accounts().filter(|x| x.scp_blocked).count(), 4);
        let deepest = (0..a.ous().len()).map(|i| a.depth(OuIndex(i as u32))).max();
        assert_eq!(deepest, Some(4));
        let shallow = Organization::build(
            &scenario(&text.replace("seed = 9", "seed = 10")),
            SimTime(1),
        );
        assert_ne!(a.id, shallow.id);
    }

    #[test]
    fn as_many_accounts_carry_a_tag_as_the_scenario_says() {
        let organization = Organization::build(
            &scenario(
                "[organization]\naccounts = 20\n\
                 [[organization.tags]]\nkey = \"stage\"\nvalue = \"prod\"\naccounts = 12\n\
                 [[organization.tags]]\nkey = \"stage\"\nvalue = \"test\"\naccounts = 8\n\
                 [[organization.tags]]\nkey = \"owned\"\naccounts = 3",
            ),
            SimTime(1),
        );
        let carriers = |key: &str, value: &str| {
            let has = |account: &&Account| account.tags.get(key).is_some_and(|has| has == value);
            organization.accounts().filter(has).count()
        };
        assert_eq!(carriers("stage", "prod"), 12);
        assert_eq!(carriers("stage", "test"), 8);
        assert_eq!(carriers("owned", ""), 3);
    }

    #[test]
    fn a_hundred_thousand_accounts_are_built_and_found_from_the_root() {
        let organization = Organization::build(
            &scenario("[organization]\naccounts = 100000\nous = 2000\ndepth = 5"),
            SimTime(1),
        );
        assert_eq!(organization.accounts_under(ROOT).len(), 100_001);
    }
}
