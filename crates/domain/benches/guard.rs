//! What a decision of the guard costs, per event, and how many bytes it keeps:
//! `cargo bench -p domain --bench guard [-- --quick] [--json] [--only WORDS]`.
//!
//! Rounds are interleaved and medians printed. The floor of each row is a copy of as many remembered users (or
//! a change of as many counters) in the same random order: what memory alone costs. Compare rows of one run.
//! CPU time, so that others on the machine don't count but for the cache that they take.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;
use std::time::Instant;

use domain::attempts::{Attempts, Budgets, Lane};
use domain::challenge::{Decision, Methods, Mode, Purpose};
use domain::guard::{
    Around, Asker, Charge, Facts, Familiarity, MAX_SOURCES, Memory, Origin, Place, Policy, Seconds,
    Sources, judge_create,
};
use statement::Timestamp;

const START: Seconds = 1_767_225_600;
const ROUNDS: usize = 5;
/// Targets: bytes, and nanoseconds where users fit the cache and where they don't.
const USER_BYTES: usize = 192;
const SOURCE_BYTES: usize = 160;

/// Nanoseconds that this thread has run, where the system tells (Linux): others on the machine don't count. Else
/// those that have passed.
fn now() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    if let Some(ran) = stat.split(' ').next().and_then(|field| field.parse().ok()) {
        return ran;
    }
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    let now = Instant::now();
    let first = *FIRST.get_or_init(|| now);
    now.saturating_duration_since(first).as_secs_f64() * 1e9
}

static FIRST: OnceLock<Instant> = OnceLock::new();

/// SplitMix64: the same order in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a bound")
    }
}

/// Who asks, and how it ends.
#[derive(Clone, Copy)]
enum Traffic {
    /// People, nearly all at home, nearly all answering.
    People,
    /// One in two requests is a stranger's, whom nobody answers: every sum is in use.
    Attack,
}

fn tag(user: usize, what: u64) -> u32 {
    let mixed = Dice(user as u64 ^ what << 32).next();
    u32::try_from(mixed >> 33).expect("31 bits") | 1
}

/// A user's home, their browser, or somewhere else.
fn origin(user: usize, dice: &mut Dice, traffic: Traffic) -> Origin {
    let strange = match traffic {
        Traffic::People => 2,
        Traffic::Attack => 50,
    };
    let at = |what| Some(tag(user, what));
    match dice.below(100) {
        n if n < strange => {
            let place = dice.next();
            Origin { cookie: None, address: at(place | 8), network: at(place | 9) }
        }
        n if n < 60 => Origin { cookie: at(1), address: at(2), network: at(3) },
        _ => Origin { cookie: None, address: at(2), network: at(3) },
    }
}

/// Users with a home, some time after they were first seen.
fn users(count: usize, policy: &Policy) -> Vec<Memory> {
    let mut users = vec![Memory::default(); count];
    let mut dice = Dice(1);
    for day in 0..3 {
        for (user, memory) in users.iter_mut().enumerate() {
            let at = START + day * 90_000;
            let origin = origin(user, &mut dice, Traffic::People);
            let charge = create(memory, policy, &facts(origin), at);
            memory.bring_to(policy, at + 5);
            drop(memory.settled(policy, &charge, Decision::Approved, false, at + 5));
        }
    }
    users
}

fn facts(origin: Origin) -> Facts {
    Facts {
        enrolled: true,
        first_factor: true,
        methods: Methods::ALL,
        purpose: Purpose::SignIn,
        origin,
        session: origin.address,
        break_glass: false,
        around: Around::default(),
    }
}

/// A request, as the service judges it.
fn create(memory: &mut Memory, policy: &Policy, facts: &Facts, now: Seconds) -> Charge {
    memory.bring_to(policy, now);
    let verdict = judge_create(policy, memory, std::iter::empty(), facts, now);
    memory.opened(policy, facts, &verdict, now).0
}

/// Nanoseconds of each of `count` runs of `event`.
fn time(count: usize, mut event: impl FnMut(usize)) -> f64 {
    let start = now();
    for n in 0..count {
        event(n);
    }
    (now() - start) / count as f64
}

/// What happens, drawn before the clock runs.
fn events(users: usize, traffic: Traffic, count: usize) -> Vec<(u32, Origin)> {
    let mut dice = Dice(7);
    let event = |_| {
        let user = dice.below(users);
        (u32::try_from(user).expect("few users"), origin(user, &mut dice, traffic))
    };
    (0..count).map(event).collect()
}

/// When an event of a round happens, as if each user had four a day. A round goes on where the last one ended: were
/// they all at one time, nothing would fade after the first.
fn when(round: usize, events: usize, users: usize, n: usize) -> Seconds {
    let since = (round * events + n) * 21_600 / users;
    START + 300_000 + u32::try_from(since).expect("some years")
}

