//! What an ordinary day brings: sign-ins, and clients that ask by themselves.

use super::dice::{DAY, Dice, HOUR, Ms, SECOND, is_weekend, ms};
use super::gate::{APPS, Gate, MAIL, VPN};
use super::people::{Choice, Cohort};
use super::world::{BROKEN_FOR, Event, Machine, NIGHT_GAP, Task, World, index, minutes};

/// Keeps the stream of each day apart from the others of a seed.
const DAYS: u64 = 1_000;

impl<G: Gate> World<'_, G> {
    pub(super) fn plan_day(&mut self, day: u32) {
        // what people intend doesn't depend on what the gate did yesterday
        let mut dice = Dice::new(self.story.seed, DAYS + u64::from(day));
        for user in 0..index(self.people.len()) {
            let person = &self.people[user as usize];
            let joins = person.joins;
            let begins = if joins == 0 { day == 0 } else { joins == self.t };
            let (push_only, break_glass) = (person.push_only, person.break_glass);
            if begins {
                self.gate.user(self.t, user, push_only, break_glass);
            }
            if joins <= self.t {
                self.plan_person(day, user, &mut dice);
            }
        }
        self.after(DAY, Event::Day(day + 1));
    }

    fn plan_person(&mut self, day: u32, user: u32, dice: &mut Dice) {
        let config = self.config;
        let weekend = is_weekend(day);
        let person = &mut self.people[user as usize];
        person.wake(user, config, day, weekend, dice);
        let factor = if weekend { config.rate.weekend } else { 1.0 };
        let (shift, count) = (person.shift, dice.poisson(person.rate * factor));
        let midnight = Ms::from(day) * DAY;
        for nth in 0..count {
            let t = midnight + time_of_day(config, nth, shift, dice);
            let person = &self.people[user as usize];
            let choice = person.choose(user, config, t, dice);
            let by_code = !person.push_only && dice.chance(config.factor.totp);
            let task = self.task(user, choice, by_code);
            self.at(t, Event::Ask(task));
            if dice.chance(config.page.together) {
                let other = if choice.integration == MAIL { APPS } else { MAIL };
                let person = &self.people[user as usize];
                let choice = person.at(other, person.today(), 0);
                let task = self.task(user, choice, false);
                self.at(t + ms(dice.between(1.0, 10.0)), Event::Ask(task));
            }
        }
        self.plan_broken(midnight, user, dice);
        if dice.chance(1.0 / config.phone.new_every_days) {
            let choice = self.people[user as usize].choose(user, config, midnight + shift, dice);
            let task = self.task(user, choice, false);
            self.tasks[task as usize].old_phone = dice.whole(config.phone.timeouts);
            self.at(midnight + shift, Event::Ask(task));
        }
    }

    /// Clients that misbehave.
    fn plan_broken(&mut self, midnight: Ms, user: u32, dice: &mut Dice) {
        let (config, day) = (self.config, super::dice::day_of(midnight));
        let (vpn, broken) = (&config.vpn, &config.broken);
        let person = &self.people[user as usize];
        let (shift, today, home) =
            (person.shift, person.choose(user, config, midnight, dice), person.home(user, day));
        let at_home = |integration| {
            let choice = person.at(integration, home, 0);
            Choice { browser: None, sessionless: true, ..choice }
        };
        let (night, mail) = (at_home(VPN), at_home(MAIL));
        let at = midnight + shift + ms(dice.between(0.0, 4.0 * 3_600.0));
        if dice.chance(vpn.retry_user_days) {
            let choice = Choice { integration: VPN, sessionless: true, browser: None, ..today };
            let choice = if self.people[user as usize].null_vpn { night } else { choice };
            let task = self.task(user, choice, false);
            self.tasks[task as usize].insists = dice.whole(vpn.pushes) - 1;
            self.at(at, Event::Ask(task));
        }
        if dice.chance(broken.night_user_days) {
            let left = dice.whole(broken.night_pushes);
            let gap = minutes(dice.whole(NIGHT_GAP));
            let t = midnight + DAY + ms(dice.between(2.0, 5.0) * 3_600.0);
            self.machine(t, Machine { user, choice: night, left, gap, denied: false });
        }
        if dice.chance(broken.hammer_user_days) {
            let (least, most) = broken.hammer_hours;
            let gap = ms(broken.hammer_gap_min * 60.0);
            let length = ms(dice.between(least, most) * 3_600.0);
            let left = u32::try_from(length / gap.max(SECOND)).unwrap_or(u32::MAX);
            self.machine(at, Machine { user, choice: mail, left, gap, denied: false });
        }
        if dice.chance(broken.retry_bug_user_days) {
            let choice = Choice { integration: APPS, sessionless: true, browser: None, ..today };
            let left = broken.retry_bug_max;
            self.machine(at, Machine { user, choice, left, gap: 0, denied: true });
        }
    }

    /// A sign-in to come.
    pub(super) fn task(&mut self, user: u32, choice: Choice, by_code: bool) -> u32 {
        self.sessions += 1;
        let session = (!choice.sessionless).then_some(self.sessions);
        self.tasks.push(Task {
            user,
            choice,
            session,
            by_code,
            insists: 0,
            old_phone: 0,
            tries: 0,
            fails: 0,
            newest: u32::MAX,
            done: false,
            under: None,
            tested: false,
            way: false,
            blocked: false,
            probe: None,
        });
        index(self.tasks.len() - 1)
    }

    fn machine(&mut self, t: Ms, machine: Machine) {
        self.machines.push(machine);
        let id = index(self.machines.len() - 1);
        self.at(t, Event::Machine(id));
    }

    /// The app is on the new phone: what was asked of the help desk, or of a page that was still signed in.
    pub(super) fn new_phone(&mut self, user: u32) {
        let help_desk = self.dice.chance(self.config.phone.help_desk);
        if help_desk {
            self.enrol(user, true);
        }
        self.enrol(user, false);
        let person = &mut self.people[user as usize];
        person.no_phone = false;
        person.make_due(Cohort::NewPhone);
        person.broken_until = self.t + BROKEN_FOR;
    }

    fn enrol(&mut self, user: u32, reset: bool) {
        let (grant, alerts) = self.gate.enrol(self.t, user, reset);
        self.see(&alerts);
        if self.is_judged() && self.under(user).is_none() {
            self.tally.enrolments += 1;
            self.tally.enrolments_later += u64::from(grant == super::gate::Grant::Later);
        }
    }
}

/// After midnight: the first around the start of work, some in the evening, the others in between.
fn time_of_day(config: &super::config::Config, nth: u32, shift: Ms, dice: &mut Dice) -> Ms {
    let hours = &config.hours;
    if nth == 0 {
        let jitter = ms((hours.first_jitter_min * 60.0 * (3.0 + dice.normal())).max(0.0));
        return (shift + jitter).saturating_sub(ms(hours.first_jitter_min * 180.0));
    }
    if dice.chance(hours.evening) {
        return ms(dice.between(19.0, 23.0) * 3_600.0);
    }
    shift + ms(dice.between(0.0, hours.span_h) * 3_600.0).max(HOUR / 60)
}
