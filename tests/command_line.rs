//! `claviger check`, `explain` and `serve` as people and pipelines call them: what they say, and how they end.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

const GOOD: &str = r#"
state_dir = "state"

[listen.main]
address = "127.0.0.1:0"
public_url = "https://apps.example.com"

[identity.corp]
kind = "oidc"
issuer = "https://idp.example.com"
client_id = "claviger"
client_secret = { env = "OIDC_SECRET" }

[credentials.aws]
kind = "minted"
region = "eu-west-1"

[route.reports]
host = "reports.example.com"
upstream = "https://reports.s3.eu-west-1.amazonaws.com"
allow = { groups = ["finance"] }
role = "arn:aws:iam::123456789012:role/reports-{claims.department}"
tags = { department = "{claims.department}" }
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }
"#;

/// A folder with these files in it.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn claviger(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_claviger"));
    command.current_dir(folder).env("OIDC_SECRET", CANARY).args(arguments).output().unwrap()
}

/// The exit code, what went to standard output, and what to standard error.
fn ran(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = claviger(folder, arguments);
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(!stdout.contains(CANARY) && !stderr.contains(CANARY), "A36: {stdout}{stderr}");
    (status.code().unwrap(), stdout, stderr)
}

#[test]
fn a_sound_config_is_told_and_ends_with_0() {
    let folder = folder(&[("claviger.toml", GOOD)]);
    let (code, told, errors) = ran(folder.path(), &["check", "claviger.toml"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    for expected in
        ["is sound", "reports.example.com", "reports.s3.eu-west-1.amazonaws.com", "reports-{claims.department}"]
    {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let (code, told, _) = ran(folder.path(), &["check", "--json", "claviger.toml"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &told["sound"], &told["routes"][0]["name"]), (0, &json!(true), &json!("reports")));
    assert!(!folder.path().join("state").exists(), "a check makes nothing");
}

/// What is sound for `check` is sound for `serve`: on loopback a listener is known by its address, whatever its port.
#[test]
fn a_listener_on_loopback_needs_no_public_url() {
    let config =
        GOOD.replace("public_url = \"https://apps.example.com\"", "").replace("reports.example.com", "localhost");
    let folder = folder(&[("claviger.toml", &config)]);
    let (code, told, errors) = ran(folder.path(), &["check", "claviger.toml"]);
    assert!(code == 0 && told.contains("known as http://127.0.0.1:"), "{told}{errors}");
    // a host that is reached over the network is refused by both
    let folder = self::folder(&[("claviger.toml", &config.replace("localhost", "reports.example.com"))]);
    for command in ["check", "serve"] {
        let (code, _, errors) = ran(folder.path(), &[command, "claviger.toml"]);
        assert!(code == 2 && errors.contains("route.reports.host: "), "{command}: {errors}");
    }
}

/// Every mistake in one go, each at its key and with what was expected; and a secret that somebody wrote is not repeated.
#[test]
fn a36_a_wrong_config_is_told_whole_and_ends_with_2() {
    let wrong = format!(
        r#"
        [listen.main]
        address = "nope"
        public_url = "http://apps.example.com"

        [identity.corp]
        kind = "oidc"
        issuer = "https://idp.example.com"
        client_id = "claviger"
        client_secret = "{CANARY}"

        [credentials.aws]
        kind = "mintedd"

        [route.reports]
        host = "reports.example.com"
        upstrem = "http://127.0.0.1:3000"
        allow = "everybody"

        [route.wiki]
        host = "wiki.example.com"
        upstream = "http://127.0.0.1:3000/path"
        allow = "anyone"
        identity = ["other"]

        [nonsense]
        "#
    );
    let folder = folder(&[("claviger.toml", &wrong), ("broken.toml", &format!("[listen\nx = \"{CANARY}\""))]);
    let expected = [
        ("listen.main.address", "an IP address and a port"),
        ("listen.main.public_url", "expected https"),
        ("identity.corp.client_secret", "{ env = \"NAME\" }"),
        ("credentials.aws.kind", "minted, web_identity, saml, assume_role"),
        ("route.reports.upstrem", "`upstream`"),
        ("route.reports.upstream", "is missing"),
        ("route.reports.allow", "\"signed-in\""),
        ("route.wiki.upstream", "`add_prefix`"),
        ("route.wiki.identity[0]", "[identity.other]"),
        ("nonsense", "expected one of"),
    ];
    for command in ["check", "serve"] {
        let (code, told, errors) = ran(folder.path(), &[command, "claviger.toml"]);
        assert_eq!((code, told.as_str()), (2, ""), "{command}");
        assert!(errors.starts_with("claviger.toml: 10 problems\n"), "{command}: {errors}");
        for (key, problem) in expected {
            let line = errors.lines().find(|line| line.trim_start().starts_with(&format!("{key}: ")));
            assert!(line.is_some_and(|line| line.contains(problem)), "{command}: {key}: {problem}\n{errors}");
        }
    }
    let (code, told, _) = ran(folder.path(), &["check", "--json", "claviger.toml"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let told_of: Vec<&str> = told["errors"].as_array().unwrap().iter().map(|e| e["path"].as_str().unwrap()).collect();
    assert_eq!((code, told_of.len()), (2, expected.len()));
    assert!(expected.iter().all(|(key, _)| told_of.contains(key)), "{told_of:?}");

    // what is no TOML, and what is no file
    for (file, said) in [("broken.toml", "line 1, column"), ("missing.toml", "can't be read"), (".", "can't be read")] {
        for command in ["check", "serve"] {
            let (code, _, errors) = ran(folder.path(), &[command, file]);
            assert!(code == 2 && errors.contains(said), "{command} {file}: {code} {errors}");
        }
    }
}

/// What is wrong with a key hides nothing of the rest, and what only building shows has its line at a start too.
#[test]
fn keys_and_what_is_built_are_told_in_one_go() {
    let wrong = r#"state_dir = "state"
[keys]
cookie = [{ env = "ABSENT" }]
minted = [{ file = "no.pem" }]
[listen.main]
address = "127.0.0.1:0"
public_url = "http://127.0.0.1:8080"
[identity.corp]
kind = "oidc"
issuer = "https://idp.example.com"
[route.wiki]
host = "localhost"
upstream = "http://127.0.0.1:3000"
allow = "signed-in"
inject = { kind = "headerz" }
"#;
    let folder = folder(&[("claviger.toml", wrong), ("no.pem", "no key")]);
    for command in ["check", "serve"] {
        let (code, told, errors) = ran(folder.path(), &[command, "claviger.toml"]);
        assert!((code, &*told) == (2, "") && errors.starts_with("claviger.toml: 4 problems\n"), "{command}: {errors}");
        for (key, line) in
            [("keys.cookie[0]", 3), ("keys.minted[0]", 4), ("identity.corp", 8), ("route.wiki.inject", 15)]
        {
            let found = errors.lines().find(|told| told.trim_start().starts_with(key)).unwrap();
            assert!(found.ends_with(&format!("(line {line})")), "{command}: {errors}");
        }
        assert!(command != "check" || !folder.path().join("state").exists(), "a check keeps nothing");
    }
}

/// Callers' bearer tokens are a kind, and so is what is put on requests.
#[test]
fn a_kind_of_two_tables_is_shown_for_both() {
    let folder = folder(&[]);
    let (code, told, _) = ran(folder.path(), &["kinds", "--example", "bearer"]);
    let [identity, inject] =
        ["# [identity.<name>]", "# [route.<name>] inject"].map(|heading| told.find(heading).unwrap());
    assert!(code == 0 && identity < inject, "{told}");
    let (_, one, _) = ran(folder.path(), &["kinds", "inject", "--example", "bearer"]);
    assert!(told.ends_with(&one) && !one.contains("[identity"), "{one}");
}

#[test]
fn what_is_no_command_ends_with_2_and_says_what_is() {
    let folder = folder(&[]);
    for (arguments, said) in [
        (&[][..], "Usage: claviger"),
        (&["bogus"], "unrecognized subcommand 'bogus'"),
        (&["check"], "<FILE>"),
        (&["explain", "claviger.toml"], "--url <URL>"),
        (&["serve", "--no-such-flag"], "unexpected argument"),
        (&["demo", "--address", "0.0.0.0:7070"], "not on loopback"),
    ] {
        let (code, told, errors) = ran(folder.path(), arguments);
        assert!(code == 2 && format!("{told}{errors}").contains(said), "{arguments:?}: {code} {told}{errors}");
    }
    let (code, told, _) = ran(folder.path(), &["--version"]);
    assert_eq!((code, told.trim()), (0, concat!("claviger ", env!("CARGO_PKG_VERSION"))));
}

/// A24: a port that somebody else has is not shared, and which one it is is said. The machine is at fault: 1.
#[test]
fn a24_a_machine_that_does_not_give_what_is_needed_ends_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = folder(&[
        ("taken.toml", &GOOD.replace("127.0.0.1:0", &address)),
        ("admin.toml", &format!("admin = {{ address = \"{address}\" }}\n{GOOD}")),
        ("state.toml", &GOOD.replace("state_dir = \"state\"", "state_dir = \"a-file/state\"")),
        ("a-file", ""),
    ]);
    for (file, said) in [
        ("taken.toml", &["listen.main.address", address.as_str(), "is there already"][..]),
        ("admin.toml", &["admin.address", &address]),
        ("state.toml", &["state", "a-file"]),
    ] {
        let (code, told, errors) = ran(folder.path(), &["serve", file]);
        assert_eq!((code, told.as_str()), (1, ""), "{file}: {errors}");
        for said in said {
            assert!(errors.contains(said), "{file}: {said}: {errors}");
        }
    }
}

#[test]
fn explain_says_what_would_become_of_a_request_and_ends_accordingly() {
    let claims = |groups: Value| json!({ "sub": "u-1", "groups": groups, "department": "finance" }).to_string();
    let folder = folder(&[
        ("claviger.toml", GOOD),
        ("in.json", &claims(json!(["finance"]))),
        ("out.json", &claims(json!([]))),
        ("empty.json", "{}"),
        ("broken.json", "{"),
    ]);
    const URL: &str = "https://reports.example.com/q3";
    let cases: [(&[&str], i32, &str); 9] = [
        (&["--as", "in.json", "--url", URL], 0, "arn:aws:iam::123456789012:role/reports-finance"),
        (&["--as", "out.json", "--url", URL], 1, ""),
        (&["--url", URL], 1, ""),
        (&["--as", "in.json", "--url", "https://other.example.com/"], 1, ""),
        (&["--as", "in.json", "--url", "https://reports.example.com/a/%2e%2e/b"], 1, "400"),
        (&["--as", "in.json", "--url", "/q3"], 2, "--url must be a whole URL"),
        (&["--as", "empty.json", "--url", URL], 2, "the claim `sub` is not"),
        (&["--as", "broken.json", "--url", URL], 2, "broken.json"),
        (&["--as", "in.json", "--source", "other", "--url", URL], 2, "[identity.other]"),
    ];
    for (arguments, expected, said) in cases {
        let arguments: Vec<&str> = ["explain", "claviger.toml"].into_iter().chain(arguments.iter().copied()).collect();
        let (code, told, errors) = ran(folder.path(), &arguments);
        assert_eq!(code, expected, "{arguments:?}: {told}{errors}");
        assert!(format!("{told}{errors}").contains(said), "{arguments:?}: {said}: {told}{errors}");
        let silent = if code == 2 { &told } else { &errors };
        assert!(silent.is_empty(), "answers on standard output, complaints on standard error: {silent}");
    }
}

/// The examples that come along are sound, or their mistakes would be copied.
#[test]
fn the_reference_is_read_as_far_as_its_files_reach() {
    let reference = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/reference.toml");
    let (code, told, errors) = ran(Path::new("."), &["check", reference.to_str().unwrap()]);
    assert_eq!(code, 0, "{told}{errors}");
}

/// The value of the one secret there is.
const CANARY: &str = "canary-3f9a7c55";
