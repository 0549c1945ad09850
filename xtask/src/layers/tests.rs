//! Real metadata in miniature, then doctored: each rule must notice its own breach.

use serde_json::{Value, json};

use super::check::{Facts, check};
use super::table;

/// A dependency as cargo prints it; ours have a path, others do not.
fn dep(name: &str, kind: Option<&str>) -> Value {
    let path = table::find(name).map(|_| format!("/repo/crates/{name}"));
    json!({"name": name, "kind": kind, "rename": null, "optional": false, "path": path})
}

fn package(name: &str, version: &str, licence: &str, deps: Vec<Value>) -> Value {
    json!({
        "id": format!("{name}@{version}"), "name": name, "version": version, "license": licence,
        "manifest_path": format!("/repo/crates/{name}/Cargo.toml"),
        "dependencies": deps, "features": {},
    })
}

/// Cargo metadata that grows by packages; the resolve follows from their dependencies.
struct Doctored {
    ours: Vec<Value>,
    outside: Vec<Value>,
    manifest: &'static str,
    workspace: &'static str,
}

impl Doctored {
    /// A workspace in which all is well.
    fn clean() -> Self {
        let ours = [
            ("statement", vec![dep("aws-lc-rs", None)]),
            ("domain", vec![dep("statement", None)]),
            ("ports", vec![dep("domain", None), dep("statement", None)]),
            ("app", vec![dep("ports", None), dep("testkit", Some("dev"))]),
            ("http-limits", vec![dep("app", None), dep("axum", None)]),
            ("testkit", vec![dep("app", None)]),
            ("backend-sql", vec![dep("ports", None), dep("sqlx", None)]),
            ("server", vec![dep("backend-sql", None), dep("rustls", None)]),
        ];
        let outside = [
            ("aws-lc-rs", "1.19.0", "ISC AND (Apache-2.0 OR ISC)", vec![]),
            ("axum", "0.8.9", "MIT", vec![dep("tungstenite", None)]),
            ("tungstenite", "0.29.0", "MIT OR Apache-2.0", vec![]),
            ("rustls", "0.23.46", "Apache-2.0 OR ISC OR MIT", vec![]),
            ("sqlx", "0.9.0", "MIT/Apache-2.0", vec![]),
        ];
        Doctored {
            ours: ours
                .into_iter()
                .map(|(name, deps)| package(name, "0.1.0", "Apache-2.0", deps))
                .collect(),
            outside: outside
                .into_iter()
                .map(|(name, version, licence, deps)| package(name, version, licence, deps))
                .collect(),
            manifest: "[lints]\nworkspace = true\n",
            workspace: "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n",
        }
    }

    /// Adds a dependency to one of our crates.
    fn add(mut self, krate: &str, dependency: Value) -> Self {
        let package = self.ours.iter_mut().find(|p| p["name"] == krate).expect("a known crate");
        package["dependencies"].as_array_mut().expect("a list").push(dependency);
        self
    }

    fn with(mut self, outside: Value) -> Self {
        self.outside.push(outside);
        self
    }

    fn findings(self) -> Vec<String> {
        let members: Vec<Value> = self.ours.iter().map(|p| p["id"].clone()).collect();
        let names: Vec<String> =
            self.ours.iter().filter_map(|p| p["name"].as_str().map(str::to_owned)).collect();
        let packages: Vec<Value> = self.ours.into_iter().chain(self.outside).collect();
        let nodes: Vec<Value> = packages
            .iter()
            .map(|owner| {
                let wanted = owner["dependencies"].as_array().expect("a list");
                let deps: Vec<Value> = packages
                    .iter()
                    .filter(|p| wanted.iter().any(|d| d["name"] == p["name"]))
                    .map(|p| json!({"pkg": p["id"]}))
                    .collect();
                let on = owner["on"].as_array().cloned().unwrap_or_default();
                json!({"id": owner["id"], "deps": deps, "features": on})
            })
            .collect();
        let metadata = json!({
            "packages": packages, "workspace_members": members, "resolve": {"nodes": nodes},
        });
        let manifests = names.into_iter().map(|name| (name, self.manifest.to_owned())).collect();
        check(&Facts {
            metadata: serde_json::from_value(metadata).expect("metadata"),
            manifests,
            workspace_manifest: self.workspace.to_owned(),
        })
    }
}

/// Exactly one finding, which says both things.
#[track_caller]
fn reports(doctored: Doctored, krate: &str, rule: &str) {
    let findings = doctored.findings();
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert!(findings[0].starts_with(krate) && findings[0].contains(rule), "{findings:#?}");
}

#[test]
fn a_clean_tree_passes() {
    assert_eq!(Doctored::clean().findings(), Vec::<String>::new());
}

#[test]
fn an_arrow_upwards() {
    let doctored = Doctored::clean().add("domain", dep("ports", None));
    reports(doctored, "domain: may not depend on ports", "may name only statement");
}

#[test]
fn an_arrow_sideways() {
    let mut doctored = Doctored::clean();
    doctored.ours.push(package("backend-local", "0.1.0", "Apache-2.0", vec![]));
    let doctored = doctored.add("backend-sql", dep("backend-local", None));
    reports(doctored, "backend-sql: may not depend on backend-local", "out of reach");
}

#[test]
fn a_build_dependency_counts_as_an_arrow() {
    let doctored = Doctored::clean().add("statement", dep("domain", Some("build")));
    reports(doctored, "statement: may not depend on domain", "none of our crates");
}

