//! The commands of README.md and docs/, run as they stand there: each shell block has a row here.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use authenticator_native::Choice;
use serde_json::Value;
use server::demo::child::ChildServer;
use server::demo::http::Http;
use server::demo::phone::{Phone, enrol};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::browser::Browser;
use crate::child::{Home, countersign};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const PATIENCE: Duration = Duration::from_secs(60);

/// Every shell block, by file, and what runs it.
const BLOCKS: &[(&str, &[&str])] = &[
    ("README.md", &["both commands are stages: spine, and all of them", "here", "here"]),
    ("docs/api.md", &["here", "here", "here", "here", "here"]),
    ("docs/ciba.md", &["here", "here", "here", "here", "here", "Keycloak's own command"]),
    ("docs/entra.md", &["here", "here", "here", "here", "here", "here"]),
    ("docs/oidc.md", &["here", "here", "here", "here"]),
    ("docs/webhooks.md", &["here, and webhooks"]),
];

/// The shell blocks of a file, in order.
fn blocks(file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(ROOT).join(file)).unwrap();
    let after = |part: &str| part.split_once("\n```").map(|(block, _)| block.to_owned());
    let found: Vec<String> = text.split("```sh\n").skip(1).filter_map(after).collect();
    assert_eq!(found.len(), text.matches("```sh").count(), "{file}: a block that isn't read");
    found
}

#[test]
fn every_shell_block_of_the_documentation_is_run_by_something() {
    let mut files = vec!["README.md".to_owned()];
    for file in std::fs::read_dir(Path::new(ROOT).join("docs")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
            files.push(format!("docs/{name}"));
        }
    }
    for file in files {
        let row = BLOCKS.iter().find(|(named, _)| *named == file);
        let known = row.map_or(0, |(_, blocks)| blocks.len());
        assert_eq!(
            blocks(&file).len(),
            known,
            "{file}: a block without a row, or a row without one"
        );
    }
}

/// A folder with a server's data in it as `serve` makes it, and our programs in PATH.
struct Desk {
    home: Home,
    server: ChildServer,
    folder: PathBuf,
}

impl Desk {
    async fn new(name: &str) -> Self {
        let home = Home::new(name);
        let folder = home.data().to_owned();
        let config = folder.join("countersign.toml");
        let webhook =
            "[[webhooks]]\nname = 'soc'\nurl = 'http://127.0.0.1:9/'\nallow_private = true\n";
        let secret = format!("secret = 'whsec_{}'\n", "c2Vj".repeat(8));
        std::fs::write(&config, format!("{webhook}{secret}")).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" --config \"$CONFIG\""]).arg(countersign());
        command.env("CONFIG", &config);
        let server = home.serve_by(command).await;
        // where `serve` puts it unless it is told otherwise
        std::os::unix::fs::symlink(&folder, folder.join("countersign-data")).unwrap();
        Self { home, server, folder }
    }

    /// A command as somebody types it in that folder.
    fn shell(&self, line: &str) -> Command {
        let programs = countersign().parent().unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", line]).current_dir(&self.folder);
        command.env("PATH", path).env("HOME", &self.folder);
        command.env("COUNTERSIGN_PASSPHRASE", "a passphrase of tests").env("NO_PROXY", "*");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// What a command prints, whether or not it is content.
    async fn tries(&self, line: &str) -> String {
        let done = timeout(PATIENCE, self.shell(line).output()).await.unwrap().unwrap();
        String::from_utf8(done.stdout).unwrap()
    }

    /// What a block prints, with its stand-ins replaced.
    async fn run(&self, block: &str, stands_for: &[(&str, &str)]) -> String {
        let mut line = block.to_owned();
        for (text, value) in stands_for {
            assert!(line.contains(text), "{text} is not in {line}");
            line = line.replace(text, value);
        }
        let done = timeout(PATIENCE, self.shell(&line).output()).await.unwrap().unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success(), "{line}\n{said}");
        said
    }

    fn start(&self, line: &str) -> Typing {
        let mut child = self.shell(line).stdin(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Typing { _child: child, input, output: BufReader::new(output).lines() }
    }
}

