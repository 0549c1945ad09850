//! Settings from files, variables and flags.

use super::*;

/// What comes of a file's text, environment variables and `--listen`.
fn load_from(
    file: &str,
    env: &[(&str, &str)],
    listen: Option<&str>,
) -> Result<Loaded, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    fs::write(&path, file).unwrap();
    let sources = Sources {
        file: Some(path),
        env: env.iter().map(|(k, v)| (k.into(), v.into())).collect(),
        listen: listen.map(|text| text.parse().unwrap()),
        data: None,
    };
    let dir = format!("{}/", dir.path().display());
    load(&sources).map_err(|issues| {
        let lines = issues.0.iter().map(ToString::to_string);
        lines.map(|line| line.replace(&dir, "")).collect()
    })
}

#[track_caller]
fn refuses(file: &str, env: &[(&str, &str)], lines: &[&str]) {
    assert_eq!(load_from(file, env, None).unwrap_err(), lines);
}

#[test]
fn without_sources_the_defaults_hold() {
    let loaded = load(&Sources::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    let origin = loaded.config.origin(([127, 0, 0, 1], 4).into()).unwrap();
    assert_eq!(origin.as_str(), "http://127.0.0.1:4");
}

#[test]
fn later_sources_win() {
    let file = "listen = '127.0.0.1:1'\n[log]\nlevel = 'warn'\nformat = 'json'\n";
    let env = [
        ("COUNTERSIGN__LISTEN", "127.0.0.1:2"),
        ("COUNTERSIGN__LOG__LEVEL", "debug"),
        ("COUNTERSIGN__TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ("COUNTERSIGN_PASSPHRASE", "not a setting"),
    ];
    let loaded = load_from(file, &env, Some("127.0.0.1:3")).unwrap();
    assert_eq!(loaded.config.listen.port(), 3);
    assert_eq!(loaded.config.log_level, "debug");
    assert_eq!(loaded.config.log_format, LogFormat::Json);
    assert_eq!(loaded.config.trusted_proxies.len(), 2);
    assert_eq!(loaded.origin("listen"), Origin::Flag("--listen"));
    assert_eq!(loaded.origin("data"), Origin::Default);
}

#[test]
fn an_unknown_key_is_refused_with_a_suggestion() {
    refuses(
        "lisen = 'x'\n\n[tsl]\ncert = 'a'\n",
        &[("COUNTERSIGN__LOG__LEVLE", "x"), ("COUNTERSIGN__QUANTUM", "x")],
        &[
            "c.toml:1: `lisen` is not a setting; did you mean `listen`?",
            "c.toml:4: `tsl.cert` is not a setting; did you mean `tls.cert`?",
            "COUNTERSIGN__LOG__LEVLE: `log.levle` is not a setting; did you mean `log.level`?",
            "COUNTERSIGN__QUANTUM: `quantum` is not a setting; docs/configuration.md lists them",
        ],
    );
    refuses(
        "format = 'json'",
        &[],
        &["c.toml:1: `format` is not a setting; did you mean `log.format`?"],
    );
}

#[test]
fn wrong_values_are_told_with_their_line() {
    refuses(
        "listen = 'here'\ntrusted_proxies = ['10.0.0.1/8']\ndata = ['a']\n[log]\nformat = 1.5\nlevel = '=='\n",
        &[],
        &[
            "c.toml:3: `data` takes one value, not a list",
            "c.toml:1: `listen` must be an address and a port, such as 127.0.0.1:8470",
            "c.toml:5: `log.format` must be a string",
            "c.toml:6: `log.level` isn't a level or filter",
            "c.toml:2: `trusted_proxies` 10.0.0.1/8: has bits set behind its prefix length",
        ],
    );
}

#[test]
fn what_is_no_toml_names_the_line() {
    let lines = load_from("listen = '127.0.0.1:1'\n[log\n", &[], None).unwrap_err();
    assert!(lines[0].starts_with("c.toml:2: "), "{lines:?}");
}

#[test]
fn a_missing_file_is_told() {
    let sources = Sources { file: Some("/nonexistent/c.toml".into()), ..Sources::default() };
    let text = load(&sources).unwrap_err().to_string();
    assert!(text.contains("/nonexistent/c.toml can't be read"), "{text}");
}

#[test]
fn what_many_nodes_need_is_not_built() {
    let lines = load_from("[store]\nurl = 'postgres://x'\n", &[], None).unwrap_err();
    assert!(lines[0].contains("not built yet"), "{lines:?}");
}

#[test]
fn off_loopback_the_public_url_is_required() {
    let lines = load_from("", &[], Some("0.0.0.0:8470")).unwrap_err();
    assert!(lines[0].starts_with("--listen: `listen` is not loopback"), "{lines:?}");
    let file = "listen = '0.0.0.0:8470'\npublic_url = 'https://mfa.example.com'\n";
    let loaded = load_from(file, &[], None).unwrap();
    let origin = loaded.config.origin(([0, 0, 0, 0], 1).into()).unwrap();
    assert_eq!(origin.as_str(), "https://mfa.example.com");
}

#[test]
fn settings_that_contradict_each_other_are_told() {
    refuses("[tls]\ncert = 'a'\n", &[], &["c.toml:2: `tls.cert` needs `tls.key` beside it"]);
    refuses(
        "public_url = 'http://localhost'\n[tls]\ncert = 'a'\nkey = 'b'\n",
        &[],
        &["c.toml:1: `public_url` must be https when TLS is on"],
    );
    refuses(
        "[admin]\nlisten = '127.0.0.1:8470'\n",
        &[],
        &["c.toml:2: `admin.listen` must differ from `listen`"],
    );
}

#[test]
fn webhooks_are_read_with_all_that_is_wrong_and_shown_without_secrets() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let file = format!(
        "[[webhooks]]\nname = 'soc'\nurl = 'https://soc.example/hook?k=v'\nsecret = '{secret}'\n\
         [[webhooks]]\nname = 'siem'\nurl = 'https://siem.example'\nsecret_file = 'f'\n\
         types = ['alert', 'challenge_decided']\n"
    );
    let loaded = load_from(&file, &[], None).unwrap();
    let names: Vec<_> = loaded.config.webhooks.iter().map(|webhook| &webhook.name).collect();
    assert_eq!(names, ["soc", "siem"]);
    for shown in [loaded.print(), loaded.json().to_string(), format!("{:?}", loaded.config)] {
        assert!(shown.contains("https://soc.example/..") && shown.contains("siem"), "{shown}");
        assert!(!shown.contains("MfKQ9r8GKYqr") && !shown.contains("k=v"), "{shown}");
    }
    refuses(
        "[[webhooks]]\nname = 'x'\nurl = 'http://x.example'\n\n[[webhooks]]\nnmae = 'y'\n",
        &[("COUNTERSIGN__WEBHOOKS__NAME", "x")],
        &[
            "c.toml:3: `webhooks.url` must be https; plain http only to this machine, with \
             allow_private = true",
            "c.toml:1: `webhooks.secret_file` is required, or `secret`",
            "c.toml:6: `webhooks.nmae` is not a setting of a webhook; those are name, tenant, \
             integration, url, secret, secret_file, types, allow_private, ca_file",
            "c.toml:5: `webhooks.secret_file` is required, or `secret`",
            "c.toml:5: `webhooks.name` is required",
            "c.toml:5: `webhooks.url` is required",
            "COUNTERSIGN__WEBHOOKS__NAME: `webhooks.name` are [[webhooks]] tables of the \
             configuration file",
        ],
    );
}

#[test]
fn what_is_printed_can_be_read_again() {
    let file = "listen = '127.0.0.1:9'\ntrusted_proxies = ['10.0.0.0/8']\n[tls]\ncert = 'a \"b'\nkey = 'k'\n";
    let loaded = load_from(file, &[], None).unwrap();
    let printed = loaded.print();
    assert!(printed.contains("c.toml:1\n"), "{printed}");
    assert_eq!(load_from(&printed, &[], None).unwrap().config, loaded.config);
}

#[test]
fn a_policy_s_own_lines_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("guard.toml");
    fs::write(&policy, "grace_s = 60\n\nhold = 3\n").unwrap();
    let file = format!(
        "[guard]\npolicy = '{}'\nshadow = '{}'\n",
        policy.display(),
        dir.path().join("none.toml").display()
    );
    let said = load_from(&file, &[], None).unwrap_err();
    assert!(
        said[0].ends_with("guard.toml:3: `hold` is no number of a policy; did you mean `hold_s`?")
    );
    assert!(
        said[1].starts_with("c.toml:3: `guard.shadow` names ") && said[1].contains("can't be read")
    );
    fs::write(&policy, "grace_s = 60\n").unwrap();
    let file = format!("[guard]\npolicy = '{}'\n", policy.display());
    assert_eq!(load_from(&file, &[], None).unwrap().config.guard_policy, Some(policy));
}
