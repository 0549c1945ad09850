//! The stand-in's own pages: plain, and nothing like Microsoft's, so that nobody takes it for the real thing.

use super::fake::{Request, Settings};
use super::verdict::Verdict;

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
    <title>Stand-in for Entra</title><link rel=\"icon\" href=\"data:,\">\
    <style>body{font:1rem/1.5 system-ui,sans-serif;max-width:38rem;margin:3rem auto;padding:0 1rem}\
    button{font:inherit;padding:.6rem 1rem}li{margin:.3rem 0}</style>";

fn page(body: &str) -> String {
    format!("{HEAD}<main>{body}</main>")
}

/// Text in HTML.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

pub(super) fn home(settings: &Settings) -> String {
    let Settings { provider, name, tenant, object, .. } = settings;
    page(&format!(
        "<h1>A stand-in for Microsoft Entra</h1>\
         <p>It plays the directory <code>{}</code>. The button stands for a password that was checked; then \
         the browser is sent to <code>{}</code> for the second factor.</p>\
         <form method=\"post\" action=\"/start\"><button>Sign in as {}</button></form>\
         <p>The person is <code>{}</code>.</p>",
        escape(tenant),
        escape(provider),
        escape(name),
        escape(&format!("{tenant}:{object}")),
    ))
}

pub(super) fn leave(request: &Request) -> String {
    let fields: String = request
        .fields
        .iter()
        .map(|(name, value)| {
            format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">", escape(name), escape(value))
        })
        .collect();
    page(&format!(
        "<h1>On to the second factor</h1>\
         <form id=\"leave\" method=\"post\" action=\"{}\">{fields}<button>Continue</button></form>\
         <script>document.getElementById('leave').submit()</script>",
        escape(&request.action),
    ))
}

pub(super) fn unreachable(why: &str) -> String {
    page(&format!("<h1>The provider can't be reached</h1><p>{}</p>", escape(why)))
}

pub(super) fn verdict(verdict: &Verdict) -> String {
    let looks: String = verdict
        .looks
        .iter()
        .map(|look| {
            let mark = if look.ok { "right" } else { "WRONG" };
            format!("<li>{mark}: {}", escape(&look.words))
        })
        .collect();
    page(&format!(
        "<h1 id=\"verdict\" data-ok=\"{}\">{}</h1><ul>{looks}</ul><p><a href=\"/\">Again</a>",
        verdict.ok,
        escape(&verdict.summary),
    ))
}
