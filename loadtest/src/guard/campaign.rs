//! One attack on one victim or on many: what it does, and what came of it.

use domain::challenge::Decision;
use domain::guard::{AlertKind, Severity};

use super::attacks::Sketch;
use super::config::Config;
use super::dice::{DAY, Dice, HOUR, Ms, is_weekend};
use super::gate::{Gate, Grant, Seen, Spot};
use super::rules::RULES;
use super::world::{World, index};

/// Where an attacker's request says that it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    Spot(Spot),
    /// The victim's own address, without their cookie: another device behind their router.
    Home,
    Office,
    /// Another address of the victim's provider.
    Neighbour,
    /// Neither address nor browser session.
    Nowhere,
}

/// What happens in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// The attacker asks.
    Push,
    /// The attacker asks if, by all that is known, it rings and nobody is told.
    Patient,
    /// The attacker guesses a code.
    Code,
    /// The attacker tries a recovery code.
    Recovery,
    /// The attacker asks, and the victim does what a caller tells them.
    Call,
    /// The attacker asks for somebody who doesn't matter.
    Noise,
    /// An accomplice of the attacker signs in.
    Teach,
    /// The attacker has a device enrolled, a factor reset.
    Enrol,
    Reset,
    /// The person signs in, by push or by a code that they have, from where they usually are.
    Own,
    OwnCode,
    OwnRecovery,
    /// The person signs in from a new place, so many hours after the end.
    Probe(u32),
    /// The server dies and comes back.
    Restart,
}

/// One step of a campaign.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) at: Ms,
    pub(crate) user: u32,
    pub(crate) act: Act,
    pub(crate) integration: u8,
    pub(crate) from: From,
    /// Shares its browser session with the step before.
    pub(crate) same_session: bool,
}

/// What else makes the attacker ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum React {
    /// Nothing.
    Never,
    /// 3 s after the victim's own request, once a day.
    Shadow,
    /// Half an hour after each of the victim's own successes.
    AfterOwn,
}

/// An attack as it is written down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    /// Days that it takes at most.
    pub(crate) days: u32,
    /// Has many victims at once.
    pub(crate) many: bool,
    /// Victims join shortly before.
    pub(crate) cold: bool,
    /// Victims are break-glass users.
    pub(crate) break_glass: bool,
    /// Earliest and latest hour of its first step.
    pub(crate) hours: (u32, u32),
    pub(crate) react: React,
    /// Steps that a reacting attacker has.
    pub(crate) reactions: u32,
    /// What victims do with a ring, unless the config's mix.
    pub(crate) answers: Mood,
    pub(crate) plan: fn(&mut Sketch<'_>),
}

/// How victims answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Mixed,
    Denies,
    Ignores,
}

/// A running attack.
#[derive(Clone, Debug)]
pub(crate) struct Campaign {
    pub(crate) spec: Spec,
    pub(crate) victims: Vec<u32>,
    pub(crate) steps: Vec<Step>,
    pub(super) next: usize,
    pub(super) reactions: u32,
    pub(super) last_reaction: Option<Ms>,
    /// Where a reacting attacker sits.
    pub(super) base: Spot,
    pub(super) session: u32,
    /// Pages said no: an attacker who adapts waits so many steps.
    pub(super) skips: u32,
    /// Whether a victim has refused.
    pub(super) denied: bool,
    pub(crate) starts: Ms,
    pub(crate) watched_until: Ms,
    pub(crate) attempts: u32,
    /// When phones rang.
    pub(crate) rings: Vec<Ms>,
    /// The first attempt that didn't ring.
    pub(crate) held_at: Option<u32>,
    /// Attempts, time since the start and rings when the first alert of medium severity or more came.
    pub(crate) alert: Option<(u32, Ms, u32)>,
    pub(crate) alerts_user: u32,
    pub(crate) alerts_group: u32,
    pub(crate) enrolment_alert: bool,
    pub(crate) break_glass_alert: bool,
    /// When codes were compared.
    pub(crate) compared: Vec<Ms>,
    /// Whether approvals on a call were given out, and whether the victim has a code that could be asked for.
    pub(crate) calls: Vec<(bool, bool)>,
    /// Enrolments asked for, and granted at once.
    pub(crate) enrolments: (u32, u32),
    pub(crate) own_total: u32,
    pub(crate) own_way: u32,
    pub(crate) own_blocked: u32,
    /// Of those, from places that the person had proven.
    pub(crate) known_blocked: u32,
    /// Who had no way, or was blocked.
    pub(crate) lost: Vec<u32>,
    pub(crate) known_prompts: u32,
    pub(crate) known_rang: u32,
    /// Hours after the end, whether a new place rang.
    pub(crate) probes: Vec<(u32, bool)>,
    /// Attempts when each public rule fired first.
    pub(crate) rules: [Option<u32>; RULES.len()],
}

