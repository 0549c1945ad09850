//! A server that has a gateway and nothing else, and devices that speak its protocol frame by frame.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use app::{
    Actor, App, Call, Caller, CreateRequest, Created, FirstFactor, NewIntegration, Ports,
    RequestContext, Settings, TicketRequest,
};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::map_request;
use backend_local::LocalCourier;
use backend_sql::{MasterKey, Store};
use domain::challenge::{Methods, Purpose};
use domain::directory::Scope;
use edge_ws::{Gateway, Limits};
use futures_util::{SinkExt, StreamExt};
use http_limits::ClientAddr;
use ports::UserRef;
use prost::Message as _;
use rand::SeedableRng;
use rand::rngs::StdRng;
use statement::{DeviceId, EnrolClaim, EnrolConfirm, EnrolLink, SigningKey, TenantId, Timestamp};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use wire::device::client_frame::Frame as ToServer;
use wire::device::server_frame::Frame as ToDevice;
use wire::device::{
    self, ClientFrame, ClientHello, PATH, SUBPROTOCOL, ServerFrame, ServerHello, enrol_claim,
};

pub(crate) const OPERATOR: Actor = Actor::Operator { uid: 0 };
/// Longer than anything here takes, short enough to tell what hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// In this header tests say from which address they come.
pub(crate) const ADDRESS: &str = "x-test-address";
/// 2027-01-15 08:00 UTC.
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(crate) struct World {
    pub(crate) app: Arc<App>,
    pub(crate) store: Store,
    pub(crate) gateway: Gateway,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) tenant: TenantId,
    address: SocketAddr,
    seeds: Arc<AtomicU64>,
    _dir: TempDir,
}

/// An authenticator's key and id.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) key: Arc<SigningKey>,
    pub(crate) id: DeviceId,
}

