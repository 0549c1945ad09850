//! What a provider publishes, looked at over the network as Entra does.

use domain::protocol::Cloud;
use form_urlencoded::Serializer;
use http::Uri;
use serde_json::Value;

use super::keys;
use super::registered::Registered;
use crate::clock;
use crate::doctor::{Finding, ok, warn, wrong};
use crate::fetch::{Fetched, Fetcher};

/// Where Entra takes answers, below a cloud's authority.
const ANSWERS: &str = "/common/federation/externalauthprovider";
const REACHABLE: &str = "make the server reachable from the internet";

/// What the document says that matters further on.
pub(super) struct Provider {
    /// Where Entra sends browsers.
    pub(super) endpoint: String,
}

/// Looks at what is published. `None` beside the findings if there is nothing to go on with.
pub(super) async fn examine(fetcher: &Fetcher, issuer: &str) -> (Vec<Finding>, Option<Provider>) {
    let mut findings = vec![address(issuer), secure(issuer)];
    let url = format!("{issuer}/.well-known/openid-configuration");
    let document = match fetcher.fetch(&url).await {
        Ok(fetched) => {
            let (finding, document) = discovery(&url, &fetched);
            findings.push(finding);
            document
        }
        Err(why) => {
            findings.push(wrong("discovery", why, REACHABLE));
            None
        }
    };
    let Some(document) = document else { return (findings, None) };
    findings.extend([same_issuer(issuer, &document), metadata(&document)]);
    let endpoint = text(&document["authorization_endpoint"]);
    findings.push(reply_url(fetcher, issuer, endpoint).await);
    let uri = text(&document["jwks_uri"]);
    match fetcher.fetch(uri).await {
        Ok(fetched) => {
            let set = serde_json::from_slice(&fetched.body).unwrap_or_default();
            findings.extend(keys::examine(&set, clock::now()));
        }
        Err(why) => findings.push(wrong("keys", why, REACHABLE)),
    }
    (findings, Some(Provider { endpoint: endpoint.to_owned() }))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The form of the issuer: what Entra compares character by character.
fn address(issuer: &str) -> Finding {
    let next =
        "write the issuer without a slash at its end, :443, query and fragment: set public_url so";
    let uri: Option<Uri> = issuer.parse().ok();
    let port = uri.as_ref().and_then(Uri::port_u16);
    let whole = uri.is_some_and(|uri| uri.scheme().is_some() && uri.authority().is_some());
    let tidy = whole && port != Some(443) && !issuer.ends_with('/');
    match tidy && !issuer.contains(['?', '#']) {
        true => ok("issuer", issuer),
        false => wrong("issuer", issuer, next),
    }
}

fn secure(issuer: &str) -> Finding {
    let next =
        "Entra reaches a provider over https alone: give the server a certificate and a public_url";
    if issuer.starts_with("https://") { ok("https", "yes") } else { wrong("https", "no", next) }
}

fn discovery(url: &str, fetched: &Fetched) -> (Finding, Option<Value>) {
    if !fetched.status.is_success() {
        let found = format!("{url} answered {}", fetched.status.as_u16());
        let next = "the issuer must be the server's public_url and /entra";
        return (wrong("discovery", found, next), None);
    }
    let Ok(document) = serde_json::from_slice::<Value>(&fetched.body) else {
        let next = "keep proxies from changing it";
        return (wrong("discovery", format!("{url} isn't JSON"), next), None);
    };
    let length = fetched.headers.get(http::header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let finding = if length == Some(fetched.body.len()) {
        ok("discovery", format!("{url}, with Content-Length"))
    } else {
        let next =
            "keep proxies from compressing or chunking this document: Entra needs its length";
        wrong("discovery", format!("{url}, without Content-Length"), next)
    };
    (finding, Some(document))
}

fn same_issuer(issuer: &str, document: &Value) -> Finding {
    const CHECK: &str = "issuer in the document";
    let next = "public_url must be the address that Entra is given, to the letter";
    let found = text(&document["issuer"]);
    if found == issuer { ok(CHECK, found) } else { wrong(CHECK, found, next) }
}

/// The members that Entra needs.
fn metadata(document: &Value) -> Finding {
    let has = |name: &str, wanted: &str| {
        document[name].as_array().is_some_and(|all| all.iter().any(|one| one == wanted))
    };
    let lacks = [
        ("scopes_supported", "openid"),
        ("response_types_supported", "id_token"),
        ("id_token_signing_alg_values_supported", "RS256"),
        ("subject_types_supported", "public"),
    ]
    .into_iter()
    .find(|(name, wanted)| !has(name, wanted));
    match lacks {
        None => ok("metadata", "openid, id_token, RS256"),
        Some((name, wanted)) => {
            let next = "ask for the issuer of Entra, public_url and /entra, and keep proxies from changing it";
            wrong("metadata", format!("{name} lacks {wanted}"), next)
        }
    }
}

/// The address that the application must list, and whether anything answers there.
async fn reply_url(fetcher: &Fetcher, issuer: &str, endpoint: &str) -> Finding {
    const CHECK: &str = "reply URL of the application";
    if endpoint != format!("{issuer}/authorize") {
        let next = "public_url must be the address that Entra is given, to the letter";
        return wrong(CHECK, format!("{endpoint} is not {issuer}/authorize"), next);
    }
    match fetcher.fetch(endpoint).await {
        Ok(fetched) if fetched.status.is_success() => {
            ok(CHECK, format!("{endpoint}, to be listed there to the letter"))
        }
        Ok(fetched) => {
            let next = "keep proxies from keeping browsers away from this address";
            wrong(CHECK, format!("{endpoint} answered {}", fetched.status.as_u16()), next)
        }
        Err(why) => wrong(CHECK, why, REACHABLE),
    }
}

/// Whether answers to Entra go where that takes them, and nowhere else: by requests without a hint, which ring
/// nobody.
pub(super) async fn answers(
    fetcher: &Fetcher,
    provider: &Provider,
    client: &str,
    registered: Option<&Registered>,
) -> Finding {
    const CHECK: &str = "answers go to";
    let taken = match registered {
        Some(registered) => vec![registered.authority.clone()],
        None => Cloud::ALL.into_iter().filter_map(Cloud::authority).map(str::to_owned).collect(),
    };
    let mut accepted = None;
    for authority in taken {
        let uri = format!("{authority}{ANSWERS}");
        let foreign = format!("{uri}/");
        for (uri, good) in [(&uri, true), (&foreign, false)] {
            match leads_back(fetcher, &provider.endpoint, client, uri).await {
                Ok(true) if good => accepted = Some(uri.clone()),
                Ok(true) => {
                    let next = "this is no server of ours, or an old one: only the addresses of Microsoft's clouds \
                                may be taken";
                    return wrong(CHECK, format!("{uri}, which is nobody's"), next);
                }
                Ok(false) => {}
                Err(why) => return wrong(CHECK, why, REACHABLE),
            }
        }
    }
    match accepted {
        Some(uri) => ok(CHECK, uri),
        None => {
            let next = "the client id must be what `admin integration create --kind entra` printed, with the \
                        --cloud of the directory";
            wrong(
                CHECK,
                format!("nowhere: client id {client} is answered at no address of Entra's"),
                next,
            )
        }
    }
}

/// Without a known client id there is nothing to ask with.
pub(super) fn answers_unknown() -> Finding {
    let next = "name the integration: --client-id ID";
    warn("answers go to", "not looked at: no client id is known", next)
}

/// Whether a request for this return address is answered with a form that leads there.
async fn leads_back(
    fetcher: &Fetcher,
    endpoint: &str,
    client: &str,
    uri: &str,
) -> Result<bool, String> {
    let form = Serializer::new(String::new())
        .append_pair("client_id", client)
        .append_pair("redirect_uri", uri)
        .append_pair("response_type", "id_token")
        .append_pair("response_mode", "form_post")
        .append_pair("scope", "openid")
        .finish();
    let page = fetcher.submit(endpoint, form).await?;
    let page = String::from_utf8_lossy(&page.body).into_owned();
    Ok(page.contains(&format!("action=\"{uri}\"")) && page.contains("value=\"access_denied\""))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};
    use serde_json::json;

    use super::*;
    use crate::doctor::Grade;

    fn is_ok(finding: &Finding) -> bool {
        finding.grade == Grade::Ok
    }

    #[test]
    fn an_issuer_is_written_as_entra_compares_it() {
        for good in ["https://h.example/entra", "https://h.example:8443/entra", "https://h.example"]
        {
            assert!(is_ok(&address(good)), "{good}");
        }
        for bad in [
            "https://h.example:443/entra",
            "https://h.example:443",
            "https://h.example/entra/",
            "https://h.example/entra?x",
            "https://h.example/entra#x",
            "h example",
            "h.example",
            "h.example:8443",
            "/entra",
            "",
        ] {
            assert!(!is_ok(&address(bad)), "{bad}");
        }
        assert!(is_ok(&secure("https://h.example/entra")));
        assert!(!is_ok(&secure("http://h.example/entra")));
    }

    fn fetched(status: u16, length: Option<usize>, body: &str) -> Fetched {
        let mut headers = HeaderMap::new();
        headers.extend(length.map(|length| (http::header::CONTENT_LENGTH, length.into())));
        let status = StatusCode::from_u16(status).expect("a status");
        Fetched { status, headers, body: body.to_owned().into() }
    }

    #[test]
    fn a_document_has_its_length_and_is_json() {
        let grade = |fetched| discovery("u", &fetched).0.grade;
        assert_eq!(grade(fetched(200, Some(2), "{}")), Grade::Ok);
        assert_eq!(grade(fetched(200, None, "{}")), Grade::Wrong);
        assert_eq!(grade(fetched(200, Some(3), "{}")), Grade::Wrong);
        assert_eq!(grade(fetched(200, Some(1), "{")), Grade::Wrong);
        assert_eq!(grade(fetched(404, Some(2), "{}")), Grade::Wrong);
        assert_eq!(grade(fetched(302, Some(2), "{}")), Grade::Wrong);
    }

    #[test]
    fn a_document_says_what_entra_needs() {
        let good = json!({
            "issuer": "i", "scopes_supported": ["openid"], "response_types_supported": ["id_token"],
            "id_token_signing_alg_values_supported": ["RS256"], "subject_types_supported": ["public"],
        });
        assert!(is_ok(&metadata(&good)) && is_ok(&same_issuer("i", &good)));
        assert!(!is_ok(&same_issuer("i/", &good)) && !is_ok(&same_issuer("i", &json!({}))));
        for name in good.as_object().expect("an object").keys().filter(|name| *name != "issuer") {
            let mut bad = good.clone();
            bad[name] = json!(["other"]);
            assert!(!is_ok(&metadata(&bad)), "{name}");
        }
    }
}
