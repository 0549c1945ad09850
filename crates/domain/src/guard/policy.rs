//! The guard's numbers: each with its unit, default, bounds and reason.

use serde::{Deserialize, Serialize};

use super::decay::Seconds;

/// One number of the policy, described.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knob {
    /// Its name in the policy file.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Its default.
    pub default: f32,
    /// Smallest value that makes sense.
    pub min: f32,
    /// Largest value that makes sense.
    pub max: f32,
    /// Why there is such a number, and why this default.
    pub why: &'static str,
}

/// A number outside its bounds.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{name} is {value} {unit}; it must be from {min} to {max}")]
#[expect(missing_docs, reason = "the message says what each is")]
pub struct PolicyError {
    pub name: &'static str,
    pub unit: &'static str,
    pub value: f32,
    pub min: f32,
    pub max: f32,
}

macro_rules! policy {
    ($($name:ident: $default:literal $unit:literal in $min:literal..$max:literal, $why:literal;)*) => {
        /// The guard's numbers. [`KNOBS`] says what each means.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Policy {
            $(#[doc = $why] pub $name: f32,)*
        }

        impl Default for Policy {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        /// Every number of a policy.
        pub const KNOBS: &[Knob] = &[
            $(Knob {
                name: stringify!($name),
                unit: $unit,
                default: $default,
                min: $min,
                max: $max,
                why: $why,
            },)*
        ];

        impl Policy {
            /// Every number with its description.
            pub fn values(&self) -> impl Iterator<Item = (&'static Knob, f32)> {
                KNOBS.iter().zip([$(self.$name),*])
            }

            /// Sets a number by its name; `false` if there is none of that name.
            pub fn set(&mut self, name: &str, value: f32) -> bool {
                match name {
                    $(stringify!($name) => self.$name = value,)*
                    _ => return false,
                }
                true
            }
        }
    };
}

policy! {
    fast_half_life_s: 600.0 "s" in 60.0..7200.0, "The first horizon of the score: a burst is minutes long.";
    day_half_life_s: 57600.0 "s" in 14400.0..172800.0, "The second horizon: tries spread over a working day.";
    week_half_life_s: 432000.0 "s" in 172800.0..1209600.0, "The third horizon: one or two tries a day.";
    month_half_life_s: 1814400.0 "s" in 604800.0..5184000.0, "The last horizon: bounds what patience buys.";
    fast_weight: 0.2 "score" in 0.0..2.0, "Score of one fresh time-out, on the first horizon.";
    day_weight: 0.35 "score" in 0.0..2.0, "The same on the second horizon.";
    week_weight: 0.25 "score" in 0.0..2.0, "The same on the third horizon.";
    month_weight: 0.2 "score" in 0.0..2.0, "The same on the last horizon.";
    fast_cap: 6.0 "time-outs" in 1.0..60.0, "Most that the first horizon holds, so that it fades within an hour.";
    day_cap: 3.0 "time-outs" in 1.0..30.0, "Most that the second horizon holds: strangers ring again within three days of silence.";
    week_cap: 2.0 "time-outs" in 1.0..30.0, "Most that the third horizon holds, for the same reason.";
    month_cap: 5.0 "time-outs" in 1.0..30.0, "Most that the last horizon holds: it counts rings alone, of which an attack gets few.";

    ring: 1.0 "time-outs" in 0.5..2.0, "What a ring from elsewhere costs until the person approves it: ringing and cancelling buys nothing.";
    silent: 0.5 "time-outs" in 0.1..1.0, "What a silent challenge from elsewhere costs: it disturbs nobody, but it is evidence.";
    silent_long: 0.5 "share" in 0.0..1.0, "How much of that counts on the long horizons, up to what a denial does: whoever goes on asking is remembered.";
    denial: 1.5 "time-outs" in 1.0..6.0, "What a denial from elsewhere costs in place of the ring.";
    mismatch: 1.0 "time-outs" in 1.0..6.0, "What a wrong number from elsewhere costs in place of the ring: more than a time-out, less than a denial, for people mistype.";
    report: 3.0 "time-outs" in 1.0..12.0, "What a report costs: the hold that it begins is what silences other places, so that they ring again after three days.";
    wrong_code: 0.5 "time-outs" in 0.0..2.0, "What a wrong code from elsewhere costs.";
    collision: 0.75 "time-outs" in 0.0..2.0, "Added where a stranger asks while the person's own sign-in rings.";
    near_factor: 0.5 "share" in 0.1..1.0, "What failures from a known network cost, as a share of unknown ones: home addresses change, and so do an attacker's who knows the provider.";
    roaming_from: 0.4 "share" in 0.0..0.95, "The share of a person's successes from places that weren't familiar above which being elsewhere is usual for them.";
    roaming_factor: 0.45 "share" in 0.1..1.0, "What failures from elsewhere cost, as a share, where every success comes from there.";
    new_user_factor: 0.85 "share" in 0.1..1.0, "The same for users with few successes, to whom everything is unknown.";
    new_user_successes: 5.0 "successes" in 0.0..50.0, "Successes after which a user is no longer new.";
    sensitive_factor: 2.0 "times" in 1.0..4.0, "How much more purposes cost that open another door: enrolment, reset, help desk.";

    silent_at: 0.6 "score" in 0.2..3.0, "Score at which other places no longer ring.";
    tries_half_life_s: 900.0 "s" in 60.0..7200.0, "How fast tries from elsewhere fade for alerts: people who fail try again within minutes.";
    tries_cap: 12.0 "tries" in 3.0..100.0, "Most that are counted.";
    alert_at: 3.3 "tries" in 1.0..50.0, "Tries at which an alert is raised, if the person hasn't resolved them within grace_s.";
    drip_days: 3.0 "days" in 2.0..5.0, "Of the last five days, on how many there must be tries for an alert: an attack that is spread thin.";
    drip_s: 43200.0 "s" in 3600.0..604800.0, "How long a raised score of requests without address and cookie lasts that one bad sign-in doesn't explain.";
    alert_at_once: 5.4 "tries" in 1.0..50.0, "Tries at which it is raised without waiting.";
    grace_s: 400.0 "s" in 0.0..3600.0, "Time for the person to succeed before an alert is raised.";
    hold_s: 259200.0 "s" in 3600.0..1209600.0, "How long after an alert other places don't ring; each try begins it anew.";
    denial_fresh_s: 86400.0 "s" in 60.0..259200.0, "How long after a denial an approval from elsewhere needs a code as well.";
    denial_nowhere_s: 3600.0 "s" in 60.0..259200.0, "The same without address and cookie, where the person can't be told apart.";
    second_chance_s: 28.0 "s" in 0.0..600.0, "How long after a ring ended in vain its browser session may ring once more from its place, unless it was denied: people try again within seconds.";
    denial_memory_s: 259200.0 "s" in 3600.0..1209600.0, "The same while an alert holds other places.";

    loop_half_life_s: 600.0 "s" in 60.0..7200.0, "Horizon of unanswered rings from known places.";
    loop_day_half_life_s: 28800.0 "s" in 3600.0..172800.0, "Second horizon of the same.";
    loop_silent_at: 2.1 "rings" in 1.0..10.0, "Unanswered rings from known addresses that silence them: the attacker behind the person's own router.";
    loop_day_silent_at: 5.0 "rings" in 2.0..30.0, "The same on the second horizon.";
    loop_cookie_factor: 3.0 "times" in 1.5..10.0, "How many times more a browser with its cookie may ring, on both horizons: whoever shares only the address can't reach that.";
    loop_silent: 0.6 "rings" in 0.1..1.0, "What a silent challenge from a known place adds.";
    loop_denial: 0.7 "rings" in 0.0..2.0, "What a denial from a known place adds to its ring.";

    nowhere_day_weight: 0.5 "score" in 0.0..2.0, "Score of one fresh time-out of a request without address and cookie, within a day.";
    nowhere_long_weight: 0.42 "score" in 0.0..2.0, "The same within nowhere_long_half_life_s.";
    nowhere_long_half_life_s: 1036800.0 "s" in 172800.0..2592000.0, "Long horizon of requests without address and cookie.";
    nowhere_silent_at: 0.95 "score" in 0.2..5.0, "Score at which they no longer ring: two in a row do, because success forgives nothing here.";

    nowhere_cap: 3.0 "time-outs" in 1.0..30.0, "Most that both horizons of them hold.";
    nowhere_retry: 0.4 "share" in 0.0..1.0, "What one costs, as a share, that comes while another rings: clients of such integrations retry before anybody can answer.";
    nowhere_alert_at: 2.2 "score" in 0.5..10.0, "Score of theirs at which an alert is raised.";
    nowhere_drip_at: 1.3 "score" in 0.5..10.0, "The same if it has been raised for drip_s.";

    probation_s: 86400.0 "s" in 3600.0..604800.0, "How long after its first success, without a denial, a place is still unknown.";
    forget_days: 30.0 "days" in 1.0..180.0, "Days without a success after which a place is unknown again.";

    live_per_place: 8.0 "challenges" in 2.0..16.0, "Live challenges of one user from one place, with a first factor: more browsers than one person uses.";
    live_elsewhere: 32.0 "challenges" in 4.0..32.0, "Live challenges of one user from all unknown places: more than a flood from a few addresses fills, so that a person elsewhere still finds theirs in the app.";
    live_known: 12.0 "challenges" in 2.0..24.0, "Live challenges of one user from known places, whatever strangers do.";
    live_without_first_factor: 2.0 "challenges" in 1.0..8.0, "Live challenges without a first factor: they never ring, so few are needed.";

    answer_s: 20.0 "s" in 0.0..60.0, "How long people take to answer, with nearly all the others: a request that is younger is no evidence against its source.";
    source_half_life_s: 7200.0 "s" in 600.0..86400.0, "How fast failures of an address or network fade.";
    source_good_half_life_s: 43200.0 "s" in 600.0..604800.0, "How fast its successes fade.";
    address_users: 5.0 "users" in 3.0..50.0, "Different users asked from one address without success that make it a spray.";
    address_ratio: 3.0 "times" in 1.0..20.0, "They must be this many times those who succeeded: shared addresses have many.";
    network_users: 8.0 "users" in 3.0..100.0, "The same for a network.";
    network_ratio: 5.0 "times" in 1.0..20.0, "The same for a network.";
    source_hot_s: 1800.0 "s" in 300.0..86400.0, "How long a spraying source is kept from ringing; each try begins it anew.";
    junk_per_source: 20.0 "tries" in 5.0..1000.0, "Unknown recovery codes from one source in ten minutes.";

    surge_half_life_s: 2400.0 "s" in 600.0..14400.0, "How fast an organisation's unresolved rings fade.";
    surge_users: 6.0 "users" in 3.0..100.0, "Users rung from unknown places without success that are normal in any organisation.";
    surge_share: 0.03 "share" in 0.01..0.5, "The normal share of them among those who succeeded, at least; above it what was usual here in the last weeks, half as much again.";
    surge_share_most: 0.15 "share" in 0.01..0.9, "The most that may become normal.";
    surge_sigma: 3.5 "deviations" in 1.0..10.0, "How far above normal (Poisson) is a surge.";
    surge_silent: 0.3 "users" in 0.0..1.0, "What a request counts during a surge that didn't ring: more would keep a surge alive that is over.";
    surge_hot_s: 1800.0 "s" in 300.0..14400.0, "How long unknown places are silent after a surge.";
    outage_users: 4.0 "users" in 3.0..100.0, "Users whose known places time out that may be an outage.";
    outage_share: 0.25 "share" in 0.05..0.9, "The share of time-outs from known places that is one.";
    outage_half_life_s: 180.0 "s" in 60.0..3600.0, "How fast evidence of an outage fades.";

    enrolment_wait_s: 86400.0 "s" in 0.0..604800.0, "How long a new device or factor waits for its rights while the user's level is raised.";
    digest_s: 86400.0 "s" in 86400.0..604800.0, "Least time between two digests of silent challenges.";
    contain_s: 86400.0 "s" in 3600.0..1209600.0, "How long an operator's containment lasts.";
}

impl Policy {
    /// Checks every number against its bounds, and those that depend on each other.
    ///
    /// # Errors
    /// The first number outside its bounds.
    pub fn check(&self) -> Result<(), PolicyError> {
        let wrong = |knob: &Knob, value, min, max| PolicyError {
            name: knob.name,
            unit: knob.unit,
            value,
            min,
            max,
        };
        for (knob, value) in self.values() {
            // NaN is in no range
            if !(knob.min..=knob.max).contains(&value) {
                return Err(wrong(knob, value, knob.min, knob.max));
            }
        }
        let named = |name| KNOBS.iter().find(|knob| knob.name == name).unwrap_or(&KNOBS[0]);
        if self.alert_at_once < self.alert_at {
            let knob = named("alert_at_once");
            return Err(wrong(knob, self.alert_at_once, self.alert_at, knob.max));
        }
        if self.nowhere_alert_at < self.nowhere_silent_at {
            let knob = named("nowhere_alert_at");
            return Err(wrong(knob, self.nowhere_alert_at, self.nowhere_silent_at, knob.max));
        }
        Ok(())
    }

    /// A duration of the policy in whole seconds.
    #[must_use]
    pub fn seconds(value: f32) -> Seconds {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounds are far inside; a cast saturates"
        )]
        let seconds = value as Seconds;
        seconds
    }

    /// A count of the policy.
    #[must_use]
    pub fn count(value: f32) -> usize {
        Self::seconds(value) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_own_bounds() {
        Policy::default().check().unwrap();
    }

    #[test]
    fn a_number_outside_its_bounds_is_named_with_them() {
        let policy = Policy { grace_s: -1.0, ..Policy::default() };
        let said = policy.check().unwrap_err().to_string();
        assert_eq!(said, "grace_s is -1 s; it must be from 0 to 3600");
        assert!(Policy { ring: f32::NAN, ..Policy::default() }.check().is_err());
        let policy = Policy { alert_at: 6.0, ..Policy::default() };
        let said = policy.check().unwrap_err().to_string();
        assert_eq!(said, "alert_at_once is 5.4 tries; it must be from 6 to 50");
    }
}
