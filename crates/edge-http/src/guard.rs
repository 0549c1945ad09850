//! Security staff, or a playbook of theirs, steps in.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use wire::rest;

use crate::asked::Asked;
use crate::auth::{Allowed, GuardWrite};
use crate::error::Refused;
use crate::idempotency::{Keep, once};
use crate::{Rest, shapes};

/// Contain a user
///
/// For a while nothing rings from places that aren't theirs, and an approval from there needs a code as well.
/// Their known places go on as before: nobody is locked out. From outside nothing differs.
#[utoipa::path(
    post,
    path = "/v1/users/{user}/contain",
    tag = "guard",
    params(("user" = String, Path, description = "An id, or `name:` and the name")),
    request_body = rest::ContainUser,
    responses((status = 200, description = "How alarmed the guard is now", body = rest::Standing)),
    security(("key" = ["guard:write"]))
)]
pub(crate) async fn contain_user(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<GuardWrite>,
    Path(user): Path<String>,
    asked: Asked<rest::ContainUser>,
) -> Result<Response, Refused> {
    let (user, why) = (shapes::user_ref(&user)?, asked.body.reason.clone());
    let work = async {
        let (mut call, actor) = (state.call(), caller.actor());
        let standing =
            state.app.contain_user(&mut call, &actor, caller.tenant(), user, why).await?;
        Ok((StatusCode::OK, shapes::standing(&standing)))
    };
    once(&state, &caller, &asked, Keep::Reply, work).await
}

/// Say that an attack on a user is over
///
/// What went wrong is forgotten, what is familiar stays. Ends a containment too.
#[utoipa::path(
    post,
    path = "/v1/users/{user}/clear",
    tag = "guard",
    params(("user" = String, Path, description = "An id, or `name:` and the name")),
    request_body = rest::ClearUser,
    responses(
        (status = 200, description = "How alarmed the guard is now", body = rest::Standing),
        (status = 409, description = "`in_progress`, `already_done`", body = rest::Problem),
    ),
    security(("key" = ["guard:write"]))
)]
pub(crate) async fn clear_user(
    State(state): State<Rest>,
    Allowed { caller, .. }: Allowed<GuardWrite>,
    Path(user): Path<String>,
    asked: Asked<rest::ClearUser>,
) -> Result<Response, Refused> {
    let (user, why) = (shapes::user_ref(&user)?, asked.body.reason.clone());
    let work = async {
        let (mut call, actor) = (state.call(), caller.actor());
        let standing = state.app.clear_user(&mut call, &actor, caller.tenant(), user, why).await?;
        Ok((StatusCode::OK, shapes::standing(&standing)))
    };
    once(&state, &caller, &asked, Keep::Reply, work).await
}
