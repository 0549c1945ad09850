//! One running server: stores, edges and background work put together, and taken apart again in order.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use app::sign_ins::SignIns;
use app::{Admission, App, Call, Guards, Places, Ports, Settings};
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use backend_local::LocalCourier;
use backend_sql::{MasterKey, MasterKeyError, OpenError, Store};
use edge_http::{Operator, Rest, admin_router, rest_router};
use edge_oidc::{Entra, Oidc};
use edge_pages::{Demo, Pages};
use edge_ws::{Gateway, Limits};
use http_limits::{Front, Fronted, PeerUid, Quota, RequestIds, front};
use ports::StoreError;
use statement::ServerUrl;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::admin_socket::{AdminSocket, SocketError};
use crate::atlas;
use crate::authenticator::{Site, led_to};
use crate::clock;
use crate::config::Config;
use crate::connections::Bounds;
use crate::data_dir::{DataDir, DataDirError};
use crate::exit::Exit;
use crate::fetch::Documents;
use crate::guard;
use crate::listener::{BindError, Listener, raise_open_files};
use crate::operations::{self, Readiness};
use crate::tls::{TlsConfig, TlsError};
use crate::webhooks::{Pace, SetupError, Webhooks};

/// How often expired challenges are swept up: the promise is two seconds.
const SWEEP: Duration = Duration::from_millis(500);
/// How often the audit is checkpointed, at least.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// Decisions by kind, brought up to date with each sweep.
const DECIDED: &str = "countersign_challenges_decided_total";
/// What the shadow policy would have decided otherwise, likewise.
const SHADOW: &str = "countersign_guard_shadow_differences_total";
/// What was refused because there was too much to do, likewise.
const SHED: &str = "countersign_requests_shed_total";

/// Why a server doesn't start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each wraps the error that says it")]
pub enum StartError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    MasterKey(#[from] backend_sql::MasterKeyError),
    #[error(transparent)]
    Store(#[from] backend_sql::OpenError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Webhook(#[from] SetupError),
    #[error("public_url: {0}")]
    PublicUrl(#[from] statement::UrlError),
    #[error(
        "the web authenticator would share the origin {0} with the sign-in pages: give it another \
         authenticator.listen or authenticator.url"
    )]
    SharedOrigin(ServerUrl),
    #[error("metrics: {0}")]
    Metrics(String),
    #[error("the public authorities: {0}")]
    Trust(String),
    #[error("the guard's policy: {0}")]
    Policy(String),
    #[error(transparent)]
    Places(#[from] places::Refused),
    #[error("the first look into the store, or the demo's set-up, failed: {0}")]
    App(#[from] app::Error),
}

impl StartError {
    /// How a start ends that failed so. What only an operator can mend is a usage error, so that nobody starts it
    /// over and over; what may be over in a moment isn't.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Tls(_)
            | Self::PublicUrl(_)
            | Self::SharedOrigin(_)
            | Self::Policy(_)
            | Self::Places(_) => Exit::Usage,
            Self::DataDir(DataDirError::Open(..))
            | Self::MasterKey(MasterKeyError::Permissions { .. } | MasterKeyError::Length(_))
            | Self::Store(
                OpenError::NewerSchema { .. }
                | OpenError::WrongMasterKey
                | OpenError::Setting { .. }
                | OpenError::Migrate(_),
            )
            | Self::Webhook(SetupError::Secret(..) | SetupError::Roots(..)) => Exit::Usage,
            Self::Bind(BindError::Other(_, error))
                if error.kind() == ErrorKind::PermissionDenied =>
            {
                Exit::Usage
            }
            Self::DataDir(_)
            | Self::MasterKey(MasterKeyError::Io { .. })
            | Self::Store(OpenError::Damaged(_) | OpenError::Sql(_))
            | Self::Bind(_)
            | Self::Socket(_)
            | Self::Webhook(SetupError::State { .. })
            | Self::Metrics(_)
            | Self::Trust(_)
            | Self::App(_) => Exit::Unreachable,
        }
    }
}

/// A data directory with its use cases on top: what serving, and admin commands without a server, stand on.
pub struct Core {
    /// Held for as long as this lives: never two writers.
    _data: DataDir,
    store: Store,
    /// The use cases.
    pub app: Arc<App>,
}

