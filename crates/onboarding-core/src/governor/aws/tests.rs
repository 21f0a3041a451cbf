//! The governor against a clock that the tests move.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    AwsGovernor, ListingShape, MAX_IN_FLIGHT, Rates, SnapshotStrategy,
    bounds::{Bounds, bounds},
};

const LIST: &str = "organizations:ListAccounts";
const ROLE: &str = "iam:GetRole";

/// Sends as fast as the governor allows until `end`; every call is answered `as_throttled` or well, at once.
fn drive(
    governor: &mut AwsGovernor,
    operation: &'static str,
    from: Duration,
    end: Duration,
    throttled: impl Fn(u64, Duration) -> bool,
) -> u64 {
    let (mut now, mut sent) = (from, 0);
    while now < end {
        match governor.try_acquire(operation, now) {
            Ok(()) => {
                sent += 1;
                if throttled(sent, now) {
                    governor.throttled(operation, now);
                } else {
                    governor.answered(operation, Duration::from_millis(25), now);
                }
                now += Duration::from_millis(1);
            }
            Err(wait) => now += wait,
        }
    }
    sent
}

#[test]
fn a_published_operation_gets_our_share_of_its_burst_and_then_of_its_rate() {
    let mut governor = AwsGovernor::new(Rates::Published { share: 0.5 });
    let sent = drive(
        &mut governor,
        LIST,
        Duration::ZERO,
        Duration::from_secs(100),
        |_, _| false,
    );
    // Half of a burst of 12, then half of 8 a second.
    assert!((405..=407).contains(&sent), "{sent}");
}

#[test]
fn at_least_one_call_fits_into_the_burst() {
    let mut governor = AwsGovernor::new(Rates::Published { share: 0.1 });
    assert_eq!(
        governor.try_acquire("organizations:DescribeOrganization", Duration::ZERO),
        Ok(())
    );
    let wait = governor
        .try_acquire("organizations:DescribeOrganization", Duration::ZERO)
        .unwrap_err();
    assert_eq!(wait.as_secs(), 10);
}

#[test]
fn a_rate_that_aws_has_raised_is_more_than_the_published_one() {
    let mut governor = AwsGovernor::new(Rates::Published { share: 10.0 });
    let sent = (0..1000)
        .filter(|call| {
            let now = Duration::from_millis(*call);
            governor
                .try_acquire("organizations:ListAccounts", now)
                .is_ok()
        })
        .count();
    let mut published = AwsGovernor::new(Rates::Published { share: 1.0 });
    let usual = (0..1000)
        .filter(|call| {
            let now = Duration::from_millis(*call);
            published
                .try_acquire("organizations:ListAccounts", now)
                .is_ok()
        })
        .count();
    assert!(sent > 5 * usual, "{sent} {usual}");
}

#[test]
fn an_operation_without_a_published_rate_is_unlimited_until_it_is_throttled() {
    let mut governor = AwsGovernor::new(Rates::default());
    for call in 0..100 {
        assert_eq!(
            governor.try_acquire(ROLE, Duration::from_millis(call)),
            Ok(())
        );
    }
    assert_eq!(governor.rate(ROLE), None);
    governor.throttled(ROLE, Duration::from_millis(100));
    assert_eq!(governor.rate(ROLE), Some(50.0), "half of the recent rate");
    assert!(
        governor
            .try_acquire(ROLE, Duration::from_millis(101))
            .is_err()
    );
}

#[test]
fn a_burst_of_throttled_answers_is_one_signal() {
    let mut governor = AwsGovernor::new(Rates::default());
    for call in 0..10 {
        governor.throttled(LIST, Duration::from_millis(call));
    }
    assert_eq!(governor.rate(LIST), Some(2.0));
    governor.throttled(LIST, Duration::from_secs(2));
    assert_eq!(governor.rate(LIST), Some(1.0));
}

#[test]
fn a_halved_rate_recovers_to_our_share_and_never_beyond() {
    let mut governor = AwsGovernor::new(Rates::default());
    governor.throttled(LIST, Duration::ZERO);
    drive(
        &mut governor,
        LIST,
        Duration::ZERO,
        Duration::from_secs(10),
        |_, _| false,
    );
    let halfway = governor.rate(LIST).unwrap();
    assert!(halfway > 2.5 && halfway < 4.0, "{halfway}");
    drive(
        &mut governor,
        LIST,
        Duration::from_secs(10),
        Duration::from_secs(60),
        |_, _| false,
    );
    assert_eq!(governor.rate(LIST), Some(4.0));
}

#[test]
fn rates_off_still_obeys_throttling() {
    let mut governor = AwsGovernor::new(Rates::Off);
    assert_eq!(governor.concurrency(LIST), MAX_IN_FLIGHT);
    assert_eq!(governor.try_acquire(LIST, Duration::ZERO), Ok(()));
    governor.throttled(LIST, Duration::ZERO);
    assert!(governor.try_acquire(LIST, Duration::ZERO).is_err());
}

