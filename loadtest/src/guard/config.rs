//! The world's numbers: TOML files, read strictly. Each number's unit and source is in loadtest/guard/tune.toml.

use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// The files that are built in, by the name that `extends` and `--config` may use.
const BUILT_IN: [(&str, &str); 4] = [
    ("tune.toml", include_str!("../../guard/tune.toml")),
    ("judge.toml", include_str!("../../guard/judge.toml")),
    ("shifted.toml", include_str!("../../guard/shifted.toml")),
    ("quick.toml", include_str!("../../guard/quick.toml")),
];

/// Why a world can't be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    #[error("{0}: {1}")]
    Toml(String, toml::de::Error),
    #[error("{0}: {1}")]
    Field(String, String),
}

/// What stands for the network that a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Networks {
    /// The number of its autonomous system, as where a table of them is mounted.
    Asn,
    /// The address's /24 or /48, as without one.
    Prefix,
}

impl Networks {
    /// In a sentence.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Asn => "networks by number",
            Self::Prefix => "networks by /24 and /48",
        }
    }
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name { $(pub(crate) $field: $type),* }
    };
}

section! { /// What is run.
Run {
    seeds: Vec<u64>, users: u32, warmup_days: u32, judged_days: u32, attack_days: u32,
    victims: u32, sprays: u32, spray_users: u32, ttl_s: u32, networks: Vec<Networks>,
    patience_days: u32, patience_gaps_h: Vec<u64>, patience_groups: Vec<(u64, u64)>,
} }
section! { /// How often people sign in.
Rate { per_workday: f64, sigma: f64, weekend: f64 } }
section! { /// When they do.
Hours {
    shifts: Vec<(f64, f64)>, shift_sigma_h: f64, first_jitter_min: f64, span_h: f64, evening: f64,
} }
section! { /// What they answer to their own prompts, in per cent, and how fast.
Answer {
    approve: f64, timeout: f64, wrong: f64, abandon: f64, deny: f64, report_of_denials: f64,
    latency_s: f64, latency_sigma: f64, typing_s: f64,
} }
section! { /// What they do after a failure.
Retry {
    again: f64, delay_s: f64, delay_sigma: f64, max_tries: u32, totp_after: u32, totp_share: f64,
    dead_share: f64, dead_next: f64,
} }
section! { /// Which factor they use.
Factor { totp: f64, typo: f64, push_only: f64 } }
section! { /// What they do at the page.
PageHabits {
    double_submit: f64, together: f64, pull: f64, pull_delay_s: f64, code_instead: f64, step_up: f64,
} }
section! { /// Clients that give up and ask again.
Vpn { retry_user_days: f64, pushes: (u32, u32), gap_s: (f64, f64) } }
section! { /// Clients that ask with nobody there.
Broken {
    night_user_days: f64, night_pushes: (u32, u32), hammer_user_days: f64, hammer_gap_min: f64,
    hammer_hours: (f64, f64), retry_bug_user_days: f64, retry_bug_max: u32,
} }
section! { /// New phones.
Phone { new_every_days: f64, timeouts: (u32, u32), help_desk: f64 } }
section! { /// Where people are.
Places {
    offices: u32, in_office: f64, isps: u32, home_ip_days: u32, ipv6: f64, isp_change_days: f64,
    carriers: u32, carrier_nats: u32, mobile_tasks: f64, travel_user_days: f64, trip_days: (u32, u32),
    hotspot_tasks: f64,
} }
section! { /// What they sign in to.
Apps {
    mail: f64, apps: f64, vpn: f64, partner: f64, null_vpn: f64, cookies: f64, cookie_days: f64,
} }
section! { /// Who comes.
Staff { joining: f64 } }
section! { /// When nothing rings, in a run of its own.
Outage { day: u32, hour: u32, minutes: u32 } }
section! { /// Answers to somebody else's prompt, in per cent.
Reply { deny: f64, report: f64 } }
section! { /// How victims behave.
Victim {
    day: Reply, night: Reply, night_hours: (u32, u32), delay_s: f64, pull_denies: f64,
} }
section! { /// All of it.
Config {
    run: Run, rate: Rate, hours: Hours, answer: Answer, retry: Retry, factor: Factor,
    page: PageHabits, vpn: Vpn, broken: Broken, phone: Phone, place: Places, apps: Apps,
    staff: Staff, outage: Outage, victim: Victim,
} }