impl Core {
    /// Takes `data`, makes keys and database if they aren't there, and opens them.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(
        data: &Path,
        public_url: ServerUrl,
        guard: Guards,
        places: Arc<dyn Places>,
    ) -> Result<Self, StartError> {
        let data = DataDir::take(data)?;
        let master = MasterKey::load_or_create(&data.path().join("keys").join("master.key"))?;
        let store = Store::open(data.path(), Arc::new(clock::now), master).await?;
        let settings = Settings { public_url, guard };
        let ports = Ports {
            hot: store.hot(),
            ledger: store.ledger(),
            directory: store.directory(),
            courier: Arc::new(LocalCourier::new()),
            vault: store.vault(),
        };
        let app = App::new(settings, ports).with_places(places);
        app.meet_everybody().await.map_err(app::Error::from)?;
        Ok(Self { _data: data, store, app: Arc::new(app) })
    }

    /// The operators' routes, for somebody with this user id on this machine.
    pub fn admin(&self, uid: u32) -> Router {
        let (_, never) = watch::channel(false);
        let rest = Rest::new(Arc::clone(&self.app), Arc::new(clock::call), Arc::default(), never);
        admin_router(rest).layer(axum::Extension(Operator { uid }))
    }

    /// A clean stop: what came last is anchored in a checkpoint.
    ///
    /// # Errors
    /// [`StoreError`] if it wasn't; all else is stopped anyway.
    pub async fn close(self) -> Result<(), StoreError> {
        let closed = self.store.close().await;
        if let Err(error) = &closed {
            tracing::error!(%error, "no last checkpoint: the newest audit rows are unanchored");
        }
        closed
    }
}

/// What a demo adds to a server.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The user whom the page signs in.
    pub user: String,
}

/// A server that is bound and set up, but doesn't serve yet.
pub struct Node {
    core: Core,
    /// The use cases.
    pub app: Arc<App>,
    public: Listener,
    operations: Listener,
    authenticator: Option<Site>,
    socket: AdminSocket,
    fronted: Fronted,
    admin: Router,
    gateway: Gateway,
    webhooks: Webhooks,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
    stop: watch::Sender<bool>,
}

