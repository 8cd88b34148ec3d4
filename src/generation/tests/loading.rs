//! Files with mistakes: all of them in one go, each where it is.

use super::*;

#[test]
fn errors_of_the_file_and_of_what_is_built_come_in_one_go() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("claviger.toml");
    let text = r#"
        [listen.main]
        address = "here"
        [identity.corp]
        kind = "oidcc"
        [route.wiki]
        host = "wiki.localhost"
        upstream = "http://127.0.0.1:3000/path"
        allow = "everyone"
        inject = { kind = "sigv5" }
    "#;
    std::fs::write(&file, text).unwrap();
    let errors = Generation::load(&file, &Environment::default(), |_, _| parts()).unwrap_err();
    let mut paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
    paths.sort_unstable();
    let expected = [
        "identity.corp.kind",
        "listen.main.address",
        "route.wiki.allow",
        "route.wiki.inject.kind",
        "route.wiki.upstream",
    ];
    assert_eq!(paths, expected, "{errors}");
}

#[test]
fn every_mistake_in_a_kinds_section_is_found_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("claviger.toml");
    let text = r#"[listen.main]
address = "127.0.0.1:8080"
[identity.corp]
kind = "oidc"
issuer = "http://idp.example.com"
clientid = "claviger"
scopes = "email"
[identity.corp.login_parameters]
nonce = "mine"
[credentials.aws]
kind = "web_identity"
regoin = "eu-west-1"
endpoint = "ftp://sts.example.com"
[route.wiki]
host = "wiki.localhost"
upstream = "http://127.0.0.1:3000"
allow = "signed-in"
inject = [
    { kind = "headers" },
    { kind = "headers", set = { "X Y" = "{sub}" }, sett = 1 },
]
"#;
    std::fs::write(&file, text).unwrap();
    let errors = Generation::load(&file, &Environment::default(), |_, _| parts()).unwrap_err();
    let found: Vec<_> = errors.iter().map(|error| (error.path.as_str(), error.line.unwrap())).collect();
    let expected = [
        ("identity.corp.clientid", 6),
        ("identity.corp.scopes", 7),
        ("identity.corp", 3), // where client_id is missing
        ("credentials.aws.regoin", 12),
        ("credentials.aws", 10),
        ("route.wiki.inject[1].sett", 20),
        ("route.wiki.inject[1].set.X Y", 20),
    ];
    assert_eq!(found, expected, "{errors}");
    let text = errors.to_string();
    assert!(text.contains("identity.corp.scopes: invalid type: text \"email\", expected a list (line 7)"), "{text}");
}
