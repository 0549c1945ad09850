//! What every [`Courier`] must do.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use domain::challenge::State;
use ports::{Courier, Hint, MAX_MAILBOX, Mailbox, Notice, NoticeKind};
use statement::DeviceId;

use crate::Fixture;
use crate::rules::{race, rules, within};

/// Runs the suite.
///
/// # Panics
/// At the first rule that is broken.
pub async fn courier_suite(make: impl AsyncFn() -> Arc<dyn Courier>) {
    rules!(
        async |seed| CourierWorld { courier: make().await, fixture: Fixture::new(seed) };
        hints_come_in_order,
        a_user_s_devices_are_all_told_and_nobody_else,
        a_device_is_told_alone,
        the_same_user_id_in_another_tenant_is_somebody_else,
        the_newest_connection_wins,
        a_replaced_mailbox_that_goes_leaves_its_successor,
        a_mailbox_that_goes_disconnects,
        a_full_mailbox_asks_for_the_pending_set,
        the_last_word_is_never_dropped,
        a_waiting_reader_is_woken,
        only_the_last_reader_s_waker_counts,
        a_waiter_is_woken_once_registered,
        a_wake_before_the_wait_is_not_seen,
        waiters_of_other_challenges_sleep_on,
        too_many_waiters_are_turned_away_until_one_goes,
        racing_connections_leave_one,
        racing_hints_all_arrive,
        racing_wakes_miss_nobody_who_registered,
    );
}

struct CourierWorld {
    courier: Arc<dyn Courier>,
    fixture: Fixture,
}

impl CourierWorld {
    fn connect(&self, device: DeviceId) -> Box<dyn Mailbox> {
        let (tenant, user) = (self.fixture.tenant.id, self.fixture.user.id);
        self.courier.connect(tenant, user, device)
    }

    fn tell_user(&self, hint: Hint) {
        let (tenant, user) = (self.fixture.tenant.id, self.fixture.user.id);
        self.courier.tell_user(tenant, user, hint);
    }

    fn settled(&mut self) -> Hint {
        Hint::Settled(self.fixture.challenge().id, State::Pending)
    }
}

/// The hint that waits, if one does.
fn next(mailbox: &mut Box<dyn Mailbox>) -> Option<String> {
    let mut cx = Context::from_waker(Waker::noop());
    match mailbox.poll_hint(&mut cx) {
        Poll::Ready(hint) => Some(name(&hint)),
        Poll::Pending => None,
    }
}

fn drain(mailbox: &mut Box<dyn Mailbox>) -> Vec<String> {
    std::iter::from_fn(|| next(mailbox)).collect()
}

fn name(hint: &Hint) -> String {
    match hint {
        Hint::Prompt(challenge) => format!("prompt {}", challenge.id),
        Hint::Settled(id, state) => format!("settled {id} {}", state.name()),
        Hint::Notice(notice) => format!("notice {}", notice.text),
        Hint::Notices => "notices".to_owned(),
        Hint::Resync => "resync".to_owned(),
        Hint::Replaced => "replaced".to_owned(),
        Hint::Revoked => "revoked".to_owned(),
    }
}

async fn hints_come_in_order(mut world: CourierWorld) {
    let device = world.fixture.device().id;
    let mut mailbox = world.connect(device);
    assert_eq!(next(&mut mailbox), None);
    let notice = Notice {
        id: None,
        kind: NoticeKind::TicketCreated,
        at: world.fixture.clock.now(),
        text: "a ticket was made".to_owned(),
    };
    let hints = [
        Hint::Prompt(world.fixture.challenge()),
        world.settled(),
        Hint::Notice(notice),
        Hint::Notices,
        Hint::Resync,
    ];
    for hint in &hints {
        world.tell_user(hint.clone());
    }
    assert_eq!(drain(&mut mailbox), hints.each_ref().map(name));
    assert_eq!(next(&mut mailbox), None);
}

async fn a_user_s_devices_are_all_told_and_nobody_else(mut world: CourierWorld) {
    let devices: [_; 3] = std::array::from_fn(|_| world.fixture.device().id);
    let mut own = devices.map(|device| world.connect(device));
    let stranger = world.fixture.user().id;
    let elsewhere = world.fixture.device().id;
    let mut other = world.courier.connect(world.fixture.tenant.id, stranger, elsewhere);
    let hint = world.settled();
    world.tell_user(hint.clone());
    for mailbox in &mut own {
        assert_eq!(drain(mailbox), [name(&hint)]);
    }
    assert_eq!(next(&mut other), None);
}

async fn a_device_is_told_alone(mut world: CourierWorld) {
    let devices: [_; 2] = std::array::from_fn(|_| world.fixture.device().id);
    let mut mailboxes = devices.map(|device| world.connect(device));
    let hint = world.settled();
    world.courier.tell_device(devices[1], hint.clone());
    assert_eq!(next(&mut mailboxes[0]), None);
    assert_eq!(drain(&mut mailboxes[1]), [name(&hint)]);
    // nobody there: dropped, no error
    world.courier.tell_device(world.fixture.device().id, hint);
}