impl Config {
    /// A built-in world by its file's name.
    pub(crate) fn built_in(name: &str) -> Result<Self, ConfigError> {
        Self::from_table(name, table(name, None)?)
    }

    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::File(name.clone(), error))?;
        Self::from_table(&name, extended(&name, &text, path.parent())?)
    }

    fn from_table(name: &str, table: Table) -> Result<Self, ConfigError> {
        let config: Self = Value::Table(table)
            .try_into()
            .map_err(|error| ConfigError::Toml(name.to_owned(), error))?;
        match config.problem() {
            Some(problem) => Err(ConfigError::Field(name.to_owned(), problem)),
            None => Ok(config),
        }
    }

    /// The first field that makes no world, and why.
    pub(crate) fn problem(&self) -> Option<String> {
        let run = &self.run;
        let answers = &self.answer;
        let answered =
            answers.approve + answers.timeout + answers.wrong + answers.abandon + answers.deny;
        let apps = &self.apps;
        let used = apps.mail + apps.apps + apps.vpn + apps.partner;
        let shifts: f64 = self.hours.shifts.iter().map(|(_, share)| share).sum();
        let checks = [
            (run.seeds.is_empty(), "run.seeds: must name at least one".to_owned()),
            (
                run.networks.is_empty() || run.networks[1..].contains(&run.networks[0]),
                "run.networks: must name asn, prefix or both, once".to_owned(),
            ),
            (
                !(100..=2_000_000).contains(&run.users),
                format!("run.users: must be between 100 and 2000000, is {}", run.users),
            ),
            (
                !(30..=300).contains(&run.ttl_s),
                format!("run.ttl_s: must be between 30 and 300, is {}", run.ttl_s),
            ),
            (
                run.attack_days < 13 || run.attack_days > 200,
                format!("run.attack_days: must be between 13 and 200, is {}", run.attack_days),
            ),
            (
                run.judged_days == 0 || run.judged_days > 365,
                format!("run.judged_days: must be between 1 and 365, is {}", run.judged_days),
            ),
            (
                (answered - 100.0).abs() > 0.01,
                format!("answer: outcomes must sum to 100, sum to {answered}"),
            ),
            ((used - 1.0).abs() > 1e-6, format!("apps: shares must sum to 1, sum to {used}")),
            (
                (shifts - 1.0).abs() > 1e-6,
                format!("hours.shifts: shares must sum to 1, sum to {shifts}"),
            ),
            (
                run.victims.max(run.sprays * run.spray_users) * 2 > run.users,
                "run.victims, sprays, spray_users: must be at most half the users".to_owned(),
            ),
        ];
        checks.into_iter().find_map(|(wrong, why)| wrong.then_some(why))
    }
}

/// The table of a file that another extends: beside it, or built in.
fn table(name: &str, beside: Option<&Path>) -> Result<Table, ConfigError> {
    let path = beside.map(|folder| folder.join(name)).filter(|path| path.exists());
    if let Some(path) = path {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| ConfigError::File(path.display().to_string(), error))?;
        return extended(name, &text, beside);
    }
    match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
        Some((_, text)) => extended(name, text, beside),
        None => Err(ConfigError::Field(name.to_owned(), "extends: there is no such file".into())),
    }
}

/// What a file says, over what the file says that it extends.
fn extended(name: &str, text: &str, beside: Option<&Path>) -> Result<Table, ConfigError> {
    let mut own: Table = text.parse().map_err(|error| ConfigError::Toml(name.to_owned(), error))?;
    let Some(base) = own.remove("extends") else { return Ok(own) };
    let base = base.as_str().filter(|base| *base != name).ok_or_else(|| {
        ConfigError::Field(name.to_owned(), "extends: must name another file".to_owned())
    })?;
    let mut all = table(base, beside)?;
    for (section, values) in own {
        match (all.get_mut(&section), values) {
            (Some(Value::Table(into)), Value::Table(values)) => into.extend(values),
            (_, values) => drop(all.insert(section, values)),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_worlds_are_good_and_differ() {
        let worlds = BUILT_IN.map(|(name, _)| Config::built_in(name).expect("a good world"));
        assert_eq!(worlds[0].run.users, 10_000);
        for (at, world) in worlds.iter().enumerate() {
            for other in &worlds[at + 1..] {
                assert!(world.run.seeds.iter().all(|seed| !other.run.seeds.contains(seed)));
            }
        }
    }

    #[test]
    fn what_makes_no_world_is_refused_by_name() {
        let said = |text: &str| {
            let text = format!("extends = 'tune.toml'\n{text}");
            let table = extended("test.toml", &text, None).expect("a table");
            Config::from_table("test.toml", table).expect_err("no world").to_string()
        };
        assert!(said("[answer]\napprove = 90.0").contains("answer: outcomes must sum to 100"));
        assert!(said("[run]\nusers = 5").contains("run.users: must be between 100"));
        assert!(said("[run]\nspeed = 5").contains("unknown field `speed`"));
        assert!(said("[run]\nnetworks = []").contains("run.networks: must name"));
        assert!(said("[run]\nnetworks = ['asn', 'asn']").contains("run.networks: must name"));
        assert!(said("[run]\nvictims = 9000").contains("at most half the users"));
        assert!(table("nothing.toml", None).is_err());
        assert!(extended("a.toml", "extends = 'a.toml'", None).is_err());
    }
}
