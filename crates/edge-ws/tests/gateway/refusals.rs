//! What the gateway doesn't let in, doesn't take, and doesn't wait for.

use std::time::Duration;

use edge_ws::Limits;
use ports::{Hint, Notice, NoticeKind};
use tokio_tungstenite::tungstenite::Message;
use wire::device::SUBPROTOCOL;
use wire::device::client_frame::Frame as ToServer;
use wire::device::{ClientHello, Pull};

use crate::world::{ADDRESS, World};

const PROTOCOL: (&str, &str) = ("sec-websocket-protocol", SUBPROTOCOL);

#[tokio::test]
async fn an_upgrade_needs_the_subprotocol_and_no_foreign_page() {
    let ours = "https://auth.example.com";
    let world = World::with(Limits { origins: vec![ours.to_owned()], ..Limits::default() }).await;
    let status = async |headers: &[_]| world.ask(headers).await.err();
    assert_eq!(status(&[]).await, Some(400));
    assert_eq!(status(&[("sec-websocket-protocol", "chat")]).await, Some(400));
    assert_eq!(status(&[PROTOCOL, ("origin", "https://evil.test")]).await, Some(403));
    assert_eq!(status(&[PROTOCOL, ("origin", ours)]).await, None);
    let several = ("sec-websocket-protocol", "chat, countersign.device");
    assert_eq!(status(&[several]).await, None);
}

#[tokio::test]
async fn a_crowd_that_never_speaks_gets_few_places_and_loses_them() {
    let world = World::with(Limits { unidentified_per_address: 3, ..Limits::default() }).await;
    let mut crowd = Vec::new();
    for _ in 0..3 {
        crowd.push(world.connect().await);
    }
    assert_eq!(world.try_connect().await.err(), Some(429));
    for socket in crowd {
        let closed = (4408, "no hello within 5 seconds".to_owned());
        assert_eq!(socket.closed().await, closed);
    }
    world.gateway.drained().await;
    assert!(world.try_connect().await.is_ok());
}

/// The addresses of a crowd, and one more.
const HOSTS: [&str; 5] = ["192.0.2.1", "192.0.2.2", "198.51.100.1", "2001:db8::1", "203.0.113.9"];

#[tokio::test]
async fn silent_sockets_from_many_addresses_keep_no_device_out() {
    let limits = Limits { unidentified: 16, unidentified_per_address: 4, ..Limits::default() };
    let world = World::with(limits).await;
    world.user("alice").await;
    let device = world.device("alice").await;
    world.gateway.drained().await;
    let from = async |host| world.ask(&[PROTOCOL, (ADDRESS, host)]).await;
    let [crowd @ .., home] = HOSTS;
    let mut silent = Vec::new();
    for host in crowd {
        for _ in 0..4 {
            let mut socket = from(host).await.expect("a place");
            // a hello is cheap: it earns nothing
            socket.greet().await;
            silent.push(socket);
        }
        assert_eq!(from(host).await.err(), Some(429), "one address has its share");
    }
    for _ in 0..8 {
        let socket = from(home).await.expect("a crowd makes room");
        world.log_in_on(socket, &device).await;
    }
    let first = silent.remove(0);
    let reason = "others wait: log in faster, or come back later".to_owned();
    assert_eq!(first.closed().await, (4429, reason));
}

#[tokio::test]
async fn a_full_server_says_so_and_devices_do_not_count_as_strangers() {
    let world =
        World::with(Limits { connections: 3, unidentified_per_address: 1, ..Limits::default() })
            .await;
    world.user("alice").await;
    let (first, second) = (world.device("alice").await, world.device("alice").await);
    world.gateway.drained().await;
    let _first = world.log_in(&first).await;
    let _second = world.log_in(&second).await;
    let _third = world.connect().await;
    assert_eq!(world.try_connect().await.err(), Some(503));
}

#[tokio::test]
async fn bad_input_is_told_what_is_wrong_with_it() {
    let world = World::new().await;
    let told = async |message| {
        let mut socket = world.connect().await;
        socket.send_raw(message).await;
        socket.closed().await
    };
    let (code, reason) = told(Message::text("hello")).await;
    assert_eq!(code, 4400);
    assert!(reason.starts_with("text message"), "{reason}");
    for size in [8193, 20_000, 100_000] {
        let (code, reason) = told(Message::binary(vec![0; size])).await;
        assert_eq!(code, 4400);
        assert!(reason.ends_with("at most 8192 bytes"), "{reason}");
    }
    let (code, reason) = told(Message::binary(vec![255; 8192])).await;
    assert_eq!((code, reason.as_str()), (4400, "frame: not a ClientFrame"));

    let mut socket = world.connect().await;
    socket.send(ToServer::Pull(Pull {})).await;
    assert_eq!(socket.closed().await.1, "hello expected first");
    let mut socket = world.connect().await;
    let hello = ClientHello { min_version: 2, max_version: 3, agent: String::new() };
    socket.send(ToServer::Hello(hello)).await;
    let refused = (4406, "supported versions: 1 to 1".to_owned());
    assert_eq!(socket.closed().await, refused);
    let mut socket = world.connect().await;
    socket.flood(Message::Ping(Vec::new().into())).await;
    assert_eq!(socket.closed().await.0, 4429);
}

#[tokio::test]
async fn a_store_that_is_gone_is_not_a_refused_login() {
    let world = World::new().await;
    world.user("alice").await;
    let device = world.device("alice").await;
    let mut socket = world.connect().await;
    let hello = socket.greet().await;
    world.store.close().await.expect("closed");
    socket.send(world.login(&device, &hello)).await;
    assert_eq!(socket.closed().await.0, 4503);
}

#[tokio::test]
async fn a_device_that_does_not_read_is_cut_off() {
    let world = World::new().await;
    world.user("alice").await;
    let device = world.device("alice").await;
    let _silent = world.log_in(&device).await;
    let notice = Notice {
        id: None,
        kind: NoticeKind::FactorReset,
        at: world.call().now,
        text: "x".repeat(7000),
    };
    let owner = world.app.courier();
    let cut = async {
        while owner.connected() > 0 {
            owner.tell_device(device.id, Hint::Notice(notice.clone()));
            tokio::task::yield_now().await;
        }
    };
    let cut = tokio::time::timeout(Duration::from_secs(60), cut).await;
    cut.expect("cut off in time");
}
