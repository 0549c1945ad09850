//! What digits, tries and budgets buy whoever has the password: an upper bound on his success, with its formulas.
//!
//! Rings are counted by driving the guard itself, on virtual time, with attackers who know its state and ask
//! whenever it would ring; the victim answers every ring by typing a number blindly. Codes are counted by their
//! budgets, as if somebody's daily success forgave every cap.

use crate::attempts::{Bucket, Budget, Lane, RECOVERY_CODE_CAP};
use crate::challenge::{Decision, Methods, Mode, Purpose};
use crate::number::{DEFAULT_DIGITS, MAX_DIGITS};
use crate::recovery;

use super::decay::Seconds;
use super::judge::{Around, Charge, Facts, judge_create};
use super::memory::Memory;
use super::origin::{Familiarity, Origin, Tag};
use super::policies::Rules;
use super::policy::Policy;

const HOUR: Seconds = 3_600;
const DAY: Seconds = 24 * HOUR;
/// Days of the shorter window.
const MONTH_DAYS: u32 = 30;
/// Days of the longer one.
const YEAR_DAYS: u32 = 365;
/// Codes that a guess meets: this step's and the last one's (RFC 6238 §5.2).
const CODES_MET: f64 = 2.0;
/// Random bits of a recovery code's secret.
const RECOVERY_BITS: u8 = 80;
/// How many six-digit codes there are.
const CODES: f64 = 1e6;
/// How often the person signs in at home meanwhile, which forgives what the home's own address owes.
const SIGN_IN_EVERY: Seconds = 3 * HOUR;
/// How long after a ring the victim answers.
const ANSWER_S: Seconds = 10;
/// Time that the drive starts at: past everything that is counted from zero.
const START: Seconds = 100 * DAY;
/// Least times between two rings that attackers keep to.
const GAPS: [Seconds; 5] = [0, 12 * HOUR, DAY, 3 * DAY, 7 * DAY];

/// How likely one guess is right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Odds {
    /// A number typed blindly, for a request from elsewhere.
    pub number: f64,
    /// The same for one from a known place.
    pub known_number: f64,
    /// A TOTP code.
    pub code: f64,
}

impl Odds {
    /// Those of some rules. The numbers of a user's other live challenges are known not to be it.
    #[must_use]
    pub fn of(rules: &Rules) -> Self {
        let others = f64::from(others(&rules.policy));
        let number = |digits: u8| 1.0 / (10_f64.powi(digits.into()) - others).max(1.0);
        Self {
            number: number(rules.digits_for(Familiarity::Unknown)),
            known_number: number(rules.digits_for(Familiarity::Known)),
            code: CODES_MET / CODES,
        }
    }
}

/// The most challenges that live beside one.
fn others(policy: &Policy) -> u16 {
    let all = policy.live_elsewhere + policy.live_known + policy.live_without_first_factor;
    u16::try_from(Policy::count(all)).unwrap_or(u16::MAX).saturating_sub(1)
}

/// Tries, at most, in any 30 days and in a year from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// In any 30 days.
    pub month: u32,
    /// In a year.
    pub year: u32,
}

/// One way to guess.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    /// Which.
    pub name: &'static str,
    /// How likely one try is right.
    pub each: f64,
    /// How many there are.
    pub tries: Tries,
    /// Success within 30 days.
    pub month: f64,
    /// Success within a year.
    pub year: f64,
    /// How the figures come about.
    pub formula: String,
}

/// Everything that an attacker who has the password can guess by.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// From elsewhere: the person's places aren't the attacker's.
    pub elsewhere: Vec<Way>,
    /// What is added by sitting behind the person's own router.
    pub home: Vec<Way>,
    /// What is added once a right answer is withheld: whoever got that far guesses the code that it needs.
    pub withheld: Vec<Way>,
}

/// `1 - (1 - each)^tries`.
#[must_use]
pub fn success(tries: u32, each: f64) -> f64 {
    -(f64::from(tries) * (-each).ln_1p()).exp_m1()
}

/// Success by any of several ways.
fn any(ways: impl Iterator<Item = f64>) -> f64 {
    -ways.map(|way| (-way).ln_1p()).sum::<f64>().exp_m1()
}

