//! Between the domain's types and the API's shapes.

use std::time::Duration;

use app::{
    ChallengeView, Created, EventView, NewFactor, NewTicket, Standing, TicketView, UserView,
    UserWish,
};
use data_encoding::HEXLOWER;
use domain::audit::Public;
use domain::challenge::{self, Decision, Method, Methods, Purpose};
use domain::directory::{Device, User, UserRecord, Wait};
use domain::guard::{Counts, EnrolmentDecision};
use http_limits::Problem;
use ports::{Listed, UserRef};
use statement::{TenantId, Timestamp, UserId};
use wire::rest;

/// RFC 3339, UTC, milliseconds.
pub(crate) fn time(at: Timestamp) -> String {
    let millis = i64::try_from(at.millis()).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    format!("{at:.3}")
}

/// An RFC 3339 time that somebody sent.
pub(crate) fn parse_time(field: &'static str, text: &str) -> Result<Timestamp, Problem> {
    let millis =
        text.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
    millis.map(Timestamp::from_millis).ok_or_else(|| {
        Problem::invalid(field, "must be an RFC 3339 time such as 2027-01-01T12:00:00Z")
    })
}

/// How integrations name a user: an id, or `name:` and the name.
pub(crate) fn user_ref(text: &str) -> Result<UserRef, Problem> {
    if let Some(name) = text.strip_prefix("name:") {
        return domain::directory::name(name)
            .map(UserRef::Name)
            .map_err(|error| Problem::invalid("user", format!("the name {error}")));
    }
    text.parse()
        .map(UserRef::Id)
        .map_err(|_| Problem::invalid("user", "must be a user id, or name: and the user's name"))
}

/// How operators name a user: the bare name too.
pub(crate) fn operators_user_ref(text: &str) -> Result<UserRef, Problem> {
    if text.starts_with("name:") || text.parse::<UserId>().is_ok() {
        user_ref(text)
    } else {
        user_ref(&format!("name:{text}"))
    }
}

/// Most items of a page.
pub(crate) const MAX_LIMIT: u32 = 200;
/// Items of a page unless asked otherwise.
const DEFAULT_LIMIT: u32 = 50;

/// How many items a page may have.
pub(crate) fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(Problem::invalid("limit", "must be between 1 and 200")),
    }
}

/// What a cursor starts with, so that nobody takes it for an id.
const CURSOR: &str = "cur_";

/// The cursor of a list of users.
pub(crate) fn parse_cursor(text: Option<&str>) -> Result<Option<[u8; 16]>, Problem> {
    let Some(text) = text else { return Ok(None) };
    text.strip_prefix(CURSOR)
        .and_then(|digits| HEXLOWER.decode(digits.as_bytes()).ok()?.try_into().ok())
        .map(Some)
        .ok_or_else(|| Problem::invalid("cursor", "must be a next_cursor of this list"))
}

/// A page of users.
pub(crate) fn users(listed: Listed<User>) -> rest::Page<rest::ListedUser> {
    let user = |user: User| rest::ListedUser {
        id: user.id.to_string(),
        name: user.name,
        break_glass: user.break_glass,
        created_at: time(user.created),
    };
    let cursor = |bytes: [u8; 16]| format!("{CURSOR}{}", HEXLOWER.encode(&bytes));
    rest::Page {
        data: listed.items.into_iter().map(user).collect(),
        next_cursor: listed.next.map(cursor),
    }
}

/// A list that is short by nature.
pub(crate) const fn whole<T>(data: Vec<T>) -> rest::Page<T> {
    rest::Page { data, next_cursor: None }
}

pub(crate) const fn purpose(purpose: Purpose) -> rest::Purpose {
    match purpose {
        Purpose::SignIn => rest::Purpose::SignIn,
        Purpose::StepUp => rest::Purpose::StepUp,
        Purpose::Transaction => rest::Purpose::Transaction,
        Purpose::Enrolment => rest::Purpose::Enrolment,
        Purpose::Reset => rest::Purpose::Reset,
        Purpose::HelpDesk => rest::Purpose::HelpDesk,
    }
}