async fn the_same_user_id_in_another_tenant_is_somebody_else(mut world: CourierWorld) {
    let tenant = statement::TenantId::from_bytes(world.fixture.bytes());
    let device = world.fixture.device().id;
    let mut other = world.courier.connect(tenant, world.fixture.user.id, device);
    world.tell_user(Hint::Resync);
    assert_eq!(next(&mut other), None);
}

async fn the_newest_connection_wins(mut world: CourierWorld) {
    let device = world.fixture.device().id;
    let mut old = world.connect(device);
    let mut new = world.connect(device);
    assert_eq!(world.courier.connected(), 1);
    let hint = world.settled();
    world.tell_user(hint.clone());
    world.courier.tell_device(device, hint.clone());
    assert_eq!(drain(&mut old), ["replaced"], "and nothing after it");
    assert_eq!(drain(&mut new), [name(&hint), name(&hint)]);
}

async fn a_replaced_mailbox_that_goes_leaves_its_successor(mut world: CourierWorld) {
    let device = world.fixture.device().id;
    let old = world.connect(device);
    let mut new = world.connect(device);
    drop(old);
    assert_eq!(world.courier.connected(), 1);
    let hint = world.settled();
    world.tell_user(hint.clone());
    world.courier.tell_device(device, Hint::Revoked);
    assert_eq!(drain(&mut new).last().map(String::as_str), Some("revoked"));
}

async fn a_mailbox_that_goes_disconnects(mut world: CourierWorld) {
    let devices: [_; 2] = std::array::from_fn(|_| world.fixture.device().id);
    let (tenant, user) = (world.fixture.tenant.id, world.fixture.user.id);
    assert!(!world.courier.reaches(tenant, user));
    let [first, mut second] = devices.map(|device| world.connect(device));
    assert_eq!(world.courier.connected(), 2);
    assert!(world.courier.reaches(tenant, user));
    drop(first);
    assert_eq!(world.courier.connected(), 1);
    let hint = world.settled();
    world.tell_user(hint.clone());
    assert_eq!(drain(&mut second), [name(&hint)]);
    drop(second);
    assert_eq!(world.courier.connected(), 0);
    assert!(!world.courier.reaches(tenant, user));
}

async fn a_full_mailbox_asks_for_the_pending_set(mut world: CourierWorld) {
    let device = world.fixture.device().id;
    let mut mailbox = world.connect(device);
    for _ in 0..MAX_MAILBOX {
        let hint = world.settled();
        world.tell_user(hint);
    }
    assert_eq!(drain(&mut mailbox).len(), MAX_MAILBOX, "so many fit");
    for _ in 0..=MAX_MAILBOX {
        let hint = world.settled();
        world.tell_user(hint);
    }
    assert_eq!(drain(&mut mailbox), ["resync"]);
    // what comes after the gap comes as usual
    let hint = world.settled();
    world.tell_user(hint.clone());
    assert_eq!(drain(&mut mailbox), [name(&hint)]);
}

async fn the_last_word_is_never_dropped(mut world: CourierWorld) {
    let device = world.fixture.device().id;
    let mut old = world.connect(device);
    for _ in 0..MAX_MAILBOX {
        world.tell_user(Hint::Resync);
    }
    let mut new = world.connect(device);
    assert_eq!(drain(&mut old).last().map(String::as_str), Some("replaced"));

    // notices that were lost with the rest are told before it
    for _ in 0..=MAX_MAILBOX {
        let hint = world.settled();
        world.tell_user(hint);
    }
    world.tell_user(Hint::Notices);
    world.courier.tell_device(device, Hint::Revoked);
    for _ in 0..3 * MAX_MAILBOX {
        let hint = world.settled();
        world.tell_user(hint);
    }
    let told = drain(&mut new);
    assert!(told.contains(&"notices".to_owned()), "{told:?}");
    assert_eq!(told.last().map(String::as_str), Some("revoked"));
}

async fn a_waiting_reader_is_woken(mut world: CourierWorld) {
    let device = world.fixture.device().id;
    let mut mailbox = world.connect(device);
    let reader = tokio::spawn(async move { poll_fn(|cx| mailbox.poll_hint(cx)).await });
    tokio::task::yield_now().await;
    let hint = world.settled();
    world.tell_user(hint.clone());
    let got = within("the hint", reader).await.expect("reads");
    assert_eq!(name(&got), name(&hint));
}

async fn only_the_last_reader_s_waker_counts(mut world: CourierWorld) {
    let device = world.fixture.device().id;
    let mut mailbox = world.connect(device);
    assert_eq!(next(&mut mailbox), None, "a waker that leads nowhere");
    let reader = tokio::spawn(async move { poll_fn(|cx| mailbox.poll_hint(cx)).await });
    tokio::task::yield_now().await;
    world.courier.tell_device(device, Hint::Resync);
    let got = within("the hint", reader).await.expect("reads");
    assert_eq!(name(&got), "resync");
}

