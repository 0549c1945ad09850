//! What came of one attack, over its campaigns.

use serde::Serialize;

use super::campaign::{Campaign, Spec};
use super::dice::DAY;
use super::rules::RULES;

/// The figures of one attack.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Stats {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    pub(crate) campaigns: usize,
    /// Attempts of a campaign, on average.
    pub(crate) attempts: f64,
    /// Rings of each campaign, in order.
    pub(crate) rings: Vec<u32>,
    pub(crate) rings_median: u32,
    pub(crate) rings_mean: f64,
    pub(crate) rings_p95: u32,
    pub(crate) rings_max: u32,
    /// Per cent of campaigns whose second attempt or an earlier one didn't ring any more.
    pub(crate) held_before_second: f64,
    /// Per cent with at most two rings after the first.
    pub(crate) contained: f64,
    /// Per cent with an alert of medium severity or more.
    pub(crate) alerted: f64,
    pub(crate) alerted_within_6: f64,
    pub(crate) alerted_within_3_days: f64,
    /// Attempts at the alert, median of those alerted.
    pub(crate) alert_attempts: Option<u32>,
    /// Per cent with a grouped alert, and user alerts per campaign.
    pub(crate) grouped: f64,
    pub(crate) user_alerts: f64,
    /// The person's own sign-ins.
    pub(crate) own: u32,
    pub(crate) own_without_way: u32,
    pub(crate) own_blocked: u32,
    pub(crate) known_blocked: u32,
    pub(crate) known: u32,
    pub(crate) known_rang: u32,
    /// Most codes compared in 24 h in any campaign.
    pub(crate) compared: u32,
    /// Approvals on a call, and those given out: of victims who have a code, and of those who don't.
    pub(crate) calls: [(u32, u32); 2],
    pub(crate) enrolments: (u32, u32),
    pub(crate) enrolment_alerted: f64,
    pub(crate) break_glass_alerted: f64,
    /// Median attempts at the first alert of each public rule, and the per cent of campaigns that it saw.
    pub(crate) rules: Vec<(Option<u32>, f64)>,
}

/// The value below which a share of sorted values lies.
pub(crate) fn quantile(sorted: &[u32], share: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a short list"
    )]
    let at = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(0)
}

/// A part in per cent; of nothing none.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn percent(part: usize, of: usize) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 * 100.0 }
}

fn mean(values: impl Iterator<Item = u32>) -> f64 {
    let (mut sum, mut count) = (0.0, 0_u32);
    for value in values {
        sum += f64::from(value);
        count += 1;
    }
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

impl Stats {
    pub(crate) fn new(spec: &Spec, all: &[Campaign]) -> Self {
        let share = |is: &dyn Fn(&Campaign) -> bool| {
            percent(all.iter().filter(|campaign| is(campaign)).count(), all.len())
        };
        let sum = |of: &dyn Fn(&Campaign) -> u32| all.iter().map(of).sum::<u32>();
        let sorted = |of: &dyn Fn(&Campaign) -> Option<u32>| {
            let mut values: Vec<u32> = all.iter().filter_map(of).collect();
            values.sort_unstable();
            values
        };
        let rings = sorted(&|it| u32::try_from(it.rings.len()).ok());
        let at_alert = sorted(&|it| it.alert.map(|(attempts, ..)| attempts));
        let median = |values: &[u32]| (!values.is_empty()).then(|| quantile(values, 0.5));
        let rules = (0..RULES.len()).map(|at| {
            let seen = sorted(&|it| it.rules[at]);
            (median(&seen), percent(seen.len(), all.len()))
        });
        Self {
            id: spec.id,
            what: spec.what,
            campaigns: all.len(),
            attempts: mean(all.iter().map(|it| it.attempts)),
            rings_median: quantile(&rings, 0.5),
            rings_mean: mean(rings.iter().copied()),
            rings_p95: quantile(&rings, 0.95),
            rings_max: rings.last().copied().unwrap_or(0),
            held_before_second: share(&|it| it.held_at.is_some_and(|at| at <= 2)),
            contained: share(&Campaign::contained),
            alerted: share(&|it| it.alert.is_some()),
            alerted_within_6: share(&|it| it.alert.is_some_and(|(attempts, ..)| attempts <= 6)),
            alerted_within_3_days: share(&|it| it.alert.is_some_and(|(_, t, _)| t <= 3 * DAY)),
            alert_attempts: median(&at_alert),
            grouped: share(&|it| it.alerts_group > 0),
            user_alerts: mean(all.iter().map(|it| it.alerts_user)),
            own: sum(&|it| it.own_total),
            own_without_way: sum(&|it| it.own_total - it.own_way),
            own_blocked: sum(&|it| it.own_blocked),
            known_blocked: sum(&|it| it.known_blocked),
            known: sum(&|it| it.known_prompts),
            known_rang: sum(&|it| it.known_rang),
            compared: all.iter().map(Campaign::compared_a_day).max().unwrap_or(0),
            calls: [true, false].map(|codes| {
                let all = all.iter().flat_map(|it| &it.calls).filter(|(_, has)| *has == codes);
                all.fold((0, 0), |(of, given), (is, _)| (of + 1, given + u32::from(*is)))
            }),
            enrolments: (sum(&|it| it.enrolments.0), sum(&|it| it.enrolments.1)),
            enrolment_alerted: share(&|it| it.enrolment_alert),
            break_glass_alerted: share(&|it| it.break_glass_alert),
            rules: rules.collect(),
            rings,
        }
    }

    /// Prompts from known places that rang, in per cent.
    pub(crate) fn known_percent(&self) -> f64 {
        percent(self.known_rang as usize, self.known as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_values() {
        assert_eq!(quantile(&[], 0.5), 0);
        assert_eq!(quantile(&[1, 2, 3, 4], 0.5), 2);
        assert_eq!(quantile(&[1, 2, 3], 0.5), 2);
        assert_eq!(quantile(&[1, 2, 3, 4], 0.95), 4);
        assert!((percent(1, 4) - 25.0).abs() < 1e-9);
    }
}
