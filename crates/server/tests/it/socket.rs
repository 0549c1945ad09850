//! A WebSocket by hand: sends what no library would, and keeps every byte that comes back.

use std::net::SocketAddr;
use std::time::Duration;

use authenticator_native::Account;
use prost::Message as _;
use statement::{DeviceId, IdentityHash, SigningKey, TenantId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wire::device::client_frame::Frame as Up;
use wire::device::server_frame::Frame as Down;
use wire::device::{
    self, ClientFrame, ClientHello, PATH, SUBPROTOCOL, ServerFrame, ServerHello, VERSION,
};

/// Longer than any deadline that a test waits for, short enough to tell what hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) const PROTOCOL: (&str, &str) = ("Sec-WebSocket-Protocol", SUBPROTOCOL);

/// Opcodes of RFC 6455 §5.2.
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;

/// A client's end of an upgraded connection.
pub(crate) struct Socket {
    stream: TcpStream,
    /// The server's answer to the upgrade.
    pub(crate) head: String,
    /// Everything after it, in the order in which it came.
    pub(crate) received: Vec<u8>,
    read: usize,
}

/// A refusal before the upgrade.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// What the server sent next.
#[derive(Debug)]
pub(crate) enum Incoming {
    Frame(Down),
    Close(u16, String),
    /// The connection ended without a close.
    Gone,
}

impl Socket {
    /// Asks for the gateway with these headers beside those of every upgrade.
    pub(crate) async fn upgrade(
        address: SocketAddr,
        headers: &[(&str, &str)],
    ) -> Result<Self, Refusal> {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut request = format!(
            "GET {PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let (head, rest) = read_head(&mut stream).await;
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status == 101 {
            return Ok(Self { stream, head, received: rest, read: 0 });
        }
        let length = head.to_lowercase();
        let length = length.split("content-length: ").nth(1).and_then(|l| l.lines().next());
        let mut body = rest;
        let missing = length.map_or(0, |l| l.parse::<usize>().unwrap() - body.len());
        let mut more = vec![0; missing];
        stream.read_exact(&mut more).await.unwrap();
        body.extend(more);
        Err(Refusal { status, body: String::from_utf8(body).unwrap() })
    }

    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::upgrade(address, &[PROTOCOL]).await.expect("an upgrade")
    }

    /// Connects and says hello.
    pub(crate) async fn greet(address: SocketAddr) -> (Self, ServerHello) {
        let mut socket = Self::connect(address).await;
        socket.send(hello(VERSION, VERSION)).await;
        match socket.next().await {
            Incoming::Frame(Down::Hello(hello)) => (socket, hello),
            other => panic!("no hello: {other:?}"),
        }
    }

    /// Connects and logs in.
    pub(crate) async fn log_in(address: SocketAddr, account: &Account) -> Self {
        let (mut socket, hello) = Self::greet(address).await;
        socket.send(login(&hello, account)).await;
        match socket.next().await {
            Incoming::Frame(Down::Welcome(_)) => socket,
            other => panic!("not welcome: {other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, frame: Up) {
        let bytes = ClientFrame { frame: Some(frame) }.encode_to_vec();
        self.frame(true, BINARY, &bytes).await;
    }

    /// Sends one WebSocket frame. A server that closed meanwhile is no error: what it said is still to be
    /// read.
    pub(crate) async fn frame(&mut self, fin: bool, opcode: u8, payload: &[u8]) -> bool {
        self.bytes(&masked(fin, opcode, payload)).await
    }

    /// Sends bytes as they are. Says whether they went out.
    pub(crate) async fn bytes(&mut self, bytes: &[u8]) -> bool {
        let sent = tokio::time::timeout(PATIENCE, self.stream.write_all(bytes)).await;
        sent.expect("the server must read or close").is_ok()
    }

    /// The next binary message or the end; pings are passed over.
    pub(crate) async fn next(&mut self) -> Incoming {
        loop {
            let Some((opcode, payload)) = self.next_frame().await else { return Incoming::Gone };
            match opcode {
                BINARY => {
                    let frame = ServerFrame::decode(payload.as_slice()).unwrap().frame.unwrap();
                    return Incoming::Frame(frame);
                }
                CLOSE => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    let reason = String::from_utf8(payload[2..].to_vec()).unwrap();
                    return Incoming::Close(code, reason);
                }
                _ => {}
            }
        }
    }

    /// The next frame that isn't a notice.
    pub(crate) async fn next_of_note(&mut self) -> Incoming {
        loop {
            match self.next().await {
                Incoming::Frame(Down::Notice(_)) => {}
                other => return other,
            }
        }
    }

    /// The code and reason that it ends with.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next().await {
                Incoming::Frame(_) => {}
                Incoming::Close(code, reason) => return (code, reason),
                Incoming::Gone => panic!("no close frame"),
            }
        }
    }

    /// One frame of the server's, which never masks nor fragments (RFC 6455 §5.1).
    async fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.take(2).await?;
        assert_eq!(head[0] & 0xf0, 0x80, "a whole frame");
        let length = match head[1] {
            short @ 0..126 => usize::from(short),
            126 => {
                let long = self.take(2).await?;
                usize::from(u16::from_be_bytes([long[0], long[1]]))
            }
            _ => panic!("a masked or huge frame"),
        };
        let payload = self.take(length).await?;
        Some((head[0] & 0x0f, payload))
    }

    async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.received.len() - self.read < count {
            let read = self.stream.read_buf(&mut self.received);
            let read = tokio::time::timeout(PATIENCE, read).await;
            match read.expect("something in time") {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
        let taken = self.received[self.read..self.read + count].to_vec();
        self.read += count;
        Some(taken)
    }
}

async fn read_head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut bytes)).await;
        assert!(read.expect("a reply in time").unwrap() > 0, "a whole head");
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return (String::from_utf8(bytes).unwrap(), rest);
        }
    }
}

/// A frame as a client sends it: masked, here with zeros.
pub(crate) fn masked(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::from(fin) << 7 | opcode];
    match u16::try_from(payload.len()) {
        Ok(short @ 0..126) => bytes.push(0x80 | u8::try_from(short).unwrap()),
        Ok(long) => {
            bytes.push(0x80 | 126);
            bytes.extend(long.to_be_bytes());
        }
        Err(_) => {
            bytes.push(0x80 | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

pub(crate) fn hello(min_version: u32, max_version: u32) -> Up {
    Up::Hello(ClientHello { min_version, max_version, agent: "test".to_owned() })
}

pub(crate) fn nonce(hello: &ServerHello) -> [u8; 32] {
    hello.nonce[..].try_into().unwrap()
}

pub(crate) fn login(hello: &ServerHello, account: &Account) -> Up {
    let key = account.seed.key();
    login_with(hello, &account.identity, account.tenant, account.device, &key)
}

pub(crate) fn login_with(
    hello: &ServerHello,
    server: &IdentityHash,
    tenant: TenantId,
    device: DeviceId,
    key: &SigningKey,
) -> Up {
    let nonce = nonce(hello);
    let login = statement::Login { server, tenant, device, nonce: &nonce };
    Up::Login(device::Login {
        tenant: tenant.as_bytes().to_vec().into(),
        device: device.as_bytes().to_vec().into(),
        signature: login.sign(key).to_vec().into(),
    })
}
