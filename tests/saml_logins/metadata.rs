//! Whose signatures count, while keys change on either side; and what we say of ourselves.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use claviger::saml::{Certificate, Metadata, Pinned};
use claviger::server::Handler;
use claviger::web::{self, Connection, Request, Response};
use http::StatusCode;

use super::{begun, document, honest, refused};
use crate::support::browser::Browser;
use crate::support::place::Place;
use crate::support::saml_attacks::{OURSELVES, PROVIDER, STRANGER};
use crate::support::saml_idp::{ENTITY_ID, ISSUER, KEYS, SIGN_ON, metadata, metadata_with, pem, plan_of, this_second};
use crate::support::side::Side;
use crate::support::world::{World, until};

/// What is at the metadata's address, and how often it was asked for.
#[derive(Debug, Default)]
struct Published(Mutex<(String, usize)>);

#[async_trait]
impl Handler for Published {
    async fn handle(&self, _connection: &Connection, _request: Request) -> Response {
        let mut published = self.0.lock().unwrap();
        published.1 += 1;
        web::answer(StatusCode::OK, "application/samlmetadata+xml", published.0.clone())
    }
}

impl Published {
    fn put(&self, document: &str) {
        document.clone_into(&mut self.0.lock().unwrap().0);
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

/// A claviger that fetches the metadata, and what is there.
async fn world(more: &str, first: &str) -> (World, Arc<Published>, Side) {
    let (place, published) = (Place::reserve(), Arc::new(Published::default()));
    published.put(first);
    let section = format!("metadata_url = \"http://{}/metadata\"\n{KEYS}\n{more}", place.at());
    let side = Side::new("metadata", place, Arc::clone(&published) as _);
    side.start();
    (plan_of(&section).start().await, published, side)
}

async fn log_in(world: &World) -> StatusCode {
    let mut browser = Browser::default();
    let waiting = begun(world, &mut browser, "/").await;
    waiting.post(&mut browser, honest(&waiting)).await.status
}

/// The provider changes its key before the metadata is due: what its new key signs has it fetched anew, once.
#[tokio::test]
async fn a_new_key_of_the_providers_is_found_when_it_is_used_first() {
    let (world, published, _side) = world("", &metadata_with(&[&STRANGER.certificate])).await;
    let mut browser = Browser::default();
    let waiting = begun(&world, &mut browser, "/").await;
    assert_eq!(published.asked(), 1);
    published.put(&metadata_with(&[&STRANGER.certificate, &PROVIDER.certificate]));
    let answer = waiting.post(&mut browser, honest(&waiting)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    assert_eq!(published.asked(), 2);

    // what nobody's key signed does not have it fetched again and again (A19)
    for _ in 0..3 {
        let waiting = begun(&world, &mut browser, "/other").await;
        let forged = document("the subject changed").document(&waiting.stage());
        refused(&world, &waiting.post(&mut browser, forged).await);
    }
    assert_eq!(published.asked(), 2);
}

/// Threats 0.1: metadata that loses its key, has expired, or is somebody else's: the last good one stays.
#[tokio::test]
async fn bad_metadata_never_takes_the_place_of_good() {
    let good = metadata();
    let no_key = metadata_with(&[]);
    let expired = good.replacen(" entityID=", " validUntil=\"2020-01-01T00:00:00Z\" entityID=", 1);
    let other = good.replace("https://idp.example.org/saml", "https://other.example.org/saml");
    for (bad, why) in [
        (no_key.as_str(), "no usable certificate"),
        (&expired, "expired"),
        (&other, "has no entity"),
        ("<html></html>", "refused"),
        ("", "refused"),
    ] {
        assert_ne!(bad, good);
        let (world, published, _side) = world("", &good).await;
        assert_eq!(log_in(&world).await, StatusCode::SEE_OTHER);
        published.put(bad);
        // a signature of nobody's has it fetched
        let mut browser = Browser::default();
        let waiting = begun(&world, &mut browser, "/").await;
        refused(&world, &waiting.post(&mut browser, document("the subject changed").document(&waiting.stage())).await);
        assert_eq!(published.asked(), 2);
        assert_eq!(log_in(&world).await, StatusCode::SEE_OTHER, "{why}: the last good one stays");
        let ready = world.admin("/readyz").await;
        assert_eq!(ready.status, StatusCode::OK);
        assert!(ready.text().contains("identity.corp") && ready.text().contains(why), "{why}: {}", ready.text());
        let told = |event: &serde_json::Value| {
            event["level"] == "ERROR" && event.to_string().contains("the last good one stays")
        };
        assert_eq!(world.events().await.iter().filter(|event| told(event)).count(), 1, "{why}");
    }
}

/// Threats 0.1: nobody logs in where there never was a certificate.
#[tokio::test]
async fn without_a_signing_certificate_the_source_stays_off() {
    let (world, published, _side) = world("", &metadata_with(&[])).await;
    let mut browser = Browser::default();
    let answer = browser.step(&world.url("/")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(world.admin("/readyz").await.text().contains("no usable certificate"));
    // it comes back by itself
    published.put(&metadata());
    let answer = until(async || browser.step(&world.url("/")).await, |answer| answer.status.is_redirection()).await;
    assert!(answer.location().starts_with(SIGN_ON));
    assert!(!world.admin("/readyz").await.text().contains("identity.corp"));
}

/// Metadata that must be signed, by a pinned certificate.
#[tokio::test]
async fn pinned_metadata_is_believed_by_its_own_signature_only() {
    let signed = |by: &claviger::saml::SigningKey| {
        claviger::saml::ProviderOf {
            entity_id: ISSUER,
            sign_on_url: SIGN_ON,
            logout_url: None,
            signing: &[&PROVIDER.certificate],
            wants_signed_requests: false,
            name_id_formats: &[],
            valid_until: Some(this_second() + Duration::from_secs(3600)),
        }
        .write(Some(by))
        .unwrap()
    };
    let more = "metadata_certificates = [\"sp.crt\"]";
    for (document, status) in [
        (signed(&OURSELVES.signing), StatusCode::SEE_OTHER),
        (signed(&STRANGER.signing), StatusCode::SERVICE_UNAVAILABLE),
        (metadata(), StatusCode::SERVICE_UNAVAILABLE),
        (signed(&OURSELVES.signing).replace(SIGN_ON, "https://evil.example.org/sso"), StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let (world, _published, _side) = world(more, &document).await;
        assert_eq!(Browser::default().step(&world.url("/")).await.status, status);
    }
}

/// What we say of ourselves has our places, and both keys while one takes the other's place.
#[tokio::test]
async fn our_metadata_has_our_places_and_all_our_keys() {
    let pair = |name| format!("{{ key = {{ file = \"{name}.key\" }}, certificate = \"{name}.crt\" }}");
    let keys = format!("signing = [{}, {}]\ndecryption = [{}]", pair("next"), pair("sp"), pair("sp"));
    let world = plan_of(&format!("metadata_file = \"idp.xml\"\n{keys}"))
        .file("next.crt", &pem(&STRANGER.certificate))
        .file("next.key", STRANGER.key_pem.expose())
        .start()
        .await;
    let answer = world.get("/.claviger/saml/corp/metadata", "").await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/samlmetadata+xml"));
    let metadata = Metadata::read(&answer.body, Pinned::default(), this_second()).unwrap();
    assert_eq!(metadata.entity_id, ENTITY_ID);
    let party = metadata.party.unwrap();
    let certificates: [&Certificate; 2] = [&STRANGER.certificate, &OURSELVES.certificate];
    assert_eq!(party.certificates.iter().collect::<Vec<_>>(), certificates);
    assert_eq!(party.encryption, std::slice::from_ref(&OURSELVES.certificate));
    assert_eq!(party.consumers[0].location, world.url("/.claviger/saml/corp/acs"));
    assert_eq!(party.logout[0].location, world.url("/.claviger/saml/corp/logout"));
    assert!(party.signs_requests);
}

/// What is wrong with a section, `check` says, by its key.
#[test]
fn check_says_what_is_wrong() {
    let section = |more: &str| {
        format!(
            "[listen.main]\naddress = \"127.0.0.1:0\"\npublic_url = \"http://127.0.0.1:8080\"\n\
             [identity.corp]\nkind = \"saml\"\nissuer = \"https://idp.example.org/saml\"\nentity_id = \"us\"\n{more}\n\
             [route.app]\nhost = \"*\"\nupstream = \"http://127.0.0.1:9\"\nallow = \"signed-in\"\n"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    put("good.xml", &metadata().replace("WantAuthnRequestsSigned=\"true\"", "WantAuthnRequestsSigned=\"false\""));
    put("wants.xml", &metadata());
    put("no-key.xml", &metadata_with(&[]));
    put("sp.crt", &pem(&OURSELVES.certificate));
    put("sp.key", OURSELVES.key_pem.expose());
    put("other.key", STRANGER.key_pem.expose());
    for (more, said) in [
        ("metadata_file = \"good.xml\"", ""),
        ("metadata_file = \"no-key.xml\"", "names no usable certificate"),
        ("metadata_file = \"wants.xml\"", "wants requests signed"),
        ("metadata_file = \"none.xml\"", "can't be read"),
        ("", "identity.corp.metadata_url: is missing"),
        ("metadata_file = \"good.xml\"\nmetadata_url = \"https://x\"", "expected one of them"),
        ("metadata_url = \"http://idp.example.org/metadata\"", "is not https"),
        (
            "metadata_file = \"good.xml\"\nsigning = [{ key = { file = \"other.key\" }, certificate = \"sp.crt\" }]",
            "not of the private key beside it",
        ),
    ] {
        let config = folder.path().join("claviger.toml");
        std::fs::write(&config, section(more)).unwrap();
        let output =
            std::process::Command::new(env!("CARGO_BIN_EXE_claviger")).arg("check").arg(&config).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(if said.is_empty() { 0 } else { 2 }), "{more}: {text}");
        assert!(text.contains(said), "{more}: {text}");
    }
}