#[test]
fn tests_may_name_backends_but_not_higher_layers() {
    let backend = Doctored::clean().add("ports", dep("backend-sql", Some("dev")));
    assert_eq!(backend.findings(), Vec::<String>::new());
    let upwards = Doctored::clean().add("domain", dep("http-limits", Some("dev")));
    reports(upwards, "domain: may not depend on http-limits", "tests may add testkit");
}

#[test]
fn testkit_outside_of_tests() {
    let doctored = Doctored::clean().add("server", dep("testkit", None));
    reports(doctored, "server: may not depend on testkit", "dev-dependencies only");
}

#[test]
fn sqlx_in_app() {
    let findings = Doctored::clean().add("app", dep("sqlx", None)).findings();
    assert_eq!(findings.len(), 2, "{findings:#?}");
    assert!(findings.iter().any(|f| f.contains("app is pure")), "{findings:#?}");
    assert!(findings.iter().any(|f| f.contains("reserved for backend-sql")), "{findings:#?}");
}

#[test]
fn sqlx_in_the_tests_of_app() {
    let doctored = Doctored::clean().add("app", dep("sqlx", Some("dev")));
    reports(doctored, "app: may not depend on sqlx", "reserved for backend-sql");
}

#[test]
fn axum_in_domain() {
    let findings = Doctored::clean().add("domain", dep("axum", None)).findings();
    assert_eq!(findings.len(), 2, "{findings:#?}");
    assert!(findings.iter().all(|f| f.starts_with("domain: may not depend on axum")));
}

#[test]
fn rusqlite_belongs_to_tests_and_measurements() {
    let own = || package("rusqlite", "0.38.0", "MIT", vec![]);
    let tests = Doctored::clean().with(own()).add("backend-sql", dep("rusqlite", Some("dev")));
    assert_eq!(tests.findings(), Vec::<String>::new());
    let shipped = Doctored::clean().with(own()).add("backend-sql", dep("rusqlite", None));
    reports(shipped, "backend-sql: may not depend on rusqlite", "reserved for loadtest");
}

#[test]
fn a_renamed_dependency_is_still_seen() {
    let mut hidden = dep("redis", None);
    hidden["rename"] = json!("cache");
    let doctored = Doctored::clean().add("server", hidden);
    reports(doctored, "server: may not depend on redis", "reserved for backend-redis");
}

#[test]
fn an_unknown_crate() {
    let mut doctored = Doctored::clean();
    doctored.ours.push(package("utils", "0.1.0", "Apache-2.0", vec![]));
    reports(doctored, "utils: not in the table", "give it a layer");
}

#[test]
fn a_path_out_of_the_workspace() {
    let mut foreign = dep("serde", None);
    foreign["path"] = json!("/elsewhere/serde");
    reports(
        Doctored::clean().add("server", foreign),
        "server: names serde",
        "out of the workspace",
    );
}

#[test]
fn a_copyleft_licence() {
    let doctored = Doctored::clean()
        .with(package("readline", "1.0.0", "GPL-3.0-only", vec![]))
        .add("server", dep("readline", None));
    reports(doctored, "readline 1.0.0", "GPL-3.0-only, is not on the list");
}

#[test]
fn a_missing_licence_and_a_foreign_one_of_ours() {
    let mut silent = package("silent", "1.0.0", "", vec![]);
    silent["license"] = Value::Null;
    let doctored = Doctored::clean().with(silent).add("server", dep("silent", None));
    reports(doctored, "silent 1.0.0", "states no licence");
    let mut doctored = Doctored::clean();
    doctored.ours[0]["license"] = json!("MIT");
    reports(doctored, "statement 0.1.0", "our own crates are Apache-2.0");
}

#[test]
fn a_second_copy() {
    let doctored = Doctored::clean().with(package("axum", "0.7.9", "MIT", vec![]));
    reports(doctored, "axum: there must be exactly one version", "0.7.9");
}

/// The lock lists `ring` because rustls-webpki mentions `ring?/alloc`; nothing ever builds it.
#[test]
fn ring_counts_only_when_a_feature_switches_it_on() {
    let webpki = |on: &[&str]| {
        let mut ring = dep("ring", None);
        ring["optional"] = json!(true);
        let mut webpki = package("rustls-webpki", "0.103.16", "ISC", vec![ring]);
        webpki["features"] = json!({"alloc": ["ring?/alloc"], "ring": ["dep:ring"]});
        webpki["on"] = json!(on);
        Doctored::clean()
            .with(package("ring", "0.17.14", "Apache-2.0 AND ISC", vec![]))
            .with(webpki)
            .add("server", dep("rustls-webpki", None))
    };
    assert_eq!(webpki(&["alloc"]).findings(), Vec::<String>::new());
    reports(webpki(&["alloc", "ring"]), "ring 0.17.14: must not be", "named by rustls-webpki");
}

#[test]
fn lints_are_inherited_and_unsafe_stays_forbidden() {
    let mut loose = Doctored::clean();
    loose.manifest = "[package]\nworkspace = true\n";
    let findings = loose.findings();
    assert_eq!(findings.len(), 8, "{findings:#?}");
    assert!(findings.iter().all(|f| f.contains("[lints] workspace = true")));
    let mut unsafe_code = Doctored::clean();
    unsafe_code.workspace = "[workspace.lints.rust]\nunsafe_code = \"warn\"\n";
    reports(unsafe_code, "the workspace", "forbid");
}
