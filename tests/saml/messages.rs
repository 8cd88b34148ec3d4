//! Requests and logout messages: what we write is read and verified, and nothing that was changed on the way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger::clock::from_epoch_seconds;
use claviger::saml::{
    AuthnRequest, Certificate, ExpectedMessage, Guarded, Kind, Leaving, Left, LogoutRequest, LogoutResponse, NameId,
    Outgoing, Reason, Redirected, Requested, SKEW, SUCCESS, SigningKey, Trust, Verified, from_post, verify,
    verify_redirect,
};
use claviger::secret::Secret;

use crate::support::saml_attacks::{PROVIDER, STRANGER};

const US: &str = "https://apps.example.org/saml";
const THEM: &str = "https://idp.example.org/sso?tenant=1";
const NOW: u64 = 1_800_000_000;

fn expected() -> ExpectedMessage<'static> {
    ExpectedMessage { issuer: US, destination: THEM, now: from_epoch_seconds(NOW), skew: SKEW }
}

fn trust() -> Trust {
    Trust { certificates: vec![STRANGER.certificate.clone(), PROVIDER.certificate.clone()], ..Trust::default() }
}

fn request() -> Outgoing {
    AuthnRequest {
        issuer: US,
        destination: THEM,
        acs_url: "https://apps.example.org/acs",
        force_authn: true,
        is_passive: false,
        name_id_format: Some("urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"),
        authn_contexts: &["urn:a", "urn:b"],
        at: from_epoch_seconds(NOW),
    }
    .build()
}

fn alice() -> NameId {
    NameId {
        value: "alice & <co>".into(),
        format: Some("urn:f".into()),
        name_qualifier: None,
        sp_name_qualifier: Some("q".into()),
    }
}

fn leaving() -> Outgoing {
    let at = from_epoch_seconds(NOW);
    LogoutRequest { issuer: US, destination: THEM, name_id: &alice(), session_indexes: &["_1", "_2"], at }.build()
}

fn left() -> Outgoing {
    let at = from_epoch_seconds(NOW);
    LogoutResponse { issuer: US, destination: THEM, in_response_to: "_asked", status: SUCCESS, at }.build()
}

fn by_post(outgoing: &Outgoing, kind: Kind) -> Verified {
    let posted = outgoing.post(&PROVIDER.signing).unwrap();
    let document = from_post(&posted.value).unwrap();
    verify(Guarded::new(&document, kind).unwrap(), &trust()).unwrap()
}

fn by_redirect(outgoing: &Outgoing, kind: Kind) -> Verified {
    let url = outgoing.redirect(Some("a state/+&=ü"), Some(&PROVIDER.signing)).unwrap();
    let query = url.strip_prefix(THEM).unwrap().strip_prefix('&').unwrap().to_owned();
    let redirected = Redirected::read(&query).unwrap();
    assert_eq!(redirected.relay_state.as_deref(), Some("a state/+&=ü"));
    verify_redirect(&redirected, kind, &trust()).unwrap()
}

#[test]
fn a_request_arrives_by_either_way() {
    let outgoing = request();
    for verified in [by_post(&outgoing, Kind::AuthnRequest), by_redirect(&outgoing, Kind::AuthnRequest)] {
        let read = Requested::read(&verified, &expected()).unwrap();
        assert_eq!(read.id, outgoing.id());
        assert_eq!(read.acs_url.as_deref(), Some("https://apps.example.org/acs"));
        assert!(read.force_authn && !read.is_passive);
        assert_eq!(read.authn_contexts, ["urn:a", "urn:b"]);
    }
    let unsigned = Guarded::new(outgoing.xml().as_bytes(), Kind::AuthnRequest).unwrap();
    assert_eq!(unsigned.claimed_issuer().as_deref(), Some(US));
    assert!(Requested::unverified(&unsigned, &expected()).is_ok());
    assert_eq!(verify(unsigned, &trust()).unwrap_err().reason(), &Reason::Unsigned);
}

/// SAML-Core §1.3.4.
#[test]
fn ids_are_random_names() {
    let ids: std::collections::HashSet<_> = (0..100).map(|_| request().id().to_owned()).collect();
    assert_eq!(ids.len(), 100);
    assert!(ids.iter().all(|id| id.len() == 28 && id.starts_with('_')));
}

#[test]
fn a_logout_arrives_by_either_way() {
    for verified in [by_post(&leaving(), Kind::LogoutRequest), by_redirect(&leaving(), Kind::LogoutRequest)] {
        let read = Leaving::read(&verified, &expected()).unwrap();
        assert_eq!(read.name_id, alice());
        assert_eq!(read.session_indexes, ["_1", "_2"]);
    }
    for verified in [by_post(&left(), Kind::LogoutResponse), by_redirect(&left(), Kind::LogoutResponse)] {
        let read = Left::read(&verified, &expected()).unwrap();
        assert_eq!((read.in_response_to.as_str(), read.status.as_str()), ("_asked", SUCCESS));
    }
}

#[test]
fn a_message_for_others_or_of_another_time_is_refused() {
    let verified = by_post(&leaving(), Kind::LogoutRequest);
    let later = |seconds| from_epoch_seconds(NOW + seconds);
    for (expected, good) in [
        (expected(), true),
        (ExpectedMessage { now: later(359), ..expected() }, true),
        (ExpectedMessage { now: later(360), ..expected() }, false),
        (ExpectedMessage { now: from_epoch_seconds(NOW - 61), ..expected() }, false),
        (ExpectedMessage { issuer: THEM, ..expected() }, false),
        (ExpectedMessage { destination: "https://idp.example.org/sso", ..expected() }, false),
    ] {
        assert_eq!(Leaving::read(&verified, &expected).is_ok(), good, "{expected:?}");
    }
    assert!(Left::read(&verified, &expected()).is_err(), "a request is no answer");
    assert!(Requested::read(&verified, &expected()).is_err(), "leaving is not coming");
}

