//! The rules on virtual time: a server that gets so much done, one after the other, under arrivals of some rate.

use std::collections::VecDeque;

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;

/// What came of a simulated stretch.
#[derive(Debug, Default)]
struct Came {
    served: u64,
    refused: u64,
    /// Milliseconds that those waited who were served, sorted.
    waits: Vec<f64>,
    shed_at_end: bool,
}

impl Came {
    fn p99(&self) -> f64 {
        self.waits.get(self.waits.len() * 99 / 100).copied().unwrap_or_default()
    }
}

/// A server on virtual time. Whatever is admitted waits its turn.
struct Simulated {
    admission: &'static Admission,
    /// When each in the queue arrived, in seconds, with its place.
    queue: VecDeque<(f64, Making<'static>)>,
    now: f64,
    next_look: f64,
    free_at: f64,
    rng: StdRng,
}

impl Simulated {
    fn new(seed: u64) -> Self {
        Self {
            admission: Box::leak(Box::default()),
            queue: VecDeque::new(),
            now: 0.0,
            next_look: Admission::INTERVAL.as_secs_f64(),
            free_at: 0.0,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Brings arrivals at `rate` for `seconds` to a server that gets `capacity` done in a second.
    fn run(&mut self, rate: f64, capacity: f64, seconds: f64) -> Came {
        let end = self.now + seconds;
        let mut came = Came::default();
        while self.now < end {
            let gap = -(1.0 - self.rng.random::<f64>()).ln() / rate;
            self.now += gap;
            self.serve(capacity, &mut came);
            self.arrive(&mut came);
        }
        came.waits.sort_by(f64::total_cmp);
        came.shed_at_end = self.admission.is_shedding();
        came
    }

    fn arrive(&mut self, came: &mut Came) {
        match self.admission.enter() {
            Some(making) => self.queue.push_back((self.now, making)),
            None => came.refused += 1,
        }
    }

    /// What gets done until now, with the looks that fall in between.
    fn serve(&mut self, capacity: f64, came: &mut Came) {
        loop {
            let done =
                self.queue.front().map(|(since, _)| self.free_at.max(*since) + 1.0 / capacity);
            let next = done.unwrap_or(f64::INFINITY);
            if self.next_look.min(next) > self.now {
                return;
            }
            if self.next_look <= next {
                self.admission.look(Admission::INTERVAL);
                self.next_look += Admission::INTERVAL.as_secs_f64();
                continue;
            }
            if let Some((since, _)) = self.queue.pop_front() {
                self.free_at = next;
                came.served += 1;
                came.waits.push((next - since) * 1e3);
            }
        }
    }
}

#[test]
fn what_gets_done_doesnt_fall_however_much_is_asked_for() {
    for capacity in [300.0, 700.0, 3_000.0, 20_000.0] {
        for times in [1.2, 2.0, 5.0, 20.0] {
            let mut server = Simulated::new(7);
            // until the first burst, which is taken whole, is through
            server.run(capacity * times, capacity, 4.0);
            let came = server.run(capacity * times, capacity, 5.0);
            let share = came.served as f64 / (5.0 * capacity);
            assert!(share > 0.98, "{capacity}/s, {times} times as many: {share}");
            // within the target, but for a slow server, which always has a few to do
            let least_ms = f64::from(LEAST) / capacity * 1e3;
            let most_ms = (TARGET.as_secs_f64() * 1.3e3).max(least_ms * 1.1);
            assert!(came.p99() < most_ms, "{capacity}/s, {times}: {:.0} ms", came.p99());
            assert!(came.shed_at_end);
        }
    }
}

#[test]
fn nobody_is_refused_while_all_gets_done() {
    for load in [0.1, 0.5, 0.7, 0.9] {
        let came = Simulated::new(3).run(3_000.0 * load, 3_000.0, 20.0);
        assert_eq!((came.refused, came.shed_at_end), (0, false), "at {load}");
    }
}

#[test]
fn a_burst_is_taken_whole_and_so_is_a_stall() {
    let mut server = Simulated::new(1);
    let mut came = server.run(50.0, 3_000.0, 1.0);
    // all at once, as much as gets done in a third of a second
    (0..MOST - 2).for_each(|_| server.arrive(&mut came));
    assert_eq!(came.refused, 0);
    // nothing gets done for as long as the longest stall of a disk that works
    let mut server = Simulated::new(1);
    server.run(1_500.0, 3_000.0, 1.0);
    server.free_at = server.now + 0.08;
    let came = server.run(1_500.0, 3_000.0, 1.0);
    assert_eq!(came.refused, 0);
}

#[test]
fn when_it_is_over_all_are_taken_again_within_two_seconds() {
    let mut server = Simulated::new(5);
    assert!(server.run(15_000.0, 3_000.0, 5.0).shed_at_end);
    server.run(1_000.0, 3_000.0, 2.0);
    let came = server.run(1_000.0, 3_000.0, 5.0);
    assert_eq!((came.refused, came.shed_at_end), (0, false));
    assert_eq!(server.admission.most.load(Ordering::Relaxed), MOST);
}

#[test]
fn a_server_that_grows_slow_takes_less_and_recovers() {
    let mut server = Simulated::new(9);
    server.run(2_000.0, 3_000.0, 2.0);
    let slow = server.run(2_000.0, 500.0, 5.0);
    assert!(slow.served > 2_400 && slow.refused > 5_000, "{} {}", slow.served, slow.refused);
    let well = server.run(2_000.0, 3_000.0, 5.0);
    assert!(well.served > 9_800, "{}", well.served);
}

#[test]
fn refusals_are_counted_and_the_rest_waits_first() {
    let admission = Admission::default();
    assert!(!admission.refuses_create() && !admission.refuses_others());
    let held: Vec<_> = (0..MOST).map(|_| admission.enter().expect("a place")).collect();
    assert!(admission.enter().is_none() && admission.refuses_create());
    assert_eq!(admission.look(Admission::INTERVAL), None, "the first look sees a burst");
    assert_eq!(admission.look(Admission::INTERVAL), Some(true), "nothing gets done");
    assert!(admission.refuses_others() && admission.is_shedding());
    assert_eq!(admission.refused(), (2, 1));
    drop(held);
    assert!(admission.enter().is_some(), "there is always a place for a few");
    let looks: Vec<_> = (0..30).filter_map(|_| admission.look(Admission::INTERVAL)).collect();
    assert_eq!(looks, [false]);
}

proptest! {
    #[test]
    fn the_bound_stays_in_its_bounds_and_ends_with_its_cause(
        looks in proptest::collection::vec((1_u64..2_000, 0_u64..100_000, 0_u32..MOST, any::<bool>()), 1..200)
    ) {
        let mut pace = Pace::default();
        for (ms, made, fewest, refused) in looks {
            let was_shedding = pace.calm.is_some();
            let seen = Seen { elapsed: Duration::from_millis(ms), made, fewest, refused };
            let most = pace.next(seen);
            prop_assert!((LEAST..=MOST).contains(&most));
            let stands = fewest > LEAST && f64::from(fewest) > made as f64 * 50.0 / ms as f64;
            prop_assert!(pace.calm.is_some() || (most == MOST && !stands));
            prop_assert!(was_shedding || stands || pace.calm.is_none(), "a refusal alone begins nothing");
        }
        let calm = Seen { elapsed: Admission::INTERVAL, made: 10, fewest: 0, refused: false };
        let bounds: Vec<u32> = (0..11).map(|_| pace.next(calm)).collect();
        prop_assert_eq!(bounds.last(), Some(&MOST));
    }
}
