//! What strangers without possession and the person themselves may do, at random.

use domain::challenge::{Decision, Method, Purpose};
use domain::lab::{Caller, Op, Said, Word};
use proptest::prelude::*;

use crate::world::{
    DAY, HOUR, MINUTE, TTL, USER, VPN, World, from, home, ip, nowhere, stranger, with_cookie,
};

/// Where somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// The person's address, known to the integration.
    Home,
    /// Another known address of theirs.
    Office,
    /// The same, known to another integration, too.
    OfficeByOther,
    /// Their provider's network.
    HomeNet(u8),
    /// Their address, as another integration says that never saw it succeed.
    HomeByOther,
    /// Any other address.
    Elsewhere(u16),
    /// The same, as another integration says.
    ElsewhereByOther(u16),
    /// Neither address nor cookie.
    Nowhere,
}

pub(crate) const MAIL: &str = "mail";

impl Spot {
    pub(crate) fn caller(self) -> Caller {
        match self {
            Self::Home => home(),
            Self::Office => from(USER, VPN, ip(3, 1)),
            Self::OfficeByOther => from(USER, MAIL, ip(3, 1)),
            Self::HomeNet(host) => from(USER, VPN, ip(1, host.max(2))),
            Self::HomeByOther => from(USER, MAIL, ip(1, 1)),
            Self::Elsewhere(net) => from(USER, VPN, ip(net | 0x1000, 1)),
            Self::ElsewhereByOther(net) => from(USER, MAIL, ip(net | 0x1000, 1)),
            Self::Nowhere => nowhere(),
        }
    }
}

/// What strangers may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// From the person's known addresses, too.
    pub(crate) at_home: bool,
    pub(crate) at_office: bool,
    /// From one other address only.
    pub(crate) one_address: bool,
}

pub(crate) const UNBOUNDED: Limits = Limits { at_home: false, at_office: true, one_address: false };

/// One move. Strangers never approve and never have a valid code.
#[derive(Clone, Debug)]
pub(crate) enum Move {
    Ask {
        spot: Spot,
        session: u8,
        purpose: u8,
        ttl: u64,
        count: u8,
    },
    Rotate {
        base: u16,
        count: u8,
    },
    Cancel(u8),
    Guess {
        spot: Spot,
        on: Option<u8>,
        count: u8,
    },
    Junk {
        spot: Spot,
        count: u8,
    },
    Spray {
        spot: Spot,
        count: u8,
    },
    Enrol,
    Wait(u64),
    /// The person asks, and it ends so.
    Own {
        spot: Spot,
        cookie: bool,
        end: Decision,
    },
    /// The person opens the app and refuses what they see.
    Refuse {
        report: bool,
        count: u8,
    },
    Restart,
    Contain,
    Clear,
}

fn spots() -> impl Strategy<Value = Spot> {
    prop_oneof![
        3 => Just(Spot::Home),
        2 => Just(Spot::Office),
        1 => Just(Spot::OfficeByOther),
        2 => (2_u8..6).prop_map(Spot::HomeNet),
        1 => Just(Spot::HomeByOther),
        6 => (0_u16..20).prop_map(Spot::Elsewhere),
        1 => (0_u16..20).prop_map(Spot::ElsewhereByOther),
        3 => Just(Spot::Nowhere),
    ]
}

fn ends() -> impl Strategy<Value = Decision> {
    prop_oneof![
        4 => Just(Decision::Approved),
        1 => Just(Decision::Denied),
        1 => Just(Decision::Reported),
        1 => Just(Decision::Mismatch),
        1 => Just(Decision::Cancelled),
        1 => Just(Decision::Expired),
    ]
}

fn waits() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..5 * MINUTE,
        3 => 0..6 * HOUR,
        2 => 0..4 * DAY,
        1 => 0..20 * DAY,
    ]
}