impl Node {
    /// Binds and sets up; nothing is accepted before [`Node::run`].
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: &Config, trial: Option<Trial>) -> Result<Self, StartError> {
        let metrics = operations::count().map_err(|e| StartError::Metrics(e.to_string()))?;
        let files = config.tls_files();
        let tls = files.map(|(cert, key)| TlsConfig::from_files(cert, key)).transpose()?;
        let secure = tls.is_some() || config.public_url.as_ref().is_some_and(is_https);
        let (bounds, of_page) = bounds(config);
        let held = bounds.total;
        let public = Listener::bind(config.listen, tls.clone(), bounds).await?;
        let operations = Listener::bind(config.admin_listen, None, Bounds::operators()).await?;
        let origin = config.origin(public.local_addr())?;
        let local = trial.is_some();
        let authenticator = Site::bind(config, &origin, tls, of_page, local).await?;
        let guard = guard::load(config).map_err(|error| StartError::Policy(error.to_string()))?;
        guard::warn(&guard);
        let atlas = atlas::open(config)?;
        tracing::info!("{}", atlas::describe(&atlas, clock::now()));
        let core = Core::open(&config.data, origin, guard, Arc::new(atlas)).await?;
        let app = Arc::clone(&core.app);
        let webhooks = Webhooks::open(&config.webhooks, &config.data, Pace::default())?;
        let socket = AdminSocket::bind(&config.data)?;
        let (stop, stopping) = watch::channel(false);
        let calls: Arc<dyn Fn() -> Call + Send + Sync> = Arc::new(clock::call);
        let sign_ins = Arc::new(SignIns::new());
        let shared = Arc::clone(&sign_ins);
        let quota = config.quota.map(|per_minute| Arc::new(Quota::new(per_minute)));
        let rest = Rest::new(Arc::clone(&app), Arc::clone(&calls), shared, stopping.clone())
            .with_quota(quota.clone());
        let origins = authenticator.iter().flat_map(|site| site.origins.clone()).collect();
        let limits = Limits { origins, ..Limits::of(u32::try_from(held).unwrap_or(u32::MAX)) };
        let gateway = Gateway::new(Arc::clone(&app), Arc::clone(&calls), limits, stopping.clone());
        let parties = relying_parties(&app, &calls, &sign_ins, (quota, &stopping), secure)?;
        let pages = Pages {
            app: Arc::clone(&app),
            call: calls,
            signins: sign_ins,
            demo: demo(&app, trial).await?,
            secure_cookies: secure,
            stopping: stopping.clone(),
        };
        let router = rest_router(rest.clone())
            .merge(edge_ws::router(gateway.clone()))
            .merge(parties)
            .merge(edge_pages::router(pages));
        let router = led_to(router, authenticator.as_ref());
        let settings = Front {
            trusted_proxies: config.trusted_proxies.clone().into(),
            ids: RequestIds::new(clock::seed()),
            hosts: local.then(|| local_hosts(public.local_addr())),
            shed: Some(edge_http::shed(Arc::clone(&app))),
        };
        let fronted = front(router, settings);
        let admin = admin_router(rest).merge(webhooks.router()).layer(from_fn(name_operator));
        Ok(Self {
            core,
            app,
            public,
            operations,
            authenticator,
            socket,
            fronted,
            admin,
            gateway,
            webhooks,
            metrics,
            stop,
        })
    }

    /// Where it listens, with its scheme.
    #[must_use]
    pub fn address(&self) -> (&'static str, SocketAddr) {
        (self.public.scheme(), self.public.local_addr())
    }

    /// Where health and metrics are.
    #[must_use]
    pub fn operations_address(&self) -> SocketAddr {
        self.operations.local_addr()
    }

    /// Where the web authenticator is, if there is one: how browsers reach it, and where it listens.
    #[must_use]
    pub fn authenticator(&self) -> Option<(&ServerUrl, (&'static str, SocketAddr))> {
        self.authenticator.as_ref().map(|site| (&site.url, site.address()))
    }

    /// Serves until `until` resolves, then drains: no new connection, requests finish, devices are told when to
    /// come back, the audit is anchored.
    ///
    /// # Errors
    /// [`StoreError`] if the audit wasn't anchored; all else is stopped anyway.
    pub async fn run(self, until: impl Future<Output = ()>) -> Result<(), StoreError> {
        let Self { core, app, public, operations, socket, fronted, admin, .. } = self;
        let Self { authenticator, gateway, webhooks, metrics, stop, .. } = self;
        let ask = readiness(&core, stop.subscribe());
        let health = operations::router(metrics, ask);
        let mut work = JoinSet::new();
        work.spawn(token_keys(Arc::clone(&app)));
        work.spawn(sweep(Arc::clone(&app), stop.subscribe()));
        work.spawn(admit(Arc::clone(&app), stop.subscribe()));
        webhooks.run(&app, &stop.subscribe(), &mut work);
        work.spawn(checkpoint(app, stop.subscribe()));
        let (keep_health, healthy) = watch::channel(false);
        let health = tokio::spawn(operations.run(Fronted::bare(health), healthy));
        let admin = tokio::spawn(socket.run(admin, stop.subscribe()));
        let public = tokio::spawn(public.run(fronted, stop.subscribe()));
        let authenticator = authenticator.map(|site| site.spawn(stop.subscribe()));
        until.await;
        tracing::info!("stopping: draining connections");
        stop.send_replace(true);
        match public.await {
            Ok(drained) if drained.cut > 0 => {
                tracing::warn!(cut = drained.cut, "connections were cut at the drain deadline");
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the listener failed"),
        }
        if let Some(authenticator) = authenticator {
            drop(authenticator.await);
        }
        gateway.drained().await;
        drop(admin.await);
        while work.join_next().await.is_some() {}
        // health answers "draining" until the very end
        keep_health.send_replace(true);
        drop(health.await);
        let closed = core.close().await;
        tracing::info!("stopped");
        closed
    }
}

/// How many connections the public listener and the web authenticator's may have; without one all are for the
/// former.
fn bounds(config: &Config) -> (Bounds, Bounds) {
    let (files, proxies) = (raise_open_files(), &config.trusted_proxies);
    match config.authenticator_listen {
        Some(_) => Bounds::public_and_page(files, proxies),
        None => (Bounds::public(files, proxies), Bounds::operators()),
    }
}

fn is_https(url: &ServerUrl) -> bool {
    url.as_str().starts_with("https://")
}

/// The names under which a local browser reaches a demo.
pub(crate) fn local_hosts(bound: SocketAddr) -> Arc<[String]> {
    let port = bound.port();
    [bound.to_string(), format!("localhost:{port}"), format!("127.0.0.1:{port}")].into()
}

async fn demo(app: &App, trial: Option<Trial>) -> Result<Option<Demo>, StartError> {
    let Some(trial) = trial else { return Ok(None) };
    let tenant = app.find_tenant(None).await?.id;
    let integration = app.find_integration(tenant, crate::demo::INTEGRATION).await?.id;
    Ok(Some(Demo { integration, user: trial.user }))
}

/// The edges for whoever speaks a standard protocol.
fn relying_parties(
    app: &Arc<App>,
    calls: &edge_oidc::MakeCall,
    sign_ins: &Arc<SignIns>,
    (quota, stopping): (Option<Arc<Quota>>, &watch::Receiver<bool>),
    secure: bool,
) -> Result<Router, StartError> {
    let documents = Arc::new(Documents::new().map_err(StartError::Trust)?);
    let given = || (Arc::clone(app), Arc::clone(calls), Arc::clone(sign_ins));
    let ((app, calls, shared), outgoing) = (given(), Arc::clone(&documents));
    let oidc =
        Oidc::new(app, calls, shared, outgoing, quota, edge_oidc::MAX_FOLLOWED, stopping.clone());
    let (app, calls, shared) = given();
    let entra = Entra::new(app, calls, shared, documents, secure);
    let oidc = edge_pages::dress(edge_oidc::router(oidc));
    Ok(oidc.merge(edge_pages::dress(edge_oidc::entra_router(entra))))
}

async fn name_operator(mut request: Request, next: Next) -> Response {
    if let Some(PeerUid(uid)) = request.extensions().get::<PeerUid>().copied() {
        request.extensions_mut().insert(Operator { uid });
    }
    next.run(request).await
}

fn readiness(core: &Core, stopping: watch::Receiver<bool>) -> operations::Ask {
    let (store, app) = (core.store.clone(), Arc::clone(&core.app));
    Arc::new(move || {
        if *stopping.borrow() {
            return Readiness::Draining;
        }
        match store.healthy() {
            Ok(()) if app.admission().is_shedding() => Readiness::Degraded("overload"),
            Ok(()) => Readiness::Ready,
            Err(_) => Readiness::Down("store"),
        }
    })
}

/// Does something every `period` until the server stops.
async fn every<F: Future<Output = ()>>(
    period: Duration,
    mut stop: watch::Receiver<bool>,
    mut work: impl FnMut() -> F,
) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let stopped = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => true,
            _ = ticks.tick() => false,
        };
        if stopped {
            return;
        }
        work().await;
    }
}

