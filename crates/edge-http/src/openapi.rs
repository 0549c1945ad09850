//! The routes and their description, from one list, so that they can't drift.

use std::sync::LazyLock;

use axum::extract::State;
use axum::response::IntoResponse;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Required, ResponseBuilder};
use utoipa::{OpenApi as _, ToSchema as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::rest;

use crate::{Rest, challenges, events, factors, guard, users};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Countersign",
        description = "Push MFA with number matching, for integrations.\n\n\
            Ids are opaque. Times are RFC 3339, UTC. Values are never clamped and unknown fields never \
            ignored. Every POST takes an `Idempotency-Key` (1 to 255 visible ASCII characters, kept 24 \
            hours): a replay repeats status and body; replies that hold secrets aren't stored \
            (`already_done`). Refusals are problem documents (RFC 9457) with a stable `code`."
    ),
    components(schemas(rest::Problem)),
    tags(
        (name = "challenges", description = "Ask, wait, redeem. Scope `challenges`."),
        (name = "users", description = "Users, devices, tickets, factors. Scopes `users:read` and `users:write`: \
            the latter lets a key enrol devices."),
        (name = "guard", description = "Containing a user, and saying that an attack is over. Scope `guard:write`."),
        (name = "events", description = "The sign-in log. Scope `events:read`."),
        (name = "meta", description = "What is the same for everybody.")
    )
)]
struct Description;

/// All routes with their description.
pub(crate) fn router() -> OpenApiRouter<Rest> {
    let mut router = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(challenges::create_challenge))
        .routes(routes!(challenges::get_challenge, challenges::cancel_challenge))
        .routes(routes!(challenges::submit_code))
        .routes(routes!(challenges::redeem_challenge))
        .routes(routes!(users::list_users))
        .routes(routes!(users::get_user, users::put_user))
        .routes(routes!(users::list_devices))
        .routes(routes!(users::get_device, users::revoke_device))
        .routes(routes!(users::approve_device))
        .routes(routes!(factors::create_ticket))
        .routes(routes!(factors::get_ticket))
        .routes(routes!(factors::list_factors, factors::create_factor, factors::reset_factors))
        .routes(routes!(factors::approve_factor))
        .routes(routes!(guard::contain_user))
        .routes(routes!(guard::clear_user))
        .routes(routes!(events::list_events))
        .routes(routes!(jwks))
        .routes(routes!(description));
    complete(router.get_openapi_mut());
    router
}

/// The description as docs/openapi.json holds it.
#[must_use]
pub fn openapi_json() -> &'static str {
    static JSON: LazyLock<String> = LazyLock::new(|| {
        let mut json = router().into_openapi().to_pretty_json().expect("a description serialises");
        json.push('\n');
        json
    });
    &JSON
}

/// What every route has in common: the key, and the refusals that any may answer with.
fn complete(api: &mut OpenApi) {
    let key = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("csk_")
        .description(Some(
            "An API key of an integration. The names beside it are the scopes that a route takes.",
        ))
        .build();
    let components = api.components.get_or_insert_default();
    components.add_security_scheme("key", SecurityScheme::Http(key));
    for path in api.paths.paths.values_mut() {
        let PathItem { get, put, post, delete, .. } = path;
        if let Some(post) = post {
            add_idempotency_key(post);
        }
        for operation in [get, put, post, delete].into_iter().flatten() {
            add_refusals(operation);
        }
    }
}

fn add_idempotency_key(operation: &mut Operation) {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(255))
        .build();
    let header = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Repeats the reply of an earlier request instead of doing it again. Kept 24 hours for your \
             integration; not kept for requests that were refused and changed nothing.",
        ))
        .schema(Some(text))
        .build();
    let parameters = operation.parameters.get_or_insert_default();
    parameters.push(RefOr::T(header));
    add_problem(operation, "409", "`in_progress`, `already_done`");
}

fn add_refusals(operation: &mut Operation) {
    let has_input = operation.request_body.is_some() || operation.parameters.is_some();
    let mut refusals = vec![
        ("500", "`internal`: the server failed; nothing was approved by it"),
        ("503", "`unavailable`: wait as long as `Retry-After` says"),
    ];
    if operation.security.is_some() {
        refusals.push(("401", "`unauthenticated`: no key, or one that doesn't work"));
        refusals.push(("403", "`scope_missing`"));
        refusals.push(("429", "`too_many_requests`: the integration's own quota, if the server has one; `Retry-After` says when"));
    }
    let in_path = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Path,
        RefOr::Ref(_) => false,
    };
    if operation.parameters.iter().flatten().any(in_path) {
        let what = "`not_found`: unknown, or somebody else's";
        refusals.push(("404", what));
    }
    if has_input {
        refusals.push(("422", "`invalid_request`: `field` names what is meant"));
    }
    if operation.request_body.is_some() {
        refusals.push(("400", "`malformed_request`: not JSON"));
        refusals.push(("408", "`request_timeout`: the body came too slowly"));
        refusals.push(("413", "`too_large`: more than 64 KiB"));
        refusals.push(("415", "`unsupported_media_type`: send `application/json`"));
    }
    for (status, description) in refusals {
        add_problem(operation, status, description);
    }
    // those that a route describes itself are problems too
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && !status.starts_with('2')
            && let Some(content) = response.content.shift_remove("application/json")
        {
            let problem = "application/problem+json".to_owned();
            response.content.insert(problem, content);
        }
    }
}

/// Unless the route says itself what that status means.
fn add_problem(operation: &mut Operation, status: &str, description: &str) {
    let responses = &mut operation.responses.responses;
    if !responses.contains_key(status) {
        let schema = Ref::from_schema_name(rest::Problem::name());
        let response = ResponseBuilder::new()
            .description(description)
            .content("application/problem+json", Content::new(Some(schema)))
            .build();
        responses.insert(status.to_owned(), RefOr::T(response));
    }
}

/// This description
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "meta",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value, content_type = "application/json"))
)]
async fn description() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], openapi_json())
}

/// The public keys that receipts are checked with
///
/// A JSON Web Key Set (RFC 7517). May be cached for five minutes; read it anew when a receipt names a key that
/// isn't in it.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "meta",
    responses((status = 200, description = "Receipt keys", body = serde_json::Value, content_type = "application/jwk-set+json"))
)]
async fn jwks(State(state): State<Rest>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "application/jwk-set+json"), (CACHE_CONTROL, "public, max-age=300")],
        state.app.vault().receipt_jwks(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beside the code, so that a reviewer sees what a change does to it.
    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

    #[test]
    fn the_committed_description_is_this_one() {
        if std::env::var_os("COUNTERSIGN_WRITE_OPENAPI").is_some() {
            std::fs::write(COMMITTED, openapi_json()).unwrap();
        }
        let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
        assert!(
            committed == openapi_json(),
            "docs/openapi.json is out of date: run COUNTERSIGN_WRITE_OPENAPI=1 cargo test -p edge-http"
        );
    }

    #[test]
    fn every_operation_says_what_it_is() {
        let json: serde_json::Value = serde_json::from_str(openapi_json()).unwrap();
        for (path, item) in json["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                assert!(operation["summary"].is_string(), "{method} {path}");
                assert!(operation["responses"]["503"].is_object(), "{method} {path}");
                let scopes = &operation["security"][0]["key"];
                assert_eq!(scopes.is_array(), path.starts_with("/v1/"), "{method} {path}");
            }
        }
    }
}
