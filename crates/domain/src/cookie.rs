//! The device cookie: minted at redeem, it earns a browser ring priority and budget, and skips nothing
//! (NIST 800-63B-4 §5.1: a remembered browser never replaces authentication).

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use statement::{IntegrationId, TenantId, Timestamp, UserId};

/// Names one cookie, so that one alone can be killed.
pub type CookieId = [u8; 16];

/// How long a cookie counts.
pub const LIFE: Duration = Duration::from_secs(180 * 24 * 60 * 60);

const ENCODED_BYTES: usize = 16 + 8 + 4 + 32;

/// What a cookie says. Its MAC is made over [`DeviceCookie::signed_bytes`] by the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCookie {
    /// Its id.
    pub id: CookieId,
    /// When it was minted.
    pub issued: Timestamp,
    /// The user's epoch at that time; a report, revocation or reset raises it and so ends all older cookies.
    pub epoch: u32,
}

impl DeviceCookie {
    /// The bytes under the MAC.
    #[must_use]
    pub fn signed_bytes(
        &self,
        tenant: TenantId,
        user: UserId,
        integration: IntegrationId,
    ) -> Vec<u8> {
        let mut bytes = b"countersign/device-cookie/v1\0".to_vec();
        bytes.extend_from_slice(tenant.as_bytes());
        bytes.extend_from_slice(user.as_bytes());
        bytes.extend_from_slice(integration.as_bytes());
        bytes.extend_from_slice(&self.fields());
        bytes
    }

    fn fields(&self) -> [u8; 28] {
        let mut fields = [0; 28];
        fields[..16].copy_from_slice(&self.id);
        fields[16..24].copy_from_slice(&self.issued.millis().to_be_bytes());
        fields[24..].copy_from_slice(&self.epoch.to_be_bytes());
        fields
    }

    /// The cookie's text.
    #[must_use]
    pub fn encode(&self, mac: &[u8; 32]) -> String {
        BASE64URL_NOPAD.encode(&[self.fields().as_slice(), mac].concat())
    }

    /// Cookie and MAC from the text; `None` if it isn't one. The MAC is still to be checked.
    #[must_use]
    pub fn decode(text: &str) -> Option<(Self, [u8; 32])> {
        if text.len() > ENCODED_BYTES * 2 {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let bytes: [u8; ENCODED_BYTES] = bytes.try_into().ok()?;
        let issued = u64::from_be_bytes(bytes[16..24].try_into().ok()?);
        let cookie = Self {
            id: bytes[..16].try_into().ok()?,
            issued: Timestamp::from_millis(issued),
            epoch: u32::from_be_bytes(bytes[24..28].try_into().ok()?),
        };
        Some((cookie, bytes[28..].try_into().ok()?))
    }

    /// Whether it still counts for a user at `epoch` (the MAC and killed ids are checked elsewhere).
    #[must_use]
    pub fn is_current(&self, epoch: u32, now: Timestamp) -> bool {
        self.epoch == epoch && self.issued <= now && now.since(self.issued) < LIFE
    }
}
