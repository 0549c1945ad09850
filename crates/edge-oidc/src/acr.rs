//! Which ways to pass satisfy what a relying party asks for, decided before anybody is asked.

use domain::challenge::{Method, Methods, Proof};
use domain::receipt;

/// The authentication context classes that a sign-in here can have: `domain::receipt::acr`.
pub(crate) const ALL: [&str; 4] = [
    "urn:countersign:acr:number-match",
    "urn:countersign:acr:number-match-familiar",
    "urn:countersign:acr:totp",
    "urn:countersign:acr:recovery-code",
];

/// The way to pass that a class stands for.
fn method(class: &str) -> Option<Method> {
    match class {
        "urn:countersign:acr:number-match" | "urn:countersign:acr:number-match-familiar" => {
            Some(Method::Push)
        }
        "urn:countersign:acr:totp" => Some(Method::Totp),
        "urn:countersign:acr:recovery-code" => Some(Method::RecoveryCode),
        _ => None,
    }
}

/// What a request says of authentication context classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Liked, in order of preference (`acr_values`, or a claim that isn't essential).
    pub(crate) liked: Vec<String>,
    /// One of these it must be (`claims` with `essential`).
    pub(crate) essential: Vec<String>,
}

impl Wish {
    /// The ways to pass that are offered. Classes that are liked and unknown here are ignored (OpenID Connect Core
    /// §5.5.1.1); if none of the essential ones is known, no way is left.
    pub(crate) fn methods(&self) -> Methods {
        let those = |classes: &[String]| -> Methods {
            classes.iter().filter_map(|class| method(class)).collect()
        };
        let must = if self.essential.is_empty() { Methods::ALL } else { those(&self.essential) };
        let liked = those(&self.liked).and(must);
        if liked.is_empty() { must } else { liked }
    }

    /// Whether a sign-in of this class is one that was asked for.
    pub(crate) fn takes(&self, class: &str) -> bool {
        self.essential.is_empty() || self.essential.iter().any(|one| one == class)
    }
}

/// `amr` of an ID token (RFC 8176): what was done, nothing more.
pub(crate) const fn amr(proof: Proof) -> &'static [&'static str] {
    receipt::amr(proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn methods(liked: &[&str], essential: &[&str]) -> Methods {
        let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        Wish { liked: owned(liked), essential: owned(essential) }.methods()
    }

    #[test]
    fn what_is_offered_follows_what_is_asked() {
        let [push, _, totp, _] = ALL;
        let totp_alone: Methods = [Method::Totp].into_iter().collect();
        assert_eq!(methods(&[], &[]), Methods::ALL);
        assert_eq!(methods(&["phr", "2"], &[]), Methods::ALL);
        assert_eq!(methods(&[push], &[]), Methods::PUSH);
        assert_eq!(methods(&["phr", totp], &[]), totp_alone);
        assert_eq!(methods(&[push], &[totp]), totp_alone, "what is essential wins");
        assert!(methods(&[push], &["phr"]).is_empty());
    }

    #[test]
    fn every_class_of_a_receipt_is_known() {
        for class in ALL {
            assert!(method(class).is_some());
        }
        let device = statement::DeviceId::from_bytes([1; 16]);
        for digits in [2, 6] {
            let class = receipt::acr(Proof::Push(device), digits);
            assert!(ALL.contains(&class), "{class}");
        }
    }
}