#[test]
fn it_settles_near_the_rate_that_aws_really_allows() {
    // AWS allows 20 a second; we are told nothing.
    let mut governor = AwsGovernor::new(Rates::default());
    let window = std::cell::RefCell::new(std::collections::VecDeque::<Duration>::new());
    let over = |_: u64, now: Duration| {
        let mut window = window.borrow_mut();
        while window
            .front()
            .is_some_and(|at| now.saturating_sub(*at) >= Duration::from_secs(1))
        {
            window.pop_front();
        }
        window.push_back(now);
        window.len() > 20
    };
    drive(
        &mut governor,
        ROLE,
        Duration::ZERO,
        Duration::from_secs(60),
        over,
    );
    let sent = drive(
        &mut governor,
        ROLE,
        Duration::from_secs(60),
        Duration::from_secs(120),
        over,
    );
    let per_second = sent as f64 / 60.0;
    assert!((10.0..=22.0).contains(&per_second), "{per_second}");
}

#[test]
fn useful_concurrency_follows_rate_and_latency() {
    let mut governor = AwsGovernor::new(Rates::Published { share: 1.0 });
    governor.answered(LIST, Duration::from_secs(1), Duration::ZERO);
    assert_eq!(governor.concurrency(LIST), 9);
    assert_eq!(governor.concurrency(ROLE), MAX_IN_FLIGHT);
}

#[test]
fn bounds_of_ten_thousand_accounts_are_those_of_the_published_rates() {
    let shape = ListingShape::even(10_000, 400);
    assert_eq!((shape.list_pages, shape.account_pages), (500, 802));
    let latency = Duration::from_millis(25);
    let half = bounds(&shape, false, latency, Rates::default());
    assert_eq!(half.better(), SnapshotStrategy::ListAccounts);
    // 401 unit pages at 2.5 a second hold it up; without them the 500 pages at 4 a second.
    assert_eq!(half.list_accounts.as_secs(), 158);
    let known = bounds(&shape, true, latency, Rates::default());
    assert_eq!(known.list_accounts.as_secs(), 123);
    let off = bounds(&shape, false, latency, Rates::Off);
    assert_eq!(off.better(), SnapshotStrategy::Walk);
    assert_eq!(off.list_accounts.as_millis(), 12_500);
    assert!(off.walk < Duration::from_secs(1), "{off:?}");
}

#[test]
fn an_estimate_uses_the_tokens_that_are_left() {
    let mut governor = AwsGovernor::new(Rates::default());
    let shape = ListingShape::even(1_000, 0);
    let full = governor.estimate(&shape, true, Duration::ZERO);
    for _ in 0..6 {
        governor.try_acquire(LIST, Duration::ZERO).unwrap();
    }
    let spent = governor.estimate(&shape, true, Duration::ZERO);
    assert_eq!(
        spent.list_accounts - full.list_accounts,
        Duration::from_millis(1_500)
    );
}

#[test]
fn the_faster_strategy_wins_and_a_tie_goes_to_fewer_calls() {
    let second = Duration::from_secs(1);
    let bounds = |list_accounts, walk| Bounds {
        list_accounts,
        walk,
    };
    assert_eq!(
        bounds(second, second).better(),
        SnapshotStrategy::ListAccounts
    );
    assert_eq!(bounds(second, second / 2).better(), SnapshotStrategy::Walk);
    assert_eq!(bounds(second, second / 2).best(), second / 2);
}

proptest! {
    #[test]
    fn no_window_ever_carries_more_than_burst_plus_rate(
        share in 0.05_f64..1.0,
        steps in proptest::collection::vec((0_u64..2_000, 0_u8..10), 1..300),
    ) {
        let mut governor = AwsGovernor::new(Rates::Published { share });
        let allowed = Rates::Published { share }.of(LIST).unwrap();
        let (mut now, mut sent) = (Duration::ZERO, Vec::<Duration>::new());
        for (millis, answer) in steps {
            now += Duration::from_millis(millis);
            if governor.try_acquire(LIST, now).is_ok() {
                sent.push(now);
                if answer == 0 {
                    governor.throttled(LIST, now);
                } else {
                    governor.answered(LIST, Duration::from_millis(25), now);
                }
            }
        }
        for (first, start) in sent.iter().enumerate() {
            for (last, end) in sent.iter().enumerate().skip(first) {
                let budget = allowed.burst + (*end - *start).as_secs_f64() * allowed.per_second;
                prop_assert!((last - first + 1) as f64 <= budget + 0.001);
            }
        }
    }

    #[test]
    fn waiting_as_told_always_gets_a_token(throttles in 0_u64..20, share in 0.05_f64..1.0) {
        let mut governor = AwsGovernor::new(Rates::Published { share });
        let mut now = Duration::ZERO;
        for _ in 0..throttles {
            governor.throttled(LIST, now);
            now += Duration::from_secs(2);
        }
        while governor.try_acquire(LIST, now).is_ok() {}
        let wait = governor.try_acquire(LIST, now).unwrap_err();
        prop_assert!(governor.try_acquire(LIST, now + wait).is_ok());
    }
}
