//! A guesser: takes a new user's wrong codes each time, all but one that are free.

use std::convert::Infallible;

use authenticator_native::Account;
use domain::attempts::Budgets;
use serde_json::json;
use server::clock;
use statement::Timestamp;

use super::{Lost, Site, Told};
use crate::child::Asked;

/// Tries that a browser without a device cookie has at once. One more comes back after half a day.
pub(super) const FREE: u16 = Budgets::DEFAULT.unknown.day.burst;

pub(crate) struct Spender {
    name: String,
    made: u64,
}

impl Spender {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), made: 0 }
    }

    pub(super) async fn run(&mut self, site: &Site, told: &Told) {
        match self.go_on(site, told).await {
            Err(Lost) => {}
            Ok(never) => match never {},
        }
    }

    async fn go_on(&mut self, site: &Site, told: &Told) -> Result<Infallible, Lost> {
        loop {
            self.made += 1;
            let user = format!("{}-{}", self.name, self.made);
            let account = site.enrol(&user, told).await?;
            let session = format!("{user:-<22}");
            let asked = site.ask(&user, &session).await?;
            let spent = told.lock().spending(&user, &account);
            for _ in 1..FREE {
                guess(site, &asked, &account).await?;
                told.lock().spent(spent);
            }
        }
    }
}

/// Submits a code that is none.
pub(super) async fn guess(site: &Site, asked: &Asked, account: &Account) -> Result<(), Lost> {
    let reply = site.send("POST", &asked.path("/code"), json!({"code": wrong(account)})).await?;
    assert_eq!(reply.outcome(), "422 code_wrong", "a wrong code");
    Ok(())
}

/// Six digits that the account's secret makes neither now nor just before or after.
fn wrong(account: &Account) -> String {
    let now = clock::now().millis();
    let right: Vec<String> = [now - 30_000, now, now + 30_000]
        .into_iter()
        .map(|at| account.code(Timestamp::from_millis(at)).unwrap().digits.to_string())
        .collect();
    let wrong = (0..).map(|digits| format!("{digits:06}")).find(|code| !right.contains(code));
    wrong.expect("three of a million are right")
}
