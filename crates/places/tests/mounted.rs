//! Files in the layouts that operators mount, and files that can't be used.

use std::path::PathBuf;

use app::{Basis, Places as _, Whereabouts};
use places::{Atlas, OpenError};
use serde_json::{Value, json};
use statement::Timestamp;
use tempfile::TempDir;
use testkit::Mmdb;

const BUILT: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// Files in a folder that goes away.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    }

    /// An atlas with a file for each purpose, in which 81.2.69.0/24 and 2a01:4f8::/32 are as given.
    fn atlas(&self, city: &Value, asn: &Value) -> Atlas {
        let file = |kind, known| {
            let file = Mmdb::new(kind, BUILT).with("81.2.69.0/24", known);
            self.write(kind, &file.with("2a01:4f8::/32", known).bytes())
        };
        let (city, asn) = (file("Test-City", city), file("Test-ASN", asn));
        Atlas::open(Some(&city), Some(&asn)).expect("good files")
    }
}

fn find(atlas: &Atlas, ip: &str) -> Whereabouts {
    atlas.find(ip.parse().expect("an address"))
}

fn whereabouts(
    country: &[u8; 2],
    basis: Basis,
    city: Option<&str>,
    asn: Option<u32>,
) -> Whereabouts {
    Whereabouts { country: Some((*country, basis)), city: city.map(str::to_owned), asn }
}

#[test]
fn the_layouts_that_are_given_out_are_read() {
    let files = Files::new();
    let geolite = json!({
        "continent": {"code": "EU", "names": {"en": "Europe"}},
        "country": {"geoname_id": 2_635_167, "iso_code": "GB", "names": {"de": "Vereinigtes Königreich"}},
        "city": {"geoname_id": 2_643_743, "names": {"de": "London (de)", "en": "London"}},
    });
    let geolite_asn =
        json!({"autonomous_system_number": 64_500, "autonomous_system_organization": "Example"});
    let flat = json!({"city": "London", "country": "GB", "region": "England"});
    let flat_code = json!({"city": "London", "country": "United Kingdom", "country_code": "GB"});
    let flat_asn = json!({"asn": "AS64500", "as_name": "Example", "country": "United Kingdom"});
    let bare_asn = json!({"asn": 64_500});
    let here = whereabouts(b"GB", Basis::Located, Some("London"), Some(64_500));
    for city in [&geolite, &flat, &flat_code] {
        for asn in [&geolite_asn, &flat_asn, &bare_asn] {
            let atlas = files.atlas(city, asn);
            for ip in ["81.2.69.142", "::ffff:81.2.69.142", "2a01:4f8:1::1"] {
                assert_eq!(find(&atlas, ip), here, "{ip} {city} {asn}");
            }
        }
    }
}

#[test]
fn what_no_file_says_the_registries_do() {
    let files = Files::new();
    let known = json!({"country": {"iso_code": "GB"}, "city": {"names": {"en": "London"}}});
    let atlas = files.atlas(&known, &json!({"autonomous_system_number": 64_500}));
    let elsewhere = whereabouts(b"US", Basis::Registered, None, None);
    assert_eq!(find(&atlas, "8.8.8.8"), elsewhere);
    assert_eq!(find(&Atlas::default(), "8.8.8.8"), elsewhere);
    for ip in ["127.0.0.1", "10.0.0.1", "203.0.113.9", "::1", "fe80::1", "2001:db8::1"] {
        assert_eq!(find(&atlas, ip), Whereabouts::default(), "{ip}");
    }
    let built = atlas.city().expect("a file");
    assert_eq!((built.kind(), built.built()), ("Test-City", BUILT));
}

