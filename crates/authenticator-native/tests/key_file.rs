//! The sealed file of accounts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use authenticator_native::{Account, KeyFile, KeyFileError, Passphrase};
use statement::{DeviceId, TenantId};

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text).expect("not empty")
}

fn account(device: u8) -> Account {
    Account {
        name: "alice@mfa.example.org".to_owned(),
        server: "https://mfa.example.org".parse().expect("an address"),
        tenant: TenantId::from_bytes([4; 16]),
        device: DeviceId::from_bytes([device; 16]),
        user: "alice".to_owned(),
        organisation: String::new(),
        device_name: "laptop".to_owned(),
        identity: [1; 32],
        seed: authenticator::KeySeed::ed25519([device; 32]),
        counter: 0,
        totp: None,
        roots: Vec::new(),
    }
}

#[test]
fn accounts_come_back_under_names_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("deep/home");
    let file = KeyFile::open_or_create(&home, &passphrase("one")).expect("made");
    assert!(file.accounts().expect("readable").is_empty());
    file.add(account(1)).expect("kept");
    let second = file.add(account(2)).expect("kept");
    assert_eq!(second.name, "alice@mfa.example.org#2");

    let file = KeyFile::open(&home, &passphrase("one")).expect("opens");
    let kept = file.accounts().expect("readable");
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[1].seed.key().public(), account(2).seed.key().public());
    file.remove("alice@mfa.example.org").expect("forgotten");
    assert!(matches!(file.remove("bob"), Err(KeyFileError::NoAccount(_))));
    assert_eq!(file.accounts().expect("readable").len(), 1);

    let mode = |path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(home.clone()), mode(home.join("accounts.sealed"))), (0o700, 0o600));
}

#[test]
fn a_p256_key_comes_back_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let seed = authenticator::KeySeed::p256([7; 32]).expect("a scalar");
    let public = seed.key().public().clone();
    let file = KeyFile::open_or_create(folder.path(), &passphrase("one")).expect("made");
    file.add(Account { seed, ..account(1) }).expect("kept");
    file.add(account(2)).expect("kept");
    let kept = KeyFile::open(folder.path(), &passphrase("one")).expect("opens");
    let kept = kept.accounts().expect("readable");
    assert_eq!(kept[0].seed.key().public(), &public);
    assert_eq!(kept[1].seed.key().public(), account(2).seed.key().public());
}

#[test]
fn a_removed_account_is_not_kept_again_and_counters_never_fall() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = KeyFile::open_or_create(folder.path(), &passphrase("one")).expect("made");
    let mut account = file.add(account(1)).expect("kept");
    account.counter = 7;
    file.update(&account).expect("kept");
    account.counter = 3;
    file.update(&account).expect("kept");
    assert_eq!(file.accounts().expect("readable")[0].counter, 7);
    file.remove(&account.name).expect("forgotten");
    assert!(matches!(file.update(&account), Err(KeyFileError::NoAccount(_))));
}

#[test]
fn a_wrong_passphrase_a_changed_byte_and_a_foreign_file_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = KeyFile::open(folder.path(), &passphrase("one"));
    assert!(matches!(missing, Err(KeyFileError::Missing(_))));
    let file = KeyFile::open_or_create(folder.path(), &passphrase("one")).expect("made");
    file.add(account(1)).expect("kept");
    let wrong = KeyFile::open(folder.path(), &passphrase("two"));
    assert!(matches!(wrong, Err(KeyFileError::Passphrase(_))));

    let path = folder.path().join("accounts.sealed");
    let sealed = fs::read(&path).expect("readable");
    assert!(!sealed.windows(5).any(|window| window == b"alice"));
    for at in [40, 55, sealed.len() - 1] {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        fs::write(&path, changed).expect("written");
        let opened = KeyFile::open(folder.path(), &passphrase("one"));
        assert!(matches!(opened, Err(KeyFileError::Passphrase(_))), "{at}: {opened:?}");
    }
    // a later format, a cost that would eat the machine, a file cut short, another kind of file
    for (at, to) in [(20, 2), (21, 0xff)] {
        let mut changed = sealed.clone();
        changed[at] = to;
        fs::write(&path, changed).expect("written");
        let opened = KeyFile::open(folder.path(), &passphrase("one"));
        assert!(matches!(opened, Err(KeyFileError::Format(_))), "{at}: {opened:?}");
    }
    for content in [&sealed[..30], b"", &[b'x'; 4000]] {
        fs::write(&path, content).expect("written");
        let opened = KeyFile::open(folder.path(), &passphrase("one"));
        assert!(matches!(opened, Err(KeyFileError::Format(_))), "{opened:?}");
    }
}

#[test]
fn writers_of_several_processes_do_not_lose_accounts() {
    let folder = tempfile::tempdir().expect("a folder");
    KeyFile::open_or_create(folder.path(), &passphrase("one")).expect("made");
    std::thread::scope(|scope| {
        for n in 0..8 {
            let folder = folder.path();
            scope.spawn(move || {
                // each its own handle, as another process has
                let file = KeyFile::open_or_create(folder, &passphrase("one")).expect("opens");
                file.add(account(n)).expect("kept");
            });
        }
    });
    let file = KeyFile::open(folder.path(), &passphrase("one")).expect("opens");
    assert_eq!(file.accounts().expect("readable").len(), 8);
}