impl Campaign {
    pub(crate) fn watches(&self, t: Ms) -> bool {
        (self.starts..=self.watched_until).contains(&t)
    }

    pub(super) fn note_alert(&mut self, t: Ms, seen: &Seen) {
        self.enrolment_alert |= seen.kind == AlertKind::EnrolmentUnderAttack;
        self.break_glass_alert |= seen.kind == AlertKind::BreakGlass;
        if seen.severity < Severity::Medium {
            return;
        }
        if seen.user.is_some() {
            self.alerts_user += 1;
        } else {
            self.alerts_group += 1;
        }
        let rings = index(self.rings.len());
        self.alert.get_or_insert((self.attempts, t - self.starts, rings));
    }

    pub(super) fn note_rules(&mut self, t: Ms, fired: u32) {
        for (at, first) in self.rules.iter_mut().enumerate() {
            if fired & 1 << at != 0 && t >= self.starts && self.attempts > 0 {
                first.get_or_insert(self.attempts);
            }
        }
    }

    pub(super) fn own_prompt(&mut self, known: bool, rang: bool, probe: Option<u32>) {
        if let Some(hours) = probe {
            self.probes.push((hours, rang));
            return;
        }
        self.known_prompts += u32::from(known);
        self.known_rang += u32::from(known && rang);
    }

    pub(super) fn own_end(&mut self, user: u32, way: bool, blocked: bool, known: bool) {
        if !way || blocked {
            self.lost.push(user);
        }
        self.own_total += 1;
        self.own_way += u32::from(way);
        self.own_blocked += u32::from(blocked);
        self.known_blocked += u32::from(blocked && known);
    }

    /// What the page shows once a challenge is decided: all that the attacker learns.
    pub(super) fn page_says(&mut self, decision: Decision) {
        if matches!(decision, Decision::Denied | Decision::Reported) {
            self.skips = self.skips.max(1);
            self.denied = true;
        }
    }

    /// An approval on a call was given out, or withheld. Where victims deny, one counts whose phone rang: others had
    /// nothing to deny.
    pub(super) fn note_call(&mut self, given: bool, has_code: bool) {
        if self.denied || self.spec.answers != Mood::Denies {
            self.calls.push((given, has_code));
        }
    }

    pub(super) fn note_enrolment(&mut self, grant: Grant) {
        self.enrolments.0 += 1;
        self.enrolments.1 += u32::from(grant == Grant::Now);
    }

    /// Most codes compared in any 24 hours.
    pub(crate) fn compared_a_day(&self) -> u32 {
        most_within(&self.compared, DAY)
    }

    /// Whether it was contained: at most two rings after the first.
    pub(crate) fn contained(&self) -> bool {
        self.rings.len() <= 3
    }
}

/// Most of these times in any window of a length.
pub(crate) fn most_within(times: &[Ms], window: Ms) -> u32 {
    let mut from = 0;
    let mut most = 0;
    for (at, t) in times.iter().enumerate() {
        while times[from] + window <= *t {
            from += 1;
        }
        most = most.max(at + 1 - from);
    }
    index(most)
}

/// Keeps the stream of campaigns apart from the others of a seed.
const CAMPAIGNS: u64 = 7;

