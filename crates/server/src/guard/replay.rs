//! `countersign guard replay`: the audit judged again by another policy.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use backend_sql::{AuditReader, TenantNames};
use domain::audit::{Event, Public};
use domain::challenge::Mode;
use domain::guard::{Finding, Policies, Release, Replay, Row, Rules, Totals, What, Who};
use serde_json::{Value, json};
use statement::{IntegrationId, TenantId, Timestamp, UserId};

use super::{policy_file, refuse};
use crate::admin_commands::demand_store;
use crate::cli::Where;
use crate::commands::{settings, show};
use crate::exit::Exit;

/// What `--from` calls the store.
const AUDIT: &str = "audit";

/// Runs it.
pub(super) async fn run(
    place: Where,
    from: PathBuf,
    policy: Option<PathBuf>,
    since: Option<String>,
    json: bool,
) -> Exit {
    let config = match settings(&place) {
        Ok(loaded) => loaded.config,
        Err(issues) => {
            eprintln!("{issues}");
            return Exit::Usage;
        }
    };
    let since = match since.as_deref().map(time).transpose() {
        Ok(since) => since.unwrap_or(Timestamp::ZERO),
        Err(why) => return refuse(&format!("--since: {why}")),
    };
    let policies = match policy_file::load(policy.as_deref().or(config.guard_policy.as_deref())) {
        Ok(policies) => policies,
        Err(why) => return refuse(&why),
    };
    let mut replayer = Replayer::new(&policies, since);
    let read = if from == Path::new(AUDIT) {
        if let Err(exit) = demand_store(&config.data) {
            return exit;
        }
        replayer.store(&config.data).await
    } else {
        replayer.file(&from)
    };
    if let Err(error) = read {
        eprintln!("error: {error}");
        return error.exit();
    }
    let unused = replayer.unused();
    if !unused.is_empty() {
        eprintln!("note: the log knows nobody to whom these tables apply: {}", unused.join(", "));
    }
    let report = replayer.finish();
    show(&if json { report.json().to_string() } else { report.text() })
}

/// Why an audit can't be read to its end.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    /// It isn't there, or can't be read.
    #[error("{0}")]
    Unreadable(String),
    /// What is there isn't events.
    #[error("{0}")]
    Malformed(String),
}

impl ReadError {
    const fn exit(&self) -> Exit {
        match self {
            Self::Unreadable(_) => Exit::Unreachable,
            Self::Malformed(_) => Exit::Usage,
        }
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    let at: jiff::Timestamp =
        text.parse().map_err(|_| "must be a time such as 2027-01-01T00:00:00Z".to_owned())?;
    let millis = u64::try_from(at.as_millisecond()).map_err(|_| "is before 1970".to_owned())?;
    Ok(Timestamp::from_millis(millis))
}

fn shown(at: Timestamp) -> String {
    let millis = i64::try_from(at.millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX).to_string()
}

struct Replayer<'p> {
    policies: &'p Policies,
    since: Timestamp,
    replay: Replay<'p>,
    findings: Vec<Finding>,
    names: HashMap<UserId, String>,
    /// Where the rules of an integration are, by what was read of names.
    places: HashMap<(TenantId, Option<IntegrationId>), usize>,
}

impl<'p> Replayer<'p> {
    fn new(policies: &'p Policies, since: Timestamp) -> Self {
        Self {
            policies,
            since,
            replay: Replay::default(),
            findings: Vec::new(),
            names: HashMap::new(),
            places: HashMap::new(),
        }
    }

    fn learn(&mut self, names: &[TenantNames]) {
        for TenantNames { id, name, integrations } in names {
            let tenant_id = id.to_string();
            let tenant = Who { id: &tenant_id, name };
            self.places.insert((*id, None), self.policies.place(tenant, None));
            for (integration, name) in integrations {
                let integration_id = integration.to_string();
                let who = Some(Who { id: &integration_id, name });
                self.places.insert((*id, Some(*integration)), self.policies.place(tenant, who));
            }
        }
    }