async fn sweep(app: Arc<App>, stop: watch::Receiver<bool>) {
    every(SWEEP, stop, || async {
        for (decision, count) in app.decided() {
            metrics::counter!(DECIDED, "decision" => decision.name()).absolute(count);
        }
        for (about, count) in app.shadow_differences() {
            metrics::counter!(SHADOW, "about" => about).absolute(count);
        }
        let (creates, others) = app.admission().refused();
        metrics::counter!(SHED, "what" => "create").absolute(creates);
        metrics::counter!(SHED, "what" => "other").absolute(others);
        loop {
            match app.expire_due(&mut clock::call()).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(%error, "expired challenges wait for the next sweep");
                    return;
                }
            }
        }
    })
    .await;
}

/// Looks how much gets done, so that what is too much is refused.
async fn admit(app: Arc<App>, stop: watch::Receiver<bool>) {
    let mut last = clock::passing();
    every(Admission::INTERVAL, stop, || {
        // late where there is much to do, so it is measured
        let now = clock::passing();
        match app.admission().look(now.saturating_duration_since(last)) {
            Some(true) => {
                tracing::warn!("more sign-ins are asked for than get done: the rest is refused");
            }
            Some(false) => tracing::info!("all sign-ins that are asked for get done again"),
            None => {}
        }
        last = now;
        async {}
    })
    .await;
}

/// Draws the keys that sign tokens, if this is the first start: before anybody asks for them.
async fn token_keys(app: Arc<App>) {
    if let Err(error) = app.ensure_token_keys(&clock::call()).await {
        tracing::warn!(%error, "no keys to sign tokens with");
    }
}

async fn checkpoint(app: Arc<App>, stop: watch::Receiver<bool>) {
    every(CHECKPOINT, stop, || async {
        if let Err(error) = app.checkpoint().await {
            tracing::warn!(%error, "no checkpoint of the audit this time");
        }
    })
    .await;
}
