//! The command line against the contract, line by line.

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("countersign").chain(line.split_whitespace()))
}

#[test]
fn the_definition_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn every_line_of_the_contract_parses() {
    for line in [
        "demo",
        "demo --listen 127.0.0.1:0",
        "demo --script --json",
        "serve --config c.toml --data d --listen 127.0.0.1:0",
        "admin --data d tenant create --name acme",
        "admin tenant list",
        "admin tenant show acme",
        "admin integration create --name vpn --tenant acme --kind api --purpose step_up --scope \
         challenges --scope users:read --verifies-first-factor --reveal-users",
        "admin integration create --name vpn --scope challenges,events:read",
        "admin integration list",
        "admin integration show vpn",
        "admin integration key create vpn",
        "admin integration key list vpn",
        "admin integration key revoke vpn csk_abcd",
        "admin user create --name alice",
        "admin user create --name firefighter --break-glass",
        "admin user list --json",
        "admin user show alice",
        "admin user contain alice",
        "admin user contain alice --reason x",
        "admin user clear usr_1 --reason x",
        "admin user clear alice",
        "admin integration create --name x --scope challenges,guard:write",
        "admin ticket create --user alice --no-confirm --reason new",
        "admin ticket show tik_1 --json",
        "admin ticket list --user alice",
        "admin factor create --user name:alice --type totp",
        "admin factor create --user alice --type recovery_code",
        "admin factor reset --user alice --reason lost",
        "admin factor list --user alice",
        "admin factor show totp --user alice",
        "admin device revoke dev_1 --data d",
        "admin device list --user alice",
        "admin device show dev_1",
        "admin device approve dev_1",
        "admin factor approve fac_1 --user alice",
        "admin webhook list",
        "admin webhook show soc",
        "admin webhook test soc --data d --json",
        "admin webhook enable soc",
        "admin keys",
        "admin integration create --name x --return-url https://x.example/ --return-url https://y.example/",
        "admin user create --name alice --ttl-s 300",
        "admin user update alice --ttl-s 30",
        "admin keys list",
        "--json admin keys",
        "guard policy --json",
        "guard lab --policy p.toml --tenant acme",
        "guard bound --policy p.toml --tenant acme --integration vpn",
        "guard bound --policy p.toml --success 1e-4 --json",
        "guard replay --from audit --policy p.toml --since 2027-01-01T00:00:00Z --data d",
        "guard replay --from events.jsonl --json",
        "events",
        "events --follow --json",
        "why chl_1",
        "audit verify --checkpoint f",
        "audit checkpoint --out f --data d",
        "doctor --data d --json",
        "config check --config c.toml",
        "config print --redacted",
        "completions zsh",
    ] {
        let cli = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(cli.command.later(), None, "{line}");
    }
}

#[test]
fn what_is_not_built_says_so() {
    for line in ["backup --out f", "restore f", "migrate"] {
        let cli = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let said = cli.command.later().unwrap_or_else(|| panic!("{line}"));
        assert!(said.contains("come"), "{said}");
    }
}

#[test]
fn nonsense_is_a_usage_error() {
    for line in [
        "",
        "serv",
        "serve --listen here",
        "admin user create",
        "admin user create --name a --ttl-s 301",
        "admin user update a --ttl-s 29",
        "admin user update a",
        "admin factor create --user a --type push",
        "admin factor reset --user a",
        "admin integration create --name x --scope guard:read",
        "admin user show name:",
        "admin factor approve fac_1",
        "why",
        "audit checkpoint",
        "completions tcsh",
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn users_are_named_as_in_the_api() {
    let user = |text: &str| user_ref(text).unwrap();
    assert_eq!(user("alice"), "name:alice");
    assert_eq!(user("name:alice"), "name:alice");
    assert_eq!(user("usr_1"), "usr_1");
    assert_eq!(api_name(&Scope::UsersRead), "users:read");
    assert_eq!(api_name(&FactorType::RecoveryCode), "recovery_code");
}

/// An installation that has only one organisation never reads the word for it.
#[test]
fn help_does_not_speak_of_tenants() {
    let mut todo = vec![Cli::command()];
    while let Some(mut command) = todo.pop() {
        let help = command.render_long_help().to_string().to_lowercase();
        assert!(!help.contains("tenant"), "{help}");
        let visible = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        todo.extend(visible.cloned());
    }
}

#[test]
fn completions_offer_what_help_shows() {
    let mut script = Vec::new();
    let mut offered = visible(&Cli::command());
    clap_complete::generate(Shell::Bash, &mut offered, "countersign", &mut script);
    let script = String::from_utf8(script).unwrap();
    for word in ["tenant", "backup", "--other-audience"] {
        assert!(!script.contains(word), "{word}");
    }
    for word in
        ["ticket", "--verifies-first-factor", "--return-url", "--checkpoint", "--data", "--json"]
    {
        assert!(script.contains(word), "{word}");
    }
}
