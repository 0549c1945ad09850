//! The challenge bytes: what devices show and sign over. Encoded once, signed once, stored as they are.

use domain::challenge::Purpose;
use domain::create::Detail;
use domain::directory::Integration;
use prost::Message;
use statement::{ChallengeId, Timestamp, UserId};
use wire::device::{self, Context};

use crate::places::ClientPlace;

/// What goes into a document beside its challenge's own fields.
pub(crate) struct Document<'a> {
    pub(crate) id: ChallengeId,
    pub(crate) integration: &'a Integration,
    pub(crate) user: UserId,
    pub(crate) user_name: &'a str,
    pub(crate) origin: &'a str,
    pub(crate) session: [u8; 32],
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) nonce: [u8; 32],
    pub(crate) purpose: Purpose,
    pub(crate) digits: u8,
    pub(crate) client: &'a ClientPlace,
    pub(crate) browser: Option<String>,
    pub(crate) details: &'a [Detail],
}

impl Document<'_> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let details = self.details.iter().map(|detail| device::Detail {
            label: detail.label.clone(),
            value: detail.value.clone(),
        });
        device::Challenge {
            id: self.id.as_bytes().to_vec().into(),
            tenant: self.integration.tenant.as_bytes().to_vec().into(),
            integration: self.integration.id.as_bytes().to_vec().into(),
            integration_name: self.integration.name.clone(),
            user: self.user.as_bytes().to_vec().into(),
            user_name: self.user_name.to_owned(),
            origin: self.origin.to_owned(),
            browser_session: self.session.to_vec().into(),
            created_ms: self.created.millis(),
            expires_ms: self.expires.millis(),
            nonce: self.nonce.to_vec().into(),
            purpose: purpose(self.purpose).into(),
            digits: self.digits.into(),
            context: Some(Context {
                address: self.client.address.clone().unwrap_or_default(),
                browser: self.browser.clone().unwrap_or_default(),
                place: self.client.place.clone().unwrap_or_default(),
            }),
            details: details.collect(),
        }
        .encode_to_vec()
    }
}

const fn purpose(purpose: Purpose) -> device::Purpose {
    match purpose {
        Purpose::SignIn => device::Purpose::SignIn,
        Purpose::StepUp => device::Purpose::StepUp,
        Purpose::Transaction => device::Purpose::Transaction,
        Purpose::Enrolment => device::Purpose::Enrolment,
        Purpose::Reset => device::Purpose::Reset,
        Purpose::HelpDesk => device::Purpose::HelpDesk,
    }
}

/// A browser by what a person recognises, from its `User-Agent`: "Firefox on Linux". Nothing else of the
/// text is shown, so that a client can't write into the prompt.
pub(crate) fn reduce_agent(agent: &str) -> String {
    const BROWSERS: [(&str, &str); 6] = [
        ("Edg", "Edge"),
        ("OPR", "Opera"),
        ("Firefox", "Firefox"),
        ("Chrom", "Chrome"),
        ("Safari", "Safari"),
        ("curl", "curl"),
    ];
    const SYSTEMS: [(&str, &str); 6] = [
        ("Windows", "Windows"),
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ];
    let find = |table: &[(&str, &'static str)]| {
        table.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    match (find(&BROWSERS), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => "another program".to_owned(),
    }
}
