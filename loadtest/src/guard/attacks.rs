//! The attacks, by the ids of the public taxonomy in the product's threat notes: A1 to A15, B1 to B7, and ours.

use super::campaign::{Act, From, Mood, React, Spec, Step};
use super::dice::{DAY, Dice, HOUR, MINUTE, Ms, SECOND, is_weekend};
use super::gate::{APPS, DESK, MAIL, PARTNER, VPN};
use super::people::{beside, rented};

/// Hours of an attack by day.
const BY_DAY: (u32, u32) = (9, 16);
/// And at night.
const BY_NIGHT: (u32, u32) = (1, 1);

/// A campaign while it is planned.
pub(crate) struct Sketch<'a> {
    pub(crate) dice: &'a mut Dice,
    pub(crate) starts: Ms,
    pub(crate) victims: &'a [u32],
    pub(crate) users: u32,
    pub(crate) steps: Vec<Step>,
}

impl Sketch<'_> {
    fn step(&mut self, after: Ms, act: Act, integration: u8, from: From) -> &mut Step {
        let (at, user) = (self.starts + after, self.victims[0]);
        self.steps.push(Step { at, user, act, integration, from, same_session: false });
        self.steps.last_mut().expect("just pushed")
    }

    /// So many prompts, evenly spaced.
    fn burst(&mut self, count: u64, gap: Ms, from: From) {
        for nth in 0..count {
            self.step(nth * gap, Act::Push, MAIL, from);
        }
    }

    /// Two on each of ten working days.
    fn drip(&mut self, mut from: impl FnMut(&mut Dice) -> From) {
        let mut day = 0;
        let first = super::dice::day_of(self.starts);
        for _ in 0..10 {
            while is_weekend(first + day) {
                day += 1;
            }
            for _ in 0..2 {
                let hour = Ms::from(self.dice.below(8 * 60)) * MINUTE;
                let from = from(self.dice);
                self.step(Ms::from(day) * DAY + hour, Act::Push, MAIL, from);
            }
            day += 1;
        }
    }

    /// Codes, so many in a session.
    fn guesses(&mut self, count: u64, gap: Ms, each: u64, from: From) {
        for nth in 0..count {
            self.step(nth * gap, Act::Code, MAIL, from).same_session = nth % each != 0;
        }
    }

    fn rented(&mut self) -> From {
        From::Spot(rented(self.dice))
    }

    /// One prompt to each victim within a time, from so many places.
    fn spray(&mut self, places: usize, within: Ms) {
        let spots: Vec<From> = (0..places).map(|_| self.rented()).collect();
        let gap = within / Ms::try_from(self.victims.len()).unwrap_or(1).max(1);
        for (nth, user) in self.victims.iter().enumerate() {
            let at = self.starts + gap * Ms::try_from(nth).unwrap_or(0);
            let from = spots[self.dice.below(super::world::index(places)) as usize];
            let user = *user;
            self.steps.push(Step {
                at,
                user,
                act: Act::Push,
                integration: MAIL,
                from,
                same_session: false,
            });
        }
    }
}

fn a1(it: &mut Sketch<'_>) {
    let from = it.rented();
    it.burst(40, 90 * SECOND, from);
}

fn a2(it: &mut Sketch<'_>) {
    let from = it.rented();
    it.burst(100, 6 * SECOND, from);
}

fn a3(it: &mut Sketch<'_>) {
    let from = it.rented();
    it.burst(4, 150 * SECOND, from);
}

fn a4(it: &mut Sketch<'_>) {
    let base = rented(it.dice);
    it.drip(|dice| From::Spot(beside(&base, dice)));
}

fn a5(it: &mut Sketch<'_>) {
    it.burst(56, 3 * HOUR, From::Neighbour);
}

fn a6(it: &mut Sketch<'_>) {
    for nth in 0..20 {
        let from = it.rented();
        it.step(nth * 3 * MINUTE, Act::Push, MAIL, from);
    }
}

fn a7(it: &mut Sketch<'_>) {
    let from = it.rented();
    for round in 0..5 {
        for (nth, app) in (0..).zip([MAIL, APPS, VPN, PARTNER, DESK]) {
            it.step(round * MINUTE + nth * SECOND, Act::Push, app, from);
        }
    }
}

fn a8(it: &mut Sketch<'_>) {
    it.spray(1, HOUR);
}

fn a9(it: &mut Sketch<'_>) {
    it.spray(100, 4 * HOUR);
}

fn a10(it: &mut Sketch<'_>) {
    let from = it.rented();
    it.guesses(600, 2 * SECOND, 5, from);
}

