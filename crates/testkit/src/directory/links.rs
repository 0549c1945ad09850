//! Whose people are which users.

use domain::audit::Event;
use ports::{Change, DirectoryError};
use statement::{IntegrationId, Timestamp, UserId};

use crate::backend::World;

impl World {
    async fn linked(&self, subject: &str) -> Option<UserId> {
        let integration = self.fixture.integration.id;
        let found = self.backend.directory.linked(integration, subject.to_owned()).await;
        found.expect("reads")
    }

    fn link(&self, subject: &str, user: UserId) -> Change {
        let at: Timestamp = self.backend.clock.now();
        Change::Link(self.fixture.integration.id, subject.to_owned(), user, at)
    }
}

pub(super) async fn a_link_is_found_replaced_and_ended(mut world: World) {
    let (first, second) = (world.fixture.user.id, world.new_user().await.id);
    assert_eq!(world.linked("t:o").await, None);
    world.apply(world.link("t:o", first), Event::UserLinked).await;
    assert_eq!(world.linked("t:o").await, Some(first));
    for other in ["T:o", "t:o ", "t:", ""] {
        assert_eq!(world.linked(other).await, None, "{other:?}");
    }
    world.apply(world.link("t:o", second), Event::UserLinked).await;
    world.apply(world.link("t:p", second), Event::UserLinked).await;
    assert_eq!(world.linked("t:o").await, Some(second));
    let id = world.fixture.integration.id;
    let all = world.backend.directory.links(id).await.expect("reads");
    assert_eq!(all, [("t:o".to_owned(), second), ("t:p".to_owned(), second)]);
    let other = IntegrationId::from_bytes(world.fixture.bytes());
    assert_eq!(world.backend.directory.linked(other, "t:o".to_owned()).await, Ok(None));
    world.apply(Change::Unlink(id, "t:o".to_owned()), Event::UserUnlinked).await;
    assert_eq!(world.linked("t:o").await, None);
    let again = world.refused(Change::Unlink(id, "t:o".to_owned())).await;
    assert_eq!(again, DirectoryError::NotFound);
}

pub(super) async fn a_link_stays_within_its_tenant(mut world: World) {
    let other = world.new_tenant().await;
    let mut stranger = world.fixture.user();
    stranger.tenant = other.id;
    world.apply(Change::CreateUser(stranger.clone()), Event::UserCreated).await;
    let nobody = UserId::from_bytes(world.fixture.bytes());
    for user in [stranger.id, nobody] {
        let refusal = world.refused(world.link("t:o", user)).await;
        assert_eq!(refusal, DirectoryError::NotFound);
    }
    assert_eq!(world.linked("t:o").await, None);
}