    /// A file names an integration where it was made.
    fn meet(&mut self, tenant: TenantId, public: &Public, name: Option<&str>) {
        let made = public.event == Event::IntegrationCreated;
        let Some((integration, name)) = public.integration.zip(name).filter(|_| made) else {
            return;
        };
        let (tenant_id, id) = (tenant.to_string(), integration.to_string());
        let tenant_who = Who { id: &tenant_id, name: "" };
        let place = self.policies.place(tenant_who, Some(Who { id: &id, name }));
        self.places.insert((tenant, Some(integration)), place);
    }

    /// The tables of the policy by which nothing was judged that the log knows.
    fn unused(&self) -> Vec<String> {
        let (tenants, integrations) = self.policies.tables();
        let width = integrations.len() + 1;
        let rows: HashSet<usize> = self.places.values().map(|place| place / width).collect();
        let columns: HashSet<usize> = self.places.values().map(|place| place % width).collect();
        let unused = |kind: &'static str, names: &[String], used: &HashSet<usize>| -> Vec<String> {
            let names = names.iter().zip(1..).filter(|(_, at)| !used.contains(at));
            names.map(|(name, _)| format!("{kind}.{name}")).collect()
        };
        let mut found = unused("tenants", tenants, &rows);
        found.extend(unused("integrations", integrations, &columns));
        found
    }

    /// The rules that held for a row.
    fn rules(&mut self, tenant: TenantId, public: &Public) -> &'p Rules {
        let whose = (tenant, public.integration);
        let policies = self.policies;
        let place = *self.places.entry(whose).or_insert_with(|| {
            let (tenant, integration) = (tenant.to_string(), public.integration);
            let integration = integration.map(|id| id.to_string());
            let by_id = |id| Who { id, name: "" };
            policies.place(by_id(&tenant), integration.as_deref().map(by_id))
        });
        policies.at(place)
    }

    fn step(&mut self, tenant: TenantId, at: Timestamp, public: &Public, name: Option<&str>) {
        if let (Some(user), Some(name)) = (public.user, name) {
            self.names.entry(user).or_insert_with(|| name.to_owned());
        }
        let rules = self.rules(tenant, public);
        let quiet = at < self.since;
        let found = self.replay.step(rules, Row { tenant, at, public }, quiet);
        // another score alone lists nobody
        let listed = |finding: &Finding| !matches!(finding.what, What::Standing { .. });
        self.findings.extend(found.into_iter().filter(listed));
    }

    async fn store(&mut self, data: &Path) -> Result<(), ReadError> {
        let failed = |error: backend_sql::OpenError| ReadError::Unreadable(error.to_string());
        let mut reader = AuditReader::open(data).await.map_err(failed)?;
        let names = reader.names().await.map_err(failed)?;
        self.learn(&names);
        loop {
            let rows = reader.next().await.map_err(failed)?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in &rows {
                let name = row.private.as_ref().and_then(|private| private.name.as_deref());
                self.step(row.tenant, row.at, &row.public, name);
            }
        }
    }

    fn file(&mut self, path: &Path) -> Result<(), ReadError> {
        let file = path.display();
        let unreadable = |error| ReadError::Unreadable(format!("{file}: {error}"));
        let open = File::open(path).map_err(unreadable)?;
        // events name no tenant: one log is one organisation's
        let tenant = TenantId::from_bytes([0; TenantId::LEN]);
        for (nth, line) in BufReader::new(open).lines().enumerate() {
            let wrong = |why: String| ReadError::Malformed(format!("{file}:{}: {why}", nth + 1));
            let line = line.map_err(|error| match error.kind() {
                ErrorKind::InvalidData => wrong("not UTF-8".to_owned()),
                _ => unreadable(error),
            })?;
            if line.trim().is_empty() {
                continue;
            }
            let event: Value = serde_json::from_str(&line)
                .map_err(|error| wrong(format!("not an event: {error}")))?;
            let at = event["at"].as_str().map(time).transpose().map_err(&wrong)?;
            let at = at.ok_or_else(|| wrong("an event has a time `at`".to_owned()))?;
            let public: Public = serde_json::from_value(event.clone())
                .map_err(|error| wrong(format!("not an event: {error}")))?;
            let name = event["private"]["name"].as_str();
            self.meet(tenant, &public, name);
            self.step(tenant, at, &public, name);
        }
        Ok(())
    }

    fn finish(self) -> Report {
        let (totals, days) = self.replay.finish();
        let mut findings = self.findings;
        findings.extend(days);
        Report { totals, findings, names: self.names }
    }
}

