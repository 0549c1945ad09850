//! The users and their devices: made over the API, enrolled and connected with the real authenticator.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use authenticator_native::{Account, Client, Event, Person, Reconnect, Session, Ticket};
use hyper::Method;
use statement::{DeviceId, EnrolLink, TypedNumberError};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wire::rest::{self, CreateTicket, CreatedTicket};

use crate::clock;
use crate::failure::Failure;
use crate::plan::Plan;
use crate::rest::{Api, Nothing, PATIENCE};

/// How many devices are enrolled at a time: servers bound connections that haven't identified themselves.
const AT_ONCE: usize = 16;
/// How long a login may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// How long the number of a claimed ticket may be awaited, and how often it is asked for.
const NUMBER_TRIES: u32 = 50;
const NUMBER_PAUSE: Duration = Duration::from_millis(100);
/// What is given as the reason for a ticket: users of an earlier run have had devices before.
const REASON: &str = "load test";

/// What a user's last sign-ins have earned at the guard. Later is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// All was well: their device rings.
    None,
    /// One failed: nothing rings for a while, they open the app.
    Silent,
    /// They denied one: beyond that, an approval takes a code as well.
    Suspect,
}

/// A user with a connected device.
pub(crate) struct User {
    /// The user's id.
    pub(crate) id: String,
    pub(crate) device: DeviceId,
    /// Where some sign in more often than others: how many do so more often than this one.
    pub(crate) rank: usize,
    pub(crate) session: Session,
    /// What the user's browser got from its last sign-in.
    pub(crate) cookie: Option<String>,
    /// The address of the user's browser: nobody else's, nor is its network.
    pub(crate) address: String,
    pub(crate) trouble: Trouble,
    /// The last TOTP step of which the code was typed: none is worth anything twice.
    pub(crate) typed: u64,
}

impl User {
    /// Whether an approval of theirs can pass now, withheld or not.
    pub(crate) fn can_pass(&self) -> bool {
        self.trouble < Trouble::Suspect || clock::totp_step() > self.typed
    }
}

/// The address of a user's browser. 198.18.0.0/15 is for benchmarks (RFC 2544); the guard takes a /24 for one
/// provider's network, so users are spread over all 512 of them.
fn address(n: u32) -> String {
    format!("198.{}.{}.{}", 18 + n / 256 % 2, n % 256, n / 512 % 250 + 1)
}

/// Where devices connect from, if the server is on this machine: several addresses, since servers bound what one may
/// hold, and each has some 28,000 ports.
const SOURCES: u32 = 8;

/// A user with a device that isn't connected.
pub(crate) struct Enrolled {
    n: u32,
    user: String,
    account: Account,
}

/// Makes those users of `plan`, each with a device that is connected.
pub(crate) async fn enrol(api: &Api, plan: &Plan, which: Range<u32>) -> Result<Vec<User>, Failure> {
    let enrolled = enrol_only(api, plan, which).await?;
    connect_all(api, enrolled).await
}

/// Makes those users of `plan`, each with a device.
pub(crate) async fn enrol_only(
    api: &Api,
    plan: &Plan,
    which: Range<u32>,
) -> Result<Vec<Enrolled>, Failure> {
    let base = client().with_algorithm(plan.algorithm);
    let each = which.map(|n| {
        let (api, name) = (api.clone(), format!("loadtest-{}-{n}", plan.name));
        let client = at_home(&base, &api, n);
        async move {
            let (user, account) = one(&api, &client, &name).await?;
            Ok(Enrolled { n, user, account })
        }
    });
    few_at_a_time(each).await
}

/// Connects devices.
pub(crate) async fn connect_all(api: &Api, all: Vec<Enrolled>) -> Result<Vec<User>, Failure> {
    let base = client();
    let each = all.into_iter().map(|Enrolled { n, user, account }| {
        let client = at_home(&base, api, n);
        async move {
            let device = account.device;
            let session = connect(&client, account).await;
            let session =
                session.map_err(|why| Failure::Device(format!("device of {user}: {why}")))?;
            Ok(User {
                id: user,
                device,
                rank: usize::try_from(n).expect("at most some thousand"),
                session,
                cookie: None,
                address: address(n),
                trouble: Trouble::None,
                typed: 0,
            })
        }
    });
    few_at_a_time(each).await
}

fn client() -> Client {
    Client::new(concat!("countersign-loadtest ", env!("CARGO_PKG_VERSION")))
}

/// The client of the n-th device, at its own address if the server is on this machine.
fn at_home(base: &Client, api: &Api, n: u32) -> Client {
    if !api.is_local() {
        return base.clone();
    }
    let last = u8::try_from(n % SOURCES).unwrap_or(0) + 2;
    base.clone().with_source(Ipv4Addr::new(127, 0, 0, last).into())
}

