//! Renders what other edges say to a person.

use axum::Router;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_SECURITY_POLICY;
use http_limits::HostedPage;

use crate::fence;
use crate::page::{Failure, Leave, refused};

/// Puts pages in place of the [`HostedPage`]s that `router` answers with.
pub fn dress(router: Router) -> Router {
    router.route_layer(map_response(render))
}

async fn render(mut response: Response) -> Response {
    let Some(page) = response.extensions_mut().remove::<HostedPage>() else {
        return response;
    };
    let mut response = match page {
        HostedPage::Refused { status, why } => refused(status, why),
        HostedPage::Leave(form) => {
            let mut page =
                crate::page::html(&Leave { form: &form }).unwrap_or_else(Failure::into_response);
            if let Ok(policy) = HeaderValue::from_str(&fence::csp_leaving_to(&form.action)) {
                page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
            }
            page
        }
    };
    fence::harden(&mut response);
    response
}
