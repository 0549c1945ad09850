//! Bad requests over real sockets: each gets a clear refusal that doesn't repeat the value, and a sign-in works
//! afterwards.

use std::net::SocketAddr;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::child::{is_full, request};
use crate::socket::PATIENCE;
use crate::world::{Witness, World};

const JSON: &str = "application/json";
const SESSION: &str = "a-browser-session-----";

/// A body of create with one thing changed, and the field that is named.
fn bad_fields() -> Vec<(&'static str, Value, &'static str)> {
    let long = |count: usize| "x".repeat(count);
    let detail = |label: &str, value: &str| json!([{"label": label, "value": value}]);
    let session = |text: &str| json!({"browser_session": text});
    let mut table = vec![
        ("user", json!("alice"), "user"),
        ("user", json!(["name:alice"]), "user"),
        ("user", json!(format!("name:{}", long(65))), "user"),
        ("user", json!(long(60_000)), "user"),
        ("user", Value::Null, "user"),
        ("context", json!([]), "context"),
        ("context", session(&long(21)), "context.browser_session"),
        ("context", session(&long(129)), "context.browser_session"),
        ("context", session("a browser session ----"), "context.browser_session"),
        ("context", session("a-browser-session-----\n"), "context.browser_session"),
        ("context", session("a-browser-session-/+=="), "context.browser_session"),
        ("context", session("ａ-browser-session-----"), "context.browser_session"),
        ("context/ip", json!("127.0.0.1.5"), "context.ip"),
        ("context/ip", json!("127.0.0.1\u{0}"), "context.ip"),
        ("context/ip", json!("fe80::1%eth0"), "context.ip"),
        ("ttl_s", json!(29), "ttl_s"),
        ("ttl_s", json!(301), "ttl_s"),
        ("ttl_s", json!(-1), "ttl_s"),
        ("ttl_s", json!(1e9), "ttl_s"),
        ("ttl_s", json!(u64::MAX), "ttl_s"),
        ("ttl_s", json!("90"), "ttl_s"),
        ("methods", json!([]), "methods"),
        ("methods", json!(["PUSH"]), "methods[0]"),
        ("purpose", json!("sign-in"), "purpose"),
        (
            "first_factor",
            json!({"method": "p\u{0}", "at": "2026-01-01T00:00:00Z"}),
            "first_factor.method",
        ),
        ("first_factor", json!({"method": "p", "at": "yesterday"}), "first_factor.at"),
        ("details", detail(&long(33), "v"), "details"),
        ("details", detail("l", &long(129)), "details"),
        ("details", detail("", "v"), "details"),
        ("details", detail(" ", "v"), "details"),
        ("details", json!(vec![json!({"label": "l", "value": "v"}); 9]), "details"),
        ("number", json!("123456"), "number"),
        ("__proto__", json!({"user": "name:bob"}), "__proto__"),
    ];
    for unseen in
        ['\u{0}', '\u{7}', '\u{1b}', '\u{9b}', '\n', '\u{202e}', '\u{2066}', '\u{61c}', '\u{200b}']
    {
        table.push(("user", json!(format!("name:a{unseen}b")), "user"));
        table.push(("details", detail(&format!("l{unseen}"), "v"), "details"));
        table.push(("details", detail("l", &format!("v{unseen}w")), "details"));
    }
    table
}

#[tokio::test]
async fn a_bad_field_is_named_and_not_repeated() {
    let world = World::new("requests-fields").await;
    let mut witness = Witness::new(&world).await;
    for (place, value, field) in bad_fields() {
        let mut body = request("alice", SESSION);
        match place.split_once('/') {
            Some((outer, inner)) => body[outer][inner] = value.clone(),
            None => body[place] = value.clone(),
        }
        let reply = world.rest.send(&world.own_key, "POST", "/v1/challenges", &body).await;
        assert_eq!(reply.outcome(), "422 invalid_request", "{place} = {value}: {reply:?}");
        let problem = reply.json();
        assert_eq!(problem["field"], field, "{place} = {value}");
        if let Some(text) = value.as_str().filter(|text| text.len() > 4) {
            assert!(!problem["detail"].as_str().unwrap().contains(text), "{problem}");
        }
        assert!(reply.body.len() < 600, "a short refusal: {reply:?}");
    }
    witness.signs_in(&world).await;
    let made = world.events(&world.own_key).await;
    let made = made.iter().filter(|event| event["type"] == "challenge_created").count();
    assert_eq!(made, 1, "the witness's own");
}

