//! The style sheet, built in. Its address names its content, so that browsers may keep it for ever.

use std::sync::LazyLock;

use axum::response::IntoResponse;
use data_encoding::HEXLOWER;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use statement::sha256;

const CSS: &str = include_str!("../templates/style.css");

static CSS_PATH: LazyLock<String> = LazyLock::new(|| {
    let hash = sha256(&[CSS.as_bytes()]);
    format!("/assets/{}.css", HEXLOWER.encode(&hash[..8]))
});

/// Where the style sheet is.
pub(crate) fn css_path() -> &'static str {
    &CSS_PATH
}

/// The style sheet.
pub(crate) async fn css() -> impl IntoResponse {
    (
        [
            (CONTENT_TYPE, "text/css; charset=utf-8"),
            (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        ],
        CSS,
    )
}
