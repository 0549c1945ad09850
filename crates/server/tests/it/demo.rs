//! `countersign demo` as a person uses it: a page in a browser, an authenticator in a terminal.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::child::countersign;
use crate::rest::{Reply, Rest};

const SOON: Duration = Duration::from_secs(30);

/// A terminal with a demo in it.
struct Terminal {
    process: Child,
    keyboard: ChildStdin,
    screen: Lines<BufReader<ChildStdout>>,
    /// All that it showed.
    shown: String,
}

impl Terminal {
    fn open() -> Self {
        let mut command = Command::new(countersign());
        command.args(["demo", "--listen", "127.0.0.1:0"]).kill_on_drop(true);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let keyboard = process.stdin.take().unwrap();
        let screen = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, keyboard, screen, shown: String::new() }
    }

    /// Reads on until a line holds `text`.
    async fn shows(&mut self, text: &str) -> String {
        let line = async {
            while let Some(line) = self.screen.next_line().await.unwrap() {
                self.shown.push_str(&line);
                if line.contains(text) {
                    return line;
                }
            }
            panic!("never shown: {text} in {}", self.shown)
        };
        match timeout(SOON, line).await {
            Ok(line) => line,
            Err(_) => panic!("not shown in time: {text} in {}", self.shown),
        }
    }

    async fn type_line(&mut self, text: &str) {
        self.keyboard.write_all(format!("{text}\n").as_bytes()).await.unwrap();
    }
}

/// A browser on the demo's page.
struct Browser {
    rest: Rest,
    origin: String,
    cookie: String,
    path: String,
}

impl Browser {
    /// Presses the button of the first page.
    async fn sign_in(origin: &str) -> Self {
        let rest = Rest::new(origin);
        let from_here = [("origin", origin)];
        let sent = rest.send_with("", "POST", "/sign-in", &Value::Null, &from_here).await;
        assert_eq!(sent.status, 303, "{sent:?}");
        let path = header(&sent, "location");
        Self { rest, origin: origin.to_owned(), cookie: String::new(), path }
    }

    async fn get(&mut self, rest: &str) -> Reply {
        let path = format!("{}{rest}", self.path);
        let cookie = self.cookie.clone();
        let headers: &[(&str, &str)] =
            if cookie.is_empty() { &[] } else { &[("cookie", cookie.as_str())] };
        let reply = self.rest.send_with("", "GET", &path, &Value::Null, headers).await;
        if self.cookie.is_empty() {
            let set = header(&reply, "set-cookie");
            self.cookie = set.split(';').next().unwrap().to_owned();
        }
        reply
    }

    /// The page's `data-state`, and its number while there is one.
    async fn page(&mut self) -> (String, Option<String>) {
        let reply = self.get("").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let page = String::from_utf8(reply.body.to_vec()).unwrap();
        let after = |start: &str, end: &str| {
            let (_, rest) = page.split_once(start)?;
            Some(rest.split_once(end)?.0.to_owned())
        };
        let number = after("<output id=\"number\"", "</output>");
        let number = number.map(|output| output.split_once('>').unwrap().1.to_owned());
        (after("<main data-state=\"", "\"").unwrap(), number)
    }

    /// Waits as the page does, by loading what answers when something changed.
    async fn becomes(&mut self, state: &str) {
        for _ in 0..10 {
            let reply = self.get("/wait").await;
            assert_eq!(header(&reply, "location"), self.path);
            let (now, number) = self.page().await;
            if now != "pending" {
                assert_eq!((now.as_str(), number), (state, None), "{}", self.origin);
                return;
            }
        }
        panic!("still pending")
    }
}

fn header(reply: &Reply, name: &str) -> String {
    let value = reply.headers.get(name).unwrap_or_else(|| panic!("no {name}: {reply:?}"));
    value.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_person_signs_in_says_no_and_leaves() {
    let mut terminal = Terminal::open();
    let line = terminal.shows("Open http://").await;
    let start = line.find("http://").unwrap();
    let origin = line[start..].split('/').take(3).collect::<Vec<_>>().join("/");
    let line = terminal.shows("Data and log are in").await;
    let dir = line.split_whitespace().find(|word| word.starts_with('/')).unwrap().to_owned();
    for (choice, state) in [
        (None, "approved"),
        (Some("d"), "denied"),
        (Some("r"), "reported"),
        (Some("000000"), "mismatch"),
    ] {
        let mut browser = Browser::sign_in(&origin).await;
        let (pending, number) = browser.page().await;
        assert_eq!(pending, "pending");
        let number = number.expect("a number to type");
        // after a denial nothing rings for a while: the person opens the app
        if state == "reported" || state == "mismatch" {
            terminal.type_line("p").await;
        }
        terminal.shows("Type the 6 digits").await;
        assert!(!terminal.shown.contains(&number), "the number is on the page alone");
        // one in a million is the right one after all
        let typed = choice.map_or(number.clone(), |choice| match choice {
            digits if digits == number => "000001".to_owned(),
            other => other.to_owned(),
        });
        terminal.type_line(&typed).await;
        browser.becomes(state).await;
    }
    assert!(std::path::Path::new(&dir).exists());
    terminal.type_line("q").await;
    let status = timeout(SOON, terminal.process.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(!std::path::Path::new(&dir).exists(), "nothing is left behind");
}
