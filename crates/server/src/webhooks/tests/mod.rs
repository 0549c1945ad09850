//! Webhooks against real receivers, on the real store.

mod delivery;
mod receiver;
mod refusal;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use app::{Actor, App};
use axum::Router;
use domain::audit::Event;
use edge_http::Operator;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use statement::TenantId;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::*;
use crate::admin_client::{Reply, Transport};
use crate::node::Core;
use receiver::{PATIENCE, Receiver};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// No wait at all after failures; they may go on for ever.
const QUICK: Pace = Pace {
    poll: Duration::from_millis(5),
    retries: &[Duration::from_millis(1)],
    give_up: Duration::MAX,
    skip_after: u32::MAX,
    timeout: Duration::from_secs(10),
};

/// A data directory with the use cases on it.
struct World {
    _core: Core,
    app: Arc<App>,
    tenant: TenantId,
    dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let only_ours = std::fs::Permissions::from_mode(0o700);
        let dir = tempfile::Builder::new().permissions(only_ours).tempdir().unwrap();
        let origin = "http://127.0.0.1:1".parse().unwrap();
        let places = Arc::new(places::Atlas::default());
        let core = Core::open(dir.path(), origin, app::Guards::default(), places).await.unwrap();
        let app = Arc::clone(&core.app);
        let tenant = app.find_tenant(None).await.unwrap().id;
        Self { _core: core, app, tenant, dir }
    }

    /// Something happens: a user is made. Not in the millisecond in which a webhook is.
    async fn user(&self, tenant: TenantId, name: &str) {
        self.app.upsert_user(&mut clock::call(), &Actor::Owner, tenant, name).await.unwrap();
        let now = clock::now();
        while clock::now() == now {
            tokio::task::yield_now().await;
        }
    }

    async fn users(&self, names: &[&str]) {
        for name in names {
            self.user(self.tenant, name).await;
        }
    }

    fn start(&self, endpoints: &[Endpoint], pace: Pace) -> Running {
        let webhooks = Webhooks::open(endpoints, self.dir.path(), pace).unwrap();
        let workers = webhooks.0.clone();
        let operator = axum::Extension(Operator { uid: 7 });
        let router: Router = webhooks.router().layer(operator);
        let (stop, stopping) = watch::channel(false);
        let mut work = JoinSet::new();
        webhooks.run(&self.app, &stopping, &mut work);
        Running { workers, admin: Transport::InProcess(router), stop, work }
    }
}

/// Webhooks at work.
struct Running {
    workers: Vec<Arc<Worker>>,
    admin: Transport,
    stop: watch::Sender<bool>,
    work: JoinSet<()>,
}

impl Running {
    async fn stop(mut self) {
        self.stop.send_replace(true);
        let ended = async { while self.work.join_next().await.is_some() {} };
        timeout(PATIENCE, ended).await.unwrap();
    }

    /// Waits until the first webhook is in this state.
    async fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let turned = async {
            loop {
                let status = self.workers[0].status();
                if wanted(&status) {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, turned).await.unwrap_or_else(|_| panic!("{}", self.workers[0].status()))
    }

    async fn ask(&self, method: Method, path: &str) -> Reply {
        self.admin.request(method, path, None).await.unwrap()
    }
}

fn endpoint(name: &str, url: &str) -> Endpoint {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap();
    let (host, port) = authority.rsplit_once(':').unwrap();
    Endpoint {
        name: name.to_owned(),
        tenant: None,
        url: Target {
            https: scheme == "https",
            host: host.to_owned(),
            port: port.parse().unwrap(),
            authority: authority.to_owned(),
            path: format!("/{path}"),
        },
        secret: SecretSource::Inline(Zeroizing::new(SECRET.to_owned())),
        types: vec![Event::UserCreated],
        integration: None,
        allow_private: true,
        ca_file: None,
    }
}
