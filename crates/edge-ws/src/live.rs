//! A device that is logged in: what it asks, what it is told.

use std::sync::Arc;

use app::{Answer, AnswerResult, Connected};
use domain::challenge::{Challenge, Mode, State};
use ports::{Hint, NoticeKind};
use session::{
    AnswerOutcome, Answering, Identified, Notice, NoticeKind as WireKind, Prompt, Pulling,
    Rebinding, Seeing, Step,
};

use crate::Shared;
use crate::cards::Cards;
use crate::connection::{Connection, End, Event};
use crate::enter::{Device, unavailable};

/// What a device is told first.
pub(crate) async fn begin(
    connection: &mut Connection,
    session: &Identified,
    device: &mut Device,
) -> Result<(), End> {
    if let Some(notice) = waits(connection, device).await? {
        connection.send(session.notice(as_sent(&notice, false))).await?;
    }
    show_pending(connection, session, device).await?;
    show_notices(connection, session, device).await
}

/// Deals with an event.
pub(crate) async fn react(
    connection: &mut Connection,
    session: Identified,
    device: &mut Device,
    event: Event,
) -> Result<Identified, End> {
    let step = match event {
        Event::Frame(frame) => session.on_frame(frame, connection.now()),
        Event::Control => session.on_control(connection.now()),
        Event::Timer => session.on_timer(connection.now()),
        Event::Hint(hint) => return tell(connection, session, device, hint).await,
    };
    match step {
        Step::Wait(next) => Ok(next),
        Step::Ping(next) => {
            connection.ping().await?;
            Ok(next)
        }
        Step::Answer(asking, request) => answer(connection, device, asking, request).await,
        Step::Pull(asking) => pull(connection, device, asking).await,
        Step::Rebind(asking) => rebind(connection, &device.connected, asking).await,
        Step::Seen(asking, up_to) => seen(connection, &device.connected, asking, up_to).await,
        Step::Close(close) => Err(close.into()),
    }
}

/// Shows what rings.
async fn show_pending(
    connection: &mut Connection,
    session: &Identified,
    device: &mut Device,
) -> Result<(), End> {
    let mut call = connection.shared.call();
    let app = &connection.shared.app;
    let pending = app.pending(&mut call, &device.connected, false).await;
    for challenge in pending.map_err(|error| unavailable(&error))? {
        show(connection, session, &mut device.cards, &challenge).await?;
    }
    Ok(())
}

/// Tells the person what is kept for them and this device hasn't had yet.
async fn show_notices(
    connection: &mut Connection,
    session: &Identified,
    device: &mut Device,
) -> Result<(), End> {
    let app = Arc::clone(&connection.shared.app);
    loop {
        let call = connection.shared.call();
        let unseen = app.notices(&call, &device.connected, device.noticed).await;
        let unseen = unseen.map_err(|error| unavailable(&error))?;
        let Some(last) = unseen.last().and_then(|notice| notice.id) else {
            return Ok(());
        };
        for notice in &unseen {
            let more = notice.id != Some(last);
            connection.send(session.notice(as_sent(notice, more))).await?;
        }
        device.noticed = last;
    }
}

/// Makes up for hints that were lost: takes away the cards that ended meanwhile, and shows what rings.
async fn resync(
    connection: &mut Connection,
    session: &Identified,
    device: &mut Device,
) -> Result<(), End> {
    let mut call = connection.shared.call();
    let app = Arc::clone(&connection.shared.app);
    let live = app.pending(&mut call, &device.connected, true).await;
    let live = live.map_err(|error| unavailable(&error))?;
    for id in device.cards.stale(|card| live.iter().any(|challenge| challenge.id == card)) {
        let state = app.card_state(&device.connected, id).await;
        let state = state.map_err(|error| unavailable(&error))?;
        if let State::Decided(_) = state {
            device.cards.gone(id);
            connection.send(session.settled(id, state)).await?;
        }
    }
    for challenge in live.iter().filter(|challenge| challenge.mode == Mode::Ring) {
        show(connection, session, &mut device.cards, challenge).await?;
    }
    show_notices(connection, session, device).await
}

async fn show(
    connection: &mut Connection,
    session: &Identified,
    cards: &mut Cards,
    challenge: &Challenge,
) -> Result<(), End> {
    let prompt = prompt(&connection.shared, challenge);
    if let Some(frame) = prompt.and_then(|prompt| session.prompt(prompt)) {
        cards.shown(challenge.id);
        connection.send(frame).await?;
    }
    Ok(())
}

/// A challenge as it is shown now. `None` if its key isn't among those that this connection was told.
fn prompt<'a>(shared: &Shared, challenge: &'a Challenge) -> Option<Prompt<'a>> {
    let mut keys = shared.app.vault().certified().iter();
    let Some(certificate) = keys.position(|key| key.number == challenge.signing_key) else {
        tracing::warn!(challenge = %challenge.id, "not shown: its signing key is not in use");
        return None;
    };
    Some(Prompt {
        document: &challenge.document,
        signature: &challenge.signature,
        certificate: u32::try_from(certificate).ok()?,
        alert: challenge.mode == Mode::Ring,
        remaining: challenge.expires.since(shared.call().now),
    })
}