/// A device's end of a socket.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let key = MasterKey::load_or_create(&dir.path().join("keys/master.key")).expect("a key");
        let store = Store::open(dir.path(), Arc::new(|| NOW), key).await.expect("a store");
        let settings = Settings {
            public_url: "http://127.0.0.1:8470".parse().expect("a URL"),
            guard: app::Guards::default(),
        };
        let ports = Ports {
            hot: store.hot(),
            ledger: store.ledger(),
            directory: store.directory(),
            courier: Arc::new(LocalCourier::new()),
            vault: store.vault(),
        };
        let app = Arc::new(App::new(settings, ports));
        let tenant = app.find_tenant(None).await.expect("the default tenant").id;
        let seeds = Arc::new(AtomicU64::new(0));
        let calls = {
            let seeds = Arc::clone(&seeds);
            move || call(&seeds)
        };
        let (stop, stopped) = watch::channel(false);
        let gateway = Gateway::new(Arc::clone(&app), Arc::new(calls), limits, stopped);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = edge_ws::router(gateway.clone()).layer(map_request(from_address));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { app, store, gateway, stop, tenant, address, seeds, _dir: dir }
    }

    pub(crate) fn call(&self) -> Call {
        call(&self.seeds)
    }

    /// Asks for a socket with these headers: the socket, or the status of the refusal.
    pub(crate) async fn ask(
        &self,
        headers: &[(&'static str, &'static str)],
    ) -> Result<Socket, u16> {
        let mut request =
            format!("ws://{}{PATH}", self.address).into_client_request().expect("a request");
        for (name, value) in headers {
            let name = HeaderName::from_static(name);
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn try_connect(&self) -> Result<Socket, u16> {
        self.ask(&[("sec-websocket-protocol", SUBPROTOCOL)]).await
    }

    pub(crate) async fn connect(&self) -> Socket {
        self.try_connect().await.expect("a socket")
    }

    pub(crate) async fn log_in(&self, device: &Device) -> Socket {
        self.log_in_on(self.connect().await, device).await
    }

    pub(crate) async fn log_in_on(&self, mut socket: Socket, device: &Device) -> Socket {
        let hello = socket.greet().await;
        socket.send(self.login(device, &hello)).await;
        let ToDevice::Welcome(_) = socket.recv().await else { panic!("not welcome") };
        socket
    }

    pub(crate) fn login(&self, device: &Device, hello: &ServerHello) -> ToServer {
        let login = statement::Login {
            server: &self.app.vault().identity().identity_hash(),
            tenant: self.tenant,
            device: device.id,
            nonce: &nonce(hello),
        };
        ToServer::Login(device::Login {
            tenant: self.tenant.as_bytes().to_vec().into(),
            device: device.id.as_bytes().to_vec().into(),
            signature: login.sign(&device.key).to_vec().into(),
        })
    }

    pub(crate) async fn user(&self, name: &str) {
        let made = self.app.upsert_user(&mut self.call(), &OPERATOR, self.tenant, name).await;
        made.expect("a user");
    }

    /// Enrols a device of `user` over a socket, and leaves it there, told that it is enrolled.
    pub(crate) async fn enrol(&self, user: &str) -> (Device, Socket, ServerHello) {
        let request = TicketRequest {
            user: UserRef::Name(user.to_owned()),
            confirm: true,
            reason: Some("test set-up".to_owned()),
        };
        let mut call = self.call();
        let ticket = self.app.create_ticket(&mut call, &OPERATOR, self.tenant, request).await;
        let ticket = ticket.expect("a ticket");
        let link: EnrolLink = ticket.link.parse().expect("a link");
        let hash = statement::ticket_secret_hash(link.secret.as_slice());
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&self.seeds.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        let key = SigningKey::from_seed(&seed);

        let mut socket = self.connect().await;
        let hello = socket.greet().await;
        let nonce = nonce(&hello);
        let claim = EnrolClaim { ticket: &hash, server: &link.identity, nonce: &nonce };
        let proof = enrol_claim::Proof::Secret(link.secret.to_vec().into());
        let frame = device::EnrolClaim {
            algorithm: 1,
            public_key: key.public().as_bytes().to_vec().into(),
            device_name: "phone".to_owned(),
            signature: claim.sign(&key).to_vec().into(),
            proof: Some(proof),
        };
        socket.send(ToServer::EnrolClaim(frame)).await;
        let ToDevice::EnrolPending(pending) = socket.recv().await else { panic!("not pending") };
        assert_eq!(pending.digits, 6);
        let shown = self.app.ticket(&call, self.tenant, ticket.id).await;
        let number = shown.expect("a ticket").number.expect("a number");
        let number = number.as_str();
        let confirm = EnrolConfirm { ticket: &hash, nonce: &nonce, number };
        let frame = device::EnrolConfirm {
            number: number.to_owned(),
            signature: confirm.sign(&key).to_vec().into(),
        };
        socket.send(ToServer::EnrolConfirm(frame)).await;
        let ToDevice::Enrolled(enrolled) = socket.recv().await else { panic!("not enrolled") };
        // a device that waits gets none
        assert!(enrolled.totp.is_none_or(|totp| totp.secret.len() == 20));
        let device = Device {
            key: Arc::new(key),
            id: DeviceId::from_slice(&enrolled.device).expect("an id"),
        };
        (device, socket, hello)
    }

    pub(crate) async fn device(&self, user: &str) -> Device {
        self.enrol(user).await.0
    }

    pub(crate) async fn integration(&self) -> Caller {
        let new = NewIntegration {
            name: "Payroll".to_owned(),
            protocol: domain::protocol::Protocol::default(),
            purposes: vec![Purpose::SignIn],
            methods: Methods::ALL,
            scopes: vec![Scope::Challenges],
            verifies_first_factor: false,
            reveal_users: false,
        };
        let mut call = self.call();
        let made = self.app.create_integration(&mut call, &OPERATOR, self.tenant, new).await;
        let key = made.expect("an integration").key;
        let caller = self.app.authenticate(&call, key.reveal()).await;
        caller.expect("its key works")
    }

    /// A challenge that rings, or, without a first factor, one that doesn't.
    pub(crate) async fn challenge(
        &self,
        caller: &Caller,
        user: &str,
        session: &str,
        rings: bool,
    ) -> Created {
        let call = self.call();
        let request = CreateRequest {
            user: UserRef::Name(user.to_owned()),
            context: RequestContext {
                browser_session: format!("{session:-<22}"),
                ..RequestContext::default()
            },
            first_factor: rings
                .then(|| FirstFactor { method: "password".to_owned(), at: call.now }),
            purpose: None,
            methods: None,
            ttl: None,
            details: Vec::new(),
            return_url: None,
            number: None,
        };
        let created = self.app.create_challenge(&mut self.call(), caller, request, None).await;
        created.expect("a challenge")
    }
}

fn call(seeds: &AtomicU64) -> Call {
    Call { now: NOW, rng: Box::new(StdRng::seed_from_u64(seeds.fetch_add(1, Ordering::SeqCst))) }
}

/// Stands in for a front: requests come from where they say.
async fn from_address(mut request: Request) -> Request {
    let address = request.headers().get(ADDRESS).map(|value| value.to_str().expect("text"));
    if let Some(address) = address.map(|text| text.parse().expect("an address")) {
        request.extensions_mut().insert(ClientAddr(address));
    }
    request
}

fn nonce(hello: &ServerHello) -> [u8; 32] {
    hello.nonce[..].try_into().expect("32 bytes")
}

impl Socket {
    pub(crate) async fn send(&mut self, frame: ToServer) {
        let frame = ClientFrame { frame: Some(frame) };
        self.send_raw(Message::binary(frame.encode_to_vec())).await;
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        self.0.send(message).await.expect("sent");
    }

    /// Sends without pause until the server has had enough, or as often as no server should bear.
    pub(crate) async fn flood(&mut self, message: Message) {
        for _ in 0..200 {
            if self.0.send(message.clone()).await.is_err() {
                break;
            }
        }
    }

    pub(crate) async fn greet(&mut self) -> ServerHello {
        self.send(ToServer::Hello(ClientHello {
            min_version: 1,
            max_version: 1,
            agent: "test".to_owned(),
        }))
        .await;
        match self.recv().await {
            ToDevice::Hello(hello) => hello,
            other => panic!("not a hello: {other:?}"),
        }
    }

    /// The next frame; notices and pings are passed over.
    pub(crate) async fn recv(&mut self) -> ToDevice {
        loop {
            let message = match self.next().await {
                Some(Ok(Message::Binary(message))) => message,
                Some(Ok(Message::Ping(_))) => continue,
                other => panic!("not a frame: {other:?}"),
            };
            let frame = ServerFrame::decode(message).expect("a frame").frame;
            match frame.expect("of a known kind") {
                ToDevice::Notice(_) => {}
                frame => return frame,
            }
        }
    }

    /// The next notice; all else is passed over.
    pub(crate) async fn notice(&mut self) -> device::Notice {
        loop {
            let message = match self.next().await {
                Some(Ok(Message::Binary(message))) => message,
                Some(Ok(Message::Ping(_))) => continue,
                other => panic!("not a frame: {other:?}"),
            };
            let frame = ServerFrame::decode(message).expect("a frame").frame;
            if let Some(ToDevice::Notice(notice)) = frame {
                return notice;
            }
        }
    }

    /// The close code and reason that the connection ends with; frames before it are passed over.
    pub(crate) async fn closed(mut self) -> (u16, String) {
        loop {
            match self.next().await {
                Some(Ok(Message::Close(Some(close)))) => {
                    return (close.code.into(), close.reason.to_string());
                }
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }

    async fn next(&mut self) -> Option<Result<Message, Error>> {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
        next.expect("something in time")
    }
}
