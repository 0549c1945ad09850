//! Opening, closing, keys.

use domain::audit::{Entry, Event};
use domain::protocol::TokenAlgorithm;
use ports::{Change, DirectoryError, SealFor};
use sqlx::{Connection as _, Row as _, SqliteConnection};
use statement::{ChallengeId, FactorId, TenantId, UserId};

use super::support::Disk;
use crate::{MasterKey, OpenError, Store};

/// `.cargo/config.toml` is read in the workspace alone: a build from elsewhere is another one, and dearer.
#[tokio::test]
async fn sqlite_is_built_as_the_workspace_says() {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    let rows = sqlx::query("PRAGMA compile_options").fetch_all(&mut conn).await.unwrap();
    let options: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(options.iter().any(|option| option == "DEFAULT_MEMSTATUS=0"), "{options:?}");
}

#[tokio::test]
async fn the_first_start_makes_one_tenant_and_all_keys_and_the_next_one_finds_them() {
    let disk = Disk::new();
    let store = disk.open().await;
    let tenants = store.directory().tenants().await.unwrap();
    assert_eq!(tenants.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["default"]);
    let (identity, jwks) = (store.vault().identity().clone(), store.vault().receipt_jwks());
    let purpose = SealFor::Number(tenants[0].id, ChallengeId::from_bytes([1; 24]));
    let sealed = store.vault().seal(purpose, b"123456");
    let now = disk.clock.now();
    for algorithm in TokenAlgorithm::ALL {
        let key = store.vault().draw_token_key(algorithm, now, now).await.unwrap();
        let entry = Entry::new(tenants[0].id, Event::TokenKeyCreated);
        let change = Change::AddTokenKey(key.clone());
        store.directory().apply(change.clone(), vec![entry.clone()]).await.unwrap();
        let again = store.directory().apply(change, vec![entry]).await;
        assert_eq!(again, Err(DirectoryError::NameTaken), "its number is taken");
        store.vault().adopt_token_key(&key).unwrap();
    }
    let tokens = store.vault().token_keys(now);
    assert_eq!(tokens.len(), 2);
    store.close().await.unwrap();
    assert!(store.healthy().is_err());

    let again = disk.open().await;
    assert_eq!(again.vault().identity(), &identity);
    assert_eq!(again.vault().receipt_jwks(), jwks);
    assert_eq!(again.vault().token_keys(now), tokens);
    assert!(again.vault().sign_token(TokenAlgorithm::Rs256, now, b"{}").is_some());
    assert_eq!(again.directory().tenants().await.unwrap(), tenants);
    assert_eq!(*again.vault().open(purpose, &sealed).unwrap(), b"123456");
    assert_eq!(again.healthy(), Ok(()));
}

#[tokio::test]
async fn another_master_key_is_refused() {
    let disk = Disk::new();
    disk.open().await.close().await.unwrap();
    let other = MasterKey::from_bytes([8; 32]);
    let refused = Store::open(disk.path(), disk.clock.reader(), other).await.unwrap_err();
    assert!(matches!(refused, OpenError::WrongMasterKey), "{refused}");
}

#[tokio::test]
async fn a_key_moved_to_another_row_does_not_open() {
    let disk = Disk::new();
    disk.open().await.close().await.unwrap();
    let mut conn = disk.tamper().await;
    sqlx::query(
        "UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE kind = 5) WHERE kind = 6",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    drop(conn);
    let refused = disk.try_open().await.unwrap_err();
    assert!(matches!(refused, OpenError::WrongMasterKey), "{refused}");
}

#[tokio::test]
async fn a_newer_schema_is_refused_by_name() {
    let disk = Disk::new();
    disk.open().await.close().await.unwrap();
    let mut conn = disk.tamper().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (99, 'later', 1, x'00', 0)",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    drop(conn);
    let refused = disk.try_open().await.unwrap_err();
    assert!(matches!(refused, OpenError::NewerSchema { found: 99, known: 4 }), "{refused}");
    assert!(refused.to_string().contains("99") && refused.to_string().contains("up to 4"));
}

#[tokio::test]
async fn the_log_is_empty_after_a_clean_stop() {
    let disk = Disk::new();
    disk.open().await.close().await.unwrap();
    let log = disk.path().join("countersign.db-wal");
    assert_eq!(std::fs::metadata(log).map_or(0, |log| log.len()), 0);
    let mut conn = disk.tamper().await;
    let mode = sqlx::query("PRAGMA journal_mode").fetch_one(&mut conn).await.unwrap();
    assert_eq!(mode.get::<String, _>(0), "wal");
}

#[tokio::test]
async fn a_sealed_value_opens_only_where_it_belongs() {
    let disk = Disk::new();
    let vault = disk.open().await.vault();
    let (tenant, other) = (TenantId::from_bytes([1; 16]), TenantId::from_bytes([2; 16]));
    let challenge = ChallengeId::from_bytes([3; 24]);
    let purpose = SealFor::Number(tenant, challenge);
    let sealed = vault.seal(purpose, b"042137");
    assert_eq!(*vault.open(purpose, &sealed).unwrap(), b"042137");
    assert_ne!(sealed, vault.seal(purpose, b"042137"), "nonces are never used twice");
    let elsewhere = [
        SealFor::Number(other, challenge),
        SealFor::Number(tenant, ChallengeId::from_bytes([4; 24])),
        SealFor::Totp(tenant, UserId::from_bytes([3; 16]), FactorId::from_bytes([3; 16])),
    ];
    for purpose in elsewhere {
        assert!(vault.open(purpose, &sealed).is_err(), "{purpose:?}");
    }
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(vault.open(purpose, &changed).is_err(), "byte {at}");
        assert!(vault.open(purpose, &sealed[..at]).is_err(), "cut at {at}");
    }
}

#[tokio::test]
async fn a_secret_is_stretched_the_same_way_every_time() {
    let disk = Disk::new();
    let vault = disk.open().await.vault();
    let stretch = |secret: &[u8], salt| vault.stretch(secret.to_vec().into(), salt);
    let first = stretch(b"secret", [1; 16]).await.unwrap();
    assert_eq!(first, stretch(b"secret", [1; 16]).await.unwrap());
    assert_ne!(first, stretch(b"secret", [2; 16]).await.unwrap());
    assert_ne!(first, stretch(b"Secret", [1; 16]).await.unwrap());
}