/// GHSA-pcgw-qcv5-h8ch: a logout that nobody signed, that a stranger signed, or that was changed.
#[test]
fn a_redirect_that_was_changed_is_refused() {
    let url = leaving().redirect(Some("state"), Some(&PROVIDER.signing)).unwrap();
    let query = url.split_once("tenant=1&").unwrap().1.to_owned();
    let unsigned = leaving().redirect(None, None).unwrap().split_once("tenant=1&").unwrap().1.to_owned();
    let foreign =
        leaving().redirect(None, Some(&STRANGER.signing)).unwrap().split_once("tenant=1&").unwrap().1.to_owned();
    let only = Trust { certificates: vec![PROVIDER.certificate.clone()], ..Trust::default() };
    let outcome = |query: &str| {
        let redirected = Redirected::read(query).map_err(|e| e.reason().clone())?;
        verify_redirect(&redirected, Kind::LogoutRequest, &only).map_err(|e| e.reason().clone())
    };
    assert!(outcome(&query).is_ok());
    let signature = query.find("&Signature=").unwrap();
    let other = leaving().redirect(None, None).unwrap().split_once("tenant=1&").unwrap().1.to_owned();
    for (name, query, reason) in [
        ("unsigned", unsigned, "Unsigned"),
        ("by a stranger", foreign, "Signature"),
        ("the signature cut off", query[..signature].to_owned(), "Unsigned"),
        ("another state", query.replace("RelayState=state", "RelayState=other"), "Signature"),
        ("no state", query.replace("&RelayState=state", ""), "Signature"),
        ("a state encoded otherwise", query.replace("RelayState=state", "RelayState=%73tate"), "Signature"),
        ("another message", query.replacen(query.split_once('&').unwrap().0, &other, 1), "Signature"),
        ("SHA-1", query.replace("rsa-sha256", "rsa-sha1"), "Signature"),
        ("another algorithm", query.replace("rsa-sha256", "rsa-sha512"), "Signature"),
        ("two messages", format!("{other}&{query}"), "Encoding"),
        ("two states", format!("{query}&RelayState=x"), "Encoding"),
        ("two signatures", format!("{query}&Signature=AAAA"), "Encoding"),
        ("a request and a response", format!("{query}&SAMLResponse=AAAA"), "Encoding"),
        ("no message", "RelayState=x".to_owned(), "Encoding"),
        ("no base64", "SAMLRequest=*".to_owned(), "Encoding"),
        ("not deflated", format!("SAMLRequest={}", STANDARD.encode("<a/>")), "Encoding"),
        ("another encoding", format!("{query}&SAMLEncoding=urn%3Ax"), "Encoding"),
    ] {
        let found = outcome(&query).expect_err(name);
        assert!(format!("{found:?}").starts_with(reason), "{name}: {found:?}");
    }
}

/// CVE-2023-28119: a small message that is a large one.
#[test]
fn an_inflated_message_has_an_end() {
    use std::io::Write as _;
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        deflate.write_all(&vec![b' '; 1024 * 1024]).unwrap();
    }
    let bomb = STANDARD.encode(deflate.finish().unwrap()).replace('+', "%2B");
    let refused = Redirected::read(&format!("SAMLRequest={bomb}")).unwrap_err();
    assert!(matches!(refused.reason(), Reason::Exceeds(_)), "{:?}", refused.reason());
    let refused = from_post(&"A".repeat(432_000)).unwrap_err();
    assert!(matches!(refused.reason(), Reason::Exceeds(_)));
    assert!(from_post("****").is_err());
    assert_eq!(from_post("PGEv\r\nPg==").unwrap(), b"<a/>");
}

/// Everything that we sign, by either kind of key, verifies by xmlsec1.
#[test]
fn elliptic_keys_sign_as_well() {
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["sp.example.org".to_owned()]).unwrap();
    let certificate = Certificate::from_der(params.self_signed(&pair).unwrap().der()).unwrap();
    let key = SigningKey::new(&Secret::new(pair.serialize_pem()), certificate.clone()).unwrap();
    // beside one of another kind, on which xmlsec1 would fail
    let trust = Trust { certificates: vec![PROVIDER.certificate.clone(), certificate], ..Trust::default() };
    let document = from_post(&request().post(&key).unwrap().value).unwrap();
    assert!(verify(Guarded::new(&document, Kind::AuthnRequest).unwrap(), &trust).is_ok());
    let url = request().redirect(None, Some(&key)).unwrap();
    let redirected = Redirected::read(url.split_once("tenant=1&").unwrap().1).unwrap();
    assert!(verify_redirect(&redirected, Kind::AuthnRequest, &trust).is_ok());
    assert!(SigningKey::new(&Secret::new(pair.serialize_pem()), PROVIDER.certificate.clone()).is_err());
}

#[test]
fn a_logout_by_an_encrypted_name_is_refused_by_name() {
    let document = leaving().xml().replace(
        "<saml:NameID",
        "<saml:EncryptedID xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\"></saml:EncryptedID><saml:NameID",
    );
    let refused = Guarded::new(document.as_bytes(), Kind::LogoutRequest).unwrap_err();
    assert!(matches!(refused.reason(), Reason::Encryption(_)), "{:?}", refused.reason());
}