pub(crate) fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        8 => (spots(), 0_u8..8, 0_u8..6, 1_000_u64..600_000, 1_u8..24)
            .prop_map(|(spot, session, purpose, ttl, count)| Move::Ask {
                spot, session, purpose, ttl, count,
            }),
        3 => (0_u16..500, 1_u8..40).prop_map(|(base, count)| Move::Rotate { base, count }),
        3 => (0_u8..40).prop_map(Move::Cancel),
        3 => (spots(), proptest::option::of(0_u8..8), 1_u8..30)
            .prop_map(|(spot, on, count)| Move::Guess { spot, on, count }),
        1 => (spots(), 1_u8..60).prop_map(|(spot, count)| Move::Junk { spot, count }),
        1 => (spots(), 1_u8..40).prop_map(|(spot, count)| Move::Spray { spot, count }),
        1 => Just(Move::Enrol),
        5 => waits().prop_map(Move::Wait),
        4 => (spots(), any::<bool>(), ends())
            .prop_map(|(spot, cookie, end)| Move::Own { spot, cookie, end }),
        3 => (any::<bool>(), 1_u8..6).prop_map(|(report, count)| Move::Refuse { report, count }),
        1 => Just(Move::Restart),
        1 => Just(Move::Contain),
        1 => Just(Move::Clear),
    ]
}

/// Both sides, playing.
pub(crate) struct Play {
    pub(crate) world: World,
    limits: Limits,
    pub(crate) theirs: Vec<(String, u64)>,
    /// When the person last signed in at home: after a month without, it is no longer known.
    at_home: u64,
}

impl Play {
    /// A person with a home, an office and a browser, all known for days.
    pub(crate) fn new(limits: Limits, factors: &[Method]) -> Self {
        let mut world = World::new();
        world.has(USER, factors);
        for _ in 0..2 {
            world.signs_in(&home());
            world.signs_in(&Spot::Office.caller());
            world.signs_in(&Spot::OfficeByOther.caller());
            world.signs_in(&with_cookie(home(), "own"));
            world.pass(25 * HOUR);
        }
        world.signs_in(&home());
        let at_home = world.t;
        Self { world, limits, theirs: Vec::new(), at_home }
    }

    fn may(&self, spot: Spot) -> bool {
        match spot {
            Spot::Home => self.limits.at_home,
            Spot::Office | Spot::OfficeByOther => self.limits.at_office,
            _ => true,
        }
    }

    fn placed(&self, spot: Spot) -> Caller {
        match spot {
            Spot::HomeNet(_)
            | Spot::HomeByOther
            | Spot::Elsewhere(_)
            | Spot::ElsewhereByOther(_)
                if self.limits.one_address =>
            {
                stranger()
            }
            other => other.caller(),
        }
    }

    /// A stranger asks; what they see says nothing, so they go on whatever it is.
    fn ask(&mut self, caller: &Caller, purpose: Purpose, ttl: u64) {
        let now = self.world.t;
        self.theirs.retain(|(_, expires)| *expires > now);
        let judged = self.world.push_for(caller, purpose, ttl);
        if matches!(judged.decision, Word::Ring | Word::Silent) {
            self.theirs.push((judged.id, now + ttl));
        }
    }

    pub(crate) fn play(&mut self, moves: &[Move]) {
        for one in moves {
            match one {
                Move::Wait(millis) => self.wait(*millis),
                Move::Restart => self.world.restart(),
                Move::Contain => self.world.contain(USER),
                Move::Clear => {
                    let op = Op::Clear { user: USER.to_owned(), by: "admin".to_owned() };
                    self.world.step(op);
                }
                Move::Own { spot, cookie, end } => self.own(*spot, *cookie, *end),
                Move::Refuse { report, count } => self.refuse(*report, *count),
                other => self.attack(other),
            }
            self.world.pass(1);
        }
    }

    fn wait(&mut self, millis: u64) {
        for _ in 0..millis / (10 * DAY) {
            self.world.pass(10 * DAY);
            self.own(Spot::Home, false, Decision::Approved);
        }
        self.world.pass(millis % (10 * DAY));
        if self.world.t > self.at_home + 20 * DAY {
            self.own(Spot::Home, false, Decision::Approved);
        }
    }