pub(crate) const fn asked_purpose(purpose: rest::Purpose) -> Purpose {
    match purpose {
        rest::Purpose::SignIn => Purpose::SignIn,
        rest::Purpose::StepUp => Purpose::StepUp,
        rest::Purpose::Transaction => Purpose::Transaction,
        rest::Purpose::Enrolment => Purpose::Enrolment,
        rest::Purpose::Reset => Purpose::Reset,
        rest::Purpose::HelpDesk => Purpose::HelpDesk,
    }
}

pub(crate) const fn method(method: Method) -> rest::Method {
    match method {
        Method::Push => rest::Method::Push,
        Method::Totp => rest::Method::Totp,
        Method::RecoveryCode => rest::Method::RecoveryCode,
    }
}

pub(crate) const fn asked_method(method: rest::Method) -> Method {
    match method {
        rest::Method::Push => Method::Push,
        rest::Method::Totp => Method::Totp,
        rest::Method::RecoveryCode => Method::RecoveryCode,
    }
}

pub(crate) fn methods(methods: Methods) -> Vec<rest::Method> {
    methods.iter().map(method).collect()
}

pub(crate) fn asked_methods(methods: Vec<rest::Method>) -> Methods {
    methods.into_iter().map(asked_method).collect()
}

const fn decision(decision: Decision) -> rest::State {
    match decision {
        Decision::Approved => rest::State::Approved,
        Decision::Denied => rest::State::Denied,
        Decision::Reported => rest::State::Reported,
        Decision::Mismatch => rest::State::Mismatch,
        Decision::Expired => rest::State::Expired,
        Decision::Cancelled => rest::State::Cancelled,
        Decision::Superseded => rest::State::Superseded,
    }
}

const fn state(state: challenge::State) -> rest::State {
    match state {
        challenge::State::Pending => rest::State::Pending,
        challenge::State::Decided(decided) => decision(decided.decision),
    }
}

pub(crate) fn created(created: &Created) -> rest::CreatedChallenge {
    rest::CreatedChallenge {
        id: created.view.id.to_string(),
        state: state(created.view.state),
        number: created.number.as_ref().map(|number| number.as_str().to_owned()),
        digits: created.digits,
        expires_at: time(created.view.expires),
        methods: methods(created.methods),
        page_url: None,
    }
}

pub(crate) fn challenge(view: &ChallengeView) -> rest::Challenge {
    rest::Challenge {
        id: view.id.to_string(),
        state: state(view.state),
        factor: view.factor.map(method),
        expires_at: time(view.expires),
        redeemed: view.redeemed,
        lapsed: view.lapsed,
    }
}

pub(crate) fn user(view: UserView) -> rest::User {
    rest::User {
        id: view.user.id.to_string(),
        name: view.user.name,
        enrolled: view.enrolled,
        methods: methods(view.methods),
        break_glass: view.user.break_glass,
        ttl_s: view.user.ttl.and_then(|ttl| u32::try_from(ttl.as_secs()).ok()),
        created_at: time(view.user.created),
    }
}

/// What somebody wants a user to be.
pub(crate) fn user_wish(asked: &rest::PutUser) -> UserWish {
    let ttl = asked.ttl_s.map(|seconds| Duration::from_secs(seconds.into()));
    UserWish { break_glass: asked.break_glass, ttl }
}

pub(crate) fn standing(standing: &Standing) -> rest::Standing {
    let Standing { user, level, score } = *standing;
    rest::Standing { user: user.to_string(), level, score }
}

const fn waits_for(wait: &Wait) -> rest::WaitsFor {
    match wait.until {
        Some(_) => rest::WaitsFor::Time,
        None => rest::WaitsFor::SecondApprover,
    }
}

/// What something waits for, and when that is over by itself.
pub(crate) fn waiting(wait: Option<&Wait>) -> (Option<rest::WaitsFor>, Option<String>) {
    (wait.map(waits_for), wait.and_then(|wait| wait.until).map(time))
}

pub(crate) fn device(device: &Device) -> rest::Device {
    let (waits_for, usable_from) = waiting(device.wait.as_ref());
    rest::Device {
        id: device.id.to_string(),
        name: device.name.clone(),
        created_at: time(device.created),
        revoked_at: device.revoked.map(time),
        waits_for,
        usable_from,
    }
}

