//! Receivers that don't want, don't answer, or aren't to be spoken to; and what operators see of it.

use super::receiver::Does;
use super::*;
use crate::tls::TlsConfig;
use crate::tls::tests::self_signed;

#[tokio::test]
async fn who_is_gone_is_left_alone_until_an_operator_says_otherwise() {
    let world = World::new().await;
    let mut receiver = Receiver::new(&[Does::Status(410)]).await;
    let endpoint = [receiver.endpoint()];
    let running = world.start(&endpoint, QUICK);
    world.users(&["alice"]).await;
    let first = receiver.next().await;
    running.until(|status| status["state"] == "disabled").await;
    running.stop().await;

    // also over a restart
    let running = world.start(&endpoint, QUICK);
    world.users(&["bob"]).await;
    let found = doctor::examine(&endpoint, world.dir.path());
    assert_eq!(found[0].grade, crate::doctor::Grade::Warn);
    assert!(found[0].found.contains("410"), "{found:?}");
    assert!(found[0].next.as_ref().unwrap().ends_with("admin webhook enable soc"), "{found:?}");
    let status = running.ask(Method::GET, "/webhooks/soc").await.body;
    assert_eq!(status["state"], "disabled");
    assert!(receiver.is_quiet());

    running.ask(Method::POST, "/webhooks/soc/enable").await;
    assert_eq!(receiver.next().await.id, first.id);
    assert_eq!(receiver.next_user().await, "bob");
    running.stop().await;
}

