//! Opaque, prefixed ids.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_DNSSEC;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::Timestamp;

/// A text that isn't an id of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id: expected `{prefix}` and {chars} characters of base32")]
pub struct IdError {
    /// The prefix that the id should start with, such as `chl_`.
    pub prefix: &'static str,
    /// How many characters follow the prefix.
    pub chars: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// The text prefix of this kind of id.
            pub const PREFIX: &'static str = $prefix;
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// From its raw bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// From a slice of exactly [`Self::LEN`] bytes.
            ///
            /// # Errors
            /// [`IdError`] if the length is another.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                bytes.try_into().map(Self).map_err(|_| Self::error())
            }

            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            const fn error() -> IdError {
                IdError { prefix: $prefix, chars: ($len * 8usize).div_ceil(5) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                write!(f, "{}", BASE32_DNSSEC.encode_display(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let digits = text.strip_prefix($prefix).ok_or(Self::error())?;
                let bytes = BASE32_DNSSEC.decode(digits.as_bytes()).map_err(|_| Self::error())?;
                Self::from_slice(&bytes)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    // a fixed-size array: no length is written
                    self.0.as_slice().serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    std::borrow::Cow::<'de, str>::deserialize(deserializer)?
                        .parse()
                        .map_err(D::Error::custom)
                } else {
                    Self::from_slice(<&[u8]>::deserialize(deserializer)?).map_err(D::Error::custom)
                }
            }
        }
    };
}

id!(
    /// A challenge: 48-bit milliseconds, 16-bit shard, 128 random bits. The time in front keeps inserts at
    /// the end of a B-tree; the shard (a keyed hash of tenant and user) names the hot-state slot.
    ChallengeId, "chl_", 24
);
id!(
    /// An organisation.
    TenantId, "ten_", 16
);
id!(
    /// A person, or the stand-in under which an unknown name is counted.
    UserId, "usr_", 16
);
id!(
    /// An enrolled authenticator.
    DeviceId, "dev_", 16
);
id!(
    /// A relying party.
    IntegrationId, "int_", 16
);
id!(
    /// A permission to enrol one device.
    TicketId, "tik_", 16
);
id!(
    /// A TOTP secret or a set of recovery codes.
    FactorId, "fac_", 16
);
id!(
    /// An audit row: 8 bytes of lane, 8 bytes of sequence number.
    EventId, "evt_", 16
);

impl ChallengeId {
    /// Puts an id together. `random` must come from a CSPRNG (ASVS 5.0 11.5.1: at least 128 bits).
    #[must_use]
    pub fn new(now: Timestamp, shard: u16, random: [u8; 16]) -> Self {
        let mut bytes = [0; 24];
        bytes[..6].copy_from_slice(&now.millis().to_be_bytes()[2..]);
        bytes[6..8].copy_from_slice(&shard.to_be_bytes());
        bytes[8..].copy_from_slice(&random);
        Self(bytes)
    }

    /// When it was made, by the clock of the server that made it.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&self.0[..6]);
        Timestamp::from_millis(u64::from_be_bytes(millis))
    }

    /// The hot-state slot.
    #[must_use]
    pub const fn shard(&self) -> u16 {
        u16::from_be_bytes([self.0[6], self.0[7]])
    }
}

impl EventId {
    /// The audit row `seq` of `lane`.
    #[must_use]
    pub fn new(lane: u64, seq: u64) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&lane.to_be_bytes());
        bytes[8..].copy_from_slice(&seq.to_be_bytes());
        Self(bytes)
    }

    /// Lane and sequence number.
    #[must_use]
    pub fn position(&self) -> (u64, u64) {
        let half = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&self.0[at..at + 8]);
            u64::from_be_bytes(bytes)
        };
        (half(0), half(8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_keeps_order() {
        let early = ChallengeId::new(Timestamp::from_millis(1_000), 7, [1; 16]);
        let late = ChallengeId::new(Timestamp::from_millis(2_000), 7, [0; 16]);
        assert_eq!(early.to_string().parse::<ChallengeId>(), Ok(early));
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!((early.created().millis(), early.shard()), (1_000, 7));
    }

    #[test]
    fn a_foreign_prefix_or_length_is_refused() {
        let device = DeviceId::from_bytes([3; 16]).to_string();
        assert!(device.parse::<UserId>().is_err());
        assert!(device[..device.len() - 1].parse::<DeviceId>().is_err());
        assert!("dev_".parse::<DeviceId>().is_err());
        assert!("dev_é".parse::<DeviceId>().is_err());
    }

    #[test]
    fn json_is_text() {
        let id = TenantId::from_bytes([9; 16]);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<TenantId>(&json).unwrap(), id);
    }

    #[test]
    fn an_event_id_holds_its_position() {
        assert_eq!(EventId::new(5, u64::MAX).position(), (5, u64::MAX));
    }
}
