//! The pages on a socket, to be looked at in a browser.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Path;
use axum::routing::get;
use statement::AnswerDecision;
use tokio::net::TcpListener;

use crate::world::World;

/// Serves until it is stopped. Beside the pages: `/answer/{deny|report|mismatch|expire|NUMBER}` does what
/// a person, or time, would. `COOKIES=secure` for cookies as behind https.
#[tokio::test]
#[ignore = "serves until it is stopped"]
async fn serve() {
    let secure = std::env::var("COOKIES").is_ok_and(|value| value == "secure");
    let world = Arc::new(World::with(secure).await);
    let acting = Arc::clone(&world);
    let answer = async move |Path(what): Path<String>| match what.as_str() {
        "deny" => acting.answer(AnswerDecision::Deny, "").await,
        "report" => acting.answer(AnswerDecision::Report, "").await,
        "mismatch" => acting.approve("00").await,
        "expire" => acting.clock.advance(Duration::from_secs(91)),
        number => acting.approve(number).await,
    };
    let router = world.router.clone().route("/answer/{what}", get(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    println!("listening on http://{address}");
    axum::serve(listener, router).await.expect("serves");
}
