//! From typed refusals to what the outside sees: the one map, without a wildcard.

use app::Error;
use axum::response::{IntoResponse, Response};
use http_limits::{Code, Problem};
use ports::StoreError;

/// A refusal on its way out.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Problem);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(problem(error))
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self(problem(error.into()))
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

fn problem(error: Error) -> Problem {
    match error {
        Error::Invalid { field, why } => Problem::invalid(field, why),
        Error::NotFound => Code::NotFound.into(),
        Error::Unauthenticated => Code::Unauthenticated.into(),
        Error::ScopeMissing(scope) => {
            Problem::new(Code::ScopeMissing).detail(format!("this takes the scope {scope}"))
        }
        Error::UserUnknown => Code::UserUnknown.into(),
        Error::NotEnrolled => Code::NotEnrolled.into(),
        Error::CodeWrong => Code::CodeWrong.into(),
        Error::NotApproved => Code::NotApproved.into(),
        Error::AlreadyRedeemed => Code::AlreadyRedeemed.into(),
        Error::Lapsed => Code::Lapsed.into(),
        Error::WrongSession => Code::WrongSession.into(),
        Error::ReasonRequired => Code::ReasonRequired.into(),
        Error::SecondApprover(why) => Problem::new(Code::SecondApprover).detail(why),
        Error::NameTaken => Code::NameTaken.into(),
        Error::Limit(which) => Problem::new(Code::LimitReached).detail(which),
        Error::OtherRequest => Code::IdempotencyKeyReused.into(),
        Error::Store(StoreError::Overloaded) => Problem::overloaded(),
        Error::Store(error @ StoreError::Unavailable(_)) => Problem::unavailable(error),
        Error::Store(error @ StoreError::Inconsistent(_)) => Problem::internal(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_code() {
        let store = |error: StoreError| Error::Store(error);
        let invalid =
            Error::Invalid { field: "ttl_s", why: "must be between 30 and 300".to_owned() };
        for (error, status, code) in [
            (invalid, 422, "invalid_request"),
            (Error::NotFound, 404, "not_found"),
            (Error::Unauthenticated, 401, "unauthenticated"),
            (Error::ScopeMissing("users:read"), 403, "scope_missing"),
            (Error::UserUnknown, 404, "user_unknown"),
            (Error::NotEnrolled, 409, "not_enrolled"),
            (Error::CodeWrong, 422, "code_wrong"),
            (Error::NotApproved, 409, "not_approved"),
            (Error::AlreadyRedeemed, 409, "already_redeemed"),
            (Error::Lapsed, 409, "lapsed"),
            (Error::WrongSession, 403, "wrong_session"),
            (Error::ReasonRequired, 409, "reason_required"),
            (Error::SecondApprover("somebody else"), 409, "second_approver"),
            (Error::NameTaken, 409, "name_taken"),
            (Error::Limit("five devices"), 409, "limit_reached"),
            (Error::OtherRequest, 422, "idempotency_key_reused"),
            (store(StoreError::Overloaded), 503, "unavailable"),
            (store(StoreError::Unavailable("x".into())), 503, "unavailable"),
            (store(StoreError::Inconsistent("x".into())), 500, "internal"),
        ] {
            let shown = format!("{error:?}");
            let problem = problem(error);
            assert_eq!(problem.code().name(), code, "{shown}");
            assert_eq!(problem.code().status().as_u16(), status, "{shown}");
        }
    }

    #[test]
    fn a_401_names_the_scheme_and_a_503_the_wait() {
        let response = Refused::from(Error::Unauthenticated).into_response();
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        let response = Refused::from(StoreError::Overloaded).into_response();
        assert_eq!(response.headers()["retry-after"], "1");
    }
}
