//! Crockford's base32: what people type without mistakes (no I, L, O, U; case, spaces and hyphens ignored).

use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};

static CROCKFORD: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    spec.translate.from.push_str("abcdefghjkmnpqrstvwxyzOoIiLl");
    spec.translate.to.push_str("ABCDEFGHJKMNPQRSTVWXYZ001111");
    spec.ignore.push_str("- ");
    spec.encoding().expect("a fixed specification")
});

/// Upper case, no separators; 5 bytes give 8 characters.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    CROCKFORD.encode(bytes)
}

/// What somebody typed, as exactly `N` bytes; `None` if it isn't that.
#[must_use]
pub fn decode<const N: usize>(typed: &str) -> Option<[u8; N]> {
    // a bound before the decoder sees it: twice the text that N bytes need is plenty of separators
    if typed.len() > N * 4 + 16 {
        return None;
    }
    CROCKFORD.decode(typed.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_habits_are_forgiven() {
        let bytes = [0xde, 0xad, 0xbe, 0xef, 0x01];
        let text = encode(&bytes);
        assert_eq!(text.len(), 8);
        let spaced = format!("{} - {}", &text[..4].to_lowercase(), &text[4..]);
        assert_eq!(decode::<5>(&spaced), Some(bytes));
        assert_eq!(decode::<5>("OoIiLl00"), decode::<5>("00111100"));
        assert_eq!(decode::<5>("UUUUUUUU"), None);
        assert_eq!(decode::<5>("0000000"), None);
        assert_eq!(decode::<5>(&"-".repeat(100)), None);
    }
}