pub(crate) fn created_ticket(ticket: &NewTicket) -> rest::CreatedTicket {
    rest::CreatedTicket {
        ticket: ticket.id.to_string(),
        link: ticket.link.as_str().to_owned(),
        code: ticket.code.as_str().to_owned(),
        server_fingerprint: ticket.fingerprint.clone(),
        expires_at: time(ticket.expires),
        waits_for: match ticket.decision {
            EnrolmentDecision::Allow => None,
            EnrolmentDecision::Wait => Some(rest::WaitsFor::Time),
            EnrolmentDecision::SecondApprover => Some(rest::WaitsFor::SecondApprover),
        },
    }
}

pub(crate) fn ticket(view: &TicketView) -> rest::Ticket {
    let state = match view.state {
        "open" => rest::TicketState::Open,
        "claimed" => rest::TicketState::Claimed,
        "used" => rest::TicketState::Used,
        "expired" => rest::TicketState::Expired,
        _ => rest::TicketState::Cancelled,
    };
    rest::Ticket {
        ticket: view.id.to_string(),
        state,
        number: view.number.as_ref().map(|number| number.as_str().to_owned()),
        device_name: view.device_name.clone(),
        expires_at: time(view.expires),
    }
}

pub(crate) fn created_factor(new: NewFactor) -> rest::CreatedFactor {
    let (factor, otpauth_uri, codes, wait) = match new {
        NewFactor::Totp { factor, otpauth_uri, wait } => {
            (factor, Some(otpauth_uri.as_str().to_owned()), None, wait)
        }
        NewFactor::RecoveryCodes { factor, codes, wait } => {
            let codes = codes.iter().map(|code| code.as_str().to_owned()).collect();
            (factor, None, Some(codes), wait)
        }
    };
    let (waits_for, usable_from) = waiting(wait.as_ref());
    rest::CreatedFactor { factor: factor.to_string(), otpauth_uri, codes, waits_for, usable_from }
}

/// A user's factors beside their devices.
pub(crate) fn factors(record: &UserRecord) -> Vec<rest::Factor> {
    let totp = record.totp.as_ref().map(|totp| rest::Factor {
        factor: totp.id.to_string(),
        r#type: rest::Method::Totp,
        locked: Some(totp.locked),
        left: None,
        created_at: Some(time(totp.created)),
        waits_for: None,
        usable_from: None,
    });
    let recovery = record.recovery.first().map(|code| {
        let left = record.recovery.iter().filter(|code| !code.used).count();
        rest::Factor {
            factor: code.factor.to_string(),
            r#type: rest::Method::RecoveryCode,
            locked: None,
            left: u32::try_from(left).ok(),
            created_at: None,
            waits_for: None,
            usable_from: None,
        }
    });
    let waiting = record.waiting.iter().map(|factor| {
        let (waits_for, usable_from) = waiting(Some(&factor.wait));
        rest::Factor {
            factor: factor.factor.to_string(),
            r#type: method(factor.method),
            locked: None,
            left: None,
            created_at: None,
            waits_for,
            usable_from,
        }
    });
    totp.into_iter().chain(recovery).chain(waiting).collect()
}

/// An event as docs/events.md shows it, here and in webhooks.
#[must_use]
pub fn event(view: EventView) -> rest::Event {
    let EventView { id, tenant, at, public, private } = view;
    let private = private.filter(|private| !private.is_empty());
    rest::Event {
        id: id.to_string(),
        at: time(at),
        r#type: public.event.name().to_owned(),
        challenge: public.challenge.map(|id| id.to_string()),
        user: public.user.map(|id| id.to_string()),
        integration: public.integration.map(|id| id.to_string()),
        device: public.device.map(|id| id.to_string()),
        ticket: public.ticket.map(|id| id.to_string()),
        mode: public.mode.map(word),
        purpose: public.purpose.map(purpose),
        decision: public.decision.map(decision),
        factor: public.factor.map(method),
        alert: public.alert.map(|raised| alert(raised, tenant, &public, at)),
        guard: public.guard.map(|judged| rest::Judgement {
            familiarity: judged.familiarity.name().to_owned(),
            level: judged.level,
            score: judged.score,
            origin: rest::OriginTags {
                cookie: judged.origin.cookie,
                address: judged.origin.address,
                network: judged.origin.network,
            },
            session: judged.session,
            around: rest::Around {
                address_hot: judged.around.address_hot,
                network_hot: judged.around.network_hot,
                organisation_hot: judged.around.organisation_hot,
                outage: judged.around.outage,
            },
            first_factor: judged.first_factor,
            push: judged.push,
            break_glass: judged.break_glass,
            ttl_s: judged.ttl_s,
        }),
        told: public.told.map(|told| rest::Told {
            at: told.at,
            spent: told.spent,
            has_code: told.has_code,
        }),
        shadow: public.shadow.map(|shadow| rest::Shadow {
            mode: shadow.mode.map(word),
            level: shadow.level,
            withheld: shadow.withheld,
            alerts: shadow
                .alerts
                .map(|kinds| kinds.iter().map(|kind| kind.name().to_owned()).collect()),
            refused: shadow.refused,
        }),
        reasons: public.reasons.into_iter().map(word).collect(),
        cause: public.cause,
        private: private.map(|private| rest::EventPrivate {
            name: private.name,
            address: private.address,
            place: private.place,
            country: private.country,
            asn: private.asn,
            agent: private.agent,
            by: private.by,
            reason: private.reason,
        }),
    }
}

