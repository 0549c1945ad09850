//! What crosses the wire and what is signed: the product's own shapes, encoded as the product does.

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use domain::cookie::DeviceCookie;
use prost::Message as _;
use serde::Serialize;
use statement::{
    AuditLink, ChallengeId, DeviceId, IntegrationId, SigningKey, TenantId, Timestamp, UserId,
    sha256,
};
use wire::device::{self, client_frame, server_frame};
use wire::rest::{self, CreateChallenge, CreatedChallenge, Method, Redeemed, State};

use crate::clock;

pub(crate) const TENANT: TenantId = TenantId::from_bytes([1; 16]);
pub(crate) const INTEGRATION: IntegrationId = IntegrationId::from_bytes([2; 16]);
pub(crate) const DIGITS: u8 = 6;
/// How long a challenge lives, in milliseconds.
pub(crate) const TTL_MS: u64 = 90_000;
/// How long a receipt lives, in seconds.
const RECEIPT_S: u64 = 60;
const NAME: &str = "loadtest";
const ORIGIN: &str = "http://127.0.0.1:8470";
const JOSE: &str = r#"{"alg":"ES256","typ":"countersign-receipt+jwt","kid":"0123456789012345678901234567890123456789012"}"#;

/// The server's keys, parsed once and kept.
pub(crate) struct Keys {
    /// Ed25519, as the product's vault has it.
    pub(crate) challenge: SigningKey,
    /// P-256: receipts are ES256.
    pub(crate) receipt: SigningKey,
    jose: String,
    cookie: hmac::Key,
}

impl Keys {
    pub(crate) fn draw() -> Self {
        let receipt = SigningKey::generate_p256_pkcs8()
            .and_then(|document| SigningKey::from_p256_pkcs8(&document))
            .expect("aws-lc makes keys that it can read");
        Self {
            challenge: SigningKey::from_seed(&clock::random()),
            receipt,
            jose: BASE64URL_NOPAD.encode(JOSE.as_bytes()),
            cookie: hmac::Key::new(hmac::HMAC_SHA256, &clock::random::<32>()),
        }
    }

    /// Header and claims of a receipt: what is signed.
    pub(crate) fn receipt_input(&self, claims: &[u8]) -> String {
        let mut jws = String::with_capacity(self.jose.len() + claims.len() * 4 / 3 + 92);
        jws.push_str(&self.jose);
        jws.push('.');
        BASE64URL_NOPAD.encode_append(claims, &mut jws);
        jws
    }

    /// A receipt.
    pub(crate) fn sign_receipt(&self, claims: &[u8]) -> String {
        let mut jws = self.receipt_input(claims);
        let signature = self.receipt.sign_jws_input(jws.as_bytes());
        jws.push('.');
        BASE64URL_NOPAD.encode_append(&signature, &mut jws);
        jws
    }

    /// What the browser gets for its next sign-in.
    pub(crate) fn cookie(&self, user: UserId, now: Timestamp) -> String {
        let cookie = DeviceCookie { id: clock::random(), issued: now, epoch: 0 };
        let mac = hmac::sign(&self.cookie, &cookie.signed_bytes(TENANT, user, INTEGRATION));
        let mac: &[u8; 32] = mac.as_ref().try_into().expect("SHA-256 has 32 bytes");
        cookie.encode(mac)
    }
}

/// What is drawn for a challenge, in one go.
pub(crate) struct Drawn {
    pub(crate) id: ChallengeId,
    pub(crate) nonce: [u8; 32],
    pub(crate) number: String,
}

impl Drawn {
    pub(crate) fn new(now: Timestamp) -> Self {
        let bytes: [u8; 56] = clock::random();
        let part = |from: usize| -> [u8; 16] {
            bytes[from..from + 16].try_into().expect("16 of 56 bytes")
        };
        let number: [u8; 8] = bytes[48..].try_into().expect("8 of 56 bytes");
        let number = u64::from_be_bytes(number) % 10_u64.pow(DIGITS.into());
        Self {
            id: ChallengeId::new(now, 0, part(0)),
            nonce: bytes[16..48].try_into().expect("32 of 56 bytes"),
            number: format!("{number:0width$}", width = usize::from(DIGITS)),
        }
    }
}

/// The challenge bytes: what is shown and signed over.
pub(crate) fn document(
    drawn: &Drawn,
    (user, name): (UserId, &str),
    request: &CreateChallenge,
    session: &[u8; 32],
    now: Timestamp,
) -> Vec<u8> {
    device::Challenge {
        id: drawn.id.as_bytes().to_vec().into(),
        tenant: TENANT.as_bytes().to_vec().into(),
        integration: INTEGRATION.as_bytes().to_vec().into(),
        integration_name: NAME.to_owned(),
        user: user.as_bytes().to_vec().into(),
        user_name: name.to_owned(),
        origin: ORIGIN.to_owned(),
        browser_session: session.to_vec().into(),
        created_ms: now.millis(),
        expires_ms: now.millis() + TTL_MS,
        nonce: drawn.nonce.to_vec().into(),
        purpose: device::Purpose::SignIn.into(),
        digits: DIGITS.into(),
        context: Some(device::Context {
            address: request.context.ip.clone().unwrap_or_default(),
            browser: "Firefox on Linux".to_owned(),
            place: "Oslo, Norway".to_owned(),
        }),
        details: Vec::new(),
    }
    .encode_to_vec()
}

/// The frame that rings.
pub(crate) fn prompt(document: &[u8], signature: &[u8]) -> Vec<u8> {
    frame(server_frame::Frame::Prompt(device::Prompt {
        challenge: document.to_vec().into(),
        signature: signature.to_vec().into(),
        certificate: 0,
        alert: true,
        remaining_ms: u32::try_from(TTL_MS).unwrap_or(u32::MAX),
    }))
}