impl Bound {
    /// What some rules allow.
    #[must_use]
    pub fn of(rules: &Rules) -> Self {
        Self::with(rules, Odds::of(rules))
    }

    /// The same with other odds.
    #[must_use]
    pub fn with(rules: &Rules, odds: Odds) -> Self {
        let push = |name, each, (tries, how): (Tries, String)| {
            let digits = format!("1 / (10^digits - {} other live numbers)", others(&rules.policy));
            let formula = format!("1 - (1 - {digits})^rings; {how}");
            way(name, each, tries, formula)
        };
        let code = |name, lane: Lane| {
            let budget = rules.budgets.of(lane);
            let formula = format!(
                "1 - (1 - {CODES_MET} / 10^6)^tries; tries in 30 days: the lesser of {} + {} and {} + {} x 30",
                budget.month.burst, budget.month.refill, budget.day.burst, budget.day.refill
            );
            way(name, odds.code, code_tries(budget), formula)
        };
        Self {
            elsewhere: vec![
                push("number typed blindly, asked from elsewhere", odds.number, elsewhere(rules)),
                code("code from an unknown place", Lane::Unknown),
                code("code from nowhere", Lane::Nowhere),
                recovery_codes(),
            ],
            home: vec![
                push("number typed blindly, asked from home", odds.known_number, home(rules)),
                code("code from home", Lane::Own),
            ],
            withheld: vec![code("code for a withheld answer", Lane::Withheld)],
        }
    }

    /// Success of an attacker elsewhere, within 30 days and a year.
    #[must_use]
    pub fn strangers(&self) -> (f64, f64) {
        total(self.elsewhere.iter())
    }

    /// Success of an attacker who also sits behind the person's own router.
    #[must_use]
    pub fn neighbours(&self) -> (f64, f64) {
        total(self.elsewhere.iter().chain(&self.home))
    }

    /// Success by everything at once.
    #[must_use]
    pub fn all(&self) -> (f64, f64) {
        total(self.elsewhere.iter().chain(&self.home).chain(&self.withheld))
    }
}

fn total<'a>(ways: impl Iterator<Item = &'a Way> + Clone) -> (f64, f64) {
    (any(ways.clone().map(|way| way.month)), any(ways.map(|way| way.year)))
}

fn way(name: &'static str, each: f64, tries: Tries, formula: String) -> Way {
    let (month, year) = (success(tries.month, each), success(tries.year, each));
    Way { name, each, tries, month, year, formula }
}

/// Tries that a lane allows: by both buckets, of which the tighter one counts.
fn code_tries(budget: &Budget) -> Tries {
    let within = |bucket: Bucket, windows: u32, of: u32| {
        u32::from(bucket.burst) + u32::from(bucket.refill) * windows / of
    };
    let of = |days: u32| within(budget.month, days, MONTH_DAYS).min(within(budget.day, days, 1));
    Tries { month: of(MONTH_DAYS), year: of(YEAR_DAYS) }
}

/// Recovery codes are dead after a few wrong secrets, each alone; only a new set gives new tries.
fn recovery_codes() -> Way {
    let codes = u32::try_from(recovery::CODES).unwrap_or(u32::MAX);
    let tries = codes * u32::from(RECOVERY_CODE_CAP);
    let bits = RECOVERY_BITS;
    let each = 2_f64.powi(-i32::from(bits));
    let formula = format!(
        "tries / 2^{bits}; {codes} codes x {RECOVERY_CODE_CAP} tries for each set of codes, one set a year"
    );
    // far below what `1 - (1 - p)^n` of doubles can tell from nothing
    let p = f64::from(tries) * each;
    let tries = Tries { month: tries, year: tries };
    Way { name: "recovery code", each, tries, month: p, year: p, formula }
}

/// An attacker of the drive.
#[derive(Clone, Copy)]
struct Attacker {
    start: Memory,
    origin: Origin,
    /// Whether each try comes from another browser session, or always from the same.
    fresh: bool,
    /// Whether the person signs in at home meanwhile.
    rides: bool,
}

const HOME: Origin = Origin { cookie: Some(1), address: Some(2), network: Some(3) };

