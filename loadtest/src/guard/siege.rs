//! What attackers do, and what their victims do about it.

use domain::challenge::Purpose;

use super::campaign::{Act, From, Mood, React, Step};
use super::dice::{DAY, MINUTE, SECOND, day_of, ms};
use super::gate::{Ask, Gate, MAIL, Spot, Word};
use super::people::{Choice, hotspot};
use super::rules::Signal;
use super::world::{Answered, By, Event, Stage, World, index};

impl<G: Gate> World<'_, G> {
    /// The next step of a campaign.
    pub(super) fn strike(&mut self, campaign: u32) {
        let it = &mut self.campaigns[campaign as usize];
        let Some(step) = it.steps.get(it.next).copied() else { return };
        it.next += 1;
        if let Some(next) = it.steps.get(it.next) {
            let at = next.at;
            self.at(at, Event::Strike(campaign));
        }
        let it = &mut self.campaigns[campaign as usize];
        // who adapts lets a step pass after a denial, all that the page tells
        if it.spec.id == "a5" && it.skips > 0 {
            it.skips -= 1;
            return;
        }
        if !step.same_session {
            self.sessions += 1;
            it.session = self.sessions;
        }
        self.act(campaign, step);
    }

    fn act(&mut self, campaign: u32, step: Step) {
        match step.act {
            Act::Push => self.attack_push(campaign, step, By::Attack(campaign)),
            Act::Patient => {
                let ask = self.attack_ask(campaign, &step);
                if self.gate.would_ring_unseen(self.t, &ask, self.ttl()) {
                    self.attack_push(campaign, step, By::Attack(campaign));
                }
            }
            Act::Call => self.attack_push(campaign, step, By::Call(campaign)),
            Act::Code | Act::Recovery => self.attack_code(campaign, step),
            Act::Noise => {
                let ask = self.attack_ask(campaign, &step);
                let (id, ttl) = (index(self.chals.len()), self.ttl());
                let _ = self.gate.push(self.t, id, &ask, Purpose::SignIn, ttl);
                let by = By::Attack(campaign);
                let chal = super::world::Chal { user: ask.user, by, stage: Stage::Done };
                self.chals.push(chal);
            }
            Act::Teach | Act::Own | Act::OwnCode | Act::OwnRecovery | Act::Probe(_) => {
                self.own(campaign, step);
            }
            Act::Enrol | Act::Reset => {
                let reset = step.act == Act::Reset;
                let (grant, alerts) = self.gate.enrol(self.t, step.user, reset);
                self.campaigns[campaign as usize].note_enrolment(grant);
                self.see(&alerts);
            }
            Act::Restart => self.gate.restart(self.t),
        }
    }

    fn attack_ask(&mut self, campaign: u32, step: &Step) -> Ask {
        let day = day_of(self.t);
        let person = self.people.get(step.user as usize);
        let spot = match (step.from, person) {
            (From::Spot(spot), _) => spot,
            (From::Home, Some(person)) => person.home(step.user, day),
            (From::Office, Some(person)) => person.office(),
            (From::Neighbour, Some(person)) => person.neighbour(&mut self.dice),
            (From::Nowhere, _) | (_, None) => Spot::default(),
        };
        let session = self.campaigns[campaign as usize].session;
        let session = spot.ip.is_some().then_some(session);
        Ask { user: step.user, integration: step.integration, session, spot, cookie: None }
    }

    fn attack_push(&mut self, campaign: u32, step: Step, by: By) {
        let ask = self.attack_ask(campaign, &step);
        // counted first, so that an alert in the answer counts this attempt
        self.campaigns[campaign as usize].attempts += 1;
        let (chal, said) = self.send(&ask, Purpose::SignIn, by);
        let t = self.t;
        let it = &mut self.campaigns[campaign as usize];
        let rang = said.word == Word::Ring;
        if rang {
            it.rings.push(t);
        } else {
            it.held_at.get_or_insert(it.attempts);
        }
        match by {
            By::Call(_) => self.after(20 * SECOND, Event::Called(chal)),
            _ if rang => self.disturbed(campaign, step.user, chal),
            _ => {}
        }
    }

    /// A victim's phone rings for somebody else.
    fn disturbed(&mut self, campaign: u32, user: u32, chal: u32) {
        if !self.hears(user) {
            return;
        }
        let victim = &self.config.victim;
        let reply = if self.is_night() { &victim.night } else { &victim.day };
        let (deny, report) = match self.campaigns[campaign as usize].spec.answers {
            Mood::Mixed => (reply.deny, reply.report),
            Mood::Denies => (100.0, 0.0),
            Mood::Ignores => (0.0, 0.0),
        };
        let delay_s = victim.delay_s;
        let answered = match self.dice.pick(&[deny, report, 100.0 - deny - report]) {
            0 if deny > 0.0 => Answered::Denied,
            1 if report > 0.0 => Answered::Reported,
            _ => return,
        };
        let delay = self.hesitation(delay_s);
        self.after(delay, Event::Answer(chal, answered));
    }

    /// The victim of a call opens the app and approves, if the challenge is there.
    pub(super) fn called(&mut self, chal: u32) {
        let user = self.chals[chal as usize].user;
        if self.gate.pull(self.t, user).contains(&chal) {
            self.after(5 * SECOND, Event::Answer(chal, Answered::Approved));
        }
    }

    fn attack_code(&mut self, campaign: u32, step: Step) {
        let ask = self.attack_ask(campaign, &step);
        self.campaigns[campaign as usize].attempts += 1;
        let said = if step.act == Act::Code {
            self.gate.totp(self.t, None, &ask, false)
        } else {
            self.gate.recovery(self.t, &ask, false)
        };
        let t = self.t;
        if step.act == Act::Code && said.word == Word::Reject {
            self.campaigns[campaign as usize].compared.push(t);
        }
        self.see(&said.alerts);
        self.signal(step.user, Signal::CodeWrong);
    }

    /// A sign-in that the campaign's plan asks of a person, or of an accomplice.
    fn own(&mut self, campaign: u32, step: Step) {
        let (user, day) = (step.user, day_of(self.t));
        let Some(person) = self.people.get(user as usize) else { return };
        let choice = match (step.act, step.from) {
            (Act::Teach, From::Spot(spot)) => {
                Choice { browser: None, ..person.at(step.integration, spot, 0) }
            }
            (Act::Probe(_), _) => {
                let spot = hotspot(&mut self.dice);
                Choice { browser: None, ..person.at(MAIL, spot, 0) }
            }
            _ => person.at(step.integration, person.home(user, day), 0),
        };
        let codes = !person.push_only;
        match step.act {
            Act::OwnRecovery if codes => {
                self.sessions += 1;
                let ask = self.ask_for(user, &choice, Some(self.sessions));
                let known = self.people[user as usize].is_known(&choice, self.t);
                let said = self.gate.recovery(self.t, &ask, true);
                self.see(&said.alerts);
                let accepted = said.word == Word::Accept;
                self.campaigns[campaign as usize].own_end(user, accepted, !accepted, known);
            }
            Act::OwnRecovery => {}
            act => {
                let task = self.task(user, choice, act == Act::OwnCode && codes);
                if let Act::Probe(hours) = act {
                    self.tasks[task as usize].probe = Some(hours);
                    self.tasks[task as usize].under = Some(campaign);
                }
                self.ask(task);
            }
        }
    }

    /// A person's own prompt rings: an attacker who watches for that asks, too.
    pub(super) fn followed(&mut self, user: u32) {
        let Some(campaign) = self.under(user) else { return };
        let t = self.t;
        let it = &mut self.campaigns[campaign as usize];
        let due = it.last_reaction.is_none_or(|last| last + DAY <= t + 4 * 60 * MINUTE);
        if it.spec.react == React::Shadow && it.reactions > 0 && due {
            it.reactions -= 1;
            it.last_reaction = Some(t);
            self.after(3 * SECOND, Event::Follow(campaign));
        }
    }

    /// A person has signed in: an attacker who counts on forgiveness asks again.
    pub(super) fn after_own(&mut self, user: u32) {
        let Some(campaign) = self.under(user) else { return };
        let it = &mut self.campaigns[campaign as usize];
        if it.spec.react == React::AfterOwn && it.reactions > 0 {
            it.reactions -= 1;
            let delay = ms(self.dice.between(20.0 * 60.0, 40.0 * 60.0));
            self.after(delay, Event::Follow(campaign));
        }
    }

    pub(super) fn follow(&mut self, campaign: u32) {
        self.sessions += 1;
        let it = &mut self.campaigns[campaign as usize];
        it.session = self.sessions;
        let step = Step {
            at: self.t,
            user: it.victims[0],
            act: Act::Push,
            integration: MAIL,
            from: From::Spot(it.base),
            same_session: false,
        };
        self.act(campaign, step);
    }
}