fn a10n(it: &mut Sketch<'_>) {
    it.guesses(600, 2 * SECOND, 5, From::Home);
}

fn a10d(it: &mut Sketch<'_>) {
    for day in 0..10 {
        for nth in 0..12 {
            let from = it.rented();
            it.step(day * DAY + nth * HOUR / 2, Act::Code, MAIL, from);
        }
    }
}

fn a11(it: &mut Sketch<'_>) {
    let from = it.rented();
    for nth in 0..30 {
        let act = if nth % 2 == 0 { Act::Push } else { Act::Code };
        it.step(nth * 2 * MINUTE, act, MAIL, from);
    }
}

/// Reacts only.
fn nothing(_: &mut Sketch<'_>) {}

fn a13(it: &mut Sketch<'_>) {
    let from = it.rented();
    it.step(0, Act::Call, MAIL, from);
}

fn a15(it: &mut Sketch<'_>) {
    let from = if it.dice.chance(0.5) { From::Home } else { From::Office };
    it.burst(20, 3 * MINUTE, from);
}

fn b1(it: &mut Sketch<'_>) {
    let from = it.rented();
    it.burst(3, 2 * MINUTE, from);
    it.step(8 * MINUTE, Act::Call, MAIL, from);
}

fn b4(it: &mut Sketch<'_>) {
    let from = it.rented();
    it.burst(5, 90 * SECOND, from);
    it.step(10 * MINUTE, Act::Enrol, MAIL, from);
    it.step(12 * MINUTE, Act::Reset, MAIL, from);
    it.step(26 * HOUR, Act::Enrol, MAIL, from);
}

fn b5(it: &mut Sketch<'_>) {
    let fixed = it.rented();
    for nth in 0..120 {
        let other = it.rented();
        let from = [fixed, other, From::Neighbour, From::Nowhere][(nth % 4) as usize];
        it.step(nth * MINUTE, Act::Push, [MAIL, APPS, VPN][(nth % 3) as usize], from);
        it.step(nth * MINUTE + 5 * SECOND, Act::Code, MAIL, from);
        if nth % 6 == 0 {
            it.step(nth * MINUTE + 9 * SECOND, Act::Recovery, MAIL, from);
        }
    }
    for nth in 1..8 {
        it.step(nth * 15 * MINUTE + 30 * SECOND, Act::Own, MAIL, From::Home);
    }
    it.step(65 * MINUTE, Act::OwnCode, MAIL, From::Home);
    it.step(70 * MINUTE, Act::OwnRecovery, MAIL, From::Home);
}

fn b6(it: &mut Sketch<'_>) {
    // the desk says that the person is at home: true at other integrations, proven at none by the desk
    for nth in 0..20 {
        it.step(nth * 3 * MINUTE, Act::Push, DESK, From::Home);
    }
}

fn b7a(it: &mut Sketch<'_>) {
    for nth in 0..200 {
        let other = it.rented();
        let from = if nth % 2 == 0 { other } else { From::Neighbour };
        it.step(nth * 15 * SECOND, Act::Push, MAIL, from);
        for noise in 0..3 {
            let other = it.rented();
            let user = it.users + it.dice.below(1_000_000);
            it.step(nth * 15 * SECOND + noise * 4 * SECOND, Act::Noise, MAIL, other).user = user;
        }
    }
    for nth in 0..4 {
        it.step(HOUR + nth * 20 * MINUTE, Act::Own, MAIL, From::Home);
    }
}

fn b7b(it: &mut Sketch<'_>) {
    let from = it.rented();
    let accomplices: Vec<u32> = (0..3).map(|_| it.dice.below(it.users)).collect();
    for nth in 0..30 {
        let user = accomplices[(nth % 3) as usize];
        if user != it.victims[0] {
            it.step(nth * 90 * MINUTE, Act::Teach, MAIL, from).user = user;
        }
    }
    for nth in 0..40 {
        it.step(2 * DAY + nth * 90 * SECOND, Act::Push, MAIL, from);
    }
}

fn n1(it: &mut Sketch<'_>) {
    it.burst(20, 3 * MINUTE, From::Nowhere);
}

fn n4(it: &mut Sketch<'_>) {
    it.drip(|_| From::Nowhere);
}

fn r1(it: &mut Sketch<'_>) {
    a1(it);
    for nth in [1, 5, 12] {
        it.step(nth * 90 * SECOND + 45 * SECOND, Act::Restart, MAIL, From::Nowhere);
    }
}

fn x1(it: &mut Sketch<'_>) {
    a2(it);
    a6(it);
    a10(it);
}

fn m11(it: &mut Sketch<'_>) {
    a1(it);
    let hours = [6, 12, 24, 36, 48, 72, 96, 168][it.dice.below(8) as usize];
    it.step(HOUR + Ms::from(hours) * HOUR, Act::Probe(hours), MAIL, From::Nowhere);
}

const ONE: Spec = Spec {
    id: "",
    what: "",
    days: 1,
    many: false,
    cold: false,
    break_glass: false,
    hours: BY_DAY,
    react: React::Never,
    reactions: 0,
    answers: Mood::Mixed,
    plan: nothing,
};

const MANY: Spec = Spec { many: true, ..ONE };

const fn one(id: &'static str, what: &'static str, plan: fn(&mut Sketch<'_>)) -> Spec {
    Spec { id, what, plan, ..ONE }
}

/// Every attack.
pub(crate) const ATTACKS: [Spec; 29] = [
    one("a1", "an hour of pestering: 40 prompts, one address", a1),
    Spec { hours: BY_NIGHT, ..one("a2", "night flood: 100 in 10 min", a2) },
    one("a3", "short burst: 4 in 10 min", a3),
    Spec { days: 14, ..one("a4", "drip: 2 per working day, 10 days", a4) },
    Spec { days: 8, ..one("a5", "adaptive: 1 per 3 h, 7 days, victim's provider", a5) },
    one("a6", "rotating addresses and networks: 20 in 1 h", a6),
    one("a7", "5 integrations, each 5 times in 5 min", a7),
    Spec { id: "a8", what: "spray from one address", plan: a8, ..MANY },
    Spec { id: "a9", what: "spray from 100 addresses, 4 h", plan: a9, ..MANY },
    one("a10", "600 code guesses in 20 min", a10),
    Spec { ..one("a10n", "the same from the victim's own address", a10n) },
    Spec { days: 11, ..one("a10d", "12 code guesses a day, 10 days, rotating", a10d) },
    one("a11", "push and code by turns: 30 in 1 h", a11),
    Spec {
        days: 12,
        react: React::Shadow,
        reactions: 8,
        ..one("a12", "3 s after the victim's own, 8 days", nothing)
    },
    one("a13", "one prompt and a call", a13),
    Spec {
        days: 12,
        react: React::AfterOwn,
        reactions: 12,
        ..one("a14", "after each own success, 12 times", nothing)
    },
    one("a15", "victim's own address: 20 in 1 h", a15),
    Spec { answers: Mood::Denies, ..one("b1", "approval on a call after denials", b1) },
    Spec { days: 3, ..one("b4", "enrolment and reset during a1", b4) },
    one("b5", "lock-out as the goal: everything for 2 h", b5),
    one("b6", "an integration asserts the victim's address", b6),
    one("b7a", "flood of addresses and users", b7a),
    Spec { days: 4, ..one("b7b", "accomplices make an address look good", b7b) },
    one("n1", "no address, no session: 20 in 1 h", n1),
    Spec { days: 14, ..one("n4", "the same as a drip, 10 days", n4) },
    Spec { days: 3, cold: true, ..one("c1", "a1 on the first day of a new user", a1) },
    one("r1", "a1 with restarts", r1),
    one("x1", "a2, a6 and a10 at once", x1),
    Spec { break_glass: true, ..one("bg", "a1 on break-glass users", a1) },
];

/// Not an attack to count but to recover from.
pub(crate) const RECOVERY: Spec =
    Spec { days: 9, ..one("m11", "a new place after a1 is over", m11) };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_send_what_they_say() {
        let sent = |id: &str| {
            let spec = ATTACKS.iter().find(|spec| spec.id == id).expect("known");
            let (mut dice, victims) = (Dice::new(1, 1), [1, 2, 3]);
            let starts = 9 * HOUR;
            let mut sketch =
                Sketch { dice: &mut dice, starts, victims: &victims, users: 9, steps: Vec::new() };
            (spec.plan)(&mut sketch);
            let last = sketch.steps.iter().map(|step| step.at - starts).max().unwrap_or(0);
            assert!(last < Ms::from(spec.days) * DAY, "{id} takes longer than it says");
            sketch.steps.len()
        };
        let counts = ["a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a10", "a11", "a15", "n4"];
        assert_eq!(counts.map(sent), [40, 100, 4, 20, 56, 20, 25, 3, 600, 30, 20, 20]);
        for spec in &ATTACKS {
            sent(spec.id);
        }
        let mut ids: Vec<&str> = ATTACKS.iter().map(|spec| spec.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), ATTACKS.len());
    }
}
