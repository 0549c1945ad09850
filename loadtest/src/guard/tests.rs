//! The world has the rates that its file says.

use super::attacks::ATTACKS;
use super::config::{Config, Networks};
use super::gate::{Control, Guard, LOCKS};
use super::world::{Story, World};
use domain::guard::Policy;

fn small(users: u32) -> Config {
    let mut config = Config::built_in("quick.toml").expect("a good world");
    config.run.users = users;
    config.run.warmup_days = 7;
    config.run.victims = 6;
    config.run.spray_users = 40;
    config
}

fn within(what: &str, value: f64, least: f64, most: f64) {
    assert!((least..=most).contains(&value), "{what} is {value}, not {least} to {most}");
}

#[test]
fn ordinary_days_have_the_rates_of_the_file() {
    let config = small(1_000);
    let story = Story { seed: 3, days: 28, outage: None };
    let mut world = World::new(&config, Control::new(LOCKS[0]), story);
    world.run();
    let tally = &world.tally;
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let a_day = |count: u64| count as f64 / tally.user_days;
    within("prompts per user-day", a_day(tally.held.of), 1.1, 1.5);
    within("sign-ins per user-day", a_day(tally.sign_ins.of), 1.1, 1.4);
    within("sent twice, %", a_day(tally.twice.of) * 100.0, 0.4, 1.2);
    within("machines' prompts per 10k user-days", a_day(tally.machine.of) * 1e4, 50.0, 250.0);
    within("sign-ins with a way, %", tally.sign_ins.percent(), 99.0, 100.0);
    within("codes per user-day", a_day(tally.codes.of), 0.06, 0.16);
    assert_eq!(tally.held.hit, 0, "without a control everything rings");
    for (share, (_, name)) in tally.cohorts.iter().zip(super::people::Cohort::ALL) {
        assert!(share.of > 10, "{name}: {}", share.of);
    }
}

#[test]
fn the_same_seed_is_the_same_world_and_another_is_not() {
    let config = small(200);
    let digest = |seed| {
        let story = Story { seed, days: 10, outage: None };
        let guard = Guard::new(Policy::default(), Networks::Asn, false);
        let mut world = World::new(&config, guard, story);
        world.attack(&ATTACKS[0], 3);
        world.run();
        assert_eq!(world.gate.cost.first_error, None);
        world.gate.cost.digest
    };
    assert_eq!(digest(1), digest(1));
    assert_ne!(digest(1), digest(2));
}

#[test]
fn every_attack_runs_in_every_gate_without_an_error() {
    let config = small(300);
    for spec in &ATTACKS {
        let story = Story { seed: 5, days: 0, outage: None };
        let guard = Guard::new(Policy::default(), Networks::Asn, false);
        let mut world = World::new(&config, guard, story);
        world.attack(spec, 2);
        world.run();
        assert_eq!(world.gate.cost.first_error, None, "{}", spec.id);
        let sent: u32 = world.campaigns.iter().map(|campaign| campaign.attempts).sum();
        assert!(sent > 0, "{}", spec.id);
    }
}
