//! Pages that an edge needs and doesn't render: the edge of hosted pages does, for all of them.

use app::sign_ins::ReturnForm;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

/// What hosted pages speak, as language tags; the first unless somebody says otherwise.
pub const LANGUAGES: [&str; 2] = ["en", "de"];

/// A page for a person whose request another edge answers. As a response it holds plain text; the edge of hosted
/// pages turns it into the page.
#[derive(Clone, Debug)]
pub enum HostedPage {
    /// Whoever sent the browser here can't be trusted, or not be found: it goes nowhere.
    Refused {
        /// How the response is marked.
        status: StatusCode,
        /// What is wrong, for whoever set it up.
        why: &'static str,
    },
    /// A form that takes the browser back.
    Leave(ReturnForm),
}

impl IntoResponse for HostedPage {
    fn into_response(self) -> Response {
        let (status, text) = match &self {
            Self::Refused { status, why } => (*status, *why),
            Self::Leave(_) => (StatusCode::INTERNAL_SERVER_ERROR, "no page"),
        };
        let mut response = (status, text).into_response();
        response.extensions_mut().insert(self);
        response
    }
}
