//! One organisation on virtual time: an event queue, people, broken clients and attackers, in one closed loop
//! with the gate. Nobody but the gate knows what rings before it does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use domain::challenge::{Decision, Purpose};

use super::campaign::{Campaign, Spec};
use super::config::Config;
use super::dice::{DAY, Dice, HOUR, MINUTE, Ms, SECOND, hour_of, ms};
use super::gate::{Ask, Gate, Said, Seen, Word};
use super::people::{Choice, Person};
use super::rules::{Rules, Signal};
use super::tally::{Class, Tally};

/// Something that will happen. Ids are positions in the world's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A day begins.
    Day(u32),
    /// A person asks to sign in, or asks again.
    Ask(u32),
    /// The same page is sent twice.
    Twice(u32),
    /// A client that gave up asks again by itself.
    Insist(u32),
    /// Somebody answers a challenge.
    Answer(u32, Answered),
    /// A challenge's time is over.
    Over(u32),
    /// The person opens the app to find the challenge.
    Open(u32, u32),
    /// The person types a code; on that challenge, if any.
    Code(u32, Option<u32>),
    /// A client asks by itself.
    Machine(u32),
    /// A new phone gets the app.
    NewPhone(u32),
    /// The next step of a campaign.
    Strike(u32),
    /// The attacker, who follows a person's own sign-in.
    Follow(u32),
    /// The victim of a call opens the app and approves.
    Called(u32),
}

/// How somebody answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answered {
    Approved,
    Denied,
    Reported,
    Mismatch,
    Cancelled,
}

impl From<Answered> for Decision {
    fn from(answered: Answered) -> Self {
        match answered {
            Answered::Approved => Self::Approved,
            Answered::Denied => Self::Denied,
            Answered::Reported => Self::Reported,
            Answered::Mismatch => Self::Mismatch,
            Answered::Cancelled => Self::Cancelled,
        }
    }
}

/// Who asked for a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Task(u32),
    Machine(u32),
    Attack(u32),
    /// An attack whose victim is on the telephone and does what they are told.
    Call(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    Withheld,
    /// It only seems to exist.
    Decoy,
    Done,
}

/// A challenge, as the world knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chal {
    pub(super) user: u32,
    pub(super) by: By,
    pub(super) stage: Stage,
}

/// A person's sign-in, with all its tries.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) user: u32,
    pub(super) choice: Choice,
    pub(super) session: Option<u32>,
    pub(super) by_code: bool,
    /// How often its client will ask again by itself.
    pub(super) insists: u32,
    /// It starts on the old phone and so fails this many times.
    pub(super) old_phone: u32,
    pub(super) tries: u32,
    pub(super) fails: u32,
    /// The challenge that the page or client waits for.
    pub(super) newest: u32,
    pub(super) done: bool,
    /// During or within a day of the campaign whose victim the person is.
    pub(super) under: Option<u32>,
    /// Something was tried that had to work.
    pub(super) tested: bool,
    /// There was a way to sign in.
    pub(super) way: bool,
    /// Merged into somebody else's, or refused.
    pub(super) blocked: bool,
    /// Hours after an attack that this sign-in probes.
    pub(super) probe: Option<u32>,
}

/// A client that asks with nobody there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    pub(super) user: u32,
    pub(super) choice: Choice,
    pub(super) left: u32,
    pub(super) gap: Ms,
    /// The person is there and denies, and it asks again at once.
    pub(super) denied: bool,
}

/// What a run is about, beside ordinary days.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Story {
    pub(crate) seed: u64,
    /// Judged days after the warm-up.
    pub(crate) days: u32,
    /// When nothing rings, if ever.
    pub(crate) outage: Option<(Ms, Ms)>,
}

/// The organisation.
pub(crate) struct World<'a, G> {
    pub(super) config: &'a Config,
    pub(crate) gate: G,
    pub(super) dice: Dice,
    pub(super) story: Story,
    pub(super) people: Vec<Person>,
    pub(super) tasks: Vec<Task>,
    pub(super) machines: Vec<Machine>,
    pub(super) chals: Vec<Chal>,
    pub(crate) campaigns: Vec<Campaign>,
    queue: BinaryHeap<Reverse<(Ms, u64, Event)>>,
    queued: u64,
    pub(super) t: Ms,
    pub(super) sessions: u32,
    pub(super) cookies: u32,
    pub(crate) tally: Tally,
    pub(crate) rules: Option<Rules>,
}