    fn attack(&mut self, one: &Move) {
        match *one {
            Move::Ask { spot, session, purpose, ttl, count } if self.may(spot) => {
                let mut caller = self.placed(spot);
                for n in 0..count {
                    caller.session = match session {
                        0 => None,
                        1 => Some("same".to_owned()),
                        _ => Some(format!("s{}-{n}", self.world.new_id("s"))),
                    };
                    self.ask(&caller, Purpose::ALL[usize::from(purpose)], ttl);
                    self.world.pass(u64::from(session) * 100);
                }
            }
            Move::Rotate { base, count } => {
                for n in 0..u16::from(count) {
                    let caller = self.placed(Spot::Elsewhere(base + n));
                    self.ask(&caller, Purpose::SignIn, 600_000);
                }
            }
            Move::Cancel(at) => {
                if let Some((id, ..)) = self.theirs.get(usize::from(at)).cloned() {
                    let outcome = Decision::Cancelled;
                    // it may be over already
                    drop(self.world.tried(Op::Outcome { id, outcome }));
                    self.theirs.remove(usize::from(at));
                }
            }
            Move::Guess { spot, on, count } if self.may(spot) => {
                let caller = self.placed(spot);
                let on = on.and_then(|at| self.theirs.get(usize::from(at))).cloned();
                // what became of one is forgotten a day later
                let on = on.filter(|(_, until)| self.world.t < until + 24 * HOUR);
                for _ in 0..count {
                    let on = on.as_ref().map(|(id, ..)| id.as_str());
                    assert_ne!(self.world.totp(&caller, on, false).decision, Word::Accept);
                }
            }
            Move::Junk { spot, count } if self.may(spot) => {
                let caller = self.placed(spot);
                for _ in 0..count {
                    assert_ne!(self.world.recovery(&caller, None, false).decision, Word::Accept);
                }
            }
            Move::Spray { spot, count } => {
                let mut caller = self.placed(spot);
                for n in 0..count {
                    caller.user = format!("other{n}");
                    self.world.push(&caller);
                }
            }
            Move::Enrol => {
                self.world.step(Op::Enrol { user: USER.to_owned() });
            }
            _ => {}
        }
    }

    /// The person's own sign-in, ended as it may be.
    fn own(&mut self, spot: Spot, cookie: bool, end: Decision) {
        let caller = spot.caller();
        let caller = if cookie && spot == Spot::Home { with_cookie(caller, "own") } else { caller };
        let pushed = self.world.push(&caller);
        self.world.pass(5_000);
        if pushed.decision == Word::Decoy {
            return;
        }
        if end == Decision::Expired {
            self.world.pass(TTL);
            return;
        }
        if end == Decision::Approved && spot == Spot::Home {
            self.at_home = self.world.t;
        }
        let ended = self.world.outcome(&pushed.id, end);
        if ended.decision == Word::Withhold {
            self.world.totp(&caller, Some(&pushed.id), true);
        }
    }

    fn refuse(&mut self, report: bool, count: u8) {
        let end = if report { Decision::Reported } else { Decision::Denied };
        let shown = self.world.pending(USER);
        for id in shown.into_iter().take(count.into()) {
            self.world.outcome(&id, end);
        }
    }
}

/// How a genuine sign-in got through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Ring,
    Pull,
    /// The answer was withheld until a code passed.
    Code,
    /// The device never saw it: the code alone.
    DecoyCode,
}

/// The person signs in with whatever they have; `None` is a lock-out.
pub(crate) fn genuine(world: &mut World, caller: &Caller, has_code: bool) -> Option<Way> {
    let pushed = world.push(caller);
    world.pass(3_000);
    let shown = match world.step(Op::Pull { user: caller.user.clone() }) {
        Said::Pending(ids) => ids.contains(&pushed.id),
        _ => false,
    };
    world.pass(5_000);
    let way = match pushed.decision {
        Word::Ring => Way::Ring,
        Word::Silent => Way::Pull,
        Word::Decoy if has_code => {
            let said = world.totp(caller, Some(&pushed.id), true);
            return (said.decision == Word::Accept).then_some(Way::DecoyCode);
        }
        _ => return None,
    };
    assert!(shown, "what isn't a decoy is shown in the app");
    match world.outcome(&pushed.id, Decision::Approved).decision {
        Word::Release => Some(way),
        Word::Withhold if has_code => {
            let said = world.totp(caller, Some(&pushed.id), true);
            (said.decision == Word::Accept).then_some(Way::Code)
        }
        _ => None,
    }
}
