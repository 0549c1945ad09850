//! One card after an attack: what was kept silent, from where, and what to do. It never rings.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use domain::challenge::{Challenge, Method, Mode};
use domain::guard::{self, Place};
use ports::{NoticeKind, StoreError};
use statement::{TenantId, UserId};

use crate::{App, Call, Connected};

/// Users of whose silent requests it is remembered where they came from: a few megabytes. The audit knows it too,
/// but has no index by user, and a search through it must not keep an answer waiting.
const MAX_REMEMBERED: usize = 10_000;
/// Places that a digest names: as many as a card has room for.
const MAX_NAMED: usize = 2;

/// Where silent requests came from that their user hasn't been told of yet. In memory alone, and bounded: what is
/// lost is told of as from elsewhere.
#[derive(Default)]
pub(crate) struct Silenced(Mutex<HashMap<(TenantId, UserId), Vec<From>>>);

/// A place, and how many came from there.
type From = (String, u16);

impl Silenced {
    fn note(&self, whose: (TenantId, UserId), place: &Place) {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if users.len() >= MAX_REMEMBERED && !users.contains_key(&whose) {
            let somebody = users.keys().next().copied();
            somebody.map(|somebody| users.remove(&somebody));
        }
        let places = users.entry(whose).or_default();
        let name = place.to_string();
        if let Some((_, count)) = places.iter_mut().find(|(known, _)| *known == name) {
            *count = count.saturating_add(1);
        } else if places.len() < MAX_NAMED {
            places.push((name, 1));
        }
    }

    fn take(&self, whose: (TenantId, UserId)) -> Vec<From> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&whose).unwrap_or_default()
    }
}

/// What a digest says, in at most 200 characters.
fn digest(count: u16, mut places: Vec<From>) -> String {
    let requests = match count {
        1 => "1 sign-in request was".to_owned(),
        count => format!("{count} sign-in requests were"),
    };
    places.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let named: u16 = places.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count));
    if !places.is_empty() && named < count {
        places.push(("elsewhere".to_owned(), count - named));
    }
    let from: Vec<String> = match places.as_slice() {
        [(place, _)] => vec![format!("from {place}")],
        places => places.iter().map(|(place, count)| format!("{count} from {place}")).collect(),
    };
    let from = if from.is_empty() { String::new() } else { format!(": {}", from.join(", ")) };
    format!(
        "{requests} kept silent{from}. Unless that was you, somebody knows your password: change it."
    )
}

impl App {
    /// Remembers where a request came from, if it is one that a digest will tell of.
    pub(crate) fn note_silent(&self, challenge: &Challenge, place: &Place) {
        let told = challenge.mode == Mode::Silent
            && challenge.first_factor
            && challenge.methods.has(Method::Push)
            && !challenge.familiarity.is_known();
        if told {
            self.silenced.note((challenge.tenant, challenge.user), place);
        }
    }

    /// The person has opened the app: they are told what was kept silent, at most once a day.
    pub async fn pulled(&self, call: &mut Call, connected: &Connected) {
        if !connected.waits {
            self.tell_digest(call, connected.tenant, connected.user).await;
        }
    }

    /// Tells a user, who is there right now, how many requests were kept silent. What can't be told now is told
    /// another time.
    pub(crate) async fn tell_digest(&self, call: &mut Call, tenant: TenantId, user: UserId) {
        if !self.courier.reaches(tenant, user) {
            return;
        }
        match self.take_digest(call, tenant, user).await {
            Ok(None) => {}
            Ok(Some(count)) => {
                let text = digest(count, self.silenced.take((tenant, user)));
                self.notify(call, tenant, user, NoticeKind::Digest, &text);
            }
            Err(error) => tracing::warn!(%error, "a digest is told another time"),
        }
    }

    /// How many requests to tell of, counted anew from now on.
    async fn take_digest(
        &self,
        call: &mut Call,
        tenant: TenantId,
        user: UserId,
    ) -> Result<Option<u16>, StoreError> {
        let (policy, now) = (self.user_policy(tenant), guard::seconds(call.now));
        let digest = |cell: &mut guard::Cell| {
            let count = cell.memory.digest(policy, now);
            (count, count.map(|_| Vec::new()))
        };
        self.change_cell(call, tenant, user, digest).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_fits_on_a_card_and_its_counts_add_up() {
        let long = |n| (format!("ffff:ffff:fff{n}::/48 (DE)"), 20_000);
        let text = digest(u16::MAX, vec![long(1), long(2)]);
        assert!(text.chars().count() <= 200, "{}: {text}", text.len());
        assert!(text.contains("25535 from elsewhere"), "{text}");
        let one = digest(1, vec![("an unknown place".to_owned(), 1)]);
        assert_eq!(
            one,
            "1 sign-in request was kept silent: from an unknown place. Unless that was you, somebody \
             knows your password: change it."
        );
        assert!(digest(3, Vec::new()).starts_with("3 sign-in requests were kept silent. Unless"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (silenced, place) = (Silenced::default(), Place::default());
        let tenant = TenantId::from_bytes([1; TenantId::LEN]);
        for n in 0..MAX_REMEMBERED as u64 + 10 {
            let mut id = [0; UserId::LEN];
            id[..8].copy_from_slice(&n.to_be_bytes());
            silenced.note((tenant, UserId::from_bytes(id)), &place);
        }
        assert_eq!(silenced.0.lock().expect("no panic").len(), MAX_REMEMBERED);
    }
}