impl<'a, G: Gate> World<'a, G> {
    pub(crate) fn new(config: &'a Config, gate: G, story: Story) -> Self {
        let mut dice = Dice::new(story.seed, 1);
        let people = (0..config.run.users).map(|_| Person::new(config, &mut dice)).collect();
        let mut world = Self {
            config,
            gate,
            dice: Dice::new(story.seed, 2),
            story,
            people,
            tasks: Vec::new(),
            machines: Vec::new(),
            chals: Vec::new(),
            campaigns: Vec::new(),
            queue: BinaryHeap::new(),
            queued: 0,
            t: 0,
            sessions: 0,
            cookies: 0,
            tally: Tally::new(config.run.users),
            rules: None,
        };
        world.at(0, Event::Day(0));
        world
    }

    /// When counting begins.
    pub(crate) fn judged_from(&self) -> Ms {
        Ms::from(self.config.run.warmup_days) * DAY
    }

    /// When it ends: after the last campaign's day of grace.
    pub(crate) fn ends(&self) -> Ms {
        let days = Ms::from(self.config.run.warmup_days + self.story.days) * DAY;
        let last = self.campaigns.iter().map(|campaign| campaign.watched_until + HOUR).max();
        days.max(last.unwrap_or(0))
    }

    pub(super) fn is_judged(&self) -> bool {
        self.t >= self.judged_from()
    }

    pub(super) fn at(&mut self, t: Ms, event: Event) {
        self.queued += 1;
        self.queue.push(Reverse((t, self.queued, event)));
    }

    pub(super) fn after(&mut self, delay: Ms, event: Event) {
        self.at(self.t + delay, event);
    }

    /// Adds the campaigns of an attack; before the run.
    pub(crate) fn attack(&mut self, spec: &Spec, victims: u32) {
        super::campaign::muster(self, spec, victims);
    }

    pub(super) fn begin_campaign(&mut self, campaign: Campaign) {
        let at = index(self.campaigns.len());
        for victim in &campaign.victims {
            let person = &mut self.people[*victim as usize];
            person.campaign = Some(at);
            person.break_glass |= campaign.spec.break_glass;
        }
        if let Some(first) = campaign.steps.first() {
            self.at(first.at, Event::Strike(at));
        }
        self.campaigns.push(campaign);
    }