/// What the device is told about its answer.
pub(crate) fn answer_result(
    challenge: &[u8],
    result: device::Result,
    state: device::State,
) -> Vec<u8> {
    frame(server_frame::Frame::AnswerResult(device::AnswerResult {
        challenge: challenge.to_vec().into(),
        result: result.into(),
        state: state.into(),
        totp_rebind: false,
    }))
}

/// What a device is told that has shown its key.
pub(crate) fn enrolled(device: DeviceId, user: UserId) -> Vec<u8> {
    frame(server_frame::Frame::Enrolled(device::Enrolled {
        tenant: TENANT.as_bytes().to_vec().into(),
        device: device.as_bytes().to_vec().into(),
        user: user.to_string(),
        organisation: String::new(),
        totp: None,
    }))
}

fn frame(frame: server_frame::Frame) -> Vec<u8> {
    device::ServerFrame { frame: Some(frame) }.encode_to_vec()
}

/// What a device said; `None` if it can't be read.
pub(crate) fn from_device(payload: &[u8]) -> Option<client_frame::Frame> {
    device::ClientFrame::decode(payload).ok()?.frame
}

/// What the server said; `None` if it can't be read.
pub(crate) fn from_server(payload: &[u8]) -> Option<server_frame::Frame> {
    device::ServerFrame::decode(payload).ok()?.frame
}

/// A frame of a device's.
pub(crate) fn to_server(frame: client_frame::Frame) -> Vec<u8> {
    device::ClientFrame { frame: Some(frame) }.encode_to_vec()
}

/// The reply to a create.
pub(crate) fn created(drawn: &Drawn, now: Timestamp) -> Vec<u8> {
    json(&CreatedChallenge {
        id: drawn.id.to_string(),
        state: State::Pending,
        number: Some(drawn.number.clone()),
        digits: DIGITS,
        expires_at: expires(now),
        methods: vec![Method::Push],
        page_url: None,
    })
}

/// The reply to a poll.
pub(crate) fn challenge(id: ChallengeId, state: State, created: Timestamp) -> Vec<u8> {
    json(&rest::Challenge {
        id: id.to_string(),
        state,
        factor: (state == State::Approved).then_some(Method::Push),
        expires_at: expires(created),
        redeemed: false,
        lapsed: false,
    })
}

fn expires(created: Timestamp) -> String {
    let millis = i64::try_from(created.millis() + TTL_MS).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).map(|at| at.to_string()).unwrap_or_default()
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: String,
    aud: String,
    sub: String,
    name: &'a str,
    jti: String,
    iat: u64,
    exp: u64,
    challenge: String,
    purpose: &'a str,
    acr: &'a str,
    amr: &'a [&'a str],
    auth_time: u64,
    bsh: String,
    phishing_resistant: bool,
}

/// What a receipt says.
pub(crate) fn claims(
    id: ChallengeId,
    (user, name): (UserId, &str),
    session: &[u8; 32],
    now: Timestamp,
) -> Vec<u8> {
    json(&Claims {
        iss: format!("{ORIGIN}/receipt"),
        aud: INTEGRATION.to_string(),
        sub: user.to_string(),
        name,
        jti: BASE64URL_NOPAD.encode(&clock::random::<16>()),
        iat: now.seconds(),
        exp: now.seconds() + RECEIPT_S,
        challenge: id.to_string(),
        purpose: "sign_in",
        acr: "urn:countersign:acr:number-match",
        amr: &["mfa", "pop", "user"],
        auth_time: now.seconds(),
        bsh: BASE64URL_NOPAD.encode(session),
        phishing_resistant: false,
    })
}

/// The reply to a redeem.
pub(crate) fn redeemed(receipt: String, device_cookie: String) -> Vec<u8> {
    json(&Redeemed { receipt, device_cookie })
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("nothing here that JSON can't hold")
}

/// The last rows of a hash chain.
pub(crate) struct Audit {
    previous: [u8; 32],
    seq: u64,
    buffer: Vec<u8>,
}

#[derive(Serialize)]
struct Row<'a> {
    event: &'a str,
    challenge: ChallengeId,
    user: UserId,
    integration: IntegrationId,
    device: Option<DeviceId>,
}

impl Audit {
    /// What is kept: a writer would have taken the rest long ago.
    const BUFFER: usize = 1024 * 1024;

    pub(crate) fn new() -> Self {
        Self { previous: [0; 32], seq: 0, buffer: Vec::with_capacity(Self::BUFFER) }
    }

    /// Adds a row, chained to the one before; its private part is only committed to, like in the product.
    pub(crate) fn add(
        &mut self,
        event: &str,
        (challenge, user, device): (ChallengeId, UserId, Option<DeviceId>),
        private: &[u8],
        now: Timestamp,
    ) {
        let public = json(&Row { event, challenge, user, integration: INTEGRATION, device });
        let private = AuditLink::commitment(&[7; 16], private);
        self.seq += 1;
        let link = AuditLink {
            tenant: TENANT,
            lane: 1,
            seq: self.seq,
            at: now,
            public: &public,
            private: &private,
        };
        self.previous = link.hash(&self.previous);
        if self.buffer.len() + public.len() + 32 > Self::BUFFER {
            self.buffer.clear();
        }
        self.buffer.extend_from_slice(&public);
        self.buffer.extend_from_slice(&self.previous);
    }

    /// How many rows there have been.
    pub(crate) const fn rows(&self) -> u64 {
        self.seq
    }
}

/// The hash that is kept of a browser session or an API key.
pub(crate) fn hash(secret: &str) -> [u8; 32] {
    sha256(&[secret.as_bytes()])
}
