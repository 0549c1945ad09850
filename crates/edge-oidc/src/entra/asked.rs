//! What Entra asks for: which `acr` and `amr` would satisfy it, decided before anybody is asked.

use domain::challenge::{Method, Methods, Proof};
use serde_json::Value;

use crate::jwt::Claims;

/// The classes that something one has satisfies. All that this server offers is something one has.
const POSSESSION: [&str; 4] = [
    "possessionorinherence",
    "knowledgeorpossession",
    "knowledgeorpossessionorinherence",
    "possession",
];
/// The method of a push: a key that software keeps. `hwk` would need proof of the hardware.
const PUSH: &str = "swk";
const TOTP: &str = "otp";
/// Most values of a list; there are seven classes and thirteen methods.
const MAX_VALUES: usize = 64;

/// What will be said of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The class: one of those that were asked for.
    pub(super) acr: String,
    /// The ways to pass that satisfy.
    pub(super) methods: Methods,
}

impl Asked {
    /// From the `claims` parameter (OpenID Connect Core §5.5). Without one, nothing is asked for in particular.
    ///
    /// # Errors
    /// Why it can't be satisfied, for the log.
    pub(super) fn read(claims: Option<&str>) -> Result<Self, &'static str> {
        let malformed = "claims isn't what OpenID Connect Core 5.5 describes";
        let claims: Claims = match claims {
            None => Claims::new(),
            Some(text) => serde_json::from_str(text).map_err(|_| malformed)?,
        };
        let id_token = match claims.get("id_token") {
            None | Some(Value::Null) => &Claims::new(),
            Some(Value::Object(members)) => members,
            Some(_) => return Err(malformed),
        };
        let values = |name| values(id_token.get(name)).ok_or(malformed);
        let acr = match values("acr")? {
            None => POSSESSION[0],
            Some(wanted) => wanted
                .into_iter()
                .find(|one| POSSESSION.contains(one))
                .ok_or("none of the acr values is satisfied by something one has")?,
        };
        let amr = values("amr")?;
        let takes = |method| amr.as_ref().is_none_or(|wanted| wanted.contains(&method));
        // a recovery code has no name among Entra's methods
        let offered = [(Method::Push, takes(PUSH)), (Method::Totp, takes(TOTP))];
        let methods: Methods =
            offered.into_iter().filter(|(_, takes)| *takes).map(|(method, _)| method).collect();
        if methods.is_empty() {
            return Err("none of the amr values is a way to pass here");
        }
        Ok(Self { acr: acr.to_owned(), methods })
    }
}

/// The wanted values of a claim; the outer `None` if it is malformed.
fn values(claim: Option<&Value>) -> Option<Option<Vec<&str>>> {
    let members = match claim {
        None | Some(Value::Null) => return Some(None),
        Some(Value::Object(members)) => members,
        Some(_) => return None,
    };
    match (members.get("value"), members.get("values")) {
        (None, None) => Some(None),
        (Some(one), None) => Some(Some(vec![one.as_str()?])),
        (None, Some(Value::Array(all))) if all.len() <= MAX_VALUES => {
            all.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(Some)
        }
        _ => None,
    }
}

/// The one method that Entra is told.
pub(super) const fn amr(proof: Proof) -> Option<&'static str> {
    match proof {
        Proof::Push(_) | Proof::Both(..) | Proof::BothByRecoveryCode(..) => Some(PUSH),
        Proof::Totp(_) => Some(TOTP),
        Proof::RecoveryCode(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &str = r#"{"id_token":{"acr":{"essential":true,"values":["possessionorinherence"]},
        "amr":{"essential":true,"values":["face","fido","fpt","hwk","iris","otp","pop","retina","sc","sms","swk","tel","vbm"]}}}"#;

    #[test]
    fn what_is_asked_for_decides_what_is_offered() {
        let both: Methods = [Method::Push, Method::Totp].into_iter().collect();
        let totp: Methods = [Method::Totp].into_iter().collect();
        let rows = [
            (SENT, "possessionorinherence", both),
            ("{}", "possessionorinherence", both),
            (r#"{"id_token":null}"#, "possessionorinherence", both),
            (r#"{"id_token":{"acr":{"value":"possession"}}}"#, "possession", both),
            (
                r#"{"id_token":{"acr":{"values":["inherence","knowledgeorpossession"]},"amr":{"values":["otp"]}}}"#,
                "knowledgeorpossession",
                totp,
            ),
            (
                r#"{"id_token":{"amr":{"values":["swk","new"]}}}"#,
                "possessionorinherence",
                Methods::PUSH,
            ),
        ];
        for (claims, acr, methods) in rows {
            let asked = Asked::read(Some(claims)).unwrap();
            assert_eq!((asked.acr.as_str(), asked.methods), (acr, methods), "{claims}");
        }
        assert!(Asked::read(None).is_ok());
        for bad in [
            "",
            "[]",
            "7",
            "\"x\"",
            "null",
            r#"{"id_token":[]}"#,
            r#"{"id_token":{"acr":7}}"#,
            r#"{"id_token":{"acr":{"values":7}}}"#,
            r#"{"id_token":{"acr":{"values":[7]}}}"#,
            r#"{"id_token":{"acr":{"value":"possession","values":["possession"]}}}"#,
            r#"{"id_token":{"acr":{"values":[]}}}"#,
            r#"{"id_token":{"acr":{"values":["inherence"]}}}"#,
            r#"{"id_token":{"acr":{"values":["knowledge","knowledgeorinherence"]}}}"#,
            r#"{"id_token":{"acr":{"values":["Possession"]}}}"#,
            r#"{"id_token":{"amr":{"values":["face","hwk","fido"]}}}"#,
            r#"{"id_token":{"amr":{"values":[]}}}"#,
        ] {
            assert!(Asked::read(Some(bad)).is_err(), "{bad}");
        }
    }
}