async fn few_at_a_time<T: Send + 'static>(
    each: impl Iterator<Item = impl Future<Output = Result<T, Failure>> + Send + 'static>,
) -> Result<Vec<T>, Failure> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for one in each {
        let places = Arc::clone(&places);
        tasks.spawn(async move {
            let _place = places.acquire_owned().await.expect("nobody closes it");
            one.await
        });
    }
    let mut done = Vec::new();
    while let Some(one) = tasks.join_next().await {
        done.push(one.expect("no task is aborted")?);
    }
    Ok(done)
}

async fn one(api: &Api, client: &Client, name: &str) -> Result<(String, Account), Failure> {
    let path = format!("/v1/users/name:{name}");
    let user: rest::User = api
        .send(Method::PUT, &path, None::<&Nothing>)
        .await
        .map_err(Failure::call(format!("user {name}")))?;
    let tickets = format!("/v1/users/{}/tickets", user.id);
    let request = CreateTicket { reason: Some(REASON.to_owned()) };
    let ticket: CreatedTicket = api
        .send(Method::POST, &tickets, Some(&request))
        .await
        .map_err(Failure::call(format!("ticket of {name}")))?;
    let device = |why: String| Failure::Device(format!("device of {name}: {why}"));
    let link: EnrolLink = ticket.link.parse().map_err(|error| device(format!("{error}")))?;
    let mut person = Desk { api, path: format!("{tickets}/{}", ticket.ticket) };
    let account = client
        .enrol(Ticket::Link(link), "loadtest", api.roots().to_vec(), &mut person)
        .await
        .map_err(|error| device(error.to_string()))?;
    Ok((user.id, account))
}

async fn connect(client: &Client, account: Account) -> Result<Session, String> {
    let mut session = client.connect(account, Reconnect::Forever);
    let connected = async {
        while let Some((_, event)) = session.events.recv().await {
            match event {
                Event::Connected { .. } => return Ok(()),
                Event::Stopped(stop) => return Err(stop.to_string()),
                Event::Fault(fault) => return Err(fault.to_string()),
                _ => {}
            }
        }
        Err("the session ended".to_owned())
    };
    timeout(CONNECT_WITHIN, connected)
        .await
        .unwrap_or_else(|_| Err("not logged in after 20 s".to_owned()))?;
    Ok(session)
}

/// Whoever gave out the ticket reads its number to the person with the new device.
struct Desk<'a> {
    api: &'a Api,
    path: String,
}

impl Person for Desk<'_> {
    async fn confirm_server(&mut self, _fingerprint: &str) -> bool {
        // only a link is used here, which names the server
        false
    }

    async fn number(&mut self, _digits: u8, wrong: Option<TypedNumberError>) -> Option<String> {
        for _ in 0..if wrong.is_some() { 0 } else { NUMBER_TRIES } {
            let ticket: rest::Ticket = self.api.get(&self.path, PATIENCE).await.ok()?;
            if ticket.number.is_some() {
                return ticket.number;
            }
            tokio::time::sleep(NUMBER_PAUSE).await;
        }
        None
    }
}

/// Closes the connections and, on a server that stays, takes the devices back. Says how many are left.
pub(crate) async fn dismiss(api: &Api, users: Vec<User>, revoke: bool) -> usize {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for user in users {
        let (api, places) = (api.clone(), Arc::clone(&places));
        tasks.spawn(async move {
            user.session.handle.close().await;
            // an error is a panic of the session's, which has been told already
            let _ = user.session.task.await;
            if !revoke {
                return true;
            }
            let _place = places.acquire_owned().await.expect("nobody closes it");
            let path = format!("/v1/users/{}/devices/{}", user.id, user.device);
            let revoked = api.send::<rest::Device>(Method::DELETE, &path, None::<&Nothing>);
            revoked.await.is_ok()
        });
    }
    let mut left = 0;
    while let Some(done) = tasks.join_next().await {
        left += usize::from(!done.unwrap_or(false));
    }
    left
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn nobody_shares_an_address_and_hardly_anybody_a_network() {
        let mut networks: HashMap<String, Vec<String>> = HashMap::new();
        for n in 0..1_000 {
            let address = address(n);
            let (network, _) = address.rsplit_once('.').expect("four bytes");
            let there = networks.entry(network.to_owned()).or_default();
            assert!(!there.contains(&address), "{address}");
            there.push(address);
        }
        assert_eq!(networks.len(), 512);
        assert!(networks.values().all(|there| there.len() <= 2));
    }
}