    /// Lives through it.
    pub(crate) fn run(&mut self) {
        let ends = self.ends();
        while let Some(Reverse((t, _, event))) = self.queue.pop() {
            if t >= ends {
                break;
            }
            self.t = t;
            self.happen(event);
        }
        self.t = ends;
        self.tally.user_days = f64::from(self.config.run.users) * f64::from(self.story.days);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Day(day) => self.plan_day(day),
            Event::Ask(task) => self.ask(task),
            Event::Twice(task) => self.ask_twice(task),
            Event::Insist(task) => self.insist(task),
            Event::Answer(chal, answered) => self.answer(chal, answered.into()),
            Event::Over(chal) => self.over(chal),
            Event::Open(task, chal) => self.open_app(task, chal),
            Event::Code(task, on) => self.type_code(task, on),
            Event::Machine(machine) => self.machine_asks(machine),
            Event::NewPhone(user) => self.new_phone(user),
            Event::Strike(campaign) => self.strike(campaign),
            Event::Follow(campaign) => self.follow(campaign),
            Event::Called(chal) => self.called(chal),
        }
    }

    pub(super) fn ttl(&self) -> Ms {
        Ms::from(self.config.run.ttl_s) * SECOND
    }

    /// Sends a request; the challenge's id comes with what is said.
    pub(super) fn send(&mut self, ask: &Ask, purpose: Purpose, by: By) -> (u32, Said) {
        let id = index(self.chals.len());
        let ttl = self.ttl();
        let said = self.gate.push(self.t, id, ask, purpose, ttl);
        let stage = match said.word {
            Word::Ring | Word::Silent => Stage::Open,
            Word::Decoy => Stage::Decoy,
            _ => Stage::Done,
        };
        self.chals.push(Chal { user: ask.user, by, stage });
        if stage != Stage::Done {
            self.after(ttl, Event::Over(id));
        }
        self.see(&said.alerts);
        self.signal(ask.user, Signal::Asked);
        (id, said)
    }

    pub(super) fn signal(&mut self, user: u32, signal: Signal) {
        if self.rules.is_none() {
            return;
        }
        let t = self.t;
        let judged = self.is_judged();
        let fired = self.rules.as_mut().map_or(0, |rules| rules.note(t, user, signal, judged));
        if fired != 0
            && let Some(campaign) = self.people[user as usize].campaign
        {
            self.campaigns[campaign as usize].note_rules(t, fired);
        }
    }

    /// Somebody decides a challenge; nothing happens if it is decided already.
    fn answer(&mut self, chal: u32, decision: Decision) {
        let Chal { user, by, stage } = self.chals[chal as usize];
        let again = stage == Stage::Withheld && decision == Decision::Approved;
        if again || !matches!(stage, Stage::Open | Stage::Withheld) {
            return;
        }
        let has_code = self.people.get(user as usize).is_some_and(|person| !person.push_only);
        let said = self.gate.outcome(self.t, chal, decision);
        self.signal(user, Signal::of(decision));
        self.see(&said.alerts);
        if said.word == Word::Withhold {
            self.chals[chal as usize].stage = Stage::Withheld;
            match by {
                By::Task(task) => self.withheld(task, chal),
                By::Call(campaign) => self.campaigns[campaign as usize].note_call(false, has_code),
                By::Machine(_) | By::Attack(_) => {}
            }
            return;
        }
        self.close(chal);
        let passed = decision == Decision::Approved;
        match by {
            By::Task(task) if passed => self.approved(task, chal),
            By::Task(task) => self.failed(task, chal, decision),
            By::Machine(machine) => self.machine_answered(machine, decision),
            By::Call(campaign) if passed => {
                self.campaigns[campaign as usize].note_call(true, has_code)
            }
            By::Attack(campaign) | By::Call(campaign) => {
                self.campaigns[campaign as usize].page_says(decision);
            }
        }
    }

    fn over(&mut self, chal: u32) {
        let Chal { user, by, stage } = self.chals[chal as usize];
        if stage == Stage::Done {
            return;
        }
        if stage != Stage::Decoy {
            let said = self.gate.outcome(self.t, chal, Decision::Expired);
            self.signal(user, Signal::of(Decision::Expired));
            self.see(&said.alerts);
        }
        self.close(chal);
        if let By::Task(task) = by {
            self.failed(task, chal, Decision::Expired);
        }
    }

    pub(super) fn close(&mut self, chal: u32) {
        self.chals[chal as usize].stage = Stage::Done;
        let person = &mut self.people[self.chals[chal as usize].user as usize];
        if person.ringing == Some(chal) {
            person.ringing = None;
        }
    }

    /// Whether a ring reaches the person's eyes.
    pub(super) fn hears(&self, user: u32) -> bool {
        let out = self.story.outage.is_some_and(|(from, until)| (from..until).contains(&self.t));
        !out && !self.people[user as usize].no_phone
    }

    pub(super) fn is_night(&self) -> bool {
        let (from, until) = self.config.victim.night_hours;
        let hour = hour_of(self.t);
        hour >= from || hour < until
    }

    /// The campaign that a person is a victim of right now, or was yesterday.
    pub(super) fn under(&self, user: u32) -> Option<u32> {
        let campaign = self.people[user as usize].campaign?;
        self.campaigns[campaign as usize].watches(self.t).then_some(campaign)
    }

    /// Files alerts under what caused them.
    pub(super) fn see(&mut self, alerts: &[Seen]) {
        for seen in alerts {
            let t = self.t;
            if let Some(user) = seen.user {
                let person = self.people.get(user as usize);
                if let Some(campaign) = person.and_then(|person| person.campaign)
                    && self.campaigns[campaign as usize].watches(t)
                {
                    self.campaigns[campaign as usize].note_alert(t, seen);
                    continue;
                }
            } else {
                let many = self.campaigns.iter_mut().filter(|it| it.spec.many && it.watches(t));
                let mut any = false;
                for campaign in many {
                    campaign.note_alert(t, seen);
                    any = true;
                }
                if any {
                    continue;
                }
            }
            if self.is_judged() {
                let class = self.class(seen);
                self.tally.alert(t, seen, class);
            }
        }
    }

    fn class(&self, seen: &Seen) -> Class {
        use domain::guard::AlertKind::{IntegrationFailures, IntegrationLoop, PushOutage};
        let near = |(from, until): (Ms, Ms)| (from..until + 2 * HOUR).contains(&self.t);
        if self.story.outage.is_some_and(near) {
            return Class::Outage;
        }
        let broken = match seen.user.and_then(|user| self.people.get(user as usize)) {
            Some(person) => self.t < person.broken_until,
            None => matches!(seen.kind, IntegrationFailures | IntegrationLoop | PushOutage),
        };
        if broken { Class::Broken } else { Class::Ordinary }
    }

    /// Seconds that somebody takes, with the usual spread, at most just inside a challenge's life.
    pub(super) fn hesitation(&mut self, median_s: f64) -> Ms {
        let drawn = ms(self.dice.lognormal(median_s, 0.6));
        drawn.min(self.ttl() - 5 * SECOND)
    }
}

/// A position as an id.
pub(super) fn index(at: usize) -> u32 {
    u32::try_from(at).expect("a run has far fewer than 2^32 of anything")
}

/// What is left of a day's evidence that something around a person was broken.
pub(super) const BROKEN_FOR: Ms = DAY;

/// Gaps of a client that asks at night.
pub(super) const NIGHT_GAP: (u32, u32) = (2, 10);

pub(super) const fn minutes(count: u32) -> Ms {
    count as Ms * MINUTE
}