/// A person who has signed in at home for a while; or for the first time.
fn person(policy: &Policy, sign_ins: u32) -> Memory {
    let mut memory = Memory::default();
    for nth in 0..sign_ins {
        memory.bring_to(policy, START - (sign_ins - nth) * 3 * DAY);
        memory.code_passed(policy, &HOME, START - (sign_ins - nth) * 3 * DAY);
    }
    memory.at(policy, START)
}

fn elsewhere(rules: &Rules) -> (Tries, String) {
    let policy = &rules.policy;
    let unknown = Origin { cookie: None, address: Some(70), network: Some(71) };
    let near = Origin { cookie: None, address: Some(70), network: HOME.network };
    let settled = person(policy, 9);
    let kinds = [(settled, unknown), (settled, near), (person(policy, 1), unknown)];
    let attacker = |(start, origin), fresh| Attacker { start, origin, fresh, rides: false };
    let patient = kinds.into_iter().flat_map(|kind| GAPS.map(|gap| (attacker(kind, true), gap)));
    // a session gets a second chance only shortly after its first ring
    let same_session = kinds.into_iter().map(|kind| (attacker(kind, false), 0));
    most(policy, patient.chain(same_session), HOUR)
}

fn home(rules: &Rules) -> (Tries, String) {
    let origin = Origin { cookie: None, ..HOME };
    let start = person(&rules.policy, 9);
    let attacker = Attacker { start, origin, fresh: true, rides: true };
    most(&rules.policy, std::iter::once((attacker, 0)), HOUR / 6)
}

/// The most that any of some attackers gets, each with the gap that he keeps between rings.
fn most(
    policy: &Policy,
    attackers: impl Iterator<Item = (Attacker, Seconds)>,
    step: Seconds,
) -> (Tries, String) {
    let (mut tries, mut gaps) = (Tries::default(), [0; 2]);
    for (attacker, gap) in attackers {
        let rings = drive(policy, attacker, gap, step);
        let month = within(&rings, MONTH_DAYS * DAY);
        let year = u32::try_from(rings.len()).unwrap_or(u32::MAX);
        if month > tries.month {
            (tries.month, gaps[0]) = (month, gap);
        }
        if year > tries.year {
            (tries.year, gaps[1]) = (year, gap);
        }
    }
    let gap = |gap: Seconds| match gap / HOUR {
        0 => "asking whenever it rings".to_owned(),
        hours => format!("waiting {hours} h between rings"),
    };
    let how = format!(
        "rings: {} in 30 days ({}), {} in a year ({})",
        tries.month,
        gap(gaps[0]),
        tries.year,
        gap(gaps[1])
    );
    (tries, how)
}

/// The most of some times that any window holds.
fn within(times: &[Seconds], window: Seconds) -> u32 {
    let mut first = 0;
    let mut most = 0;
    for (at, time) in times.iter().enumerate() {
        while time - times[first] >= window {
            first += 1;
        }
        most = most.max(at + 1 - first);
    }
    u32::try_from(most).unwrap_or(u32::MAX)
}

/// When the phone rings in a year, for an attacker who asks whenever it would. He asks from his place and, where
/// that isn't the person's, also without any.
fn drive(policy: &Policy, attacker: Attacker, gap: Seconds, step: Seconds) -> Vec<Seconds> {
    let Attacker { start, origin, fresh, rides } = attacker;
    let mut memory = start;
    let mut rings = Vec::new();
    let (mut now, mut next, mut sign_in) = (START, START, START + SIGN_IN_EVERY);
    let end = START + YEAR_DAYS * DAY;
    let mut tries: Tag = 100;
    while now < end {
        if rides && now >= sign_in {
            memory.bring_to(policy, now);
            memory.code_passed(policy, &HOME, now);
            // the address alone succeeds too
            memory.code_passed(policy, &Origin { cookie: None, ..HOME }, now);
            sign_in = now + SIGN_IN_EVERY;
        }
        let mut rang = false;
        for from in [Some(origin), (!rides).then(Origin::default)].into_iter().flatten() {
            if now < next {
                break;
            }
            tries += u32::from(fresh);
            let facts = Facts {
                enrolled: true,
                first_factor: true,
                methods: Methods::PUSH,
                purpose: Purpose::SignIn,
                origin: from,
                session: Some(tries),
                break_glass: false,
                around: Around::default(),
            };
            let judged = memory.at(policy, now);
            let none = std::iter::empty::<&Charge>();
            let verdict = judge_create(policy, &judged, none, &facts, now);
            if verdict.mode != Mode::Ring {
                continue;
            }
            memory = judged;
            let (charge, _) = memory.opened(policy, &facts, &verdict, now);
            now += ANSWER_S;
            memory.bring_to(policy, now);
            // a wrong number: the right one would end the game
            let _ = memory.settled(policy, &charge, Decision::Mismatch, false, now);
            rings.push(now);
            next = now + gap;
            rang = true;
        }
        if !rang {
            now += step;
        }
    }
    rings
}

