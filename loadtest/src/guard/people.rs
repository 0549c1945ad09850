//! The people of an organisation, and the addresses that they come from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::config::Config;
use super::dice::{DAY, Dice, HOUR, Ms, day_of, ms};
use super::gate::{APPS, MAIL, PARTNER, Spot, VPN};

const HERE: [u8; 2] = *b"DE";
const ABROAD: [[u8; 2]; 6] = [*b"FR", *b"US", *b"ES", *b"GB", *b"JP", *b"BR"];

/// Groups of people whose first prompts are watched: everything is new to the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cohort {
    Traveller,
    NewUser,
    NewPhone,
    NullAddress,
    ChangedProvider,
}

impl Cohort {
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::Traveller, "traveller"),
        (Self::NewUser, "new user"),
        (Self::NewPhone, "new phone"),
        (Self::NullAddress, "no address"),
        (Self::ChangedProvider, "changed provider"),
    ];
}

/// Most places that a person's true history holds.
const MAX_TRUE: usize = 24;

/// A place that a person has proved possession from: the truth, which the guard has to find out.
#[derive(Clone, Copy, Debug)]
struct Proven {
    integration: u8,
    key: u64,
    first: Ms,
    last: Ms,
}

/// One person.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    /// When they come, if not at the start.
    pub(crate) joins: Ms,
    pub(crate) break_glass: bool,
    pub(crate) push_only: bool,
    pub(crate) null_vpn: bool,
    keeps_cookies: bool,
    /// Sign-ins per working day.
    pub(crate) rate: f64,
    /// When their working day starts, after midnight.
    pub(crate) shift: Ms,
    office: u32,
    isp: u32,
    /// Counts the addresses that their home has had.
    moves: u32,
    renews: u32,
    ipv6: bool,
    carrier: u32,
    /// Until the end of which day they are abroad, and where.
    trip: Option<(u32, Spot)>,
    /// Where they are today.
    today: Spot,
    /// Cookies of laptop and phone by integration; 0 is none.
    cookies: [[u32; 5]; 2],
    proven: Vec<Proven>,
    /// The phone has no power or network.
    pub(crate) dead: bool,
    /// The app isn't on the new phone yet.
    pub(crate) no_phone: bool,
    /// Something around them was broken until then.
    pub(crate) broken_until: Ms,
    /// Whose first prompt is due.
    due: [bool; 5],
    /// Their own challenge that rings, if it still does.
    pub(crate) ringing: Option<u32>,
    /// The campaign that they are the victim of.
    pub(crate) campaign: Option<u32>,
}

/// Who asks from where, as a person chooses it for one sign-in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) integration: u8,
    pub(crate) spot: Spot,
    /// The browser: 0 laptop, 1 phone; none keeps no cookie.
    pub(crate) browser: Option<u8>,
    /// A client without browser session.
    pub(crate) sessionless: bool,
}

impl Person {
    pub(crate) fn new(config: &Config, dice: &mut Dice) -> Self {
        let hours = &config.hours;
        let shifts: Vec<f64> = hours.shifts.iter().map(|(_, share)| *share).collect();
        let start = hours.shifts[dice.pick(&shifts)].0 + hours.shift_sigma_h * dice.normal();
        let days = config.run.warmup_days + config.run.judged_days;
        let joins = if dice.chance(config.staff.joining) { dice.below(days) } else { 0 };
        let skew = dice.share().powi(3);
        Self {
            joins: Ms::from(joins) * DAY,
            break_glass: false,
            push_only: dice.chance(config.factor.push_only),
            null_vpn: dice.chance(config.apps.null_vpn),
            keeps_cookies: dice.chance(config.apps.cookies),
            rate: dice.lognormal(config.rate.per_workday, config.rate.sigma),
            shift: ms(start * 3_600.0),
            office: scaled(skew, config.place.offices),
            isp: dice.below(config.place.isps),
            moves: 0,
            renews: dice.below(config.place.home_ip_days),
            ipv6: dice.chance(config.place.ipv6),
            carrier: dice.below(config.place.carriers),
            trip: None,
            today: Spot::default(),
            cookies: [[0; 5]; 2],
            proven: Vec::new(),
            dead: false,
            no_phone: false,
            broken_until: 0,
            due: [false, joins > 0, false, false, false],
            ringing: None,
            campaign: None,
        }
    }

