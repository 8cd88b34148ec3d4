//! The section's keys, and logins at a provider over sockets.

use std::path::PathBuf;

use super::*;
use crate::built_in::{Environment, Surroundings, build};
use crate::clock::SystemClock;
use crate::identity::BUILT_INS;
use crate::tls::Trust;

fn surroundings() -> Surroundings {
    let environment = Environment::from_iter([("OIDC_SECRET".to_owned(), "canary".to_owned())]);
    Surroundings { folder: PathBuf::from("."), environment }
}

fn source(text: &str) -> Result<Arc<dyn IdentitySource>, SettingsError> {
    let (surroundings, clock): (_, Arc<dyn Clock>) = (surroundings(), Arc::new(SystemClock));
    let table = toml::from_str(text).unwrap();
    let settings = Settings { name: "corp", table, surroundings: &surroundings, clock: &clock };
    build(BUILT_INS, settings, &Materials { fetch: Arc::new(Fetch::new(&Trust::system())) })
}

#[test]
fn the_example_builds_and_shows_no_secret() {
    let source = source(BUILT_IN.example).unwrap();
    assert!(!format!("{source:?}").contains("canary"));
    assert_eq!(source.login().unwrap().label(), "Corporate account");
    assert_eq!(source.trouble(), None, "nothing is fetched before it is needed");
}

#[test]
fn wrong_sections_name_the_key() {
    let good = "kind = \"oidc\"\nclient_id = \"claviger\"\nissuer = \"https://idp.example.com\"\n";
    assert!(source(good).is_ok(), "a public client");
    for (text, key) in [
        (format!("{good}extra = 1"), "extra"),
        (format!("{good}client_secret = \"in the open\""), "client_secret"),
        (format!("{good}client_secret = {{ env = \"NOT_SET\" }}"), "client_secret"),
        (format!("{good}login_parameters = {{ redirect_uri = \"https://evil.example\" }}"), "redirect_uri"),
        (good.replace("https://idp", "http://idp"), "issuer"),
        (good.replace("example.com", "example.com/?a=b"), "issuer"),
        (good.replace("https://idp.example.com", "mailto:idp"), "issuer"),
        (good.replace("\"claviger\"", "\"\""), "client_id"),
    ] {
        let error = source(&text).unwrap_err();
        assert!(error.to_string().contains(key), "{text}: {error}");
    }
    for loopback in
        ["http://127.0.0.1:9000/realms/x", "http://[::1]:9000", "http://localhost:9000", "http://idp.localhost"]
    {
        assert!(source(&good.replace("https://idp.example.com", loopback)).is_ok(), "{loopback}");
    }
}
