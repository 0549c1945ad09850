//! A code instead of the number.

use domain::totp;
use http::StatusCode;

use crate::world::World;

#[tokio::test]
async fn a_code_signs_in_and_a_wrong_one_reads_the_same_whatever_is_wrong() {
    let world = World::new().await;
    let mut browser = world.browser();
    let path = browser.start().await;
    let number = browser.get(&path).await.is_pending();
    let code_path = format!("{path}/code");

    let form = browser.get(&code_path).await;
    assert_eq!(form.is_pending(), number);
    assert!(!form.body.contains("http-equiv=\"refresh\""), "somebody types");
    assert!(!form.body.contains("not accepted"));
    let right = totp::code(&world.device.totp, world.clock.now());
    let wrong = if right == "000000" { "000001" } else { "000000" };
    for code in [wrong, "wrong-code", "%ff%fe", "ABCDEFGH-JKMNPQRS-TVWXYZ01"] {
        let page = browser.post(&code_path, &format!("code={code}")).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{code}");
        assert_eq!((page.state(), page.number()), (Some("pending"), Some(number.as_str())));
        assert!(page.body.contains("Code not accepted, open the app."));
        assert!(!page.body.contains(code), "what was typed isn't repeated");
    }
    let page = browser.post(&code_path, &format!("code={right}")).await;
    page.leads_to(&path);
    let page = browser.get(&path).await;
    assert_eq!(page.state(), Some("approved"));
    assert!(
        page.body.contains("urn:countersign:acr:totp") && page.body.contains("time-based code")
    );
    // both lead to the end once it is there
    browser.get(&code_path).await.leads_to(&path);
    browser.post(&code_path, "code=000000").await.leads_to(&path);
}

#[tokio::test]
async fn a_form_that_cannot_be_read_is_refused() {
    let world = World::new().await;
    let mut browser = world.browser();
    let path = browser.start().await;
    browser.get(&path).await.is_pending();
    let long = format!("code={}", "1".repeat(4 * 1024));
    for form in ["", "other=1", &long] {
        let page = browser.post(&format!("{path}/code"), form).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{form:.20}");
    }
    browser.get(&path).await.is_pending();
}
