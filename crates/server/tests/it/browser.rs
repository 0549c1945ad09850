//! A browser without scripts: keeps cookies, follows redirects on its server, reads forms.

use std::collections::BTreeMap;

use http::Method;

use crate::rest::{Reply, Rest};

#[derive(Clone)]
pub(crate) struct Browser {
    rest: Rest,
    cookies: BTreeMap<String, String>,
}

/// A page, or what took its place.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// Where it is.
    pub(crate) path: String,
    pub(crate) reply: Reply,
    pub(crate) text: String,
}

/// A form as a page holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) method: String,
    pub(crate) action: String,
    pub(crate) fields: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new(base: &str) -> Self {
        Self { rest: Rest::new(base), cookies: BTreeMap::new() }
    }

    /// Opens a page, and goes wherever on this server it leads.
    pub(crate) async fn open(&mut self, path: &str) -> Page {
        let page = self.send(Method::GET, path, &[], None).await;
        self.follow(page).await
    }

    /// Sends a form, as a page of another site does, and goes wherever that leads.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let page = self.send(Method::POST, path, fields, None).await;
        self.follow(page).await
    }

    /// Presses a button on a page of this server.
    pub(crate) async fn press(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let page = self.send(Method::POST, path, fields, Some("same-origin")).await;
        self.follow(page).await
    }

    async fn follow(&mut self, mut page: Page) -> Page {
        while let Some(path) = page.location().filter(|to| to.starts_with('/')) {
            let path = path.to_owned();
            page = self.send(Method::GET, &path, &[], None).await;
        }
        page
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        site: Option<&str>,
    ) -> Page {
        let mut request = http::Request::builder().method(&method);
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        // what browsers do with our cookies: none goes along with a form from elsewhere
        if !cookies.is_empty() && (method == Method::GET || site.is_some()) {
            request = request.header("cookie", cookies.join("; "));
        }
        if let Some(site) = site {
            request = request.header("sec-fetch-site", site);
        }
        let mut body = String::new();
        if method == Method::POST {
            request = request.header("content-type", "application/x-www-form-urlencoded");
            body = encode(fields);
        }
        let reply = self.rest.raw(request, path, body.into()).await;
        for set in reply.headers.get_all("set-cookie") {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        Page { path: path.to_owned(), reply, text }
    }
}

pub(crate) fn encode(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

impl Page {
    pub(crate) fn location(&self) -> Option<&str> {
        self.reply.headers.get("location").map(|to| to.to_str().unwrap())
    }

    /// The parameters of the address that it leads to.
    pub(crate) fn sent_back(&self) -> (String, BTreeMap<String, String>) {
        let to = self.location().unwrap_or_else(|| panic!("leads nowhere: {}", self.text));
        let (uri, query) = to.split_once('?').unwrap_or((to, ""));
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        (uri.to_owned(), pairs.collect())
    }

    pub(crate) fn number(&self) -> Option<&str> {
        let (_, rest) = self.text.split_once("<output id=\"number\"")?;
        rest.split_once('>')?.1.split('<').next()
    }

    /// The number of a page that waits.
    #[track_caller]
    pub(crate) fn waits(&self) -> String {
        let number = self.number();
        number.unwrap_or_else(|| panic!("{} {}", self.reply.status, self.text)).to_owned()
    }

    /// The one form that leads back.
    pub(crate) fn form(&self) -> Option<Form> {
        assert!(self.text.matches("id=\"return\"").count() <= 1);
        let (before, rest) = self.text.split_once("<form id=\"return\"")?;
        assert!(!before.contains("id=\"return\""));
        let (tag, rest) = rest.split_once('>')?;
        let inside = rest.split_once("</form>")?.0;
        let mut form = Form {
            method: attribute(tag, "method")?,
            action: attribute(tag, "action")?,
            ..Form::default()
        };
        for input in inside.split("<input ").skip(1) {
            let tag = input.split_once('>')?.0;
            let name = attribute(tag, "name")?;
            assert!(form.fields.insert(name, attribute(tag, "value")?).is_none());
        }
        Some(form)
    }

    /// What a form that leads back says.
    #[track_caller]
    pub(crate) fn leads_back(&self) -> Form {
        self.form().unwrap_or_else(|| panic!("{} {}", self.reply.status, self.text))
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    let value = rest.split_once('"')?.0;
    let plain = [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")];
    Some(plain.iter().fold(value.to_owned(), |text, (from, to)| text.replace(from, to)))
}