/// A request and its outcome, of a random user: per event, which is half of that.
fn ceremonies(
    users: &mut [Memory],
    policy: &Policy,
    events: &[(u32, Origin)],
    round: usize,
) -> f64 {
    let count = users.len();
    let both = time(events.len(), |n| {
        let (user, origin) = events[n];
        let at = when(round, events.len(), count, n);
        let memory = &mut users[user as usize];
        let charge = create(memory, policy, &facts(origin), at);
        let end = match (charge.familiarity.is_known(), n % 20) {
            (false, _) | (true, 0) => Decision::Expired,
            (true, _) => Decision::Approved,
        };
        memory.bring_to(policy, at + 8);
        black_box(memory.settled(policy, &charge, end, false, at + 8));
    });
    both / 2.0
}

/// What the memory of the same users costs alone: each event copies one out, and back with a change.
fn copies(users: &mut [Memory], events: &[(u32, Origin)]) -> f64 {
    let both = time(events.len(), |n| {
        let (user, origin) = events[n];
        black_box(origin);
        for _ in 0..2 {
            let copy = black_box(users[user as usize]);
            users[user as usize] = black_box(copy);
        }
    });
    both / 2.0
}

/// A request and its outcome with all that the service asks the guard for: look around, judge, charge, note
/// at its sources, settle, note there how it ended. Per event, which is half of that.
fn whole(
    users: &mut [Memory],
    sources: &mut Sources,
    policy: &Policy,
    events: &[(u32, Origin)],
    round: usize,
) -> f64 {
    let count = users.len();
    let key = |tag: Option<u32>| tag.map(|tag| Dice(u64::from(tag)).next());
    let both = time(events.len(), |n| {
        let (user, origin) = events[n];
        let at = when(round, events.len(), count, n);
        let from = Asker {
            address: key(origin.address),
            network: key(origin.network),
            integration: 1 + n as u64 % 4,
            user: user + 1,
        };
        let memory = &mut users[user as usize];
        memory.bring_to(policy, at);
        let facts = Facts { around: sources.around(policy, &from, at), ..facts(origin) };
        let verdict = judge_create(policy, memory, std::iter::empty(), &facts, at);
        let rang = verdict.mode == Mode::Ring;
        black_box(sources.asked(policy, &from, verdict.familiarity, rang, at));
        let charge = memory.opened(policy, &facts, &verdict, at).0;
        let end = match (charge.familiarity.is_known(), n % 20) {
            (false, _) | (true, 0) => Decision::Expired,
            (true, _) => Decision::Approved,
        };
        memory.bring_to(policy, at + 8);
        black_box(memory.settled(policy, &charge, end, false, at + 8));
        black_box(sources.ended(policy, &from, &charge, end, at + 8));
    });
    both / 2.0
}

fn asker(source: usize, user: usize) -> Asker {
    let mixed = |n: u64| Dice(n).next();
    Asker {
        address: Some(mixed(source as u64)),
        network: Some(mixed(source as u64 / 4 + (1 << 40))),
        integration: 1,
        user: tag(user, 4),
    }
}

/// Looks around, notes a request from elsewhere, and a success of every second one.
fn sources(
    sources: &mut Sources,
    policy: &Policy,
    among: usize,
    count: usize,
    round: usize,
) -> f64 {
    let mut dice = Dice(9);
    time(count, |n| {
        let from = asker(dice.below(among), dice.below(100_000));
        let at = START + u32::try_from((round * count + n) / 100).expect("some years");
        black_box(sources.around(policy, &from, at));
        black_box(sources.asked(policy, &from, Familiarity::Unknown, n % 8 == 0, at));
        if n % 2 == 0 {
            let charge = Charge { at, familiarity: Familiarity::Unknown, ..Charge::default() };
            sources.passed(policy, &from, &charge, at);
        }
    })
}

/// As many counters changed, at random.
fn counters(table: &mut [[u64; 18]], count: usize) -> f64 {
    let mut dice = Dice(9);
    time(count, |_| {
        let from = asker(dice.below(table.len()), dice.below(100_000));
        for key in [from.address, from.network] {
            let at = key.unwrap_or_default() % table.len() as u64;
            table[usize::try_from(at).expect("a slot")][0] += u64::from(from.user);
        }
    })
}

fn codes(count: usize) -> f64 {
    let budgets = Budgets::default();
    let mut lanes = [Attempts::default(); 4];
    time(count, |n| {
        let lane = Lane::ALL[n % 4];
        let at = Timestamp::from_millis(1_767_225_600_000 + n as u64 * 60_000);
        if let Ok(counted) = black_box(&lanes[n % 4]).count_in(lane, &budgets, at) {
            lanes[n % 4] = if n % 3 == 0 { counted } else { counted.given_back(lane, &budgets) };
        } else {
            lanes[n % 4] = lanes[n % 4].forgiven();
        }
    })
}

/// Where a request comes from, as tags; the lab's hash stands for the service's MAC, which costs its own.
fn places(count: usize) -> f64 {
    let mut dice = Dice(3);
    time(count, |_| {
        let ip = IpAddr::V4(Ipv4Addr::from(u32::try_from(dice.next() >> 32).expect("32 bits")));
        let place = Place { ip: Some(ip), asn: None, country: None };
        black_box(Origin::new(&place, None, |_, bytes| u32::from(bytes[1])));
    })
}

