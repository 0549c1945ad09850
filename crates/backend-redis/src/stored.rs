//! How a user's state lies in its hash: `v` version, `o` last operation id, `c` cell, and a field per live
//! challenge.

use std::sync::Arc;

use domain::challenge::Challenge;
use ports::{HotUser, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use statement::{ChallengeId, TenantId, UserId};

/// First byte of every value: which encoding follows.
const FORMAT: u8 = 2;

/// The key of a user's hash. The braces make tenant and user the hash tag: one slot in a cluster.
pub(crate) fn key(tenant: TenantId, user: UserId) -> String {
    format!("cs:{{{tenant}:{user}}}")
}

/// The field of a live challenge.
pub(crate) fn field(id: ChallengeId) -> Vec<u8> {
    [b"l".as_slice(), id.as_bytes()].concat()
}

/// A value as it is stored.
pub(crate) fn encode(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    postcard::to_extend(value, vec![FORMAT])
        .map_err(|error| StoreError::Inconsistent(format!("a value doesn't encode: {error}")))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => postcard::from_bytes(rest)
            .map_err(|error| StoreError::Inconsistent(format!("a value doesn't decode: {error}"))),
        _ => Err(StoreError::Inconsistent("a value of an unknown format".to_owned())),
    }
}

/// A user's state from the fields of its hash.
pub(crate) fn read(fields: Vec<(Vec<u8>, Vec<u8>)>) -> Result<HotUser, StoreError> {
    let mut user = HotUser::default();
    for (name, value) in fields {
        match name.as_slice() {
            b"v" => {
                user.version = str::from_utf8(&value)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(|| StoreError::Inconsistent("a version isn't a number".into()))?;
            }
            b"c" => user.cell = decode(&value)?,
            [b'l', ..] => user.live.push(Arc::new(decode::<Challenge>(&value)?)),
            _ => {} // `o`, and whatever a later version adds
        }
    }
    user.live.sort_by_key(|challenge| challenge.id);
    Ok(user)
}

#[cfg(test)]
mod tests {
    use testkit::Fixture;

    use super::*;

    #[test]
    fn a_stored_user_reads_back_and_an_unknown_format_is_refused() {
        let challenge = Fixture::new(1).challenge();
        let value = encode(&*challenge).expect("encodes");
        let fields = |value: Vec<u8>| {
            vec![
                (b"v".to_vec(), b"7".to_vec()),
                (b"o".to_vec(), vec![0; 16]),
                (field(challenge.id), value),
            ]
        };
        let user = read(fields(value.clone())).expect("reads");
        assert_eq!((user.version, &*user.live[0]), (7, &*challenge));
        let mut later = value.clone();
        later[0] = FORMAT + 1;
        for bad in [later, value[..9].to_vec(), Vec::new()] {
            assert!(matches!(read(fields(bad)), Err(StoreError::Inconsistent(_))));
        }
    }

    #[test]
    fn tenant_and_user_are_the_hash_tag() {
        let (tenant, user) = (TenantId::from_bytes([1; 16]), UserId::from_bytes([2; 16]));
        assert_eq!(key(tenant, user), format!("cs:{{{tenant}:{user}}}"));
    }
}
