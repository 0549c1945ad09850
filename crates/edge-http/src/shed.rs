//! What is refused first when more is asked for than gets done: lists and new enrolments, then new challenges. What
//! belongs to a challenge that exists, and what protects somebody (revoking, resetting, containing), is not.

use std::sync::Arc;

use app::App;
use http::Method;
use http_limits::Shed;

/// What a request is for, as far as that decides whether it can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A new challenge.
    Create,
    /// What nobody stands in front of a screen for.
    Other,
    /// Never refused here.
    Vital,
}

/// Refuses requests to the REST edge by what `app` gets done. To be asked before they are routed.
#[must_use]
pub fn shed(app: Arc<App>) -> Shed {
    Shed::new(move |method, path| match kind(method, path) {
        Kind::Create => app.admission().refuses_create(),
        Kind::Other => app.admission().refuses_others(),
        Kind::Vital => false,
    })
}

fn kind(method: &Method, path: &str) -> Kind {
    let mut parts = path.strip_prefix("/v1/").unwrap_or_default().split('/');
    let (first, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    if parts.next().is_some() {
        return Kind::Vital;
    }
    match (method, first, second, third) {
        (&Method::POST, "challenges", None, None) => Kind::Create,
        (&Method::GET, "users" | "events", None, None)
        | (&Method::GET, "users", Some(_), Some("devices" | "factors"))
        | (&Method::PUT, "users", Some(_), None)
        | (&Method::POST, "users", Some(_), Some("tickets" | "factors")) => Kind::Other,
        _ => Kind::Vital,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi_json;

    #[test]
    fn only_what_can_wait_is_refused_of_all_that_there_is() {
        let json: serde_json::Value = serde_json::from_str(openapi_json()).unwrap();
        let mut found = Vec::new();
        for (path, item) in json["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                let upper = method.to_uppercase().parse::<Method>().unwrap();
                match kind(&upper, path) {
                    Kind::Vital => {}
                    kind => found.push(format!("{kind:?} {upper} {path}")),
                }
            }
        }
        found.sort_unstable();
        let expected = [
            "Create POST /v1/challenges",
            "Other GET /v1/events",
            "Other GET /v1/users",
            "Other GET /v1/users/{user}/devices",
            "Other GET /v1/users/{user}/factors",
            "Other POST /v1/users/{user}/factors",
            "Other POST /v1/users/{user}/tickets",
            "Other PUT /v1/users/{user}",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_looks_alike_is_something_else() {
        for path in
            ["/", "", "/v1", "/v1/", "/v1/challenges/", "/v1/challenges/x", "/V1/challenges"]
        {
            assert_eq!(kind(&Method::POST, path), Kind::Vital, "{path}");
        }
    }
}
