//! The web authenticator: a page that makes a key in the browser, keeps it there, and answers challenges with it
//! over the device gateway. Its sources are in `web`, what they were built into in `dist`.
//!
//! Architecture invariant: the page lives on an origin of its own. What a script of the sign-in pages could reach
//! there would be a second factor beside the number that it answers to.

mod headers;

use axum::Router;
use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use statement::ServerUrl;

/// A file of the built page.
struct File {
    path: &'static str,
    bytes: &'static [u8],
}

const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));
/// What is served for every address of the page.
const PAGE: &str = "/index.html";
/// Where the page writes which server it belongs to.
const SERVER: &str = "{{server}}";
/// The addresses of the page: a person's, and the one that enrolment links lead to.
const ADDRESSES: [&str; 2] = ["/", "/enrol"];

/// The page for devices of `server`, and what it loads: to be served on an origin that nothing else uses.
pub fn router(server: &ServerUrl) -> Router {
    let mut router = Router::new();
    for file in FILES {
        if file.path == PAGE {
            let page = Bytes::from(page(file, server));
            for address in ADDRESSES {
                let page = page.clone();
                router =
                    router.route(address, get(move || async move { answer(PAGE, page.clone()) }));
            }
        } else {
            let bytes = Bytes::from_static(file.bytes);
            let path = file.path;
            router = router.route(path, get(move || async move { answer(path, bytes.clone()) }));
        }
    }
    headers::guarded(router, server)
}

/// The page of `server`. Its address holds nothing that HTML takes for markup ([`ServerUrl`]).
fn page(file: &File, server: &ServerUrl) -> String {
    String::from_utf8_lossy(file.bytes).replace(SERVER, server.as_str())
}

fn answer(path: &'static str, body: Bytes) -> Response {
    let kept = if path.starts_with("/assets/") {
        // their names change with what is in them
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(media_type(path))),
        (CACHE_CONTROL, HeaderValue::from_static(kept)),
    ];
    (headers, body).into_response()
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("webmanifest") => "application/manifest+json",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::{Request, StatusCode};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(server: &str, path: &str) -> (http::response::Parts, String) {
        let router = router(&server.parse().unwrap());
        let request = Request::get(path).body(Body::empty()).unwrap();
        let (head, body) = router.oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head, String::from_utf8_lossy(&body).into_owned())
    }

    fn header(head: &http::response::Parts, name: &str) -> String {
        head.headers[name].to_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn the_page_names_its_server_and_loads_only_what_is_here() {
        for address in ADDRESSES {
            let (head, page) = get("https://mfa.example.org", address).await;
            assert_eq!(head.status, StatusCode::OK);
            assert!(
                page.contains("name=\"countersign-server\" content=\"https://mfa.example.org\"")
            );
            assert!(
                !page.contains(SERVER) && !page.contains("style=") && !page.contains("<script>")
            );
            for part in page.split(['"']).filter(|part| part.starts_with("/assets/")) {
                let (head, _) = get("https://mfa.example.org", part).await;
                assert_eq!(head.status, StatusCode::OK, "{part}");
                assert!(header(&head, "cache-control").contains("immutable"));
            }
        }
        assert_eq!(get("https://h", "/index.html").await.0.status, StatusCode::NOT_FOUND);
        assert_eq!(get("https://h", "/sign-in").await.0.status, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn every_answer_is_fenced_and_only_its_server_is_talked_to() {
        for (server, socket) in [
            ("https://mfa.example.org:8443", "wss://mfa.example.org:8443"),
            ("http://127.0.0.1:8470", "ws://127.0.0.1:8470"),
            // a policy has no way to write an IPv6 address
            ("http://[::1]:8470", "ws:"),
        ] {
            for path in ["/", "/enrol", "/sw.js", "/none"] {
                let (head, _) = get(server, path).await;
                let policy = header(&head, "content-security-policy");
                assert!(policy.contains(&format!("connect-src 'self' {socket};")), "{policy}");
                assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
                assert!(policy.contains("require-trusted-types-for 'script'"), "{policy}");
                assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
                assert_eq!(header(&head, "x-content-type-options"), "nosniff");
                assert_eq!(header(&head, "cross-origin-opener-policy"), "same-origin");
            }
        }
    }

    #[test]
    fn every_file_has_its_type_and_no_source_map_is_among_them() {
        for file in FILES {
            let known = media_type(file.path) != "text/plain; charset=utf-8";
            assert!(known || file.path == "/licences.txt", "{}", file.path);
        }
        assert!(FILES.iter().any(|file| file.path == PAGE));
    }
}
