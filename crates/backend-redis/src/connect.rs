//! How the connection is made and kept.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{Client, ErrorKind, IntoConnectionInfo, RedisError};

/// One reply. Scripts take microseconds; longer means that the server hangs.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);
/// One try to connect, name look-up included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The first connection, all tries included.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// A reply that times out doesn't make the client reconnect; the kernel's giving up on a peer that
/// acknowledges nothing does.
const USER_TIMEOUT: Duration = Duration::from_secs(2);
/// Finds a peer that is gone while nothing is sent.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Few and soon: calls wait for the tries, and the next call starts new ones.
const RETRIES: usize = 2;
const MIN_DELAY: Duration = Duration::from_millis(50);
const MAX_DELAY: Duration = Duration::from_millis(200);
/// Calls on the wire at once; more wait, and time out.
const IN_FLIGHT_MAX: usize = 1024;

/// Oldest major version that is known to work.
const OLDEST: u32 = 7;

/// Why there is no connection. Never holds a part of the URL: passwords stand there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Not a URL of a Redis server.
    #[error("not a redis URL (redis://[USER:PASSWORD@]HOST[:PORT][/DB] or redis+unix:///PATH)")]
    Url,
    /// It can't be reached or refuses the login.
    #[error("redis can't be used: {0}")]
    Unavailable(String),
    /// It is too old.
    #[error("redis {0} is too old: 7.0 or newer is needed")]
    TooOld(String),
    /// It would throw guard cells away when it is full, and so forget that somebody is under attack.
    #[error("redis evicts ({0}): set maxmemory-policy to noeviction")]
    Evicts(String),
}

pub(crate) async fn connect(url: &str) -> Result<ConnectionManager, ConnectError> {
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE));
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(USER_TIMEOUT);
    let info = url.into_connection_info().map_err(|_| ConnectError::Url)?.set_tcp_settings(tcp);
    let client = Client::open(info).map_err(|_| ConnectError::Url)?;
    let config = ConnectionManagerConfig::new()
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_number_of_retries(RETRIES)
        .set_min_delay(MIN_DELAY)
        .set_max_delay(MAX_DELAY)
        .set_pipeline_buffer_size(IN_FLIGHT_MAX)
        .set_concurrency_limit(IN_FLIGHT_MAX);
    let start = async {
        let mut connection = ConnectionManager::new_with_config(client, config).await?;
        let info = redis::cmd("INFO")
            .arg("server")
            .arg("memory")
            .query_async::<String>(&mut connection)
            .await;
        Ok((connection, info))
    };
    let (connection, info) = tokio::time::timeout(START_TIMEOUT, start)
        .await
        .map_err(|_| ConnectError::Unavailable("no connection in time".to_owned()))?
        .map_err(|error: RedisError| ConnectError::Unavailable(describe(&error)))?;
    match info {
        Ok(info) => check(&info)?,
        // an account that may not ask is used as it is: its operator chose it for this
        Err(error) if error.code() == Some("NOPERM") => {}
        Err(error) => return Err(ConnectError::Unavailable(describe(&error))),
    }
    Ok(connection)
}

/// Refuses a server that is too old or evicts. What `INFO` doesn't say is not held against it.
fn check(info: &str) -> Result<(), ConnectError> {
    let field =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    if let Some(version) = field("redis_version") {
        let major = version.split('.').next().and_then(|text| text.parse().ok());
        if major.is_some_and(|major: u32| major < OLDEST) {
            return Err(ConnectError::TooOld(version.to_owned()));
        }
    }
    match field("maxmemory_policy") {
        Some(policy) if policy != "noeviction" => Err(ConnectError::Evicts(policy.to_owned())),
        _ => Ok(()),
    }
}

/// An error without its detail, which may hold addresses, names and values.
pub(crate) fn describe(error: &RedisError) -> String {
    match (error.kind(), error.code()) {
        (ErrorKind::Io, _) if error.is_timeout() => "timed out".to_owned(),
        (ErrorKind::Io, _) if error.is_connection_refusal() => "connection refused".to_owned(),
        (_, Some(code)) => format!("{} ({code})", error.category()),
        (_, None) => error.category().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evicting_or_old_server_is_refused_and_a_silent_one_is_not() {
        let info = |version: &str, policy: &str| {
            check(&format!("# Server\r\nredis_version:{version}\r\nmaxmemory_policy:{policy}\r\n"))
        };
        assert_eq!(info("7.0.15", "noeviction"), Ok(()));
        assert_eq!(
            info("8.2.1", "allkeys-lru"),
            Err(ConnectError::Evicts("allkeys-lru".to_owned()))
        );
        assert_eq!(info("6.2.6", "noeviction"), Err(ConnectError::TooOld("6.2.6".to_owned())));
        assert_eq!(check(""), Ok(()));
    }

    #[tokio::test]
    async fn an_error_never_repeats_the_url() {
        for url in
            ["redis://:hunter2@127.0.0.1:1/0", "http://:hunter2@localhost", "redis://:hunter2@"]
        {
            let error = connect(url).await.expect_err("nobody is there");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}
