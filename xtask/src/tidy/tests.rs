//! Each rule on a text that breaks it, and on its nearest neighbour that does not.

use super::check;

/// The findings in one file, in a tree where only `docs/there.md` and `README.md` exist.
fn findings(path: &str, content: &str) -> Vec<String> {
    check(path, content, &|target| ["docs/there.md", "README.md", "docs"].contains(&target))
}

#[track_caller]
fn clean(path: &str, content: &str) {
    assert_eq!(findings(path, content), Vec::<String>::new());
}

#[track_caller]
fn one(path: &str, content: &str, place: &str, what: &str) {
    let found = findings(path, content);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with(place) && found[0].contains(what), "{found:#?}");
}

#[test]
fn a_file_of_601_lines() {
    let (fits, long) = ("x\n".repeat(600), "x\n".repeat(601));
    for name in ["a.rs", "web/a.ts", "a.py"] {
        clean(name, &fits);
        one(name, &long, name, "601 lines");
    }
    clean("a.md", &long);
    clean("crates/wire/generated/a.rs", &long);
}

#[test]
fn a_function_of_71_lines() {
    let function = |lines: usize| {
        let body = "    call(\"}\", '}', '\\'', r#\"}\"#); // }\n".repeat(lines - 3);
        format!("impl A {{\n    fn b<'a>(x: [u8; {{ 1 }}])\n    {{\n{body}    }}\n}}\n")
    };
    clean("a.rs", &function(70));
    one("a.rs", &function(71), "a.rs:2:", "fn b has 71 lines");
    let apart = format!("{}{}", function(40), function(40));
    clean("a.rs", &apart);
    clean(
        "a.rs",
        &format!("type F = fn(u8);\ntrait T {{\n    fn b();\n}}\n{}", "// x\n".repeat(99)),
    );
}

#[test]
fn comments_and_strings_are_not_code() {
    let text = format!("/* fn a() {{ /* \" */ */ fn b() {{\n{}}}\n", "    c();\n".repeat(80));
    one("a.rs", &text, "a.rs:1:", "fn b has 82 lines");
    clean("a.rs", "fn a() {\n    let s = \"todo!() #[allow(x)]\"; // unimplemented!()\n}\n");
}

#[test]
fn leftovers() {
    one("a.rs", "fn a() {\n    todo!()\n}\n", "a.rs:2:", "todo! left behind");
    one("a.rs", "fn a() {\n    unimplemented!(\"b\")\n}\n", "a.rs:2:", "unimplemented!");
    one("a.rs", concat!("// FIX", "ME: later\n"), "a.rs:1:", "left behind");
    one("a.toml", concat!("# XX", "X\n"), "a.toml:1:", "left behind");
    clean("a.sh", concat!("mktemp -d XX", "XX\n"));
    clean("a.md", concat!("no FIX", "ME in code\n"));
}

#[test]
fn whitespace_at_the_end() {
    one("a.md", "a\nb \n", "a.md:2:", "whitespace");
    one("a.sh", "a\r\n", "a.sh:1:", "whitespace");
    clean("vectors/a.txt", "a \n");
}

#[test]
fn paths_of_one_machine() {
    for path in [concat!("/ro", "ot/x"), concat!("/wo", "rk/x"), concat!("/ho", "me/ann/x")] {
        one("a.toml", &format!("path = \"{path}\"\n"), "a.toml:1:", "path of one machine");
        one("a.md", &format!("{path}\n"), "a.md:1:", "path of one machine");
        clean("a.md", &format!("https://example.org{path} and ./a{path}\n"));
    }
    clean("a.md", concat!("/ho", "me/<user>\n"));
}

#[test]
fn a_bare_allow() {
    one("a.rs", "#[allow(dead_code)]\nfn a() {}\n", "a.rs:1:", "use expect");
    one("a.rs", "#![allow(dead_code)]\n", "a.rs:1:", "use expect");
    clean("a.rs", "#[expect(dead_code, reason = \"kept for b\")]\nfn a() {}\n");
}

#[test]
fn a_sleep_in_a_test() {
    let call = "    tokio::time::sleep(SECOND).await;\n";
    let module = |line: &str| format!("#[cfg(test)]\nmod tests {{\n{line}}}\n");
    one("crates/a/tests/b.rs", call, "crates/a/tests/b.rs:1:", "sleep in a test");
    one("a.rs", &module(call), "a.rs:3:", "sleep in a test");
    one("a.rs", &module("    std::thread::sleep(SECOND);\n"), "a.rs:3:", "sleep in a test");
    one("a.rs", &module("    sleep(SECOND).await;\n"), "a.rs:3:", "sleep in a test");
    clean("a.rs", &module("    sleep(SECOND).await; // wait: the lock is older than a second\n"));
    clean("a.rs", &module("    // wait: the lock is older than a second\n    sleep(SECOND);\n"));
    clean("a.rs", &module("    clock.sleep(SECOND);\n"));
    clean("a.rs", &format!("fn retry() {{\n{call}}}\n{}", module("")));
    clean("a.rs", &format!("#[cfg(not(test))]\nmod b {{\n{call}}}\n"));
}

#[test]
fn links_lead_somewhere() {
    clean("README.md", "[a](docs/there.md#x) [b](https://e.org/x) [c](#here) ![d](docs \"t\")\n");
    clean("docs/a.md", "[a](there.md) [b](../README.md) [c](/docs/there.md)\n[d]: ./there.md\n");
    clean("a.md", "```\n[a](gone.md)\n```\n`[a](gone.md)` and a[0](x: y)\n[^1]: a note\n");
    one("README.md", "\n[a](docs/gone.md)\n", "README.md:2:", "docs/gone.md leads nowhere");
    one("docs/a.md", "[a](docs/there.md)\n", "docs/a.md:1:", "leads nowhere");
    one("docs/a.md", "[a](../../README.md)\n", "docs/a.md:1:", "leads nowhere");
    one("a.md", "[a]: gone.md\n", "a.md:1:", "leads nowhere");
    one("a.md", "`[x](y)` [a](gone.md)\n", "a.md:1:", "gone.md leads nowhere");
}