struct Report {
    totals: Totals,
    findings: Vec<Finding>,
    names: HashMap<UserId, String>,
}

/// What became of it, in one word.
const fn word(what: &What) -> &'static str {
    match what {
        What::Mode { is: Mode::Ring, .. } => "rings",
        What::Mode { is: Mode::Decoy, .. } => "refused",
        What::Mode { was: Mode::Decoy, .. } => "accepted",
        What::Mode { .. } => "held",
        What::Standing { .. } => "standing",
        What::Answer { is: Release::Withheld, .. } => "withheld",
        What::Answer { .. } => "released",
        What::CodeRefused { .. } => "code_refused",
        What::Alerted(_) => "alerted",
        What::NotAlerted(_) => "not_alerted",
    }
}

/// The same in a sentence.
fn sentence(what: &What) -> String {
    match what {
        What::Mode { was, is, reasons } => {
            let why: Vec<&str> = reasons.iter().map(|reason| reason.clause()).collect();
            let would = match is {
                Mode::Ring => "would ring",
                Mode::Silent => "would be silent",
                Mode::Decoy => "would be refused, as a decoy",
            };
            let did = match was {
                Mode::Ring => "rang",
                Mode::Silent => "was silent",
                Mode::Decoy => "was refused, as a decoy",
            };
            format!("{did}, {would}: {}", why.join(", and "))
        }
        What::Standing { was, is } => {
            format!("level {} and score {} would be {} and {}", was.0, was.1, is.0, is.1)
        }
        What::Answer { is: Release::Withheld, .. } => {
            "its right answer would be withheld".to_owned()
        }
        What::Answer { .. } => "its right answer was withheld, and would be released".to_owned(),
        What::CodeRefused { lane } => {
            format!("a code would not be compared: the budget `{}` would be spent", lane.name())
        }
        What::Alerted(alert) => {
            format!("an alert would be raised: {}, {}", alert.kind.name(), alert.severity.name())
        }
        What::NotAlerted(kind) => format!("an alert that day would not be raised: {}", kind.name()),
    }
}

impl Report {
    fn text(&self) -> String {
        let mut out = String::new();
        for finding in &self.findings {
            let user = finding.user.to_string();
            let name = self.names.get(&finding.user).unwrap_or(&user);
            let challenge = finding.challenge.map(|id| format!(" {id}")).unwrap_or_default();
            let said = sentence(&finding.what);
            let _ = writeln!(out, "{} {name}{challenge}: {said}", shown(finding.at));
        }
        let Totals { judged, skipped, equal, was, is, withheld, withholds, .. } = self.totals;
        let _ = writeln!(
            out,
            "\n{judged} requests judged again, {equal} came out bit for bit as they were; {skipped} of which the \
             log says too little\n{:10} {:>8} {:>8}",
            "", "was", "would be"
        );
        let rows = [
            ("rang", was[0], is[0]),
            ("silent", was[1], is[1]),
            ("refused", was[2], is[2]),
            ("withheld", withheld, withholds),
            ("alerts", self.totals.alerts_were, self.totals.alerts_are),
        ];
        for (name, was, is) in rows {
            let _ = writeln!(out, "{name:10} {was:8} {is:8}");
        }
        out
    }

