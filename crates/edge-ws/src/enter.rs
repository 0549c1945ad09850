//! From a new socket to a device that is logged in.

use std::sync::Arc;
use std::time::Duration;

use app::{
    App, Claim, Claimed, Connected, EnrolError, Error, LoggedIn, Login, LoginError, TicketProof,
};
use ports::{Mailbox, StoreError};
use rand::{Rng, RngExt};
use session::{
    Claiming, Close, Confirm, Confirming, EnrolRefusal, Enrolled, Handshake, HandshakeStep,
    Identified, LoggingIn, PING_EVERY, Welcome,
};

use crate::cards::Cards;
use crate::connection::{Connection, End, Event};
use crate::told::Present;

/// A device that is logged in.
pub(crate) struct Device {
    pub(crate) connected: Connected,
    pub(crate) mailbox: Box<dyn Mailbox>,
    pub(crate) cards: Cards,
    /// The last notice that was sent on this connection.
    pub(crate) noticed: u64,
    _present: Present,
}

/// Speaks with a connection until it is a device's.
pub(crate) async fn handshake(connection: &mut Connection) -> Result<(Identified, Device), End> {
    let mut session = begin(connection);
    let mut claimed = None;
    loop {
        let event = connection.next(session.deadline()).await?;
        let step = match event {
            Event::Frame(frame) => session.on_frame(frame, connection.now()),
            Event::Control => session.on_control(connection.now()),
            Event::Timer => session.on_timer(connection.now()),
            Event::Hint(_) => HandshakeStep::Wait(session),
        };
        session = match step {
            HandshakeStep::Wait(next) => next,
            HandshakeStep::Ping(next) => {
                connection.ping().await?;
                next
            }
            HandshakeStep::Send(next, frame) => {
                connection.send(frame).await?;
                next
            }
            HandshakeStep::Login(asking, request) => {
                return login(connection, asking, request).await;
            }
            HandshakeStep::Claim(asking, request) => {
                let (next, ticket) = claim(connection, asking, *request).await?;
                claimed = Some(ticket);
                next
            }
            HandshakeStep::Confirm(asking, request) => {
                confirm(connection, asking, request, claimed.take()).await?
            }
            HandshakeStep::Close(close) => return Err(close.into()),
        };
    }
}

fn begin(connection: &Connection) -> Handshake {
    let mut rng = connection.shared.call().rng;
    let mut nonce = [0; 32];
    rng.fill_bytes(&mut nonce);
    let period = u64::try_from(PING_EVERY.as_millis()).unwrap_or(u64::MAX);
    let phase = Duration::from_millis(rng.random_range(0..period));
    Handshake::new(nonce, Arc::clone(&connection.shared.hello), phase)
}

async fn login(
    connection: &mut Connection,
    asking: LoggingIn,
    request: session::Login,
) -> Result<(Identified, Device), End> {
    let request = Login {
        tenant: request.tenant,
        device: request.device,
        nonce: *asking.nonce(),
        signature: request.signature.to_vec(),
    };
    let mut call = connection.shared.call();
    let logged_in = match connection.shared.app.login(&mut call, request).await {
        Ok(logged_in) => logged_in,
        Err(LoginError::Refused) => return Err(asking.refused().into()),
        Err(LoginError::Store(error)) => return Err(unavailable(&error)),
    };
    let LoggedIn { connected, user_name, organisation, totp_rebind } = logged_in;
    connection.permit.identified();
    // before the pending set is read, so that nothing falls between
    let courier = connection.shared.app.courier();
    let mailbox = courier.connect(connected.tenant, connected.user, connected.device);
    if !is_still_active(&connection.shared.app, &connected).await? {
        return Err(asking.refused().into());
    }
    let welcome = Welcome { user: user_name, organisation, totp_rebind };
    let (session, frame) = asking.logged_in(welcome);
    connection.send(frame).await?;
    let (cards, noticed) = (Cards::default(), 0);
    let device = Device { connected, mailbox, cards, noticed, _present: Present::new() };
    Ok((session, device))
}

/// Whether the device wasn't revoked between its login and its mailbox: nobody would have told this socket.
async fn is_still_active(app: &App, connected: &Connected) -> Result<bool, End> {
    match app.device(connected.tenant, connected.device).await {
        Ok(device) => Ok(device.revoked.is_none()),
        Err(Error::Store(error)) => Err(unavailable(&error)),
        Err(_) => Ok(false),
    }
}

async fn claim(
    connection: &mut Connection,
    asking: Claiming,
    request: session::Claim,
) -> Result<(Handshake, Claimed), End> {
    let request = Claim {
        proof: match request.proof {
            session::TicketProof::Secret(secret) => TicketProof::Secret(secret),
            session::TicketProof::Code { user, code } => TicketProof::Code { user, code },
        },
        key: request.key,
        device_name: request.device_name,
        nonce: *asking.nonce(),
        signature: request.signature.to_vec(),
    };
    let mut call = connection.shared.call();
    let claimed = match connection.shared.app.claim(&mut call, request).await {
        Ok(claimed) => claimed,
        Err(error) => return Err(refusal(error, |why| asking.refused(why))),
    };
    // a ticket is worth a place: its person needs time for the number
    connection.permit.identified();
    let (next, frame) = asking.claimed(claimed.digits, connection.now());
    connection.send(frame).await?;
    Ok((next, claimed))
}

async fn confirm(
    connection: &mut Connection,
    asking: Confirming,
    request: Confirm,
    claimed: Option<Claimed>,
) -> Result<Handshake, End> {
    let Some(claimed) = claimed else {
        return Err(asking.refused(EnrolRefusal::Ticket).into());
    };
    let mut call = connection.shared.call();
    let app = &connection.shared.app;
    let confirmed = app.confirm(&mut call, claimed, &request.number, &request.signature).await;
    let enrolled = match confirmed {
        Ok(enrolled) => enrolled,
        Err(error) => return Err(refusal(error, |why| asking.refused(why))),
    };
    let enrolled = Enrolled {
        tenant: enrolled.tenant,
        device: enrolled.device,
        user: enrolled.user_name,
        organisation: enrolled.organisation,
        totp: enrolled.totp,
    };
    let (next, frame) = asking.enrolled(enrolled, connection.now());
    connection.send(frame).await?;
    Ok(next)
}

fn refusal(error: EnrolError, refused: impl FnOnce(EnrolRefusal) -> Close) -> End {
    let why = match error {
        // the session has checked the name by the same rule
        EnrolError::Refused | EnrolError::Name(_) => EnrolRefusal::Ticket,
        EnrolError::BadSignature => EnrolRefusal::Signature,
        EnrolError::TooManyDevices => EnrolRefusal::TooManyDevices,
        EnrolError::Store(error) => return unavailable(&error),
    };
    refused(why).into()
}

/// The end of a connection whose device has to start over once the store is back.
pub(crate) fn unavailable(error: &StoreError) -> End {
    tracing::warn!(%error, "device request failed");
    Close::unavailable().into()
}