async fn a_waiter_is_woken_once_registered(mut world: CourierWorld) {
    let id = world.fixture.challenge().id;
    let never_polled = world.courier.wait(id).expect("room");
    let mut polled = world.courier.wait(id).expect("room");
    let mut cx = Context::from_waker(Waker::noop());
    assert!(polled.as_mut().poll(&mut cx).is_pending());
    world.courier.wake(id);
    within("the wake-up", polled).await;
    within("the wake-up before the first poll", never_polled).await;
}

async fn a_wake_before_the_wait_is_not_seen(mut world: CourierWorld) {
    let id = world.fixture.challenge().id;
    world.courier.wake(id);
    let mut waiter = world.courier.wait(id).expect("room");
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waiter.as_mut().poll(&mut cx).is_pending());
    world.courier.wake(id);
    within("the second wake-up", waiter).await;
}

async fn waiters_of_other_challenges_sleep_on(mut world: CourierWorld) {
    let ids: [_; 2] = std::array::from_fn(|_| world.fixture.challenge().id);
    let mut waiters = ids.map(|id| world.courier.wait(id).expect("room"));
    world.courier.wake(ids[0]);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waiters[0].as_mut().poll(&mut cx).is_ready());
    assert!(waiters[1].as_mut().poll(&mut cx).is_pending());
}

/// Above what any courier lets wait for one challenge.
const WAITERS: usize = 10_000;

async fn too_many_waiters_are_turned_away_until_one_goes(mut world: CourierWorld) {
    let id = world.fixture.challenge().id;
    let mut waiters: Vec<_> = (0..WAITERS).map_while(|_| world.courier.wait(id)).collect();
    assert!(waiters.len() < WAITERS, "waiters of a challenge are bounded");
    assert!(world.courier.wait(id).is_none());
    waiters.pop();
    waiters.push(world.courier.wait(id).expect("a place came free"));
    world.courier.wake(id);
    for waiter in waiters {
        within("the wake-up", waiter).await;
    }
    let after = world.courier.wait(id);
    assert!(after.is_some(), "whoever was woken takes no place");
}

const RACERS: usize = 64;

async fn racing_connections_leave_one(mut world: CourierWorld) {
    let device = world.fixture.device().id;
    let (tenant, user) = (world.fixture.tenant.id, world.fixture.user.id);
    let courier = Arc::clone(&world.courier);
    let racing = race(RACERS, |_| {
        let courier = Arc::clone(&courier);
        async move { courier.connect(tenant, user, device) }
    });
    let mut mailboxes = within("the race", racing).await;
    assert_eq!(world.courier.connected(), 1);
    world.tell_user(Hint::Resync);
    let got: Vec<_> = mailboxes.iter_mut().map(drain).collect();
    let count = |hints: &[&str]| got.iter().filter(|got| *got == hints).count();
    assert_eq!((count(&["replaced"]), count(&["resync"])), (RACERS - 1, 1));

    let winner = got.iter().position(|got| got == &["resync"]).expect("one");
    let last = mailboxes.swap_remove(winner);
    // all the old ones go at once, while the winner stays
    let old = std::sync::Mutex::new(mailboxes);
    let racing = race(RACERS - 1, |_| {
        let mailbox = old.lock().expect("no panic").pop();
        async move { drop(mailbox) }
    });
    within("the goodbyes", racing).await;
    assert_eq!(world.courier.connected(), 1);
    drop(last);
    assert_eq!(world.courier.connected(), 0);
}

async fn racing_hints_all_arrive(mut world: CourierWorld) {
    let device = world.fixture.device().id;
    let mut mailbox = world.connect(device);
    let courier = Arc::clone(&world.courier);
    let racing = race(MAX_MAILBOX, |_| {
        let (courier, hint) = (Arc::clone(&courier), world.settled());
        async move {
            let name = name(&hint);
            courier.tell_device(device, hint);
            name
        }
    });
    let mut told = within("the race", racing).await;
    let mut got = drain(&mut mailbox);
    told.sort();
    got.sort();
    assert_eq!(got, told);
}

async fn racing_wakes_miss_nobody_who_registered(mut world: CourierWorld) {
    let challenges: Vec<_> = (0..RACERS).map(|_| world.fixture.challenge().id).collect();
    for id in challenges {
        let courier = Arc::clone(&world.courier);
        let waiter = courier.wait(id).expect("room");
        let racing = race(4, |index| {
            let courier = Arc::clone(&courier);
            async move {
                if index % 2 == 0 {
                    courier.wake(id);
                } else {
                    drop(courier.wait(id));
                }
            }
        });
        within("the race", racing).await;
        within("the wake-up", waiter).await;
    }
}
