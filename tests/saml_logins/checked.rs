//! `claviger check` and a provider's metadata: what a file says is looked at, and what is elsewhere where that is wanted.

use std::sync::Arc;

use async_trait::async_trait;
use claviger::server::Handler;
use claviger::web::{self, Connection, Request, Response};
use http::StatusCode;
use serde_json::Value;
use tokio::process::Command;

use crate::support::place::Place;
use crate::support::saml_attacks::PROVIDER;
use crate::support::saml_idp::{ENTITY_ID, ISSUER, metadata, metadata_with};
use crate::support::side::Side;

struct Published(String);

#[async_trait]
impl Handler for Published {
    async fn handle(&self, _connection: &Connection, _request: Request) -> Response {
        web::answer(StatusCode::OK, "application/samlmetadata+xml", self.0.clone())
    }
}

/// What `check` says of a site whose metadata is there: its exit code, and its words.
async fn checked(at: &str, arguments: &[&str]) -> (i32, String) {
    let config = format!(
        "state_dir = \"state\"\n[listen.main]\naddress = \"127.0.0.1:0\"\npublic_url = \"https://apps.example.com\"\n\
         [identity.corp]\nkind = \"saml\"\nissuer = \"{ISSUER}\"\nentity_id = \"{ENTITY_ID}\"\n{at}\n\
         [route.app]\nhost = \"app.example.com\"\nupstream = \"http://127.0.0.1:1\"\nallow = \"signed-in\"\n"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("claviger.toml"), config).unwrap();
    std::fs::write(folder.path().join("bad.xml"), metadata_with(&[])).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_claviger"));
    let command = command.arg("check").args(arguments).arg("claviger.toml").current_dir(folder.path());
    let output = command.output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// No signing certificate in metadata: the source stays off, and `check` says why.
#[tokio::test]
async fn metadata_without_a_certificate_is_told_from_a_file_at_once_and_from_an_address_when_asked() {
    let (code, said) = checked("metadata_file = \"bad.xml\"", &[]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("identity.corp.metadata_file") && said.contains("certificate"), "{said}");

    // the real metadata wants requests signed, and there is no key; what is good of it is told, too
    let good = metadata_with(&[&PROVIDER.certificate]).replace(" WantAuthnRequestsSigned=\"true\"", "");
    for (document, expected, why) in [
        (metadata_with(&[]), 1, "certificate"),
        (metadata(), 1, "signed"),
        ("<a/>".to_owned(), 1, "off: "),
        (good, 0, "people can log in"),
    ] {
        let place = Place::reserve();
        let at = format!("metadata_url = \"http://{}/metadata\"", place.at());
        let side = Side::new("metadata", place, Arc::new(Published(document)) as _);
        side.start();
        let (code, said) = checked(&at, &[]).await;
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("corp (saml)  its provider was not asked; `--online` does"), "{said}");
        let (code, said) = checked(&at, &["--online"]).await;
        assert_eq!(code, expected, "{said}");
        assert!(said.contains(why), "{why}: {said}");
        let (code, said) = checked(&at, &["--online", "--json"]).await;
        let told: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((code, &told["identity"][0]["ready"]), (expected, &Value::Bool(expected == 0)), "{said}");
    }
    let (code, said) = checked("metadata_url = \"http://127.0.0.1:1/metadata\"", &["--online"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("off: "), "{said}");
}