async fn tell(
    connection: &mut Connection,
    session: Identified,
    device: &mut Device,
    hint: Hint,
) -> Result<Identified, End> {
    let is_for_it = matches!(hint, Hint::Replaced | Hint::Revoked);
    if !is_for_it && Box::pin(waits(connection, device)).await?.is_some() {
        return Ok(session);
    }
    match hint {
        Hint::Prompt(challenge) => {
            show(connection, &session, &mut device.cards, &challenge).await?;
        }
        Hint::Settled(_, State::Pending) => {}
        Hint::Settled(challenge, state) => {
            if device.cards.gone(challenge) {
                connection.send(session.settled(challenge, state)).await?;
            }
        }
        Hint::Notice(notice) => {
            connection.send(session.notice(as_sent(&notice, false))).await?;
        }
        Hint::Notices => Box::pin(show_notices(connection, &session, device)).await?,
        Hint::Resync => resync(connection, &session, device).await?,
        Hint::Replaced => return Err(session.replaced().into()),
        Hint::Revoked => return Err(session.revoked().into()),
    }
    Ok(session)
}

/// What a device that doesn't count yet is told instead of anything of its user's.
async fn waits(
    connection: &mut Connection,
    device: &mut Device,
) -> Result<Option<ports::Notice>, End> {
    if !device.connected.waits {
        return Ok(None);
    }
    let call = connection.shared.call();
    let notice = connection.shared.app.waiting_notice(&call, &device.connected).await;
    let notice = notice.map_err(|error| unavailable(&error))?;
    device.connected.waits = notice.is_some();
    Ok(notice)
}

fn as_sent(notice: &ports::Notice, more: bool) -> Notice<'_> {
    let ports::Notice { id, kind: about, at, text } = notice;
    Notice { id: *id, more, kind: kind(*about), at: *at, text }
}

const fn kind(kind: NoticeKind) -> WireKind {
    match kind {
        NoticeKind::DeviceEnrolled => WireKind::DeviceEnrolled,
        NoticeKind::TicketCreated => WireKind::TicketCreated,
        NoticeKind::FactorReset => WireKind::FactorReset,
        NoticeKind::RecoveryCodeUsed => WireKind::RecoveryCodeUsed,
        NoticeKind::RepeatedFailures => WireKind::RepeatedFailures,
        NoticeKind::FactorCreated => WireKind::FactorCreated,
        NoticeKind::DeviceRevoked => WireKind::DeviceRevoked,
        NoticeKind::DeviceWaiting => WireKind::DeviceWaiting,
        NoticeKind::Digest => WireKind::Digest,
    }
}

async fn answer(
    connection: &mut Connection,
    device: &mut Device,
    asking: Answering,
    request: session::Answer,
) -> Result<Identified, End> {
    let challenge = request.challenge;
    let request = Answer {
        challenge,
        decision: request.decision,
        number: request.number,
        user_verified: request.user_verified,
        counter: request.counter,
        signature: request.signature.to_vec(),
    };
    let mut call = connection.shared.call();
    let answered = connection.shared.app.answer(&mut call, &device.connected, request).await;
    let (outcome, totp_rebind) = match answered {
        Ok(answered) => {
            let outcome = match answered.result {
                AnswerResult::Settled(state) => {
                    device.cards.told(challenge);
                    AnswerOutcome::Settled(state)
                }
                AnswerResult::Withheld => AnswerOutcome::Withheld,
                AnswerResult::Late => AnswerOutcome::Late,
                AnswerResult::Refused => AnswerOutcome::Refused,
            };
            (outcome, answered.totp_rebind)
        }
        Err(error) => {
            tracing::warn!(%error, "answer not stored");
            (AnswerOutcome::Retry, false)
        }
    };
    let (next, frame) = asking.answered(outcome, totp_rebind);
    connection.send(frame).await?;
    Ok(next)
}

async fn pull(
    connection: &mut Connection,
    device: &mut Device,
    asking: Pulling,
) -> Result<Identified, End> {
    let mut call = connection.shared.call();
    let app = &connection.shared.app;
    let pending = app.pending(&mut call, &device.connected, true).await;
    let mut prompts = 0;
    for challenge in pending.map_err(|error| unavailable(&error))? {
        let prompt = prompt(&connection.shared, &challenge);
        if let Some(frame) = prompt.and_then(|prompt| asking.prompt(prompt)) {
            device.cards.shown(challenge.id);
            connection.send(frame).await?;
            prompts += 1;
        }
    }
    let (next, frame) = asking.pulled(prompts);
    connection.send(frame).await?;
    connection.shared.app.pulled(&mut call, &device.connected).await;
    Ok(next)
}

async fn rebind(
    connection: &mut Connection,
    connected: &Connected,
    asking: Rebinding,
) -> Result<Identified, End> {
    let mut call = connection.shared.call();
    let rebound = connection.shared.app.rebind_totp(&mut call, connected).await;
    let secret = rebound.map_err(|error| unavailable(&error))?;
    let (next, frame) = asking.rebound(secret.as_ref());
    connection.send(frame).await?;
    Ok(next)
}

/// Notes how far the person has read. If that isn't stored the notices come again, which harms nobody.
async fn seen(
    connection: &mut Connection,
    connected: &Connected,
    asking: Seeing,
    up_to: u64,
) -> Result<Identified, End> {
    if let Err(error) = connection.shared.app.notices_seen(connected, up_to).await {
        tracing::warn!(%error, "notices come again");
    }
    Ok(asking.noted())
}
