//! Which cards a device was shown and not told to take away: what a resync has to clear up.

use statement::ChallengeId;

/// Cards that are remembered: more than may live at once. Older ones leave the device by themselves when they
/// expire.
const MAX_CARDS: usize = 64;

/// The cards of one connection, oldest first. Holds no memory while there are none.
#[derive(Default)]
pub(crate) struct Cards(Vec<Card>);

struct Card {
    id: ChallengeId,
    /// Whether the device knows how it ended: by the result of its own answer.
    told: bool,
}

impl Cards {
    pub(crate) fn shown(&mut self, id: ChallengeId) {
        self.gone(id);
        if self.0.len() == MAX_CARDS {
            self.0.remove(0);
        }
        self.0.push(Card { id, told: false });
    }

    /// The device is told how a card ended that it answered: the word that follows is news to others only.
    pub(crate) fn told(&mut self, id: ChallengeId) {
        self.0.iter_mut().filter(|card| card.id == id).for_each(|card| card.told = true);
    }

    /// Takes a card away; whether the device has to be told.
    pub(crate) fn gone(&mut self, id: ChallengeId) -> bool {
        let told = self.0.iter().any(|card| card.id == id && card.told);
        self.0.retain(|card| card.id != id);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        !told
    }

    /// Those that aren't among `live` and that the device knows no end of.
    pub(crate) fn stale(&self, live: impl Fn(ChallengeId) -> bool) -> Vec<ChallengeId> {
        self.0
            .iter()
            .filter(|card| !card.told)
            .map(|card| card.id)
            .filter(|id| !live(*id))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_few_and_none_take_no_memory() {
        let id = |n: usize| ChallengeId::from_bytes([u8::try_from(n).expect("small"); 24]);
        let mut cards = Cards::default();
        for n in 0..2 * MAX_CARDS {
            cards.shown(id(n));
            cards.shown(id(n));
        }
        let left = cards.stale(|card| card == id(MAX_CARDS));
        assert_eq!(left, (MAX_CARDS + 1..2 * MAX_CARDS).map(id).collect::<Vec<_>>());
        cards.told(id(100));
        assert!(!cards.stale(|_| false).contains(&id(100)));
        (0..2 * MAX_CARDS).for_each(|n| assert_eq!(cards.gone(id(n)), n != 100));
        assert_eq!(cards.0.capacity(), 0);
    }
}