#[tokio::test]
async fn who_fails_for_too_long_is_given_up() {
    let world = World::new().await;
    let mut receiver = Receiver::new(&[]).await;
    receiver.then(&[Does::Status(500); 2]);
    let running = world.start(&[receiver.endpoint()], Pace { give_up: Duration::ZERO, ..QUICK });
    world.users(&["alice"]).await;
    receiver.next().await;
    let status = running.until(|status| status["state"] == "disabled").await;
    assert_eq!((&status["failures"], &status["next_try"]), (&json!(1), &Value::Null));
    assert!(status["waiting_since"].is_string());
    running.stop().await;
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn redirects_are_failures() {
    let world = World::new().await;
    for code in [301, 302, 303, 307, 308] {
        let mut receiver = Receiver::new(&[Does::Redirect(code)]).await;
        let name = format!("r{code}");
        let endpoint = Endpoint { name: name.clone(), ..receiver.endpoint() };
        let running = world.start(&[endpoint], QUICK);
        world.users(&[&name]).await;
        assert_eq!(receiver.next().await.path, "/hook?a=b");
        assert_eq!(receiver.next().await.path, "/hook?a=b", "again, where it belongs");
        running.stop().await;
    }
}

#[tokio::test]
async fn a_receiver_that_says_nothing_is_late_and_one_that_chatters_has_said_enough() {
    let world = World::new().await;
    let mut receiver = Receiver::new(&[Does::Hang, Does::Chatter]).await;
    let short = Pace { timeout: Duration::from_secs(3), ..QUICK };
    let running = world.start(&[receiver.endpoint()], short);
    world.users(&["alice", "bob"]).await;
    let first = receiver.next().await;
    let status = running.until(|status| status["state"] == "failing").await;
    assert_eq!(status["last_error"], "no reply in time");
    assert_eq!(receiver.next().await.id, first.id);
    assert_eq!(receiver.next_user().await, "bob");
    running.stop().await;
}

#[tokio::test]
async fn nobody_there_is_told() {
    let world = World::new().await;
    let gone = Receiver::new(&[]).await.endpoint();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = endpoint("soc", &format!("http://{closed}/"));
    let running = world.start(&[endpoint], QUICK);
    world.users(&["alice"]).await;
    let status = running.until(|status| status["state"] == "failing").await;
    assert!(status["last_error"].as_str().unwrap().starts_with("no connection"), "{status}");
    running.stop().await;
    let found = doctor::examine(&[gone], world.dir.path());
    assert!(found[0].next.as_ref().unwrap().ends_with("admin webhook test soc"), "{found:?}");
}

/// The name passes the settings; where it leads is known only when it is looked up.
#[tokio::test]
async fn a_name_that_leads_inside_is_not_spoken_to() {
    let world = World::new().await;
    let mut receiver = Receiver::new(&[]).await;
    let port = receiver.address.port();
    for (host, allow_private, said) in [
        ("localhost", false, "localhost leads to "),
        ("2130706433", false, "2130706433 leads to 127.0.0.1, which is loopback"),
        ("0x7f.1", false, "leads to 127.0.0.1, which is loopback; allow_private = true allows it"),
        ("169.254.169.254", true, "leads to 169.254.169.254, which is link-local"),
        ("0.0.0.0", true, "which is this host"),
        ("10.0.0.1", true, "plain http only to this machine"),
        ("no-such-name.invalid", true, "the name leads nowhere"),
    ] {
        let endpoint =
            Endpoint { allow_private, ..endpoint("soc", &format!("http://{host}:{port}/")) };
        let running = world.start(&[endpoint], QUICK);
        let reply = running.ask(Method::POST, "/webhooks/soc/test").await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        let detail = reply.body["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{host}: {detail}");
        running.stop().await;
    }
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn tls_is_spoken_only_with_whom_an_authority_vouches_for() {
    let world = World::new().await;
    let (cert, key, _) = self_signed(world.dir.path());
    let tls = TlsConfig::from_files(&cert, &key).unwrap();
    let mut receiver = Receiver::listening(&[], Some(tls)).await;
    let url = format!("https://localhost:{}/hook", receiver.address.port());
    let (known, unknown) = (
        Endpoint { ca_file: Some(cert.clone()), ..endpoint("soc", &url) },
        Endpoint { name: "other".to_owned(), ..endpoint("soc", &url) },
    );
    let other_name = Endpoint {
        name: "wrong".to_owned(),
        ca_file: Some(cert),
        ..endpoint("soc", &format!("https://{}/hook", receiver.address))
    };
    let running = world.start(&[known, unknown, other_name], QUICK);
    let reply = running.ask(Method::POST, "/webhooks/soc/test").await;
    assert_eq!(reply.body, json!({"name": "soc", "status": 204}));
    let got = receiver.next().await;
    assert!(got.id.starts_with("test_"), "{got:?}");
    assert_eq!(
        (&got.body["type"], &got.body["data"]),
        (&json!("test"), &json!({"webhook": "soc"}))
    );
    for name in ["other", "wrong"] {
        let reply = running.ask(Method::POST, &format!("/webhooks/{name}/test")).await;
        assert!(reply.body["detail"].as_str().unwrap().starts_with("no TLS"), "{reply:?}");
    }
    running.stop().await;
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn operators_see_all_and_nothing_secret() {
    let world = World::new().await;
    let receiver = Receiver::new(&[]).await;
    let other = Endpoint { name: "other".to_owned(), ..receiver.endpoint() };
    let running = world.start(&[receiver.endpoint(), other], QUICK);
    let list = running.ask(Method::GET, "/webhooks").await.body;
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    assert_eq!(list["data"][1]["name"], "other");
    assert_eq!(list["data"][0]["state"], "ok");
    assert!(!list.to_string().contains("a=b") && !list.to_string().contains("whsec"), "{list}");
    for path in ["/webhooks/nobody/test", "/webhooks/nobody/enable"] {
        assert_eq!(running.ask(Method::POST, path).await.status, StatusCode::NOT_FOUND);
    }
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_set_up_is_told_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let fine = Receiver::new(&[]).await.endpoint();
    let missing = dir.path().join("missing");
    let opened = |endpoint: Endpoint| match Webhooks::open(&[endpoint], dir.path(), QUICK) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    let no_secret = SecretSource::File(missing.clone());
    let error = opened(Endpoint { secret: no_secret, ..fine.clone() });
    assert!(error.starts_with("webhook soc: ") && error.contains("missing"), "{error}");
    let error = opened(Endpoint { ca_file: Some(missing), ..fine.clone() });
    assert!(error.starts_with("webhook soc: ") && error.contains("missing"), "{error}");
    assert_eq!(opened(fine.clone()), "");
    std::fs::write(state::path(dir.path(), "soc"), "{}}").unwrap();
    let error = opened(fine);
    assert!(error.contains("soc.json") && error.contains("removed"), "{error}");
}