/// What meets a success bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Derived {
    /// Digits of a number.
    pub digits: u8,
    /// The month's bucket of codes from unknown places.
    pub unknown: Bucket,
    /// The same of codes from nowhere.
    pub nowhere: Bucket,
}

/// What of [`Derived`] is set already, and stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fixed {
    /// The digits.
    pub digits: bool,
    /// The month's bucket of codes from unknown places.
    pub unknown: bool,
    /// The same of codes from nowhere.
    pub nowhere: bool,
}

/// Works out the fewest digits and the most tries with which an attacker elsewhere stays within `asked`, per user
/// and year.
///
/// # Errors
/// The least that can be asked for, if that is more.
pub fn derive(rules: &Rules, fixed: Fixed, asked: f64) -> Result<Derived, f64> {
    let (rings, _) = elsewhere(rules);
    let recovery = recovery_codes().year;
    let numbers = |digits: u8| {
        let odds = Odds::of(&Rules { digits, ..rules.clone() });
        success(rings.year, odds.number)
    };
    // codes are typed more often than numbers: at most half of it is for the latter
    let all = if fixed.digits { rules.digits..=rules.digits } else { DEFAULT_DIGITS..=MAX_DIGITS };
    let fits = all.clone().find(|digits| numbers(*digits) <= asked / 2.0);
    let digits = fits.unwrap_or(*all.end());
    let scaled = |bucket: Bucket, fixed: bool, share: u32| {
        let scale = |of: u16| {
            let of = u32::from(of) * share / SHARES;
            u16::try_from(of).unwrap_or(u16::MAX).max(1)
        };
        if fixed {
            bucket
        } else {
            Bucket { burst: scale(bucket.burst), refill: scale(bucket.refill) }
        }
    };
    let year = |share: u32| {
        let budgets = &rules.budgets;
        let unknown = scaled(budgets.unknown.month, fixed.unknown, share);
        let nowhere = scaled(budgets.nowhere.month, fixed.nowhere, share);
        let tries = |budget: Budget, month| code_tries(&Budget { month, ..budget }).year;
        let codes = tries(budgets.unknown, unknown) + tries(budgets.nowhere, nowhere);
        let codes = success(codes, CODES_MET / CODES);
        let derived = Derived { digits, unknown, nowhere };
        (any([numbers(digits), codes, recovery].into_iter()), derived)
    };
    let best = (0..=SHARES).rev().map(year).find(|(year, _)| *year <= asked);
    best.map(|(_, derived)| derived).ok_or_else(|| year(0).0)
}

/// Steps in which budgets are scaled down.
const SHARES: u32 = 1_000;

/// A figure of the reference arithmetic, and what this comes to: 5 tries in 15 minutes, and so on, for a year.
pub const REFERENCE: [(&str, u32, f64); 5] = [
    ("5 tries in 15 minutes", 5 * 4 * 24 * 365, 0.296),
    ("10 tries in 20 minutes", 10 * 3 * 24 * 365, 0.409),
    ("100 tries and no more", 100, 0.000_2),
    ("99 tries for each daily sign-in", 99 * 365, 0.070),
    ("200 tries in 30 days", 200 * 365 / 30, 0.004_9),
];

/// What one of [`REFERENCE`] comes to here.
#[must_use]
pub fn reference(tries: u32) -> f64 {
    success(tries, CODES_MET / CODES)
}

#[cfg(test)]
mod tests;
