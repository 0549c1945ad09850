//! Where a request comes from, as people read it.

mod countries;

use std::net::IpAddr;

use domain::audit::Private;
use domain::directory::is_plain;
use domain::guard::Place;

/// Longest name of a city that is shown, in characters.
const MAX_CITY: usize = 64;

/// Knows where addresses are.
pub trait Places: Send + Sync {
    /// What is known of an address. It is asked for each request that names one, so it must not wait; an address
    /// for special use (private, loopback, ..) is nowhere, unless the operator said otherwise.
    fn find(&self, ip: IpAddr) -> Whereabouts;
}

/// Where an address is, as far as anybody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// The country's ISO 3166-1 code, and what that stands on.
    pub country: Option<([u8; 2], Basis)>,
    /// The city's English name.
    pub city: Option<String>,
    /// The number of its autonomous system.
    pub asn: Option<u32>,
}

/// What somebody knows a country by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Somebody found out where the address is used.
    Located,
    /// A registry gave the address to somebody there, who may use it elsewhere.
    Registered,
}

/// Knows of no place.
pub(crate) struct Nowhere;

impl Places for Nowhere {
    fn find(&self, _ip: IpAddr) -> Whereabouts {
        Whereabouts::default()
    }
}

/// Where a request comes from, in words. All of it is erasable.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientPlace {
    /// The browser's address.
    pub(crate) address: Option<String>,
    /// The place as devices show it.
    pub(crate) place: Option<String>,
    country: Option<String>,
    asn: Option<u32>,
}

impl ClientPlace {
    /// For the guard, and for people.
    pub(crate) fn look_up(places: &dyn Places, ip: Option<IpAddr>) -> (Place, Self) {
        let Some(ip) = ip else { return Default::default() };
        let found = places.find(ip);
        let country = found.country.map(|(code, _)| code);
        let place = Place { ip: Some(ip), asn: found.asn, country };
        let client = Self {
            address: Some(ip.to_string()),
            place: found.shown(),
            country: country.map(|code| text(&code)),
            asn: found.asn,
        };
        (place, client)
    }

    /// Notes it where it can be erased.
    pub(crate) fn note(&self, private: &mut Private) {
        private.address.clone_from(&self.address);
        private.place.clone_from(&self.place);
        private.country.clone_from(&self.country);
        private.asn = self.asn;
    }
}

impl Whereabouts {
    /// As a device shows it: "Berlin, Germany", or "registered in Germany" where nobody knows more. A city's name
    /// comes from a file, so nothing in it may act on a screen.
    fn shown(&self) -> Option<String> {
        let city = self.city.as_ref().map(|city| {
            let plain: String = city.chars().filter(|c| is_plain(*c)).take(MAX_CITY).collect();
            plain.trim().to_owned()
        });
        let city = city.filter(|city| !city.is_empty());
        let name =
            |code: &[u8; 2]| countries::name(*code).map_or_else(|| text(code), str::to_owned);
        Some(match (city, &self.country) {
            (Some(city), Some((code, Basis::Located))) => format!("{city}, {}", name(code)),
            // where an address is registered says nothing of a city
            (Some(city), _) => city,
            (None, Some((code, Basis::Located))) => name(code),
            (None, Some((code, Basis::Registered))) => format!("registered in {}", name(code)),
            (None, None) => return None,
        })
    }
}

fn text(code: &[u8; 2]) -> String {
    code.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(city: Option<&str>, country: Option<(&[u8; 2], Basis)>) -> Option<String> {
        let country = country.map(|(code, basis)| (*code, basis));
        Whereabouts { country, city: city.map(str::to_owned), asn: Some(1) }.shown()
    }

    #[test]
    fn a_place_is_shown_as_far_as_it_is_known() {
        let (located, registered) = (Basis::Located, Basis::Registered);
        for (city, country, text) in [
            (Some("Berlin"), Some((b"DE", located)), Some("Berlin, Germany")),
            (Some("Berlin"), Some((b"DE", registered)), Some("Berlin")),
            (Some("Berlin"), None, Some("Berlin")),
            (None, Some((b"DE", located)), Some("Germany")),
            (None, Some((b"DE", registered)), Some("registered in Germany")),
            (None, Some((b"QQ", located)), Some("QQ")),
            (Some(" \u{202e}\n "), Some((b"DE", located)), Some("Germany")),
            (Some("Ber\u{1b}[1mlin\u{200b}\r\n"), None, Some("Ber[1mlin")),
            (Some(""), None, None),
            (None, None, None),
        ] {
            assert_eq!(shown(city, country).as_deref(), text, "{city:?} {country:?}");
        }
        let long = shown(Some(&"é".repeat(500)), None).expect("a city");
        assert_eq!(long.chars().count(), MAX_CITY);
    }

    #[test]
    fn without_an_address_there_is_nothing_to_know() {
        let (place, client) = ClientPlace::look_up(&Nowhere, None);
        assert_eq!(place, Place::default());
        let mut private = Private::default();
        client.note(&mut private);
        assert!(private.is_empty());
    }
}
