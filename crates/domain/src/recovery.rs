//! Recovery codes: ten, each used once.
//!
//! A code is a random public id (40 bits) and a secret (80 bits). Only a code whose id is known costs a hash
//! and a counted failure, so guessing without a printed list costs the owner nothing.

use rand::CryptoRng;
use statement::crockford;
use zeroize::Zeroizing;

/// How many codes a set has.
pub const CODES: usize = 10;
const ID_LEN: usize = 5;
const SECRET_LEN: usize = 10;

/// Length of the salt of a stored hash, in bytes (NIST 800-63B-4 §3.1.2.2 wants at least 4).
pub const SALT_LEN: usize = 16;

/// A code as its owner has it.
pub struct RecoveryCode {
    /// Which code of all: not secret.
    pub id: [u8; ID_LEN],
    /// What proves it.
    pub secret: Zeroizing<[u8; SECRET_LEN]>,
}

impl RecoveryCode {
    /// Draws a code.
    #[must_use]
    pub fn draw(rng: &mut dyn CryptoRng) -> Self {
        let mut code = Self { id: [0; ID_LEN], secret: Zeroizing::new([0; SECRET_LEN]) };
        rng.fill_bytes(&mut code.id);
        rng.fill_bytes(code.secret.as_mut_slice());
        code
    }

    /// What somebody typed; `None` if it doesn't have the form of a code.
    #[must_use]
    pub fn parse(typed: &str) -> Option<Self> {
        let bytes = Zeroizing::new(crockford::decode::<{ ID_LEN + SECRET_LEN }>(typed)?);
        let mut code = Self { id: [0; ID_LEN], secret: Zeroizing::new([0; SECRET_LEN]) };
        code.id.copy_from_slice(&bytes[..ID_LEN]);
        code.secret.copy_from_slice(&bytes[ID_LEN..]);
        Some(code)
    }

    /// The text to print: the id, then the secret in groups of four.
    #[must_use]
    pub fn print(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new([self.id.as_slice(), self.secret.as_slice()].concat());
        let text = Zeroizing::new(crockford::encode(&bytes));
        let parts = [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]];
        Zeroizing::new(parts.join("-"))
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn print_and_parse_agree() {
        let code = RecoveryCode::draw(&mut StdRng::seed_from_u64(3));
        let text = code.print();
        assert_eq!(text.len(), 28);
        let typed = RecoveryCode::parse(&text.to_lowercase().replace('-', " ")).expect("a code");
        assert_eq!((typed.id, *typed.secret), (code.id, *code.secret));
        assert!(RecoveryCode::parse("123456").is_none());
        assert!(RecoveryCode::parse(&text[1..]).is_none());
    }
}