    fn json(&self) -> Value {
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|finding| {
                let reasons = match &finding.what {
                    What::Mode { reasons, .. } => json!(reasons),
                    _ => Value::Null,
                };
                json!({
                    "at": shown(finding.at),
                    "user": finding.user.to_string(),
                    "name": self.names.get(&finding.user),
                    "challenge": finding.challenge.map(|id| id.to_string()),
                    "what": word(&finding.what),
                    "why": sentence(&finding.what),
                    "reasons": reasons,
                })
            })
            .collect();
        let Totals { judged, skipped, equal, was, is, withheld, withholds, .. } = self.totals;
        let count = |of: [u64; 3], withheld, alerts| {
            json!({
                "rang": of[0], "silent": of[1], "refused": of[2], "withheld": withheld, "alerts": alerts,
            })
        };
        json!({
            "judged": judged,
            "skipped": skipped,
            "equal": equal,
            "was": count(was, withheld, self.totals.alerts_were),
            "would_be": count(is, withholds, self.totals.alerts_are),
            "findings": findings,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use app::{
        Actor, Call, CreateRequest, EventFilter, FirstFactor, NewIntegration, RequestContext,
    };
    use domain::challenge::{Method, Methods, Purpose};
    use domain::directory::Scope;
    use ports::UserRef;

    use super::*;
    use crate::clock;
    use crate::node::Core;

    const OPERATOR: Actor = Actor::Operator { uid: 0 };

    /// A store in which somebody is pestered, and its events as `countersign events --json` prints them.
    async fn pestered(dir: &Path) -> String {
        let origin = "http://127.0.0.1:1".parse().unwrap();
        let places = std::sync::Arc::new(places::Atlas::default());
        let core = Core::open(dir, origin, app::Guards::default(), places).await.unwrap();
        let app = std::sync::Arc::clone(&core.app);
        let tenant = app.find_tenant(None).await.unwrap().id;
        let mut call = clock::call();
        let new = NewIntegration {
            name: "vpn".to_owned(),
            protocol: domain::protocol::Protocol::default(),
            purposes: vec![Purpose::SignIn],
            methods: Methods::ALL,
            scopes: vec![Scope::Challenges],
            verifies_first_factor: false,
            reveal_users: false,
        };
        let key = app.create_integration(&mut call, &OPERATOR, tenant, new).await.unwrap();
        app.upsert_user(&mut call, &OPERATOR, tenant, "alice").await.unwrap();
        let alice = || UserRef::Name("alice".to_owned());
        app.create_factor(&mut call, &OPERATOR, tenant, alice(), Method::Totp).await.unwrap();
        let caller = app.authenticate(&call, key.key.reveal()).await.unwrap();
        let start = clock::now();
        for nth in 0..6 {
            let now = start.plus(Duration::from_secs(nth));
            let mut call = Call { now, ..clock::call() };
            let request = CreateRequest {
                user: alice(),
                context: RequestContext {
                    browser_session: format!("session-{nth:-<22}"),
                    ip: Some("203.0.113.9".parse().unwrap()),
                    ..RequestContext::default()
                },
                first_factor: Some(FirstFactor { method: "password".to_owned(), at: now }),
                purpose: None,
                methods: None,
                ttl: None,
                details: Vec::new(),
                return_url: None,
                number: None,
            };
            let created = app.create_challenge(&mut call, &caller, request, None).await.unwrap();
            app.cancel_challenge(&mut call, &caller, created.view.id).await.unwrap();
        }
        let filter = EventFilter { limit: 1_000, ..EventFilter::default() };
        let events = app.events(tenant, filter).await.unwrap();
        let lines = events.into_iter().map(edge_http::event);
        let lines: Vec<String> =
            lines.map(|event| serde_json::to_string(&event).unwrap()).collect();
        core.close().await.unwrap();
        lines.join("\n")
    }

    #[tokio::test]
    async fn the_store_and_its_events_come_out_alike() {
        let only_ours = std::fs::Permissions::from_mode(0o700);
        let dir = tempfile::Builder::new().permissions(only_ours).tempdir().unwrap();
        let lines = pestered(dir.path()).await;
        let file = dir.path().join("events.jsonl");
        std::fs::write(&file, &lines).unwrap();
        let live = Policies::default();
        let mut store = Replayer::new(&live, Timestamp::ZERO);
        store.store(dir.path()).await.unwrap();
        let mut events = Replayer::new(&live, Timestamp::ZERO);
        events.file(&file).unwrap();
        let (store, events) = (store.finish(), events.finish());
        assert_eq!((store.totals.judged, store.totals.equal), (6, 6), "{:?}", store.totals);
        assert_eq!(store.json(), events.json());
        assert!(store.totals.was[1] > 0, "somebody is held: {:?}", store.totals);

        // whoever would hold nobody, for this integration alone
        let policy = dir.path().join("lax.toml");
        std::fs::write(&policy, "[integrations.vpn]\nsilent_at = 3.0\nring = 0.5\n").unwrap();
        let lax = policy_file::load(Some(&policy)).unwrap();
        let mut replayer = Replayer::new(&lax, Timestamp::ZERO);
        replayer.store(dir.path()).await.unwrap();
        let report = replayer.finish();
        assert!(report.totals.is[0] > report.totals.was[0], "{}", report.text());
        let said = report.json();
        assert_eq!(said["findings"][0]["name"], "alice");
        assert_eq!(said["findings"][0]["what"], "rings");
        assert!(report.text().contains("alice chl_"), "{}", report.text());
        // a bug once: a file was judged by the numbers above all tables, and nothing said so
        let mut events = Replayer::new(&lax, Timestamp::ZERO);
        events.file(&file).unwrap();
        assert_eq!(events.unused(), Vec::<String>::new());
        assert_eq!(events.finish().json(), said);
        std::fs::write(&policy, "[tenants.acme]\ngrace_s = 1\n[integrations.pvn]\nring = 0.5\n")
            .unwrap();
        let misspelt = policy_file::load(Some(&policy)).unwrap();
        let mut replayer = Replayer::new(&misspelt, Timestamp::ZERO);
        replayer.store(dir.path()).await.unwrap();
        assert_eq!(replayer.unused(), ["tenants.acme", "integrations.pvn"]);

        // what was before is judged, but not listed
        let mut later = Replayer::new(&lax, clock::now().plus(Duration::from_secs(3600)));
        later.store(dir.path()).await.unwrap();
        let later = later.finish();
        assert_eq!((later.totals.judged, later.findings.len()), (0, 0));
    }

    #[test]
    fn a_line_that_is_no_event_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.jsonl");
        let live = Policies::default();
        for (line, said) in [
            ("{", ":2: not an event"),
            ("{\"type\":\"alert\"}", ":2: an event has a time `at`"),
            ("{\"at\":\"2027-01-01T00:00:00Z\",\"type\":\"dance\"}", ":2: not an event"),
            ("{\"at\":\"soon\"}", ":2: must be a time"),
        ] {
            std::fs::write(&file, format!("\n{line}\n")).unwrap();
            let why = Replayer::new(&live, Timestamp::ZERO).file(&file).unwrap_err();
            assert!(why.to_string().contains(said), "{why}");
            assert_eq!(why.exit(), Exit::Usage, "{why}");
        }
        let missing = dir.path().join("y.jsonl");
        let why = Replayer::new(&live, Timestamp::ZERO).file(&missing).unwrap_err();
        assert_eq!(why.exit(), Exit::Unreachable, "{why}");
    }
}