    /// A new day: where they are, and what has changed.
    pub(crate) fn wake(
        &mut self,
        id: u32,
        config: &Config,
        day: u32,
        weekend: bool,
        dice: &mut Dice,
    ) {
        let place = &config.place;
        if day % place.home_ip_days.max(1) == self.renews {
            self.moves += 1;
        }
        if dice.chance(1.0 / place.isp_change_days) {
            self.isp = (self.isp + 1 + dice.below(place.isps - 1)) % place.isps;
            self.due[Cohort::ChangedProvider as usize] = true;
        }
        if dice.chance(1.0 / config.apps.cookie_days) {
            self.cookies = [[0; 5]; 2];
        }
        let mean = f64::from(place.trip_days.0 + place.trip_days.1) / 2.0;
        if self.trip.is_none_or(|(until, _)| until < day) {
            self.trip = dice.chance(place.travel_user_days / mean).then(|| {
                self.due[Cohort::Traveller as usize] = true;
                (day + dice.whole(place.trip_days) - 1, hotel(dice))
            });
        }
        self.due[Cohort::NullAddress as usize] = true;
        let working = !weekend && dice.chance(place.in_office);
        self.today = match self.trip {
            Some((_, hotel)) => hotel,
            None if working => self.office(),
            None => self.home(id, day),
        };
    }

    /// One sign-in: what to, and from where.
    pub(crate) fn choose(&self, id: u32, config: &Config, t: Ms, dice: &mut Dice) -> Choice {
        let apps = &config.apps;
        let shares = [apps.mail, apps.apps, apps.vpn, apps.partner];
        let integration = [MAIL, APPS, VPN, PARTNER][dice.pick(&shares)];
        let abroad = self.trip.is_some_and(|(until, _)| day_of(t) <= until);
        let evening = t % DAY >= 19 * HOUR && self.shift < 12 * HOUR;
        let (spot, browser) = if dice.chance(config.place.hotspot_tasks) {
            (hotspot(dice), 0)
        } else if dice.chance(config.place.mobile_tasks) && !abroad {
            (self.mobile(config, dice), 1)
        } else if evening && !abroad {
            (self.home(id, day_of(t)), 0)
        } else {
            (self.today, 0)
        };
        self.at(integration, spot, browser)
    }

    /// A sign-in from a given place.
    pub(crate) fn at(&self, integration: u8, spot: Spot, browser: u8) -> Choice {
        let null = integration == VPN && self.null_vpn;
        Choice {
            integration,
            spot: if null { Spot::default() } else { spot },
            browser: (integration != VPN && self.keeps_cookies).then_some(browser),
            sessionless: null,
        }
    }

    pub(crate) const fn today(&self) -> Spot {
        self.today
    }

    pub(crate) fn office(&self) -> Spot {
        let [_, _, _, office] = self.office.to_be_bytes();
        here(Ipv4Addr::new(11, office, 0, 10), 1_000 + self.office % 6)
    }

    pub(crate) fn home(&self, id: u32, day: u32) -> Spot {
        let asn = 2_000 + self.isp;
        let seed = u64::from(id) << 32 | u64::from(self.isp) << 24 | u64::from(self.moves);
        let mixed = mix(seed);
        if self.ipv6 {
            // privacy addresses: the last 64 bits are new each day
            let host = mix(mixed ^ u64::from(day));
            let top = 0x2a00_u64 << 48 | u64::from(self.isp) << 36;
            let prefix = top | mixed & 0xf_ffff_ffff;
            let ip = Ipv6Addr::from_bits(u128::from(prefix) << 64 | u128::from(host));
            return Spot { ip: Some(ip.into()), asn, country: HERE };
        }
        isp_address(self.isp, mixed)
    }

