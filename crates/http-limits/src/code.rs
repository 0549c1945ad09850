//! Every reason for which a request can be refused.

use http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:ident, $title:literal;)*) => {
        /// A refusal's stable name. Each has a section in docs/problems.md.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in the API.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The status that it is sent with.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// What it says to a person, the same each time (RFC 9457 §3.1.3).
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    /// The request isn't HTTP or JSON that can be read.
    MalformedRequest = "malformed_request", BAD_REQUEST, "The request can't be read";
    /// No key, or one that doesn't work.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "No working key was given";
    /// The key works, but not for this.
    ScopeMissing = "scope_missing", FORBIDDEN, "The key lacks the scope for this";
    /// The browser session isn't the one that the challenge was made for.
    WrongSession = "wrong_session", FORBIDDEN, "Another browser session asked for this challenge";
    /// A browser on a foreign site, or a request without the form's token.
    ForeignOrigin = "foreign_origin", FORBIDDEN, "The request comes from another site";
    /// Nothing here, or nothing that the caller may know of.
    NotFound = "not_found", NOT_FOUND, "There is no such thing";
    /// The user doesn't exist; only said to integrations that are told who exists.
    UserUnknown = "user_unknown", NOT_FOUND, "There is no such user";
    /// The path exists, but not with this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The method isn't allowed here";
    /// The body didn't arrive in time.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, "The request came too slowly";
    /// The user has no factor; only said to integrations that are told who exists.
    NotEnrolled = "not_enrolled", CONFLICT, "The user has no factor";
    /// Redeemed before it was approved, or it never will be.
    NotApproved = "not_approved", CONFLICT, "The challenge isn't approved";
    /// The receipt was handed out before.
    AlreadyRedeemed = "already_redeemed", CONFLICT, "The challenge is already redeemed";
    /// The approval doesn't count any more.
    Lapsed = "lapsed", CONFLICT, "The approval has lapsed";
    /// An idempotent request was done before, and its reply held secrets.
    AlreadyDone = "already_done", CONFLICT, "This was already done";
    /// An idempotent request is being done right now.
    InProgress = "in_progress", CONFLICT, "The same request is still being handled";
    /// The user has a factor already: say why another one is needed.
    ReasonRequired = "reason_required", CONFLICT, "A reason is required";
    /// The user is under attack, and this takes two people.
    SecondApprover = "second_approver", CONFLICT, "This takes a second person";
    /// The name is in use.
    NameTaken = "name_taken", CONFLICT, "The name is taken";
    /// One more than is allowed.
    LimitReached = "limit_reached", CONFLICT, "The limit is reached";
    /// It isn't in a state that allows this.
    WrongState = "wrong_state", CONFLICT, "Its state doesn't allow this";
    /// The body is larger than any real request.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE, "The request is too large";
    /// The path and query are longer than any real request's.
    UriTooLong = "uri_too_long", URI_TOO_LONG, "The address is too long";
    /// The body isn't JSON.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body must be JSON";
    /// The `Host` isn't ours.
    MisdirectedRequest = "misdirected_request", MISDIRECTED_REQUEST, "This server doesn't answer for that host";
    /// A field is missing, unknown, or out of its bounds.
    InvalidRequest = "invalid_request", UNPROCESSABLE_ENTITY, "A field is missing or invalid";
    /// The code is wrong, or no more codes are looked at.
    CodeWrong = "code_wrong", UNPROCESSABLE_ENTITY, "The code was not accepted";
    /// The idempotency key was used for another request.
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, "The idempotency key was used for another request";
    /// This address speaks WebSocket.
    UpgradeRequired = "upgrade_required", UPGRADE_REQUIRED, "This address speaks WebSocket";
    /// The integration's quota is used up.
    TooManyRequests = "too_many_requests", TOO_MANY_REQUESTS, "Too many requests";
    /// The address holds as many device connections as it may.
    TooManyConnections = "too_many_connections", TOO_MANY_REQUESTS, "This address holds too many connections";
    /// A fault of the server's.
    Internal = "internal", INTERNAL_SERVER_ERROR, "The server failed";
    /// Overloaded, or a store can't be reached.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "The service is unavailable right now";
}

impl Code {
    /// The code for a status that a library chose, where there is exactly one.
    pub(crate) fn for_status(status: StatusCode) -> Option<Self> {
        [
            Self::MalformedRequest,
            Self::NotFound,
            Self::MethodNotAllowed,
            Self::RequestTimeout,
            Self::TooLarge,
            Self::UriTooLong,
            Self::UnsupportedMediaType,
            Self::InvalidRequest,
            Self::UpgradeRequired,
            Self::Internal,
            Self::Unavailable,
        ]
        .into_iter()
        .find(|code| code.status() == status)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_documented_and_nothing_else_is() {
        let docs = include_str!("../../../docs/problems.md");
        let documented: BTreeSet<&str> =
            docs.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let known: BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(known.len(), Code::ALL.len(), "two codes share a name");
        assert_eq!(documented, known);
    }

    #[test]
    fn every_section_names_the_status() {
        let docs = include_str!("../../../docs/problems.md");
        for code in Code::ALL {
            let heading = format!("## {}\n", code.name());
            let section = docs.split_once(&heading).unwrap().1;
            let status = format!("{}. ", code.status().as_u16());
            assert!(section.starts_with(&status), "{}", code.name());
        }
    }
}