fn alert(
    alert: domain::guard::Alert,
    tenant: TenantId,
    public: &Public,
    at: Timestamp,
) -> rest::Alert {
    let evidence = public.evidence;
    rest::Alert {
        dedupe_key: alert.dedupe_key(tenant, public, at),
        source: evidence.and_then(|evidence| evidence.source).map(domain::guard::source_name),
        window_s: evidence.map(|evidence| evidence.window_s),
        counts: evidence.map(|evidence| {
            let Counts { tries, silent, denied, users, timed_out } = evidence.counts;
            rest::AlertCounts { tries, silent, denied, users, timed_out }
        }),
        kind: alert.kind.name().to_owned(),
        severity: alert.severity.name().to_owned(),
        scope: alert.scope.name().to_owned(),
        technique: alert.kind.technique().map(str::to_owned),
        next_step: alert.kind.next_step().to_owned(),
    }
}

/// The snake_case name under which serde knows a variant.
fn word(variant: impl serde::Serialize) -> String {
    match serde_json::to_value(variant) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        let at = Timestamp::from_millis(1_798_761_600_007);
        assert_eq!(time(at), "2027-01-01T00:00:00.007Z");
        assert_eq!(parse_time("at", &time(at)).unwrap(), at);
        let east = parse_time("at", "2027-01-01T01:00:00.007+01:00").unwrap();
        assert_eq!(east, at);
        for bad in ["", "now", "2027-01-01", "2027-01-01T00:00:00", "1969-12-31T23:59:59Z"] {
            assert!(parse_time("at", bad).is_err(), "{bad}");
        }
        assert!(time(Timestamp::from_millis(u64::MAX)).starts_with("9999-"));
    }

    #[test]
    fn a_user_is_named_by_id_or_name() {
        let id = UserId::from_bytes([7; 16]);
        assert_eq!(user_ref(&id.to_string()).unwrap(), UserRef::Id(id));
        let alice = UserRef::Name("alice".to_owned());
        assert_eq!(user_ref("name:alice").unwrap(), alice);
        assert_eq!(operators_user_ref("alice").unwrap(), alice);
        assert_eq!(operators_user_ref("name:alice").unwrap(), alice);
        assert_eq!(operators_user_ref(&id.to_string()).unwrap(), UserRef::Id(id));
        for bad in ["alice", "", "name:", "usr_x", "name:a\u{202e}b"] {
            assert!(user_ref(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cursors_round_trip() {
        let listed = Listed { items: Vec::new(), next: Some([9; 16]) };
        let cursor = users(listed).next_cursor;
        assert_eq!(parse_cursor(cursor.as_deref()).unwrap(), Some([9; 16]));
        for bad in ["", "cur_", "09", "cur_09"] {
            assert!(parse_cursor(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_name_is_the_domain_s() {
        for purpose in Purpose::ALL {
            assert_eq!(word(self::purpose(purpose)), purpose.name());
            assert_eq!(asked_purpose(self::purpose(purpose)), purpose);
        }
        for method in Method::ALL {
            assert_eq!(word(self::method(method)), method.name());
            assert_eq!(asked_method(self::method(method)), method);
        }
        for decision in Decision::ALL {
            assert_eq!(word(self::decision(decision)), decision.name());
        }
    }
}