    /// Another address of the person's provider.
    pub(crate) fn neighbour(&self, dice: &mut Dice) -> Spot {
        isp_address(self.isp, dice.bits())
    }

    fn mobile(&self, config: &Config, dice: &mut Dice) -> Spot {
        let each = (config.place.carrier_nats / config.place.carriers).max(1);
        let [_, _, _, nat] = dice.below(each).to_be_bytes();
        let [_, _, _, carrier] = self.carrier.to_be_bytes();
        here(Ipv4Addr::new(60, carrier, 0, nat), 3_000 + self.carrier)
    }

    pub(crate) fn cookie(&self, integration: u8, browser: Option<u8>) -> Option<u32> {
        let cookie = self.cookies[usize::from(browser?)][usize::from(integration)];
        (cookie != 0).then_some(cookie)
    }

    /// A sign-in has passed: the browser gets its cookie, the place is proven.
    pub(crate) fn passed(&mut self, choice: &Choice, next_cookie: &mut u32, t: Ms) {
        if let Some(browser) = choice.browser {
            let slot = &mut self.cookies[usize::from(browser)][usize::from(choice.integration)];
            if *slot == 0 {
                *next_cookie += 1;
                *slot = *next_cookie;
            }
            let cookie = u64::from(*slot) | 1 << 63;
            self.prove(choice.integration, cookie, t);
        }
        if let Some(key) = spot_key(&choice.spot) {
            self.prove(choice.integration, key, t);
        }
    }

    fn prove(&mut self, integration: u8, key: u64, t: Ms) {
        let found =
            self.proven.iter_mut().find(|at| (at.integration, at.key) == (integration, key));
        if let Some(at) = found {
            at.last = t;
            return;
        }
        if self.proven.len() == MAX_TRUE {
            let oldest = (0..MAX_TRUE).min_by_key(|at| self.proven[*at].last).unwrap_or(0);
            self.proven.swap_remove(oldest);
        }
        self.proven.push(Proven { integration, key, first: t, last: t });
    }

    /// Whether the person has signed in from there between a day and a month ago.
    pub(crate) fn is_known(&self, choice: &Choice, t: Ms) -> bool {
        let cookie = self.cookie(choice.integration, choice.browser);
        let keys = [spot_key(&choice.spot), cookie.map(|cookie| u64::from(cookie) | 1 << 63)];
        self.proven.iter().any(|at| {
            at.integration == choice.integration
                && keys.contains(&Some(at.key))
                && at.first + DAY <= t
                && t <= at.last + 30 * DAY
        })
    }

    /// Which first prompts this one is.
    pub(crate) fn first_of(&mut self, id: u32, choice: &Choice, t: Ms) -> [bool; 5] {
        let away = self.trip.is_some_and(|(until, at)| day_of(t) <= until && at == choice.spot);
        let home = self.home(id, day_of(t)) == choice.spot;
        let fits = [away, true, true, choice.spot.ip.is_none(), home];
        let mut first = [false; 5];
        for (at, due) in self.due.iter_mut().enumerate() {
            first[at] = *due && fits[at];
            *due &= !first[at];
        }
        first
    }

    pub(crate) fn make_due(&mut self, cohort: Cohort) {
        self.due[cohort as usize] = true;
    }
}

/// Somewhere that nobody has been: a café.
pub(crate) fn hotspot(dice: &mut Dice) -> Spot {
    here(anywhere(100, dice), 10_000 + dice.below(5_000))
}

fn hotel(dice: &mut Dice) -> Spot {
    let country = ABROAD[dice.below(6) as usize];
    Spot { country, ..here(anywhere(130, dice), 20_000 + dice.below(5_000)) }
}

