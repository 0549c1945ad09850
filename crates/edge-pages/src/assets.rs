//! Style sheet and script, built in. Their addresses name their content, so that browsers may keep them for ever.

use std::sync::LazyLock;

use axum::response::IntoResponse;
use data_encoding::HEXLOWER;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use statement::sha256;

const CSS: &str = include_str!("../templates/style.css");

static JS: LazyLock<String> = LazyLock::new(|| bare(include_str!("../templates/page.js")));
static ENROL_JS: LazyLock<String> = LazyLock::new(|| bare(include_str!("../templates/enrol.js")));
static CSS_PATH: LazyLock<String> = LazyLock::new(|| path(CSS, "css"));
static ENROL_PATH: LazyLock<String> = LazyLock::new(|| path(&ENROL_JS, "js"));
static JS_PATH: LazyLock<String> = LazyLock::new(|| path(&JS, "js"));

fn path(content: &str, suffix: &str) -> String {
    let hash = sha256(&[content.as_bytes()]);
    format!("/assets/{}.{suffix}", HEXLOWER.encode(&hash[..8]))
}

/// A script without what only its readers need: indentation, and lines that are comments.
fn bare(script: &str) -> String {
    let lines = script.lines().map(str::trim_start);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .fold(String::new(), |bare, line| bare + line + "\n")
}

/// Where the style sheet is.
pub(crate) fn css_path() -> &'static str {
    &CSS_PATH
}

/// Where the sign-in's script is.
pub(crate) fn js_path() -> &'static str {
    &JS_PATH
}

/// Where the script of the enrolment page is.
pub(crate) fn enrol_path() -> &'static str {
    &ENROL_PATH
}

/// The style sheet.
pub(crate) async fn css() -> impl IntoResponse {
    kept("text/css; charset=utf-8", CSS)
}

/// The sign-in's script.
pub(crate) async fn js() -> impl IntoResponse {
    kept("text/javascript; charset=utf-8", &JS)
}

/// The script of the enrolment page.
pub(crate) async fn enrol_js() -> impl IntoResponse {
    kept("text/javascript; charset=utf-8", &ENROL_JS)
}

fn kept(kind: &'static str, content: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "public, max-age=31536000, immutable")], content)
}
