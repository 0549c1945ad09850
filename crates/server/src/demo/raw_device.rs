//! A device that sends what it is told to, right or wrong: for answers that a real authenticator never gives.

use std::collections::VecDeque;
use std::time::Duration;

use authenticator_native::Account;
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use statement::{AnswerDecision, ChallengeId, Login};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use wire::device::{
    self, Answer, ClientFrame, ClientHello, Prompt, ServerFrame, client_frame::Frame as Up,
    server_frame::Frame as Down,
};

/// How long the server may take: longer than a busy disk does for a commit.
const WITHIN: Duration = Duration::from_secs(30);

enum Received {
    Frame(Down),
    Close(u16),
}

/// A logged-in socket.
pub struct RawDevice {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    account: Account,
    /// Those that came while something else was waited for.
    prompts: VecDeque<Prompt>,
}

impl RawDevice {
    /// Connects and logs in.
    ///
    /// # Errors
    /// What went wrong, in one line.
    pub async fn connect(account: Account) -> Result<Self, String> {
        let url = account.server.websocket(device::PATH);
        let mut request = url.into_client_request().map_err(|error| error.to_string())?;
        let protocol = HeaderValue::from_static(device::SUBPROTOCOL);
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let (socket, _) = connect_async(request).await.map_err(|error| error.to_string())?;
        let mut device = Self { socket, account, prompts: VecDeque::new() };
        let version = device::VERSION;
        let agent = "countersign demo".to_owned();
        device
            .send(Up::Hello(ClientHello { min_version: version, max_version: version, agent }))
            .await?;
        let Down::Hello(hello) = device.receive().await? else {
            return Err("no hello".into());
        };
        let nonce: [u8; 32] = hello.nonce.as_ref().try_into().map_err(|_| "a short nonce")?;
        let (tenant, id) = (device.account.tenant, device.account.device);
        let server = device.account.identity;
        let login = Login { server: &server, tenant, device: id, nonce: &nonce };
        let signature = login.sign(&device.account.seed.key()).to_vec().into();
        let (tenant, device_id) = (tenant.as_bytes().to_vec(), id.as_bytes().to_vec());
        device
            .send(Up::Login(device::Login {
                tenant: tenant.into(),
                device: device_id.into(),
                signature,
            }))
            .await?;
        match device.receive().await? {
            Down::Welcome(_) => Ok(device),
            _ => Err("no welcome".into()),
        }
    }

    /// The account as it is now.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Waits for a prompt: its id and the challenge bytes as received.
    ///
    /// # Errors
    /// If none comes.
    pub async fn prompt(&mut self) -> Result<(ChallengeId, Vec<u8>), String> {
        let prompt = loop {
            if let Some(prompt) = self.prompts.pop_front() {
                break prompt;
            }
            if let Down::Prompt(prompt) = self.receive().await? {
                break prompt;
            }
        };
        let challenge = device::Challenge::decode(prompt.challenge.clone());
        let challenge = challenge.map_err(|error| error.to_string())?;
        let id = ChallengeId::from_slice(&challenge.id).map_err(|error| error.to_string())?;
        Ok((id, prompt.challenge.to_vec()))
    }

    /// Opens the app and waits for one challenge, whether it rang or is silent: its bytes as received.
    ///
    /// # Errors
    /// If it doesn't come.
    pub async fn find(&mut self, challenge: ChallengeId) -> Result<Vec<u8>, String> {
        self.send(Up::Pull(device::Pull {})).await?;
        self.rung(challenge).await
    }

    /// Waits for the prompt of one challenge.
    ///
    /// # Errors
    /// If it doesn't come.
    pub async fn rung(&mut self, challenge: ChallengeId) -> Result<Vec<u8>, String> {
        loop {
            let (id, document) = self.prompt().await?;
            if id == challenge {
                return Ok(document);
            }
        }
    }

    /// Signs an approval.
    #[must_use]
    pub fn approval(&mut self, id: ChallengeId, document: &[u8], number: &str) -> Answer {
        self.sign(id, document, AnswerDecision::Approve, number)
    }

    /// Signs what the person chose; `number` is empty unless they approve.
    #[must_use]
    pub fn sign(
        &mut self,
        id: ChallengeId,
        document: &[u8],
        decision: AnswerDecision,
        number: &str,
    ) -> Answer {
        self.account.counter += 1;
        let counter = self.account.counter;
        let statement = statement::Answer {
            challenge: document,
            device: self.account.device,
            decision,
            number,
            user_verified: false,
            counter,
        };
        Answer {
            challenge: id.as_bytes().to_vec().into(),
            decision: decision as i32,
            number: number.to_owned(),
            user_verified: false,
            counter,
            signature: statement.sign(&self.account.seed.key()).to_vec().into(),
        }
    }

    /// Sends an answer and waits for what became of it: `approved`, `refused`, `late`, ..
    ///
    /// # Errors
    /// If no result comes.
    pub async fn answer(&mut self, answer: Answer) -> Result<String, String> {
        self.send(Up::Answer(answer)).await?;
        let result = loop {
            match self.receive().await? {
                Down::AnswerResult(result) => break result,
                Down::Prompt(prompt) => self.prompts.push_back(prompt),
                _ => {}
            }
        };
        let name = match result.result() {
            device::Result::Settled => result.state().as_str_name(),
            other => other.as_str_name(),
        };
        let name = name.trim_start_matches("STATE_").trim_start_matches("RESULT_");
        Ok(name.to_lowercase())
    }

    async fn send(&mut self, frame: Up) -> Result<(), String> {
        let bytes = ClientFrame { frame: Some(frame) }.encode_to_vec();
        let sent = self.socket.send(Message::Binary(bytes.into())).await;
        sent.map_err(|error| error.to_string())
    }

    /// Waits until the server closes: what it said before, and the close code.
    ///
    /// # Errors
    /// If the connection ends without a close, or goes on.
    pub async fn closed(&mut self) -> Result<(Vec<Down>, u16), String> {
        let mut frames = Vec::new();
        loop {
            match self.next().await? {
                Received::Frame(frame) => frames.push(frame),
                Received::Close(code) => return Ok((frames, code)),
            }
        }
    }

    async fn receive(&mut self) -> Result<Down, String> {
        match self.next().await? {
            Received::Frame(frame) => Ok(frame),
            Received::Close(code) => Err(format!("closed: {code}")),
        }
    }

    async fn next(&mut self) -> Result<Received, String> {
        let next = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Binary(bytes))) => {
                        let frame = ServerFrame::decode(bytes).map_err(|e| e.to_string())?;
                        let frame = frame.frame.ok_or_else(|| "an empty frame".to_owned());
                        return frame.map(Received::Frame);
                    }
                    Some(Ok(Message::Close(Some(close)))) => {
                        return Ok(Received::Close(close.code.into()));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error.to_string()),
                    None => return Err("the connection ended".to_owned()),
                }
            }
        };
        tokio::time::timeout(WITHIN, next).await.map_err(|_| "nothing came in time".to_owned())?
    }
}