/// Chooses victims and times, and adds the campaigns.
pub(super) fn muster<G: Gate>(world: &mut World<'_, G>, spec: &Spec, victims: u32) {
    let seed = world.story.seed ^ spec.id.bytes().fold(0, |sum, byte| sum << 8 | u64::from(byte));
    let mut dice = Dice::new(seed, CAMPAIGNS);
    let run = &world.config.run;
    let (count, each) = if spec.many { (run.sprays, run.spray_users) } else { (victims, 1) };
    for _ in 0..count {
        let chosen = choose(world, spec, each, &mut dice);
        if chosen.is_empty() {
            return;
        }
        let starts = start(world, spec, chosen[0], &mut dice);
        let mut sketch = Sketch {
            dice: &mut dice,
            starts,
            victims: &chosen,
            users: run.users,
            steps: Vec::new(),
        };
        (spec.plan)(&mut sketch);
        let mut steps = sketch.steps;
        steps.sort_by_key(|step| step.at);
        let base = super::people::rented(&mut dice);
        let last = steps.last().map_or(starts, |step| step.at);
        let ends =
            if spec.react == React::Never { last } else { starts + Ms::from(spec.days) * DAY };
        let campaign = empty(*spec, chosen, steps, base, starts, ends + DAY);
        world.begin_campaign(campaign);
    }
}

impl<G: Gate> World<'_, G> {
    /// Adds one campaign whose steps are known.
    pub(super) fn besiege(&mut self, spec: Spec, victims: Vec<u32>, steps: Vec<Step>, starts: Ms) {
        let ends = steps.last().map_or(starts, |step| step.at);
        let campaign = empty(spec, victims, steps, Spot::default(), starts, ends + DAY);
        self.begin_campaign(campaign);
    }
}

fn empty(
    spec: Spec,
    victims: Vec<u32>,
    steps: Vec<Step>,
    base: Spot,
    starts: Ms,
    watched_until: Ms,
) -> Campaign {
    Campaign {
        spec,
        victims,
        steps,
        next: 0,
        reactions: spec.reactions,
        last_reaction: None,
        base,
        session: 0,
        skips: 0,
        denied: false,
        starts,
        watched_until,
        attempts: 0,
        rings: Vec::new(),
        held_at: None,
        alert: None,
        alerts_user: 0,
        alerts_group: 0,
        enrolment_alert: false,
        break_glass_alert: false,
        compared: Vec::new(),
        calls: Vec::new(),
        enrolments: (0, 0),
        own_total: 0,
        own_way: 0,
        own_blocked: 0,
        known_blocked: 0,
        lost: Vec::new(),
        known_prompts: 0,
        known_rang: 0,
        probes: Vec::new(),
        rules: [None; RULES.len()],
    }
}

/// People whom no other campaign has.
fn choose<G: Gate>(world: &World<'_, G>, spec: &Spec, count: u32, dice: &mut Dice) -> Vec<u32> {
    let run = &world.config.run;
    let from = world.judged_from();
    let latest = from + Ms::from(run.attack_days.saturating_sub(spec.days + 1).max(2)) * DAY;
    let fits = |user: u32| {
        let person = &world.people[user as usize];
        let there = if spec.cold {
            (from..latest).contains(&person.joins)
        } else {
            person.joins + 10 * DAY <= from || person.joins == 0
        };
        person.campaign.is_none() && there
    };
    let mut chosen = Vec::new();
    for _ in 0..run.users.saturating_mul(20) {
        if index(chosen.len()) == count {
            break;
        }
        let user = dice.below(run.users);
        if fits(user) && !chosen.contains(&user) {
            chosen.push(user);
        }
    }
    chosen
}

fn start<G: Gate>(world: &World<'_, G>, spec: &Spec, victim: u32, dice: &mut Dice) -> Ms {
    let config: &Config = world.config;
    let (least, most) = spec.hours;
    let hour = Ms::from(dice.whole((least, most))) * HOUR + Ms::from(dice.below(3_600)) * 1_000;
    if spec.cold {
        let person = &world.people[victim as usize];
        return person.joins + person.shift + Ms::from(dice.whole((1, 20))) * HOUR;
    }
    let spare = config.run.attack_days.saturating_sub(spec.days + 1);
    let mut day = config.run.warmup_days + dice.below(spare + 1);
    if is_weekend(day) {
        // back to Friday: attackers come when people work, too
        day -= day % 7 - 4;
    }
    Ms::from(day) * DAY + hour
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_within_slides() {
        assert_eq!(most_within(&[], 10), 0);
        assert_eq!(most_within(&[0, 5, 9, 10, 30], 10), 3);
        assert_eq!(most_within(&[0, 10, 20], 10), 1);
    }
}