/// A program that asks, and somebody who answers.
struct Typing {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Typing {
    /// Reads on to a line that holds `text`.
    async fn until(&mut self, text: &str) -> String {
        loop {
            let line = timeout(PATIENCE, self.output.next_line()).await.unwrap().unwrap();
            let line = line.unwrap_or_else(|| panic!("it ends without {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    async fn types(&mut self, text: &str) {
        self.input.write_all(format!("{text}\n").as_bytes()).await.unwrap();
    }
}

/// What stands behind `start` in what was printed, up to white space.
fn word<'a>(said: &'a str, start: &str) -> &'a str {
    let at = said.find(start).unwrap_or_else(|| panic!("no {start:?} in {said}"));
    said[at..].split_whitespace().next().unwrap().trim_matches(|c: char| "\"',}".contains(c))
}

/// The six digits that stand alone in what was printed.
fn digits(said: &str) -> Option<String> {
    let mut words = said.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .find(|word| word.len() == 6 && word.bytes().all(|c| c.is_ascii_digit()))
        .map(str::to_owned)
}

#[tokio::test]
#[ignore = "needs curl, jq and countersign-authenticator: cargo xtask test --only external"]
async fn external_the_readme_works_as_it_stands() {
    let desk = Desk::new("docs-readme").await;
    let [_, set_up, integrate] = &blocks("README.md")[..] else { panic!("three blocks") };
    let lines: Vec<&str> = set_up.lines().collect();
    let [_build, _serve, integration, user, ticket, enrol, show, listen] = lines[..] else {
        panic!("eight lines: {set_up}")
    };
    let made = desk.run(integration, &[]).await;
    desk.run(user, &[]).await;
    let made_ticket = desk.run(ticket, &[]).await;
    let (link, id) = (word(&made_ticket, "http://"), word(&made_ticket, "tik_"));
    let mut enrolling = desk.start(&enrol.replace("LINK", link));
    let number = loop {
        if let Some(number) = digits(&desk.run(show, &[("TICKET", id)]).await) {
            break number;
        }
    };
    enrolling.types(&number).await;
    enrolling.until("Enrolled").await;
    let mut listening = desk.start(listen);

    let base = ("http://127.0.0.1:8470", desk.server.url.as_str());
    let key = ("csk_..", word(&made, "csk_"));
    let mut asking = desk.start(&integrate.replace(base.0, base.1).replace(key.0, key.1));
    let shown = asking.until("show this number: ").await;
    listening.until("If this is you").await;
    listening.types(shown.rsplit(' ').next().unwrap()).await;
    assert_eq!(asking.until("approved").await, "approved");
    let redeemed: Value = serde_json::from_str(&asking.until("receipt").await).unwrap();
    assert!(redeemed["device_cookie"].is_string(), "{redeemed}");
    drop(desk.home);
}

#[tokio::test]
#[ignore = "needs curl and openssl: cargo xtask test --only external"]
async fn external_the_commands_of_the_guides_work_as_they_stand() {
    let desk = Desk::new("docs-guides").await;
    let create = ["integration", "create", "--name", "people", "--scope", "users:write"];
    let people = desk.server.admin(&create).await.unwrap();
    let people = Http::new(&desk.server.url, people["api_key"].as_str().unwrap());
    let account = enrol(&people, "alice").await.unwrap();
    let mut phone = Phone::connect(account).await.unwrap();

    let [integration, create, wait, redeem, hosted] = &blocks("docs/api.md")[..] else {
        panic!("five blocks")
    };
    let made: Value = serde_json::from_str(&desk.run(integration, &[]).await).unwrap();
    let url = ("https://mfa.example.com", desk.server.url.as_str());
    let key = ("$KEY", made["api_key"].as_str().unwrap());
    let now = desk.run("date -u +%FT%TZ", &[]).await;
    let created = desk.run(create, &[url, key, ("2027-01-01T12:00:00Z", now.trim())]).await;
    let created: Value = serde_json::from_str(&created).unwrap();
    let card = phone.prompt().await.unwrap();
    let number = created["number"].as_str().unwrap();
    phone.answer(card.challenge, Choice::approve(number)).await.unwrap();
    let id = ("$ID", created["id"].as_str().unwrap());
    assert!(desk.run(wait, &[url, key, id]).await.contains("\"approved\""));
    assert!(desk.run(redeem, &[url, key, id]).await.contains("\"receipt\""));
    assert!(desk.run(hosted, &[]).await.contains("csk_"));

    openid(&desk, &mut phone).await;
    entra(&desk).await;
    ciba(&desk, &mut phone).await;

    let [secret] = &blocks("docs/webhooks.md")[..] else { panic!("one block") };
    let (secret, _test) = secret.split_once('\n').unwrap();
    desk.run(secret, &[("/etc/countersign/", "./")]).await;
    let made = std::fs::read_to_string(desk.folder.join("soc.secret")).unwrap();
    assert!(made.starts_with("whsec_"), "{made}");
}

/// The commands of docs/oidc.md.
async fn openid(desk: &Desk, phone: &mut Phone) {
    let [client, push, exchange, keys] = &blocks("docs/oidc.md")[..] else { panic!("four blocks") };
    let made = desk.run(&format!("{client} --json"), &[]).await;
    let made: Value = serde_json::from_str(&made).unwrap();
    let text = |name: &str| made[name].as_str().unwrap();
    let credentials = format!("{}:{}", text("client_id"), text("client_secret"));
    let url = ("http://127.0.0.1:8470", desk.server.url.as_str());
    let auth = ("int_..:csk_..", credentials.as_str());
    let pushed = desk.run(push, &[url, auth]).await;
    let front = word(&pushed, url.1).strip_prefix(url.1).unwrap();
    let mut browser = Browser::new(url.1);
    let page = browser.open(front).await;
    let card = phone.prompt().await.unwrap();
    phone.answer(card.challenge, Choice::approve(&page.waits())).await.unwrap();
    let code = browser.open(&page.path).await.leads_back().fields["code"].clone();
    let (code, verifier) = (format!("CODE={code}"), word(&pushed, "VERIFIER="));
    let stands_for = [url, auth, ("CODE=..", code.as_str()), ("VERIFIER=..", verifier)];
    assert!(desk.run(exchange, &stands_for).await.contains("id_token"));
    desk.run(keys, &[]).await;
}

/// The commands of docs/entra.md.
async fn entra(desk: &Desk) {
    let [try_it, register, doctor, link, links, inline] = &blocks("docs/entra.md")[..] else {
        panic!("six blocks")
    };
    let lines = try_it.replace(" \\\n   ", "");
    let [set_up, create, linked, serve] = lines.lines().collect::<Vec<_>>()[..] else {
        panic!("four commands: {lines}")
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = format!("127.0.0.1:{port}");
    let issuer = format!("{}/entra", desk.server.url);
    let fake = format!("countersign entra fake --listen {place} --provider {issuer}");
    let here = [("countersign entra fake", fake.as_str())];
    desk.run(set_up, &here).await;
    let made = desk.run(create, &[("127.0.0.1:8480", &place)]).await;
    desk.run(linked, &[]).await;
    let mut serving =
        desk.start(&serve.replace(here[0].0, here[0].1).replace("CLIENT_ID", word(&made, "int_")));
    assert!(serving.until("open http://").await.contains(&place));
    let page = Browser::new(&format!("http://{place}")).open("/").await;
    assert!(page.reply.status == 200 && page.text.contains("<form"), "{}", page.text);

    let directory = ("DIRECTORY-ID", "22222222-2222-4333-8444-555555555555");
    let app = ("APP-ID", "66666666-7777-4888-9999-000000000000");
    // the same name twice is refused
    let other = ("--name entra ", "--name other-entra ");
    assert!(desk.run(register, &[directory, app, other]).await.contains("discovery_url"));
    assert!(desk.run(inline, &[directory, app]).await.contains("enrol"));
    let (look, code) = doctor.split_once('\n').unwrap();
    let said = desk.tries(&look.replace("https://mfa.example.com/entra", &issuer)).await;
    assert!(said.contains("wrong  https") && said.contains("ok     key"), "{said}");
    assert!(desk.run(code, &[]).await.contains("reply URL"));
    let object = ("OBJECT-ID", "bbbbbbbb-bbbb-4ccc-8ddd-eeeeeeeeeeee");
    desk.run(link, &[directory, object]).await;
    let people =
        "cccccccc-bbbb-4ccc-8ddd-eeeeeeeeeeee,carol\ndddddddd-bbbb-4ccc-8ddd-eeeeeeeeeeee,dave\n";
    std::fs::write(desk.folder.join("people.csv"), people).unwrap();
    desk.run(links, &[directory]).await;
    let links = desk.run("countersign admin link list --integration entra", &[]).await;
    for user in ["alice", "carol", "dave"] {
        assert!(links.contains(user), "{links}");
    }
}

/// The commands of docs/ciba.md.
async fn ciba(desk: &Desk, phone: &mut Phone) {
    let [client, poll, ping, code, keycloak, _start] = &blocks("docs/ciba.md")[..] else {
        panic!("six blocks")
    };
    let made: Value =
        serde_json::from_str(&desk.run(&format!("{client} --json"), &[]).await).unwrap();
    let text = |name: &str| made[name].as_str().unwrap();
    let poll = poll.replace("http://127.0.0.1:8470", &desk.server.url);
    let credentials = format!("{}:{}", text("client_id"), text("client_secret"));
    let mut polling = desk.start(&poll.replace("int_..:csk_..", &credentials));
    let shown = polling.until("type ").await;
    let card = phone.prompt().await.unwrap();
    let number = shown.rsplit(' ').next().unwrap();
    phone.answer(card.challenge, Choice::approve(number)).await.unwrap();
    polling.until("id_token").await;
    desk.run(ping, &[("--name till", "--name other-till")]).await;
    assert!(desk.run(code, &[]).await.contains(|c: char| c.is_ascii_digit()));
    assert!(desk.run(keycloak, &[]).await.contains("channel_url"));
}
