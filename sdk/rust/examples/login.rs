//! A program behind a second factor: COUNTERSIGN_URL=.. COUNTERSIGN_KEY=.. COUNTERSIGN_INTEGRATION=.. login alice
use std::env::{args, var};
use std::error::Error;

use countersign_client::{Countersign, Start, new_session};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let user = args().nth(1).ok_or("whom?")?;
    let mut password = String::new();
    std::io::stdin().read_line(&mut password)?;
    if password.trim() != "correct horse" {
        return Err("wrong name or password".into()); // your own check
    }
    let (url, key) = (var("COUNTERSIGN_URL")?, var("COUNTERSIGN_KEY")?);
    let mfa = Countersign::new(&url, &key, &var("COUNTERSIGN_INTEGRATION")?)?;
    let session = new_session();
    let start = Start { first_factor: Some("password".into()), ..Start::default() };
    let challenge = mfa.start(&user, &session, &start).await?;
    println!("Type {} into your app", challenge.number.unwrap_or_default());
    let approved = mfa.wait(&challenge.id, &session).await?;
    println!("Hello {}", approved.claims.name);
    Ok(())
}
