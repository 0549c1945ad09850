//! What a person types as the number of a sign-in page.

use zeroize::Zeroizing;

use crate::MAX_NUMBER_LEN;

/// Why what was typed can't be the number. Told before anything is sent: a wrong number would end the challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypedNumberError {
    /// Something else than the digits 0 to 9, spaces and hyphens.
    #[error("the number has only the digits 0 to 9")]
    NotDigits,
    /// Another count of digits than asked for.
    #[error("the number has {wanted} digits")]
    Length {
        /// How many digits the number has.
        wanted: u8,
    },
}

/// The digits of what was typed, as they are signed: pages group them, so spaces, tabs and hyphens are dropped;
/// leading zeros stay.
///
/// # Errors
/// [`TypedNumberError`] if it isn't `digits` ASCII digits.
pub fn typed_number(typed: &str, digits: u8) -> Result<Zeroizing<String>, TypedNumberError> {
    // room for every digit up front: growing would leave copies behind that nobody wipes
    let mut number = Zeroizing::new(String::with_capacity(MAX_NUMBER_LEN));
    for c in typed.trim().chars() {
        match c {
            ' ' | '\t' | '-' => {}
            '0'..='9' if number.len() < MAX_NUMBER_LEN => number.push(c),
            '0'..='9' => return Err(TypedNumberError::Length { wanted: digits }),
            _ => return Err(TypedNumberError::NotDigits),
        }
    }
    if number.len() != usize::from(digits) {
        return Err(TypedNumberError::Length { wanted: digits });
    }
    Ok(number)
}
