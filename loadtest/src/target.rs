//! A server that somebody else runs.

use std::net::IpAddr;
use std::path::Path;

use hyper::Uri;

use crate::failure::Failure;
use crate::rest::Api;

/// The way to a running server, with the key in `file`. Only on loopback unless `owned`: a load test of
/// somebody else's server is an attack.
pub(crate) fn open(url: &str, file: &Path, owned: bool) -> Result<Api, Failure> {
    let base = check(url, owned).map_err(|why| Failure::Usage(format!("--target: {why}")))?;
    let usage = |why: String| Failure::Usage(format!("--api-key-file: {}: {why}", file.display()));
    let key = std::fs::read_to_string(file).map_err(|error| usage(error.to_string()))?;
    let key = key.trim();
    if key.is_empty() {
        return Err(usage("no key in it".to_owned()));
    }
    Api::new(&base, key, &[]).ok_or_else(|| usage("not a key".to_owned()))
}

/// The origin, if it may be used.
fn check(url: &str, owned: bool) -> Result<String, String> {
    let must = "must be http://A:P";
    let uri: Uri = url.parse().map_err(|_| must.to_owned())?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            let why = "https comes in a later version; name the port behind whatever speaks TLS";
            return Err(why.to_owned());
        }
        _ => return Err(must.to_owned()),
    }
    let (Some(authority), "" | "/", None) = (uri.authority(), uri.path(), uri.query()) else {
        return Err(format!("{must}, without a path"));
    };
    if authority.as_str().contains('@') {
        return Err(format!("{must}, without a user"));
    }
    if !owned && !is_loopback(authority.host()) {
        let why = "isn't on this machine: only with --i-own-this-target";
        return Err(format!("{authority} {why}"));
    }
    Ok(format!("http://{authority}"))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_unless_said_otherwise() {
        for (url, loopback, owned) in [
            ("http://127.0.0.1:8470", true, true),
            ("http://127.0.0.1:8470/", true, true),
            ("http://[::1]:8470", true, true),
            ("http://localhost:8470", true, true),
            ("http://mfa.example.com:8470", false, true),
            ("http://127.0.0.1.example.com", false, true),
            ("https://127.0.0.1:8470", false, false),
            ("http://127.0.0.1:8470/v1", false, false),
            ("http://a@127.0.0.1", false, false),
            ("127.0.0.1:8470", false, false),
            ("", false, false),
        ] {
            assert_eq!(check(url, false).is_ok(), loopback, "{url}");
            assert_eq!(check(url, true).is_ok(), owned, "{url}");
        }
        assert_eq!(check("http://[::1]:1/", false).as_deref(), Ok("http://[::1]:1"));
    }

    #[test]
    fn a_key_file_without_a_key_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("key");
        let refused = |says: &str| {
            let error = open("http://127.0.0.1:1", &file, false).expect_err("no key");
            assert!(error.to_string().contains(says), "{error}");
        };
        refused("No such file");
        std::fs::write(&file, "\n").expect("written");
        refused("no key in it");
        std::fs::write(&file, "csk_a\ncsk_b\n").expect("written");
        refused("not a key");
        std::fs::write(&file, "csk_a\n").expect("written");
        let api = open("http://127.0.0.1:1", &file, false).expect("a key");
        assert!(!format!("{api:?}").contains("csk_a"));
    }
}