/// Where attacks come from: rented machines anywhere.
pub(crate) fn rented(dice: &mut Dice) -> Spot {
    let country = [*b"NL", *b"US", *b"RU", *b"DE"][dice.below(4) as usize];
    Spot { country, ..here(anywhere(180, dice), 40_000 + dice.below(20_000)) }
}

/// The same network, another address.
pub(crate) fn beside(spot: &Spot, dice: &mut Dice) -> Spot {
    Spot { ip: Some(anywhere(180, dice).into()), ..*spot }
}

/// One of twenty /8 from `first`, so that no two kinds of place share an address.
fn anywhere(first: u8, dice: &mut Dice) -> Ipv4Addr {
    let [a, b, c, ..] = dice.bits().to_be_bytes();
    let [_, _, _, block] = dice.below(20).to_be_bytes();
    Ipv4Addr::new(first + block, a, b, c)
}

fn isp_address(isp: u32, mixed: u64) -> Spot {
    let [_, _, _, block] = isp.to_be_bytes();
    let [a, b, c, ..] = mixed.to_be_bytes();
    here(Ipv4Addr::new(20 + block, a & 3, b, c), 2_000 + isp)
}

fn here(ip: Ipv4Addr, asn: u32) -> Spot {
    Spot { ip: Some(ip.into()), asn, country: HERE }
}

/// A household: an IPv4 address, the /64 of an IPv6 one.
fn spot_key(spot: &Spot) -> Option<u64> {
    Some(match spot.ip? {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => u64::try_from(ip.to_bits() >> 65).unwrap_or(0) | 1 << 62,
    })
}

/// Splitmix64's finisher: an address from what it belongs to.
fn mix(seed: u64) -> u64 {
    let x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// A share of a whole number, below it.
fn scaled(share: f64, of: u32) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "share is 0 to 1")]
    let scaled = (share * f64::from(of)) as u32;
    scaled.min(of.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_office_has_its_share_and_homes_move() {
        let config = Config::built_in("tune.toml").unwrap();
        let mut dice = Dice::new(1, 1);
        let mut people: Vec<Person> = (0..4_000).map(|_| Person::new(&config, &mut dice)).collect();
        let largest = people.iter().filter(|person| person.office == 0).count();
        assert!((0.26..0.32).contains(&(largest as f64 / 4_000.0)), "{largest}");
        let (mut away, mut moved) = (0, 0);
        for day in 0..60 {
            for (id, person) in (0..).zip(&mut people) {
                let before = person.home(id, 0);
                person.wake(id, &config, day, is_weekend(day), &mut dice);
                away += u32::from(person.trip.is_some());
                moved += u32::from(person.home(id, 0) != before);
            }
        }
        let user_days = 4_000.0 * 60.0;
        let share = f64::from(away) / user_days;
        assert!((0.018..0.026).contains(&share), "{share}");
        let share = f64::from(moved) / user_days;
        assert!((0.033..0.037).contains(&share), "{share}");
    }

    use super::super::dice::is_weekend;

    #[test]
    fn a_place_is_known_after_a_day_and_forgotten_after_a_month() {
        let config = Config::built_in("tune.toml").unwrap();
        let mut person = Person::new(&config, &mut Dice::new(1, 1));
        person.keeps_cookies = true;
        let choice = person.at(MAIL, person.office(), 0);
        let mut cookies = 0;
        person.passed(&choice, &mut cookies, HOUR);
        assert_eq!((cookies, person.cookie(MAIL, Some(0))), (1, Some(1)));
        assert!(!person.is_known(&choice, DAY));
        assert!(person.is_known(&choice, DAY + HOUR));
        assert!(!person.is_known(&person.at(APPS, person.office(), 0), DAY + HOUR));
        assert!(person.is_known(&person.at(MAIL, rented(&mut Dice::new(2, 2)), 0), DAY + HOUR));
        assert!(!person.is_known(&choice, 32 * DAY));
    }
}