/// One record may lack what others have, or hold what can't be.
#[test]
fn what_makes_no_sense_is_not_known() {
    let files = Files::new();
    let good = json!({"country": {"iso_code": "GB"}, "city": {"names": {"en": "London"}}});
    let bad = json!({"country": {"iso_code": "g8"}, "city": {"names": {"en": ""}}});
    let bad_asn = json!({"autonomous_system_number": 0});
    let city = Mmdb::new("Test-City", BUILT).with("81.2.0.0/16", &good);
    let city = city.with("81.2.69.0/24", &bad).with("81.2.70.0/24", &json!({"city": 7}));
    let asn =
        Mmdb::new("Test-ASN", BUILT).with("81.2.0.0/16", &json!({"autonomous_system_number": 1}));
    let asn = asn.with("81.2.69.0/24", &bad_asn);
    let asn = asn.with("81.2.70.0/24", &json!({"autonomous_system_number": "many"}));
    let asn = asn.with("81.2.71.0/24", &json!({"autonomous_system_number": 5_000_000_000_u64}));
    let (city, asn) = (files.write("city", &city.bytes()), files.write("asn", &asn.bytes()));
    let atlas = Atlas::open(Some(&city), Some(&asn)).expect("good files");
    let registered = |asn| whereabouts(b"GB", Basis::Registered, None, asn);
    assert_eq!(find(&atlas, "81.2.69.1"), registered(None));
    assert_eq!(find(&atlas, "81.2.70.1"), registered(None));
    assert_eq!(find(&atlas, "81.2.71.1").asn, None);
    assert_eq!(
        find(&atlas, "81.2.72.1"),
        whereabouts(b"GB", Basis::Located, Some("London"), Some(1))
    );
}

#[test]
fn a_file_that_can_t_be_used_is_refused_by_name() {
    let files = Files::new();
    let asn = Mmdb::new("Test-ASN", BUILT);
    let asn = asn.with("81.2.69.0/24", &json!({"autonomous_system_number": 64_500})).bytes();
    let mut damaged = asn.clone();
    // a pointer of the first node to beyond the file
    damaged[..3].copy_from_slice(&[0xff; 3]);
    let empty = Mmdb::new("Test-ASN", BUILT).bytes();
    let city = json!({"city": {"names": {"en": "London"}}});
    let city = Mmdb::new("Test-City", BUILT).with("81.2.69.0/24", &city).bytes();
    for (name, bytes, said) in [
        ("text", &b"not a database"[..], "is no MMDB file, or a damaged one"),
        ("nothing", b"", "is no MMDB file, or a damaged one"),
        ("cut", &asn[..asn.len() - 30], "is no MMDB file, or a damaged one"),
        ("damaged", &damaged, "is no MMDB file, or a damaged one"),
        ("empty", &empty, "with no numbers of autonomous systems: is it the right one?"),
        ("city", &city, "(Test-City) with no numbers of autonomous systems"),
    ] {
        let path = files.write(name, bytes);
        let refused = Atlas::open(None, Some(&path)).expect_err("refused").to_string();
        assert!(refused.starts_with("places.asn_mmdb: ") && refused.contains(name), "{refused}");
        assert!(refused.contains(said), "{refused}");
    }
    let path = files.write("asn", &asn);
    let refused = Atlas::open(Some(&path), None).expect_err("refused").to_string();
    assert!(refused.contains("(Test-ASN) with neither countries nor cities"), "{refused}");
    let gone = files.0.path().join("gone");
    let refused = Atlas::open(Some(&gone), None).expect_err("refused");
    assert!(matches!(refused.why, OpenError::Io(_)) && refused.path == gone, "{refused}");
}

/// No byte of a file that was let in makes a look-up fail otherwise than by knowing nothing.
#[test]
fn a_flipped_bit_is_refused_or_harmless() {
    let files = Files::new();
    let known = json!({"country": {"iso_code": "GB"}, "city": {"names": {"en": "London"}}});
    let good = Mmdb::new("Test-City", BUILT).with("81.2.69.0/24", &known).bytes();
    let mut refused = 0;
    for at in 0..good.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut bytes = good.clone();
            bytes[at] ^= bit;
            match Atlas::open(Some(&files.write("city", &bytes)), None) {
                Ok(atlas) => drop(find(&atlas, "81.2.69.142")),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > good.len() / 4, "{refused} of {}", good.len() * 3);
}
