//! What it costs to find out where an address is: `cargo bench -p places [-- --city FILE] [--asn FILE]`.
//!
//! Addresses are random, so that each look-up is elsewhere in the table; medians of interleaved rounds. CPU time, so
//! that others on the machine don't count but for the cache that they take. The floor draws the same addresses.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Instant;

use app::Places as _;
use places::{Atlas, registered_country};

const ROUNDS: usize = 9;
const ADDRESSES: u32 = 2_000_000;

/// Nanoseconds that this thread has run, where the system tells (Linux), else those that have passed.
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

/// SplitMix64: the same addresses in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn v4(&mut self) -> IpAddr {
        let [a, b, c, d, ..] = self.next().to_be_bytes();
        Ipv4Addr::new(a, b, c, d).into()
    }

    /// One of 2a00::/12, where most networks are in use.
    fn v6(&mut self) -> IpAddr {
        let [a, b, c, d, e, f, ..] = self.next().to_be_bytes();
        let groups = [[0x2a, a & 0x0f], [0, b & 0x07], [c, d], [e, f]].map(u16::from_be_bytes);
        Ipv6Addr::new(groups[0], groups[1], groups[2], groups[3], 0, 0, 0, 1).into()
    }
}

type Draw = fn(&mut Dice) -> IpAddr;
type Case<'a> = (&'a str, Draw, &'a dyn Fn(IpAddr) -> bool);

/// Nanoseconds per address.
fn time(draw: Draw, what: &dyn Fn(IpAddr) -> bool) -> f64 {
    let mut dice = Dice(7);
    let from = now();
    let mut known = 0_u32;
    for _ in 0..ADDRESSES {
        known += u32::from(what(draw(&mut dice)));
    }
    black_box(known);
    (now() - from) / f64::from(ADDRESSES)
}

fn main() {
    let mut files: [Option<PathBuf>; 2] = [None, None];
    let mut args = std::env::args_os().skip(1);
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--city") => files[0] = args.next().map(PathBuf::from),
            Some("--asn") => files[1] = args.next().map(PathBuf::from),
            // cargo's own
            Some("--bench") => {}
            _ => panic!("takes --city FILE and --asn FILE"),
        }
    }
    let from = now();
    let atlas =
        Atlas::open(files[0].as_deref(), files[1].as_deref()).expect("files that can be used");
    let opened = (now() - from) / 1e9;
    let floor = |ip: IpAddr| black_box(ip).is_ipv4();
    let table = |ip: IpAddr| registered_country(ip).is_some();
    let all = |ip: IpAddr| atlas.find(ip).country.is_some();
    let cases: [Case<'_>; 6] = [
        ("IPv4, floor", Dice::v4, &floor),
        ("IPv4, built-in table", Dice::v4, &table),
        ("IPv4, all", Dice::v4, &all),
        ("IPv6, floor", Dice::v6, &floor),
        ("IPv6, built-in table", Dice::v6, &table),
        ("IPv6, all", Dice::v6, &all),
    ];
    let mut cases = cases.map(|(name, draw, what)| (name, draw, what, Vec::new()));
    for _ in 0..ROUNDS {
        for (_, draw, what, times) in &mut cases {
            times.push(time(*draw, what));
        }
    }
    println!("files opened and walked in {opened:.2} s");
    for (name, _, _, mut times) in cases {
        times.sort_by(f64::total_cmp);
        println!("{name:24} {:6.0} ns", times[ROUNDS / 2]);
    }
}
