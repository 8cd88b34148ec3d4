//! Metadata: what is taken over, and what leaves the last good one in place.

use std::time::Duration;

use claviger::clock::from_epoch_seconds;
use claviger::saml::{Binding, Metadata, MetadataError, PartyOf, Pinned, ProviderOf};

use crate::support::saml_attacks::{OURSELVES, PROVIDER, STRANGER};

const ID: &str = "https://idp.example.org/saml";
const NOW: u64 = 1_800_000_000;

fn provider(signed: bool) -> String {
    ProviderOf {
        entity_id: ID,
        sign_on_url: "https://idp.example.org/sso",
        logout_url: Some("https://idp.example.org/slo"),
        signing: &[&PROVIDER.certificate, &STRANGER.certificate],
        wants_signed_requests: true,
        name_id_formats: &["urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"],
        valid_until: Some(from_epoch_seconds(NOW) + Duration::from_secs(3600)),
    }
    .write(signed.then_some(&PROVIDER.signing))
    .unwrap()
}

fn read(text: &str, pinned: Pinned<'_>) -> Result<Metadata, MetadataError> {
    Metadata::read(text.as_bytes(), pinned, from_epoch_seconds(NOW))
}

#[test]
fn a_providers_metadata_comes_back() {
    for text in
        [provider(false), provider(true), format!("\u{feff}<?xml version=\"1.0\"?>\n<!-- ours -->{}", provider(false))]
    {
        let metadata = read(&text, Pinned { entity_id: Some(ID), ..Pinned::default() }).unwrap();
        let provider = metadata.provider.unwrap();
        assert_eq!(metadata.entity_id, ID);
        assert_eq!(provider.certificates, [PROVIDER.certificate.clone(), STRANGER.certificate.clone()]);
        assert_eq!(provider.sign_on().unwrap().binding, Binding::Redirect);
        assert_eq!(provider.logout().unwrap().location, "https://idp.example.org/slo");
        assert!(provider.wants_signed_requests && metadata.party.is_none());
    }
}

#[test]
fn our_metadata_comes_back_with_two_keys_of_each_kind() {
    let keys = [OURSELVES.decryption(), STRANGER.decryption()];
    let ours = PartyOf {
        entity_id: "https://apps.example.org/saml",
        acs_url: "https://apps.example.org/acs",
        logout_url: Some("https://apps.example.org/slo"),
        signing: &[&OURSELVES.certificate, &STRANGER.certificate],
        encryption: &keys,
        wants_signed_assertions: true,
        valid_until: None,
    };
    let text = ours.write(Some(&OURSELVES.signing)).unwrap();
    let pins = [OURSELVES.certificate.clone()];
    let party = read(&text, Pinned { entity_id: None, certificates: &pins }).unwrap().party.unwrap();
    assert_eq!(party.certificates.len(), 2);
    assert_eq!(party.encryption, [OURSELVES.certificate.clone(), STRANGER.certificate.clone()]);
    assert!(party.signs_requests && party.wants_signed_assertions);
    let acs = "https://apps.example.org/acs";
    assert_eq!(party.consumer(None, None).unwrap().location, acs);
    assert_eq!(party.consumer(Some(acs), None).unwrap().location, acs);
    assert_eq!(party.consumer(None, Some(0)).unwrap().location, acs);
    assert!(party.consumer(Some("https://evil.example/acs"), None).is_none());
    assert!(party.consumer(None, Some(7)).is_none());
}

#[test]
fn metadata_that_would_leave_us_open_is_refused() {
    let pins = [PROVIDER.certificate.clone()];
    let strangers = [STRANGER.certificate.clone()];
    let named = Pinned { entity_id: Some(ID), ..Pinned::default() };
    let pinned = Pinned { certificates: &pins, ..named };
    let bare = provider(false);
    let within = |entity: &str, more: &str| {
        format!(
            "<md:EntitiesDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" {more}>{entity}</md:EntitiesDescriptor>"
        )
    };
    let changed = |from: &str, to: &str| {
        assert!(bare.contains(from));
        bare.replace(from, to)
    };
    assert!(read(&provider(true), pinned).is_ok());
    assert!(read(&within(&bare, ""), named).is_ok());
    for (name, text, pinned, reason) in [
        ("no signing key", changed("use=\"signing\"", "use=\"encryption\""), named, "NoCertificate"),
        ("no certificate", changed("ds:X509Certificate", "ds:X509SKI"), named, "NoCertificate"),
        (
            "a certificate that is none",
            changed("<ds:X509Certificate>", "<ds:X509Certificate>AAAA"),
            named,
            "NoCertificate",
        ),
        ("no address", changed("SingleSignOnService", "NameIDMappingService"), named, "NoEndpoint"),
        (
            "a script as its address",
            changed("Location=\"https://idp.example.org/sso", "Location=\"javascript:alert(1)"),
            named,
            "NoEndpoint",
        ),
        ("another entity", changed(ID, "https://other.example.org/"), named, "NoEntity"),
        ("the entity twice", within(&format!("{bare}{}", provider(false)), ""), named, "Several"),
        ("expired", changed(":00Z", ":00Z").replace("validUntil=\"2027", "validUntil=\"2020"), named, "Expired"),
        ("an expired aggregate", within(&bare, "validUntil=\"2020-01-01T00:00:00Z\""), named, "Expired"),
        ("unsigned", bare.clone(), pinned, "Refused(Refused(Unsigned"),
        ("by a stranger", provider(true), Pinned { certificates: &strangers, ..named }, "Refused(Refused(Signature"),
        ("changed", provider(true).replace("example.org/sso", "example.org/evil"), pinned, "Refused(Refused(Signature"),
        ("unsigned around a signed one", within(&provider(true), "ID=\"_a\""), pinned, "Refused("),
        ("a DOCTYPE", format!("<!DOCTYPE a>{bare}"), named, "Refused(Refused(Xml"),
        ("2 MB", format!("{bare}{}", " ".repeat(2_000_000)), named, "Refused(Refused(Exceeds"),
        ("nothing", String::new(), named, "Refused("),
    ] {
        let found = format!("{:?}", read(&text, pinned).expect_err(name));
        assert!(found.starts_with(reason), "{name}: {found}");
    }
}
