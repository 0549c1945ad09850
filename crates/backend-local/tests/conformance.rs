//! The in-process courier against the suite of its port.

use std::sync::Arc;

use backend_local::{LocalCourier, MAX_WAITERS_PER_CHALLENGE};
use ports::Courier as _;
use testkit::{Fixture, courier_suite, race, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_courier_keeps_its_port_s_promises() {
    courier_suite(async || Arc::new(LocalCourier::new()) as Arc<dyn ports::Courier>).await;
}

#[tokio::test]
async fn a_challenge_s_waiters_are_bounded_and_counted() {
    let courier = LocalCourier::new();
    let id = Fixture::new(1).challenge().id;
    let crowd: Vec<_> = std::iter::from_fn(|| courier.wait(id)).collect();
    assert_eq!(crowd.len(), MAX_WAITERS_PER_CHALLENGE);
    assert_eq!(courier.waiting(), crowd.len());
    drop(crowd);
    assert_eq!(courier.waiting(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn coming_and_going_in_parallel_leaves_nobody_behind() {
    let courier = Arc::new(LocalCourier::new());
    let mut fixture = Fixture::new(2);
    let (tenant, user) = (fixture.tenant.id, fixture.user.id);
    let devices: Vec<_> = (0..4).map(|_| fixture.device().id).collect();
    let racing = race(64, |index| {
        let (courier, device) = (Arc::clone(&courier), devices[index % devices.len()]);
        async move {
            for _ in 0..200 {
                let mailbox = courier.connect(tenant, user, device);
                courier.tell_user(tenant, user, ports::Hint::Resync);
                tokio::task::yield_now().await;
                drop(mailbox);
            }
        }
    });
    within("the race", racing).await;
    assert_eq!(courier.connected(), 0);
}
