//! Where an address is. A table that is built in says in which country the internet registries registered it;
//! MMDB files that the operator mounts say more: the place, and the autonomous system.
//!
//! Everything is in memory: looking an address up asks no file and no network, and never waits.

mod mounted;
mod registry;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use app::{Basis, Places, Whereabouts};

pub use mounted::{Mounted, OpenError, Wanted};
pub use registry::{PUBLISHED, registered_country};

/// All that is known of places.
#[derive(Clone, Debug, Default)]
pub struct Atlas {
    city: Option<Arc<Mounted>>,
    asn: Option<Arc<Mounted>>,
}

impl Atlas {
    /// The built-in table, and above it the files that are given.
    ///
    /// # Errors
    /// Which file can't be used, and why.
    pub fn open(city: Option<&Path>, asn: Option<&Path>) -> Result<Self, Refused> {
        let refused = |wanted: Wanted, path: &Path| {
            let path = path.to_owned();
            move |why| Refused { wanted, path, why }
        };
        let open = |wanted: Wanted, path: Option<&Path>| {
            let opened =
                path.map(|path| Mounted::open(path, wanted).map_err(refused(wanted, path)));
            opened.transpose()
        };
        let (city, asn) = (open(Wanted::City, city)?, open(Wanted::Asn, asn)?);
        Ok(Self { city: city.map(Arc::new), asn: asn.map(Arc::new) })
    }

    /// The file that says where addresses are.
    #[must_use]
    pub fn city(&self) -> Option<&Mounted> {
        self.city.as_deref()
    }

    /// The file that says of which autonomous system they are.
    #[must_use]
    pub fn asn(&self) -> Option<&Mounted> {
        self.asn.as_deref()
    }
}

impl Places for Atlas {
    fn find(&self, ip: IpAddr) -> Whereabouts {
        let ip = ip.to_canonical();
        let (country, city) = self.city().map(|file| file.place(ip)).unwrap_or_default();
        let country = match country {
            Some(code) => Some((code, Basis::Located)),
            None => registered_country(ip).map(|code| (code, Basis::Registered)),
        };
        Whereabouts { country, city, asn: self.asn().and_then(|file| file.asn(ip)) }
    }
}

/// A file that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}: {why}", wanted.setting(), path.display())]
pub struct Refused {
    /// What it was to say.
    pub wanted: Wanted,
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub why: OpenError,
}
