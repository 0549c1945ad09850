//! Renders what other edges say to a person.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use http::HeaderValue;
use http::header::CONTENT_SECURITY_POLICY;
use http_limits::HostedPage;

use crate::fence;
use crate::language::Language;
use crate::page::{Failure, Leave, refused};

/// Puts pages in place of the [`HostedPage`]s that `router` answers with.
pub fn dress(router: Router) -> Router {
    router.route_layer(from_fn(render))
}

async fn render(request: Request, next: Next) -> Response {
    let language = Language::of(None, request.headers());
    let mut response = next.run(request).await;
    let Some(page) = response.extensions_mut().remove::<HostedPage>() else {
        return response;
    };
    let mut response = match page {
        HostedPage::Refused { status, why } => refused(language, status, why),
        HostedPage::Leave(form) => {
            let leave = Leave { t: language, form: &form };
            let mut page =
                crate::page::html(&leave).unwrap_or_else(|failure: Failure| failure.page(language));
            if let Ok(policy) = HeaderValue::from_str(&fence::csp_leaving_to(&form.action)) {
                page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
            }
            page
        }
    };
    fence::harden(&mut response);
    response
}
