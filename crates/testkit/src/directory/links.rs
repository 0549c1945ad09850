//! Whose people are which users, and who may ask them.

use domain::attempts::{Budgets, Counter};
use domain::audit::Event;
use ports::{Change, Counted, DirectoryError};
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

pub(super) async fn a_user_code_is_replaced_ended_and_counted_anew(mut world: World) {
    let user = world.fixture.user.id;
    let other = world.new_user().await.id;
    let code = async |world: &World, user| world.backend.directory.user_code(user).await;
    assert_eq!(code(&world, user).await, Ok(None));
    for hash in [[1; 32], [2; 32]] {
        let count = world.backend.ledger.count_attempt(Counter::UserCode(user), Budgets::DEFAULT);
        let Ok(Counted::Counted(counted)) = count.await else { panic!("it is counted") };
        assert_eq!(counted.failures, 1, "a new code is counted from nothing");
        world.apply(Change::PutUserCode(user, Some(hash)), Event::UserChanged).await;
        assert_eq!(code(&world, user).await, Ok(Some(hash)));
    }
    world.apply(Change::PutUserCode(other, Some([3; 32])), Event::UserChanged).await;
    world.apply(Change::PutUserCode(user, None), Event::UserChanged).await;
    assert_eq!(code(&world, user).await, Ok(None));
    let at = world.backend.clock.now();
    assert_eq!(code(&world, other).await, Ok(Some([3; 32])));
    world.apply(Change::ResetUser(other, at), Event::FactorReset).await;
    assert_eq!(code(&world, other).await, Ok(None), "a reset ends it");
    let nobody = UserId::from_bytes(world.fixture.bytes());
    let refusal = world.refused(Change::PutUserCode(nobody, Some([4; 32]))).await;
    assert_eq!(refusal, DirectoryError::NotFound);
}
