//! How people sign in: they answer what rings, open the app when nothing does, try again, take a code.

use domain::challenge::{Decision, Purpose};

use super::dice::{HOUR, SECOND, ms};
use super::gate::{Ask, Gate, Said, Word};
use super::people::Choice;
use super::rules::Signal;
use super::world::{Answered, BROKEN_FOR, By, Event, Stage, World};

/// Wrong or refused codes after which a person asks for a prompt instead.
const MAX_CODES: u32 = 3;
/// Between seeing a page and typing a code from the app.
const CODE_DELAY_S: f64 = 12.0;

impl<G: Gate> World<'_, G> {
    pub(super) fn ask_for(&self, user: u32, choice: &Choice, session: Option<u32>) -> Ask {
        Ask {
            user,
            integration: choice.integration,
            session,
            spot: choice.spot,
            cookie: self.people[user as usize].cookie(choice.integration, choice.browser),
        }
    }

    /// A person asks to sign in.
    pub(super) fn ask(&mut self, task: u32) {
        let (user, first) = {
            let task = &self.tasks[task as usize];
            (task.user, task.tries == 0)
        };
        if self.tasks[task as usize].done {
            return;
        }
        if first {
            let under = self.under(user);
            let it = &mut self.tasks[task as usize];
            it.under = it.under.or(under);
            if it.old_phone > 0 {
                self.people[user as usize].no_phone = true;
                let hours = ms(self.dice.between(1.0, 4.0) * 3_600.0);
                self.after(hours.max(HOUR), Event::NewPhone(user));
            }
        }
        if self.tasks[task as usize].by_code {
            self.type_code(task, None);
            return;
        }
        let said = self.prompt(task, first);
        if first && self.dice.chance(self.config.page.double_submit) {
            let delay = ms(self.dice.between(1.0, 3.0));
            self.after(delay, Event::Twice(task));
        }
        if self.tasks[task as usize].insists > 0 {
            let (least, most) = self.config.vpn.gap_s;
            let delay = ms(self.dice.between(least, most));
            self.after(delay, Event::Insist(task));
        }
        if said.word == Word::Ring {
            self.followed(user);
        }
    }

    /// Sends a task's request, counts what came of it, and lets the person react.
    fn prompt(&mut self, task: u32, first: bool) -> Said {
        let it = &self.tasks[task as usize];
        let (user, choice, session, under) = (it.user, it.choice, it.session, it.under);
        let ask = self.ask_for(user, &choice, session);
        let known = self.people[user as usize].is_known(&choice, self.t);
        let already = self.people[user as usize].ringing.is_some();
        let cohorts = if self.hears(user) {
            self.people[user as usize].first_of(user, &choice, self.t)
        } else {
            [false; 5]
        };
        let (id, said) = self.send(&ask, Purpose::SignIn, By::Task(task));
        let another = self.merged_into_another(task, &said);
        let it = &mut self.tasks[task as usize];
        it.tries += 1;
        it.tested |= !self.people[user as usize].no_phone;
        match said.word {
            Word::Merge => it.blocked |= another,
            Word::Refuse => it.blocked = true,
            _ => it.newest = id,
        }
        let rang = said.word == Word::Ring;
        self.tasks[task as usize].way |= rang;
        if let Some(campaign) = under {
            let it = self.tasks[task as usize].probe;
            self.campaigns[campaign as usize].own_prompt(known && first, rang, it);
        } else if self.is_judged() {
            self.tally.prompt(user, &said, already, known, cohorts);
        }
        self.react(task, id, said.word);
        said
    }

    fn merged_into_another(&self, task: u32, said: &Said) -> bool {
        let into = said.into.and_then(|id| self.chals.get(id as usize));
        into.is_some_and(|chal| chal.by != By::Task(task))
    }

    fn react(&mut self, task: u32, chal: u32, word: Word) {
        let it = &self.tasks[task as usize];
        let (user, determined) = (it.user, it.under.is_some());
        match word {
            Word::Ring => {
                self.people[user as usize].ringing = Some(chal);
                self.hear(user, chal);
            }
            Word::Silent | Word::Decoy => {
                let page = &self.config.page;
                let (pull, delay) = (page.pull, page.pull_delay_s);
                if determined || self.dice.chance(pull) {
                    let delay = self.hesitation(delay);
                    self.after(delay, Event::Open(task, chal));
                } else if !self.people[user as usize].push_only
                    && self.dice.chance(self.config.page.code_instead)
                {
                    let delay = self.hesitation(CODE_DELAY_S);
                    self.after(delay, Event::Code(task, Some(chal)));
                }
            }
            Word::Refuse => self.finish(task),
            _ => {}
        }
    }

    /// A person's own prompt rings: they answer, or not.
    fn hear(&mut self, user: u32, chal: u32) {
        if !self.hears(user) {
            return;
        }
        let dead = self.people[user as usize].dead;
        if dead && self.dice.chance(self.config.retry.dead_next) {
            return;
        }
        let answer = &self.config.answer;
        let shares = [answer.approve, answer.timeout, answer.wrong, answer.abandon, answer.deny];
        match self.dice.pick(&shares) {
            1 => self.people[user as usize].dead = self.dice.chance(self.config.retry.dead_share),
            outcome => self.answers(chal, outcome),
        }
    }

    /// Outcomes in the order of the shares above.
    fn answers(&mut self, chal: u32, outcome: usize) {
        let answer = &self.config.answer;
        let mut delay = ms(self.dice.lognormal(answer.latency_s, answer.latency_sigma));
        let answered = match outcome {
            0 => Answered::Approved,
            2 => Answered::Mismatch,
            3 => Answered::Cancelled,
            _ if self.dice.chance(answer.report_of_denials) => Answered::Reported,
            _ => Answered::Denied,
        };
        if matches!(answered, Answered::Approved | Answered::Mismatch) {
            delay += ms(answer.typing_s);
        }
        // who is slower than the challenge lives has let it pass
        if delay < self.ttl() {
            self.after(delay, Event::Answer(chal, answered));
        }
    }

    /// The same page is sent again while it waits.
    pub(super) fn ask_twice(&mut self, task: u32) {
        let it = &self.tasks[task as usize];
        if it.done {
            return;
        }
        let ask = self.ask_for(it.user, &it.choice, it.session);
        let user = it.user;
        let (id, said) = self.send(&ask, Purpose::SignIn, By::Task(task));
        if self.is_judged() && self.tasks[task as usize].under.is_none() {
            self.tally.twice(said.word);
        }
        if said.word == Word::Merge {
            let another = self.merged_into_another(task, &said);
            self.tasks[task as usize].blocked |= another;
            return;
        }
        self.tasks[task as usize].newest = id;
        if said.word == Word::Ring {
            self.people[user as usize].ringing = Some(id);
        }
        self.react(task, id, said.word);
    }

    /// A client gave up on its request and asks anew, while the person still looks at the first.
    pub(super) fn insist(&mut self, task: u32) {
        let it = &mut self.tasks[task as usize];
        let user = it.user;
        self.people[user as usize].broken_until = self.t + BROKEN_FOR;
        if it.done || it.insists == 0 {
            return;
        }
        it.insists -= 1;
        self.ask(task);
    }

    /// The person opens the app, sees what is open, and answers their own.
    pub(super) fn open_app(&mut self, task: u32, chal: u32) {
        let (user, done) = {
            let task = &self.tasks[task as usize];
            (task.user, task.done)
        };
        if done || self.chals[chal as usize].stage == Stage::Done || !self.hears(user) {
            return;
        }
        let open = self.gate.pull(self.t, user);
        for other in &open {
            let foreign = self.chals.get(*other as usize).map(|chal| chal.by);
            if matches!(foreign, Some(By::Attack(_)))
                && self.dice.chance(self.config.victim.pull_denies)
            {
                self.after(3 * SECOND, Event::Answer(*other, Answered::Denied));
            }
        }
        if open.contains(&chal) {
            self.tasks[task as usize].way = true;
            let answer = &self.config.answer;
            let shares = [answer.approve, 0.0, answer.wrong, 0.0, 0.0];
            let outcome = self.dice.pick(&shares);
            self.answers(chal, outcome);
        } else if !self.people[user as usize].push_only {
            self.after(ms(CODE_DELAY_S), Event::Code(task, Some(chal)));
        }
    }

    /// A right answer that brings nothing: the page says to type a code as well.
    pub(super) fn withheld(&mut self, task: u32, chal: u32) {
        let it = &mut self.tasks[task as usize];
        it.way = false;
        let (user, determined) = (it.user, it.under.is_some());
        if self.is_judged() && !determined {
            self.tally.withheld += 1;
        }
        let codes = !self.people[user as usize].push_only;
        if codes && (determined || self.dice.chance(self.config.page.step_up)) {
            // who is determined has the app open already
            let delay = self.hesitation(if determined { 5.0 } else { CODE_DELAY_S });
            self.after(delay, Event::Code(task, Some(chal)));
        }
    }

    /// The person types a code.
    pub(super) fn type_code(&mut self, task: u32, on: Option<u32>) {
        let it = &self.tasks[task as usize];
        if it.done || self.people[it.user as usize].no_phone {
            return;
        }
        let on = on.filter(|chal| {
            matches!(self.chals[*chal as usize].stage, Stage::Open | Stage::Withheld)
        });
        let (user, ask) = (it.user, self.ask_for(it.user, &it.choice, it.session));
        let valid = !self.dice.chance(self.config.factor.typo);
        let said = self.gate.totp(self.t, on, &ask, valid);
        self.see(&said.alerts);
        let accepted = said.word == Word::Accept;
        self.signal(user, if accepted { Signal::Passed } else { Signal::CodeWrong });
        let counted = self.is_judged() && self.tasks[task as usize].under.is_none();
        if counted {
            self.tally.code(valid, said.word);
        }
        let it = &mut self.tasks[task as usize];
        it.tries += 1;
        it.tested |= valid;
        it.way |= accepted;
        it.blocked |= valid && said.word == Word::Refuse;
        if accepted {
            if let Some(chal) = on {
                self.close(chal);
            }
            self.passed(task);
            return;
        }
        it.fails += 1;
        if it.fails >= MAX_CODES {
            it.by_code = false;
        }
        if it.fails <= MAX_CODES + 1 {
            let again = on.map_or(Event::Ask(task), |_| Event::Code(task, on));
            self.after(ms(CODE_DELAY_S), again);
        } else {
            self.finish(task);
        }
    }

    /// A right answer was given out. A client that has given up on that challenge doesn't care.
    pub(super) fn approved(&mut self, task: u32, chal: u32) {
        let newest = self.tasks[task as usize].newest;
        if newest == chal || self.chals[newest as usize].stage == Stage::Done {
            self.passed(task);
            return;
        }
        if self.dice.chance(self.config.page.pull) {
            let delay = self.hesitation(self.config.page.pull_delay_s / 2.0);
            self.after(delay, Event::Open(task, newest));
        }
    }

    fn passed(&mut self, task: u32) {
        let it = &self.tasks[task as usize];
        if it.done {
            return;
        }
        let (user, choice) = (it.user, it.choice);
        let person = &mut self.people[user as usize];
        person.dead = false;
        person.passed(&choice, &mut self.cookies, self.t);
        self.finish(task);
        self.after_own(user);
    }

    /// A try is over without success.
    pub(super) fn failed(&mut self, task: u32, chal: u32, decision: Decision) {
        let it = &mut self.tasks[task as usize];
        if it.done || it.newest != chal {
            return;
        }
        it.fails += 1;
        let (user, tries, fails) = (it.user, it.tries, it.fails);
        if it.old_phone > 0 {
            it.old_phone -= 1;
            self.people[user as usize].broken_until = self.t + BROKEN_FOR;
            if self.tasks[task as usize].old_phone == 0 {
                self.finish(task);
                return;
            }
        }
        let retry = &self.config.retry;
        let gave_up = tries >= retry.max_tries || decision == Decision::Cancelled;
        // what counts under attack is whether there is a way, so they look for it
        let it = &self.tasks[task as usize];
        let determined = it.under.is_some() && it.tested && !it.way;
        if (gave_up && !(determined && tries < 2 * retry.max_tries))
            || !(determined || self.dice.chance(retry.again))
        {
            self.finish(task);
            return;
        }
        let codes = !self.people[user as usize].push_only && fails >= retry.totp_after;
        if codes && self.dice.chance(retry.totp_share) {
            self.tasks[task as usize].by_code = true;
        }
        let delay = ms(self.dice.lognormal(retry.delay_s, retry.delay_sigma));
        self.after(delay, Event::Ask(task));
    }

    fn finish(&mut self, task: u32) {
        let it = &mut self.tasks[task as usize];
        if std::mem::replace(&mut it.done, true) {
            return;
        }
        let user = it.user;
        let (tested, way, blocked, under) = (it.tested, it.way, it.blocked, it.under);
        let known = self.people[user as usize].is_known(&self.tasks[task as usize].choice, self.t);
        match under {
            Some(campaign) if tested => {
                self.campaigns[campaign as usize].own_end(user, way, blocked, known)
            }
            None if tested && self.is_judged() => self.tally.sign_in(way),
            _ => {}
        }
    }

    /// A client asks, with nobody there to answer, or somebody who denies.
    pub(super) fn machine_asks(&mut self, machine: u32) {
        let it = &mut self.machines[machine as usize];
        if it.left == 0 {
            return;
        }
        it.left -= 1;
        let (user, choice, gap, left, denied) = (it.user, it.choice, it.gap, it.left, it.denied);
        self.people[user as usize].broken_until = self.t + BROKEN_FOR;
        let ask = self.ask_for(user, &choice, None);
        let (id, said) = self.send(&ask, Purpose::SignIn, By::Machine(machine));
        if self.is_judged() {
            self.tally.machine(said.word);
        }
        if denied {
            if said.word == Word::Ring && self.hears(user) {
                let delay = self.hesitation(self.config.answer.latency_s);
                self.after(delay, Event::Answer(id, Answered::Denied));
            }
        } else if left > 0 {
            self.after(gap, Event::Machine(machine));
        }
    }

    /// A client that sends again at once when it is denied.
    pub(super) fn machine_answered(&mut self, machine: u32, decision: Decision) {
        if decision == Decision::Denied {
            self.after(SECOND, Event::Machine(machine));
        }
    }
}