#[tokio::test]
async fn a_bad_name_or_reason_is_refused_where_users_are_made() {
    let world = World::new("requests-names").await;
    let mut witness = Witness::new(&world).await;
    let long = "x".repeat(65);
    let names = [
        "",
        "%00",
        "a%00b",
        "a%1bb",
        "a%0ab",
        "%e2%80%ae",
        "a%d8%9cb",
        "%f3%a0%81%81",
        "+%20",
        &long,
    ];
    for name in names {
        let path = format!("/v1/users/name:{name}");
        let refused = world.rest.send(&world.own_key, "PUT", &path, &Value::Null).await;
        let fits = name == "+%20";
        let expected = if fits { "201" } else { "422 invalid_request" };
        assert_eq!(refused.outcome(), expected, "{name}: {refused:?}");
    }
    let reason = |text: &str| json!({"reason": text});
    for (path, body) in [
        ("tickets", reason(&"x".repeat(70_000))),
        ("tickets", reason("a\u{0}b")),
        ("tickets", reason("a\u{202e}b")),
        ("tickets", reason(&"x".repeat(1000))),
        ("tickets", json!({"confirm": false})),
        ("factors", json!({"type": "push"})),
        ("factors", json!({"type": "sms"})),
        ("factors", json!({})),
    ] {
        let path = format!("/v1/users/name:witness/{path}");
        let refused = world.rest.send(&world.own_key, "POST", &path, &body).await;
        let too_large = body.to_string().len() > 64 * 1024;
        let expected = if too_large { "413 too_large" } else { "422 invalid_request" };
        assert_eq!(refused.outcome(), expected, "{path}: {refused:?}");
    }
    witness.signs_in(&world).await;
}

#[tokio::test]
async fn a_body_that_can_t_be_read_is_refused_as_that() {
    let world = World::new("requests-bodies").await;
    let mut witness = Witness::new(&world).await;
    let good = request("alice", SESSION).to_string();
    let deep = "[".repeat(60_000);
    let deep_in_it = good.replace("300", &format!("{}{}", "[".repeat(20_000), "]".repeat(20_000)));
    let huge = format!("{{\"user\":\"{}\"}}", "x".repeat(64 * 1024));
    let malformed = "400 malformed_request";
    let (unsupported, invalid) = ("415 unsupported_media_type", "422 invalid_request");
    let twice = good.replacen('{', "{\"user\":\"name:mallory\",", 1);
    for (what, media, body, expected) in [
        ("cut off", JSON, good[..good.len() - 1].to_owned(), malformed),
        ("followed by more", JSON, format!("{good}x"), malformed),
        ("two", JSON, format!("{good}{good}"), malformed),
        ("empty", JSON, String::new(), malformed),
        ("a mark first", JSON, format!("\u{feff}{good}"), malformed),
        ("a raw NUL", JSON, good.replace("alice", "a\0b"), malformed),
        ("NaN", JSON, good.replace("300", "NaN"), malformed),
        ("a comment", JSON, format!("/**/{good}"), malformed),
        ("half a pair", JSON, good.replace("alice", "\\ud800"), malformed),
        ("deep", JSON, deep, invalid),
        ("deep inside", JSON, deep_in_it, invalid),
        ("a list", JSON, "[]".to_owned(), invalid),
        ("null", JSON, "null".to_owned(), invalid),
        ("a field twice", JSON, twice, invalid),
        ("huge", JSON, huge, "413 too_large"),
        ("a form", "application/x-www-form-urlencoded", good.clone(), unsupported),
        ("text", "text/plain", good.clone(), unsupported),
        ("alike", "application/jsonp", good.clone(), unsupported),
        ("no type", "", good.clone(), unsupported),
    ] {
        let mut asked = http::Request::post("/").header("authorization", bearer(&world));
        if !media.is_empty() {
            asked = asked.header("content-type", media);
        }
        let reply = world.rest.raw(asked, "/v1/challenges", Bytes::from(body)).await;
        assert_eq!(reply.outcome(), expected, "{what}: {reply:?}");
        witness.signs_in(&world).await;
    }
    let bad = Bytes::from_static(b"{\"user\":\"\xff\xfe\"}");
    let asked = http::Request::post("/").header("authorization", bearer(&world));
    let asked = asked.header("content-type", JSON);
    let reply = world.rest.raw(asked, "/v1/challenges", bad).await;
    assert_eq!(reply.outcome(), malformed, "not UTF-8: {reply:?}");
    witness.signs_in(&world).await;
}

