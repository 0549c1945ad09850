//! A directory of the stand-in, a server that is its external method, and a person in both.

use std::collections::BTreeMap;

use authenticator_native::{AnswerOutcome, Choice, Decision};
use serde_json::Value;
use server::demo::phone::Phone;
use server::entra::fake::{Fake, Settings};

use crate::browser::{Browser, Form, Page};
use crate::world::World;

pub(crate) const USER: &str = "alice";
pub(crate) const TENANT: &str = "11111111-2222-4333-8444-555555555555";
pub(crate) const APP: &str = "66666666-7777-4888-9999-000000000000";
pub(crate) const OBJECT: &str = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";
pub(crate) const PATH: &str = "/entra/authorize";

pub(crate) struct Directory {
    pub(crate) world: World,
    pub(crate) phone: Phone,
    pub(crate) fake: Fake,
    pub(crate) client: String,
}

impl Directory {
    pub(crate) async fn new(name: &str) -> Self {
        Self::with(name, &[]).await
    }

    /// Registered with more than it takes.
    pub(crate) async fn with(name: &str, more: &[&str]) -> Self {
        let world = World::new(name).await;
        let phone = Phone::connect(world.enrolled(USER).await).await.unwrap();
        let settings = Settings {
            provider: format!("{}/entra", world.server.url),
            client: String::new(),
            tenant: TENANT.to_owned(),
            app: APP.to_owned(),
            object: OBJECT.to_owned(),
            name: "alice@example.com".to_owned(),
        };
        let fake = Fake::start("127.0.0.1:0".parse().unwrap(), settings, None).await.unwrap();
        let command = [
            "integration",
            "create",
            "--name",
            "entra",
            "--kind",
            "entra",
            "--cloud",
            "fake",
            "--fake",
            fake.url(),
            "--tenant-id",
            TENANT,
            "--app-id",
            APP,
        ];
        let made = world.server.admin(&[&command, more].concat()).await.unwrap();
        let client = made["client_id"].as_str().unwrap().to_owned();
        assert!(made["client_secret"].is_null() && made["api_key"].is_null());
        fake.is_called(&client);
        Self { world, phone, fake, client }
    }

    /// With the person linked to a user.
    pub(crate) async fn linked(name: &str) -> Self {
        let directory = Self::new(name).await;
        directory.link(USER).await;
        directory
    }

    pub(crate) async fn link(&self, user: &str) {
        let subject = format!("{TENANT}:{OBJECT}");
        let command =
            ["link", "create", "--integration", "entra", "--subject", &subject, "--user", user];
        self.world.server.admin(&command).await.unwrap();
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(&self.world.server.url)
    }

    /// The fields of a good request, with some changed, added, or (empty) left out.
    pub(crate) fn fields(&self, changed: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut fields: BTreeMap<String, String> =
            self.fake.request(PATH).fields.into_iter().collect();
        for (name, value) in changed {
            fields.insert((*name).to_owned(), (*value).to_owned());
        }
        fields.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }

    /// A hint with some claims changed or (null) left out.
    pub(crate) fn hint(&self, changed: Value) -> String {
        let mut claims = self.fake.claims();
        let Value::Object(changed) = changed else { panic!("an object") };
        for (name, value) in changed {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(&name)),
                value => claims[name] = value,
            }
        }
        self.fake.sign(&claims)
    }

    pub(crate) async fn post(&self, browser: &mut Browser, fields: &[(String, String)]) -> Page {
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        browser.post(PATH, &fields).await
    }

    /// Where answers go.
    pub(crate) fn answers(&self) -> String {
        format!("{}/common/federation/externalauthprovider", self.fake.url())
    }

    pub(crate) async fn approve(&mut self, page: &Page) {
        let number = page.waits();
        let card = self.phone.prompt().await.unwrap();
        assert!(card.alert, "it rings");
        let outcome = self.phone.answer(card.challenge, Choice::approve(&number)).await.unwrap();
        assert_eq!(outcome, AnswerOutcome::Settled(Decision::Approved));
    }

    /// The answer is this error, with the request's state, and nothing else.
    #[track_caller]
    pub(crate) fn is_told(&self, form: &Form, error: &str, state: Option<&str>) {
        assert_eq!((form.method.as_str(), form.action.as_str()), ("post", self.answers().as_str()));
        let mut told = vec![("error", error)];
        told.extend(state.map(|state| ("state", state)));
        let fields: Vec<(&str, &str)> =
            form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(fields, told);
    }

    /// How many challenges were created for anybody.
    pub(crate) async fn created(&self) -> usize {
        let events = self.world.events(&self.world.own_key).await;
        events.iter().filter(|event| event["type"] == "challenge_created").count()
    }
}
