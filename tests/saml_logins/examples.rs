//! The sections for Keycloak, Entra, Okta and AD FS, with assertions as those send them: who it is, and what is said of them.

use std::sync::Arc;

use claviger::built_in::{self, Environment, Settings, Surroundings};
use claviger::clock::{Clock, SystemClock};
use claviger::fetch::Fetch;
use claviger::identity::{BUILT_INS, IdentitySource, Materials, SAML_EXAMPLES};
use claviger::telemetry::Metrics;
use claviger::tls::Trust;
use serde_json::{Value, json};

use crate::support::saml_attacks::OURSELVES;
use crate::support::saml_idp::pem;

/// A source of this section, beside the files that it names.
fn source(example: &str) -> Arc<dyn IdentitySource> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("saml.crt"), pem(&OURSELVES.certificate)).unwrap();
    std::fs::write(folder.path().join("saml.key"), OURSELVES.key_pem.expose()).unwrap();
    let surroundings = Surroundings::new(folder.path(), Environment::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let table = example.parse().unwrap();
    let settings = Settings { name: "corp", table, surroundings: &surroundings, clock: &clock };
    let materials = Materials {
        fetch: Arc::new(Fetch::new(&Trust::system())),
        metrics: Metrics::new(),
        keys: claviger::identity::IssuedKeys::passing(),
    };
    built_in::build(BUILT_INS, settings, &materials).unwrap_or_else(|e| panic!("{e}\n{example}"))
}

/// What comes of it at each, the NameID as `sub`.
fn sent() -> [(&'static str, Value, &'static str); 4] {
    const WS: &str = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims";
    let microsoft = "http://schemas.microsoft.com";
    [
        (
            "saml/keycloak",
            json!({
                "sub": "G-6b0e7b32-6f0f-4a3b-8c7e-0a4c3c1d7a55", "email": "alice@example.com", "name": "Alice",
                "groups": ["finance", "staff"], "Role": ["offline_access", "uma_authorization"],
            }),
            "G-6b0e7b32-6f0f-4a3b-8c7e-0a4c3c1d7a55",
        ),
        (
            "saml/entra",
            json!({
                "sub": "alice@example.com",
                format!("{microsoft}/identity/claims/tenantid"): "00000000-0000-0000-0000-000000000000",
                format!("{microsoft}/identity/claims/objectidentifier"): "2e7b5c1a-3a52-4c64-8a4e-5f3a6d9b1c20",
                format!("{microsoft}/identity/claims/displayname"): "Alice",
                format!("{microsoft}/ws/2008/06/identity/claims/groups"): ["finance", "staff"],
                format!("{microsoft}/claims/authnmethodsreferences"): "http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/password",
                format!("{WS}/givenname"): "Alice",
                format!("{WS}/emailaddress"): "alice@example.com",
                format!("{WS}/name"): "alice@example.com",
            }),
            "2e7b5c1a-3a52-4c64-8a4e-5f3a6d9b1c20",
        ),
        (
            "saml/okta",
            json!({
                "sub": "alice@example.com", "uid": "00u1a2b3c4d5e6f7g8h9", "email": "alice@example.com",
                "name": "Alice", "groups": ["finance", "staff"],
            }),
            "00u1a2b3c4d5e6f7g8h9",
        ),
        (
            "saml/adfs",
            json!({
                "sub": "alice",
                format!("{microsoft}/ws/2008/06/identity/claims/primarysid"): "S-1-5-21-1004336348-1177238915-682003330-1104",
                "http://schemas.xmlsoap.org/claims/Group": ["finance", "staff"],
                format!("{WS}/emailaddress"): "alice@example.com",
                format!("{WS}/name"): "Alice",
            }),
            "S-1-5-21-1004336348-1177238915-682003330-1104",
        ),
    ]
}

#[test]
fn each_example_reads_what_its_provider_sends() {
    let sent = sent();
    assert_eq!(
        sent.each_ref().map(|(name, ..)| *name).as_slice(),
        SAML_EXAMPLES.iter().map(|e| e.0).collect::<Vec<_>>()
    );
    for ((name, example), (_, attributes, expected)) in SAML_EXAMPLES.iter().zip(&sent) {
        let source = source(example);
        let (subject, claims) = source.read(attributes.as_object().cloned().unwrap()).unwrap();
        assert_eq!(&*subject, *expected, "{name}");
        assert_eq!(claims.texts("groups").collect::<Vec<_>>(), ["finance", "staff"], "{name}");
        let text = |claim| claims.text(claim);
        assert_eq!((text("email"), text("name")), (Some("alice@example.com".into()), Some("Alice".into())), "{name}");
        assert!(claims.value("email_verified").is_none(), "{name}: nobody has said that they vouch for addresses");

        // what is to be entered at the provider: the places that it is told of in our metadata, and the same in the text
        let party = source.login().and_then(|login| login.party()).expect("a party");
        let metadata = party.metadata(&"https://apps.example.com".parse().unwrap()).expect("metadata");
        assert!(metadata.contains("entityID=\"https://apps.example.com/.claviger/saml/corp/metadata\""), "{metadata}");
        for place in ["acs", "logout"] {
            let place = format!("/.claviger/saml/corp/{place}");
            assert!(metadata.contains(&format!("\"https://apps.example.com{place}\"")), "{name}: {metadata}");
            assert!(example.contains(&place.replace("corp", "<name>")), "{name}: {place}");
        }
    }
    // whom nothing names is nobody
    for (name, _, _) in &sent[1..] {
        let (_, example) = SAML_EXAMPLES.iter().find(|(known, _)| known == name).unwrap();
        let nobody = json!({ "sub": "alice@example.com" }).as_object().cloned().unwrap();
        assert!(source(example).read(nobody).is_err(), "{name}");
    }
}

#[test]
fn each_example_is_printed_by_its_name() {
    let kinds = |name: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_claviger"));
        command.args(["kinds", "identity", "--example", name]).output().unwrap()
    };
    for (name, example) in SAML_EXAMPLES {
        assert_eq!(String::from_utf8(kinds(name).stdout).unwrap(), *example, "{name}");
    }
    let unknown = kinds("saml/other");
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert_eq!(unknown.status.code(), Some(2), "{said}");
    assert!(said.contains("saml/keycloak"), "{said}");
}