fn bearer(world: &World) -> String {
    format!("Bearer {}", world.own_key)
}

/// What comes back for bytes of a connection, until the server closes it.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // a server that has read enough may close before it has all
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    // reset, if it closed with bytes unread: what it said before still counts
    let _ = read.expect("the server must close");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn what_isn_t_http_is_refused_and_closed() {
    let world = World::new("requests-http").await;
    let mut witness = Witness::new(&world).await;
    let address = world.address();
    let get = "GET /v1/users HTTP/1.1\r\nhost: x\r\n";
    let post = format!(
        "POST /v1/challenges HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {}\r\ncontent-type: {JSON}\r\n",
        bearer(&world)
    );
    let smuggled = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n";
    let many: String = (0..100).map(|n| format!("x-{n}: y\r\n")).collect();
    for (what, bytes, expected) in [
        ("garbage", "\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), "400"),
        ("no version", "GET /v1/users\r\n\r\n".to_owned(), "400"),
        ("another version", "GET / HTTP/3.0\r\n\r\n".to_owned(), "400"),
        ("a space in a name", format!("{get}a b: c\r\n\r\n"), "400"),
        ("a space before the colon", format!("{get}content-length : 5\r\n\r\nhello"), "400"),
        ("a folded header", format!("{get}a: b\r\n c\r\n\r\n"), "400"),
        ("a NUL in a header", format!("{get}a: \0\r\n\r\n"), "400"),
        (
            "two lengths",
            format!("{post}content-length: 2\r\ncontent-length: 9\r\n\r\n{{}}{smuggled}"),
            "400",
        ),
        ("a signed length", format!("{post}content-length: +2\r\n\r\n{{}}{smuggled}"), "400"),
        (
            "another coding last",
            format!("{post}transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n{smuggled}"),
            "400",
        ),
        (
            "a length and chunks",
            format!(
                "{post}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
            ),
            "400",
        ),
        (
            "a bad chunk",
            format!("{post}transfer-encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n"),
            "400",
        ),
        (
            "a long address",
            format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(20_000)),
            "431",
        ),
        ("long headers", format!("{get}a: {}\r\n\r\n", "x".repeat(20_000)), "431"),
        ("many headers", format!("{get}{many}\r\n"), "431"),
    ] {
        let answer = exchange(address, bytes.as_bytes()).await;
        let statuses: Vec<_> =
            answer.match_indices("HTTP/1.").map(|(at, _)| &answer[at + 9..at + 12]).collect();
        assert_eq!(statuses, [expected], "{what}: {answer}");
        witness.signs_in(&world).await;
    }
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let world = World::new("requests-endless").await;
    let mut witness = Witness::new(&world).await;
    let head = format!(
        "POST /v1/challenges HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ncontent-type: {JSON}\r\n",
        bearer(&world)
    );
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(4096));
    let endless = format!("{head}transfer-encoding: chunked\r\n\r\n{}", chunk.repeat(64));
    let answer = exchange(world.address(), endless.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let announced = format!("{head}content-length: 99999999999\r\n\r\n");
    let answer = exchange(world.address(), announced.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    if is_full() {
        let slow = format!("{head}content-length: 100\r\n\r\n{{");
        let answer = exchange(world.address(), slow.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    witness.signs_in(&world).await;
}
