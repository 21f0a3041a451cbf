//! What must be so at the moment in which a step of a rollout begins: between its plan and that moment there may be hours, other
//! steps, and somebody who decides otherwise.

use super::{Outcome, Phase, Rollout, WaveState};

/// Whether a step can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It can.
    Now,
    /// The change window is closed; it can when it opens.
    Closed,
    /// The rollout is not where the plan was made for.
    Moved,
}

impl Moment {
    fn when_open(is_open: bool) -> Self {
        if is_open { Self::Now } else { Self::Closed }
    }
}

/// Whether accounts of a wave can be updated. `goes_on` says that an operation on them is under way, which no window cuts off.
#[must_use]
pub fn of_wave(rollout: &Rollout, name: &str, to: &str, is_open: bool, goes_on: bool) -> Moment {
    if rollout.to != to || rollout.phase != Phase::Rolling {
        return Moment::Moved;
    }
    let others = rollout.waves.iter().filter(|wave| wave.name != name);
    let mut others = others.map(|wave| wave.state);
    match rollout.wave(name) {
        // What has begun before it has not passed.
        None if others.any(|state| state != WaveState::Passed) => Moment::Moved,
        None => Moment::when_open(is_open),
        Some(wave) => {
            let is_due = wave.sweep.with(Outcome::Due).next().is_some();
            Moment::when_open(is_open || goes_on || !is_due)
        }
    }
}

/// Whether the gates of a wave can be asked.
#[must_use]
pub fn of_check(rollout: &Rollout, name: &str) -> Moment {
    let wave = rollout.wave(name);
    match wave.map(|wave| wave.state) {
        Some(WaveState::Updated | WaveState::Passed) if rollout.phase == Phase::Rolling => {
            Moment::Now
        }
        _ => Moment::Moved,
    }
}

/// Whether the next version can become everybody's. Once that has begun, nothing keeps it back.
#[must_use]
pub fn of_promotion(rollout: &Rollout, to: &str, is_open: bool) -> Moment {
    let mut waves = rollout.waves.iter();
    match rollout.phase {
        _ if rollout.to != to => Moment::Moved,
        Phase::Finishing => Moment::Now,
        Phase::Rolling if waves.all(|wave| wave.state == WaveState::Passed) => {
            Moment::when_open(is_open)
        }
        _ => Moment::Moved,
    }
}

/// Whether the next version can leave the template: nobody has it any more.
#[must_use]
pub fn of_unstaging(rollout: &Rollout) -> Moment {
    let reset = rollout.reset.iter();
    let mut members = reset.flat_map(|reset| reset.members.values());
    let is_put_back =
        members.all(|member| matches!(member.outcome, Outcome::Updated | Outcome::Gone));
    match rollout.phase {
        Phase::Unstaging => Moment::Now,
        Phase::RollingBack if is_put_back => Moment::Now,
        _ => Moment::Moved,
    }
}
