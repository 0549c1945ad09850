//! An attacker who knows every number: for each way of waiting, how often the phone can ring before an alert.

use super::campaign::{Act, From, Mood, Spec, Step, most_within};
use super::config::Config;
use super::dice::{DAY, HOUR, Ms};
use super::gate::{Guard, MAIL};
use super::people::rented;
use super::world::{Story, World};

/// People around the victims: enough for an ordinary day.
const USERS: u32 = 300;
/// Days that the attacker is patient.
const PATIENCE: u32 = 60;
/// Victims of each way.
const VICTIMS: u32 = 3;
/// Hours between two tries.
const GAPS_H: [u64; 12] = [6, 8, 12, 18, 24, 36, 48, 72, 96, 120, 168, 240];
/// So many tries in a row, 6 h apart, and then days of rest.
const GROUPS: [(u64, u64); 6] = [(2, 5), (2, 8), (2, 12), (3, 10), (3, 15), (4, 30)];

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
            1 => format!("{place}, one per {rest} h"),
            tries => format!("{place}, {tries} {gap} h apart per {} d", rest / 24),
        }
    }

    /// When the attacker tries.
    fn times(&self) -> Vec<Ms> {
        let each = self.rest.max(self.gap * self.tries);
        let last = Ms::from(PATIENCE) * DAY;
        let starts = (0..).map(|nth| nth * each).take_while(|at| *at < last);
        starts.flat_map(|at| (0..self.tries).map(move |nth| at + nth * self.gap)).collect()
    }
}

/// All ways.
pub(crate) fn ways() -> Vec<Way> {
    let places = [Place::Unknown, Place::Rotating, Place::Near, Place::Nowhere];
    let steady = GAPS_H.map(|gap| (1, gap * HOUR));
    let grouped = GROUPS.map(|(tries, days)| (tries, days * DAY));
    let of = |place| {
        let way = move |(tries, rest)| Way { place, tries, gap: 6 * HOUR, rest };
        steady.into_iter().chain(grouped).map(way)
    };
    places.into_iter().flat_map(of).collect()
}

/// The world for it: small, and only what the attack needs.
pub(crate) fn config(config: &Config) -> Config {
    let mut small = config.clone();
    small.run.users = USERS;
    small.run.judged_days = PATIENCE;
    small.run.attack_days = PATIENCE + 2;
    small
}

/// Tries one way.
pub(crate) fn attempt(small: &Config, gate: Guard, way: Way, seed: u64) -> Found {
    let story = Story { seed, days: PATIENCE, outage: None };
    let mut world = World::new(small, gate, story);
    let spec =
        Spec { id: "m8", answers: Mood::Ignores, days: PATIENCE, ..super::attacks::RECOVERY };
    for victim in 0..VICTIMS {
        // apart from each other, so that they don't look like one campaign
        let user = 17 + victim * 31;
        let starts = world.judged_from() + Ms::from(10 + victim) * HOUR;
        let fixed = rented(&mut world.dice);
        let mut steps = Vec::new();
        for at in way.times() {
            let from = match way.place {
                Place::Unknown => From::Spot(fixed),
                Place::Rotating => From::Spot(rented(&mut world.dice)),
                Place::Near => From::Neighbour,
                Place::Nowhere => From::Nowhere,
            };
            let at = starts + at;
            let same_session = false;
            steps.push(Step { at, user, act: Act::Push, integration: MAIL, from, same_session });
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
        assert_eq!(way.times()[..4], [0, 6 * HOUR, 5 * DAY, 5 * DAY + 6 * HOUR]);
        assert_eq!(way.times().len(), 24);
        assert_eq!(ways().len(), 4 * 18);
        assert_eq!(way.name(), "the victim's provider, 2 6 h apart per 5 d");
    }
}