struct Row {
    name: String,
    target: Option<f64>,
    took: Vec<f64>,
    floor: Vec<f64>,
}

impl Row {
    fn median(values: &[f64]) -> f64 {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }
}

type Case<'a> = (String, Option<f64>, Box<dyn FnMut(usize) -> (f64, f64) + 'a>);

fn measure(cases: Vec<Case<'_>>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut runs = Vec::new();
    for (name, target, run) in cases {
        rows.push(Row { name, target, took: Vec::new(), floor: Vec::new() });
        runs.push(run);
    }
    for round in 0..ROUNDS {
        for (row, run) in rows.iter_mut().zip(&mut runs) {
            let (took, floor) = run(round);
            row.took.push(took);
            row.floor.push(floor);
        }
    }
    rows
}

fn user_cases<'p>(policy: &'p Policy, quick: bool, wanted: &dyn Fn(&str) -> bool) -> Vec<Case<'p>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    let sizes = [(1_000, 100.0), (if quick { 100_000 } else { 1_000_000 }, 500.0)];
    for (count, target) in sizes {
        for (name, traffic) in [("people", Traffic::People), ("attack", Traffic::Attack)] {
            let name = format!("request or outcome, {name}, {count} users");
            if !wanted(&name) {
                continue;
            }
            let mut users = users(count, policy);
            let events = events(count, traffic, if quick { 200_000 } else { 2_000_000 });
            let run = move |round| {
                (ceremonies(&mut users, policy, &events, round), copies(&mut users, &events))
            };
            cases.push((name, Some(target), Box::new(run)));
        }
        for (name, traffic) in [("people", Traffic::People), ("attack", Traffic::Attack)] {
            let name = format!("the same with its sources, {name}, {count} users");
            if !wanted(&name) {
                continue;
            }
            let mut users = self::users(count, policy);
            let events = events(count, traffic, if quick { 200_000 } else { 2_000_000 });
            let mut sources = Sources::default();
            let run = move |round| {
                let took = whole(&mut users, &mut sources, policy, &events, round);
                (took, copies(&mut users, &events))
            };
            cases.push((name, Some(target), Box::new(run)));
        }
    }
    cases
}

fn other_cases(policy: &Policy, quick: bool) -> Vec<Case<'_>> {
    let events = if quick { 100_000 } else { 1_000_000 };
    let mut cases: Vec<Case<'_>> = Vec::new();
    for (name, among) in
        [("100", 100), ("a full table", MAX_SOURCES), ("a flood of new ones", usize::MAX >> 8)]
    {
        let mut table = Sources::default();
        if among > 100 {
            sources(&mut table, policy, among, 4 * MAX_SOURCES, 0);
        }
        let mut floor = vec![[0; 18]; among.min(MAX_SOURCES)];
        // past what filled it
        let run = move |round| {
            let took = sources(&mut table, policy, among, events, round + 4);
            (took, counters(&mut floor, events))
        };
        cases.push((format!("sources: {name}"), None, Box::new(run)));
    }
    cases.push(("code counted".to_owned(), None, Box::new(move |_| (codes(events), 0.0))));
    cases.push((
        "origin, without its MACs".to_owned(),
        None,
        Box::new(move |_| (places(events), 0.0)),
    ));
    cases
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let (user, source) = (size_of::<Memory>(), Sources::bytes_per_source());
    assert!(user <= USER_BYTES, "{user} bytes per user");
    assert!(source <= SOURCE_BYTES, "{source} bytes per source");
    let policy = Policy::default();
    let only = args.iter().position(|arg| arg == "--only").and_then(|at| args.get(at + 1));
    let wanted = |name: &str| only.is_none_or(|only| name.contains(only.as_str()));
    let mut cases = user_cases(&policy, has("--quick"), &wanted);
    cases.extend(other_cases(&policy, has("--quick")));
    cases.retain(|(name, ..)| wanted(name));
    let rows = measure(cases);
    let line = |row: &Row| {
        let (took, floor) = (Row::median(&row.took), Row::median(&row.floor));
        serde_json::json!({
            "case": row.name,
            "ns": (took * 10.0).round() / 10.0,
            "floor_ns": (floor * 10.0).round() / 10.0,
            "ratio": (floor > 0.0).then(|| (took / floor * 10.0).round() / 10.0),
            "target_ns": row.target,
        })
    };
    let lines: Vec<_> = rows.iter().map(line).collect();
    if has("--json") {
        return println!(
            "{}",
            serde_json::json!({ "bytes_per_user": user, "bytes_per_source": source, "guard": lines })
        );
    }
    println!("{user} bytes per user, {source} per source\n");
    println!("| case | ns | floor, ns | ratio | target, ns |\n|---|---|---|---|---|");
    for line in lines {
        let text = |name: &str| match &line[name] {
            serde_json::Value::Null => "-".to_owned(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let cells = ["case", "ns", "floor_ns", "ratio", "target_ns"].map(text);
        println!("| {} |", cells.join(" | "));
    }
}
