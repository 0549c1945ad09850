//! A Redis server of the test's own.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use backend_redis::RedisHot;
use tempfile::TempDir;
use testkit::within;

/// A child process on a free port; killed when dropped.
pub(crate) struct Server {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        // another process may take the port before the server does: then it is tried anew
        loop {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = listener.local_addr().expect("bound").port();
            drop(listener);
            let child = spawn(port, &dir);
            let mut server = Self { child, port, dir };
            if server.is_ready().await {
                return server;
            }
        }
    }

    /// Starts it again on the same port, empty.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.port, &self.dir);
        assert!(self.is_ready().await, "redis-server doesn't come back");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) async fn connect(&self) -> RedisHot {
        RedisHot::connect(&self.url()).await.expect("the server just answered")
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    pub(crate) fn signal(&self, name: &str) {
        let done =
            Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(done.expect("kill is installed").success());
    }

    pub(crate) async fn configure(&self, name: &str, value: &str) {
        self.command::<()>(&["CONFIG", "SET", name, value]).await;
    }

    pub(crate) async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url()).expect("a URL");
        let mut connection =
            client.get_multiplexed_async_connection().await.expect("the server answers");
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(word);
        }
        command.query_async(&mut connection).await.expect("allowed")
    }

    /// Waits until it answers; `false` if it ended instead.
    async fn is_ready(&mut self) -> bool {
        let client = redis::Client::open(self.url()).expect("a URL");
        let ready = async {
            loop {
                if self.child.try_wait().expect("a child").is_some() {
                    return false;
                }
                if let Ok(mut connection) = client.get_multiplexed_async_connection().await {
                    let pong = redis::cmd("PING").query_async::<String>(&mut connection).await;
                    if pong.is_ok() {
                        return true;
                    }
                }
                // wait: the server says nothing when it is ready, so it is asked again and again
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within("redis-server's first answer", ready).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, dir: &TempDir) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--appendonly", "no"])
        .args(["--maxmemory-policy", "noeviction", "--dir"])
        .arg(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server must be in PATH: install the package `redis-server` (Debian, Ubuntu) or `redis`")
}
