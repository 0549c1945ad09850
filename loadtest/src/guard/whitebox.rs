//! An attacker who knows every number: for each way of waiting, how often the phone can ring before an alert.

use super::campaign::{Act, From, Mood, Spec, Step, most_within};
use super::config::Config;
use super::dice::{DAY, HOUR, Ms};
use super::gate::{Guard, MAIL};
use super::people::rented;
use super::world::{Story, World};

/// People around the victims: enough for an ordinary day, few enough to try things on copies.
const USERS: u32 = 120;
/// Victims of each way.
const VICTIMS: u32 = 3;
/// Where the attacker asks from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Unknown,
    Rotating,
    Near,
    Nowhere,
}

/// A way of waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) place: Place,
    /// Tries in a row; 0 tries on a copy of the guard each hour, and asks if that rang and nobody was told.
    pub(crate) tries: u64,
    pub(crate) gap: Ms,
    pub(crate) rest: Ms,
}

/// What it brings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) way: Way,
    /// Most rings in any 30 days before the first alert, over the victims.
    pub(crate) most: u32,
    /// Victims for whom there never was an alert.
    pub(crate) undetected: u32,
}

impl Way {
    pub(crate) fn name(&self) -> String {
        let place = match self.place {
            Place::Unknown => "one unknown address",
            Place::Rotating => "new unknown addresses",
            Place::Near => "the victim's provider",
            Place::Nowhere => "no address",
        };
        let (gap, rest) = (self.gap / HOUR, self.rest / HOUR);
        match self.tries {
            0 => format!("{place}, whenever a copy of the guard rings unseen"),
            1 => format!("{place}, one per {rest} h"),
            tries => format!("{place}, {tries} {gap} h apart per {} d", rest / 24),
        }
    }

    /// When the attacker tries.
    fn times(&self, days: u32) -> Vec<Ms> {
        if self.tries == 0 {
            return (0..Ms::from(days) * 24).map(|hour| hour * HOUR).collect();
        }
        let each = self.rest.max(self.gap * self.tries);
        let last = Ms::from(days) * DAY;
        let starts = (0..).map(|nth| nth * each).take_while(|at| *at < last);
        starts.flat_map(|at| (0..self.tries).map(move |nth| at + nth * self.gap)).collect()
    }
}

/// All ways.
pub(crate) fn ways(config: &Config) -> Vec<Way> {
    let places = [Place::Unknown, Place::Rotating, Place::Near, Place::Nowhere];
    let run = &config.run;
    let of = |place| {
        // the slow one first
        let greedy = [(0, HOUR)].into_iter();
        let steady = run.patience_gaps_h.iter().map(|gap| (1, gap * HOUR));
        let grouped = run.patience_groups.iter().map(|(tries, days)| (*tries, days * DAY));
        let way = move |(tries, rest)| Way { place, tries, gap: 6 * HOUR, rest };
        greedy.chain(steady).chain(grouped).map(way)
    };
    places.into_iter().flat_map(of).collect()
}

/// The world for it: small, and only what the attack needs.
pub(crate) fn config(config: &Config) -> Config {
    let mut small = config.clone();
    small.run.users = USERS;
    small.run.judged_days = config.run.patience_days;
    small
}

/// Tries one way.
pub(crate) fn attempt(small: &Config, gate: Guard, way: Way, seed: u64) -> Found {
    let story = Story { seed, days: small.run.patience_days, outage: None };
    let mut world = World::new(small, gate, story);
    let spec = Spec {
        id: "m8",
        answers: Mood::Ignores,
        days: small.run.patience_days,
        ..super::attacks::RECOVERY
    };
    for victim in 0..VICTIMS {
        // apart from each other, so that they don't look like one campaign
        let user = 17 + victim * 31;
        let starts = world.judged_from() + Ms::from(10 + victim) * HOUR;
        let fixed = rented(&mut world.dice);
        let mut steps = Vec::new();
        for at in way.times(small.run.patience_days) {
            let from = match way.place {
                Place::Unknown => From::Spot(fixed),
                Place::Rotating => From::Spot(rented(&mut world.dice)),
                Place::Near => From::Neighbour,
                Place::Nowhere => From::Nowhere,
            };
            let at = starts + at;
            let same_session = false;
            let act = if way.tries == 0 { Act::Patient } else { Act::Push };
            steps.push(Step { at, user, act, integration: MAIL, from, same_session });
        }
        world.besiege(spec, vec![user], steps, starts);
    }
    world.run();
    let mut found = Found { way, most: 0, undetected: 0 };
    for campaign in &world.campaigns {
        let before = campaign.alert.map_or(campaign.rings.len(), |(_, _, rings)| rings as usize);
        found.most = found.most.max(most_within(&campaign.rings[..before], 30 * DAY));
        found.undetected += u32::from(campaign.alert.is_none());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_has_its_times() {
        let way = Way { place: Place::Near, tries: 2, gap: 6 * HOUR, rest: 5 * DAY };
        assert_eq!(way.times(60)[..4], [0, 6 * HOUR, 5 * DAY, 5 * DAY + 6 * HOUR]);
        assert_eq!(way.times(60).len(), 24);
        let config = Config::built_in("tune.toml").expect("a good world");
        assert_eq!(ways(&config).len(), 4 * 19);
        assert_eq!(way.name(), "the victim's provider, 2 6 h apart per 5 d");
    }
}
