//! Notices: kept with what they tell, until each device has had them.

use domain::audit::Event;
use domain::directory::{Device, MAX_DEVICES};
use domain::notice::{KEPT_PER_KIND, NoticeKind};
use ports::{Change, DirectoryError, Notice};
use statement::DeviceId;

use crate::backend::World;

const ALL: u32 = 1_000;

impl World {
    /// Writes a row that tells the user this.
    async fn tell(&self, kind: NoticeKind, text: &str) {
        let entry = self.fixture.entry(Event::Alert).telling(self.fixture.user.id, kind, text);
        self.backend.ledger.record(entry).await.expect("writes");
    }

    async fn unseen(&self, device: DeviceId, after: u64) -> Vec<Notice> {
        self.backend.directory.notices(device, after, ALL).await.expect("reads")
    }

    async fn texts(&self, device: DeviceId) -> Vec<String> {
        self.unseen(device, 0).await.into_iter().map(|notice| notice.text).collect()
    }

    async fn see(&self, device: &Device, up_to: u64) {
        let seen = self.backend.directory.apply(Change::SeeNotices(device.id, up_to), Vec::new());
        assert_eq!(seen.await, Ok(()));
    }
}

pub(super) async fn a_notice_is_kept_for_each_device_until_it_has_had_it(mut world: World) {
    let [first, second] = [world.enrol().await, world.enrol().await];
    let now = world.backend.clock.now();
    world.tell(NoticeKind::TicketCreated, "one").await;
    world.tell(NoticeKind::FactorReset, "two").await;
    let told = world.unseen(first.id, 0).await;
    assert_eq!(told.iter().map(|notice| notice.text.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!((told[1].kind, told[1].at), (NoticeKind::FactorReset, now));
    assert_eq!(world.unseen(second.id, 0).await, told, "all devices are told the same");
    let ids: Vec<u64> = told.iter().map(|notice| notice.id.expect("it is kept")).collect();
    assert!(ids[0] < ids[1]);
    assert_eq!(world.unseen(first.id, ids[0]).await, told[1..]);
    let one = world.backend.directory.notices(first.id, 0, 1).await.expect("reads");
    assert_eq!(one, told[..1]);

    world.see(&first, ids[0]).await;
    assert_eq!(world.unseen(first.id, 0).await, told[1..]);
    assert_eq!(world.unseen(second.id, 0).await, told, "each by itself");
    // what isn't there can't be seen in advance, and seeing never goes back
    world.see(&first, ids[1] + 1_000).await;
    assert_eq!(world.unseen(first.id, 0).await, told[1..]);
    world.see(&first, ids[1]).await;
    world.see(&first, ids[0]).await;
    assert_eq!(world.unseen(first.id, 0).await, []);
    let nobodys = world.fixture.device().id;
    assert_eq!(world.unseen(nobodys, 0).await, []);
}

pub(super) async fn a_device_is_told_what_came_after_it(mut world: World) {
    let old = world.enrol().await;
    world.tell(NoticeKind::TicketCreated, "before").await;
    let user = world.fixture.user.clone();
    let (ticket, new) = (world.fixture.ticket(&user), world.fixture.device());
    let claim = world.fixture.claim(&new);
    world.apply(Change::CreateTicket(ticket.clone()), Event::TicketCreated).await;
    world.apply(Change::ClaimTicket(ticket.id, claim), Event::TicketClaimed).await;
    let entry = world.fixture.entry(Event::DeviceEnrolled);
    let entry = entry.telling_others(user.id, new.id, NoticeKind::DeviceEnrolled, "itself");
    let change = Change::Enrol { ticket: ticket.id, device: new.clone(), totp: None };
    assert_eq!(world.backend.directory.apply(change, vec![entry]).await, Ok(()));
    world.tell(NoticeKind::FactorCreated, "after").await;
    assert_eq!(world.texts(new.id).await, ["after"]);
    assert_eq!(world.texts(old.id).await, ["before", "itself", "after"]);
}

pub(super) async fn a_flood_of_one_kind_leaves_the_others(mut world: World) {
    let device = world.enrol().await;
    world.tell(NoticeKind::DeviceEnrolled, "a new device").await;
    for n in 0..3 * KEPT_PER_KIND {
        world.tell(NoticeKind::RepeatedFailures, &format!("{n}")).await;
    }
    let newest = (2 * KEPT_PER_KIND..3 * KEPT_PER_KIND).map(|n| n.to_string());
    let expected: Vec<String> = ["a new device".to_owned()].into_iter().chain(newest).collect();
    assert_eq!(world.texts(device.id).await, expected);
}

pub(super) async fn a_refused_change_tells_nothing(mut world: World) {
    let devices = [world.enrol().await, world.enrol().await];
    assert!(devices.len() < MAX_DEVICES);
    let stranger = Change::EndDeviceWait(world.fixture.device().id);
    let entry = world.fixture.entry(Event::DeviceApproved);
    let entry = entry.telling(world.fixture.user.id, NoticeKind::DeviceEnrolled, "never");
    let refused = world.backend.directory.apply(stranger, vec![entry]).await;
    assert_eq!(refused, Err(DirectoryError::NotFound));
    assert_eq!(world.texts(devices[0].id).await, [] as [String; 0]);
}
