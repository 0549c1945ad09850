//! Connections that never speak, against the real program: bounded memory, closed in time, and in nobody's way.
//! 2,000 of them; 10,000 with `COUNTERSIGN_TEST_FULL` set.

#![expect(clippy::unwrap_used, reason = "a test and its helpers")]

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use server::listener::raise_open_files;

/// The deadline for a first byte, and some for a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);
/// What a silent connection may take of the server's memory: a task and its timer, no buffer.
const BYTES_EACH: u64 = 4 * 1024;
/// What measuring, a request and the allocator may add to all of them together.
const BYTES_ASIDE: u64 = 8 * 1024 * 1024;

struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(data: &std::path::Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .env("COUNTERSIGN__ADMIN__LISTEN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut first = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut first).unwrap();
        let address = first.trim().strip_prefix("listening on http://");
        let address = address.unwrap_or_else(|| panic!("{first}")).to_owned();
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A request that needs no key.
    fn get(&self) {
        let mut stream = self.connect();
        let host = &self.address;
        let request =
            format!("GET /docs/problems HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Resident bytes.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1024
    }
}

#[test]
#[cfg(target_os = "linux")]
fn cost_little_are_closed_and_harm_nobody() {
    let full = std::env::var_os("COUNTERSIGN_TEST_FULL").is_some();
    let count: u64 = if full { 10_000 } else { 2_000 };
    assert!(raise_open_files() > count + 100, "too few descriptors here");
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    server.get();
    let before = server.memory();
    let mut silent: Vec<TcpStream> = (0..count).map(|_| server.connect()).collect();
    // answered after all of them were accepted: the queue is first in, first out
    server.get();
    let grown = server.memory().saturating_sub(before);
    assert!(
        grown <= count * BYTES_EACH + BYTES_ASIDE,
        "{} bytes for each of {count}",
        grown / count
    );
    for stream in &mut silent {
        match stream.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            other => panic!("must be closed without a word: {other:?}"),
        }
    }
    server.get();
}
