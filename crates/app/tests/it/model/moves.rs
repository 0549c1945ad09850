//! What may happen in a sequence.

use std::net::{IpAddr, Ipv4Addr};

use rand::RngExt as _;
use rand::rngs::StdRng;

/// What somebody does; `nth` counts back from the newest challenge.
#[derive(Clone, Copy, Debug)]
pub(super) enum Move {
    Create { app: usize, user: usize, session: usize, place: At, step_up: bool, first_factor: bool },
    Answer { open: bool, stranger: bool, device: usize, nth: usize, how: How },
    Code { nth: usize, right: bool },
    Redeem { nth: usize, own_session: bool },
    Cancel { nth: usize },
    Wait { seconds: u64 },
    Revoke { device: usize },
}

/// Where a sign-in happens. Later is more familiar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum At {
    /// Nobody says where.
    Nowhere,
    /// An address of which nothing is known.
    Hotel,
    /// An address that the user signed in from days ago.
    Home,
}

impl At {
    /// Addresses are each user's own: what spans users has tests of its own.
    pub(super) fn ip(self, seed: u64, user: usize) -> Option<IpAddr> {
        let [.., high, low] = seed.to_be_bytes();
        let host = u8::try_from(user).expect("a few users") + 1;
        let net = match self {
            Self::Nowhere => return None,
            Self::Hotel => 11,
            Self::Home => 10,
        };
        Some(Ipv4Addr::new(net, high, low, host).into())
    }
}

/// How a device answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    Right,
    /// And where that isn't enough, a code.
    RightThenCode,
    Wrong,
    Others,
    Deny,
    Report,
}

/// Draws a move.
pub(super) fn draw(rng: &mut StdRng) -> Move {
    // mostly the newest, so that moves meet
    let nth = rng.random_range(0..8).min(rng.random_range(0..8));
    match rng.random_range(0..20) {
        0..8 => Move::Create {
            app: rng.random_range(0..2),
            user: rng.random_range(0..2),
            session: rng.random_range(0..6),
            place: [At::Nowhere, At::Hotel, At::Home][rng.random_range(0..3)],
            step_up: rng.random_range(0..5) == 0,
            first_factor: rng.random_range(0..6) != 0,
        },
        8..12 => {
            let how = [
                How::Right,
                How::RightThenCode,
                How::RightThenCode,
                How::Wrong,
                How::Others,
                How::Deny,
                How::Deny,
                How::Report,
            ];
            let how = how[rng.random_range(0..how.len())];
            let stranger = rng.random_range(0..5) == 0;
            let open = rng.random_range(0..3) != 0;
            Move::Answer { open, stranger, device: rng.random_range(0..2), nth, how }
        }
        12..14 => Move::Code { nth, right: rng.random() },
        14..16 => Move::Redeem { nth, own_session: rng.random_range(0..4) != 0 },
        16 => Move::Cancel { nth },
        17 | 18 => Move::Wait { seconds: rng.random_range(1..50) },
        _ => Move::Revoke { device: rng.random_range(0..4) },
    }
}
