//! SAML: however a Response is changed, the one who is believed is the one who was signed for (A15, A16).

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use claviger::clock::from_epoch_seconds;
use claviger::saml::{
    Answer, AssertionOf, Certificate, DecryptionKey, Encryption, Expected, Guarded, Kind, Metadata, NameId, Pinned,
    Redirected, ResponseOf, SKEW, SUCCESS, Signing, SigningKey, Trust, from_post, verify, verify_redirect,
};
use claviger::secret::Secret;

const ISSUER: &str = "https://idp.test/saml";
const ACS: &str = "https://apps.test/acs";
const US: &str = "https://apps.test/saml";

struct House {
    trust: Trust,
    /// Signed within, signed around, both, encrypted.
    good: Vec<String>,
}

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).expect("a key");
    let params = rcgen::CertificateParams::new(["idp.test".to_owned()]).expect("a name");
    let certificate = params.self_signed(&pair).expect("a certificate");
    let certificate = Certificate::from_der(certificate.der()).expect("an RSA certificate");
    let pem = Secret::new(pair.serialize_pem());
    let key = SigningKey::new(&pem, certificate.clone()).expect("a pair");
    let decryption = DecryptionKey::new(&pem, certificate.clone()).expect("a pair");
    let build = |response, assertion, encrypt| good(Signing { key: &key, response, assertion, encrypt });
    let encrypt = Some((&certificate, Encryption::default()));
    let good =
        vec![build(false, true, None), build(true, false, None), build(true, true, None), build(false, true, encrypt)];
    House { trust: Trust { certificates: vec![certificate], decryption: vec![decryption], cbc: true }, good }
});

fn good(signing: Signing<'_>) -> String {
    let name_id = NameId { value: "alice".into(), format: None, name_qualifier: None, sp_name_qualifier: None };
    let attributes = [("groups", vec!["staff".to_owned()])];
    let assertion = AssertionOf {
        name_id: &name_id,
        recipient: ACS,
        audience: US,
        attributes: &attributes,
        session_index: "_s",
        authn_instant: now(),
        authn_context: "urn:x",
        session_ends_at: None,
        lives: Duration::from_secs(60),
    };
    let response = ResponseOf {
        issuer: ISSUER,
        destination: ACS,
        in_response_to: Some("_r"),
        status: SUCCESS,
        status_detail: None,
        assertion: Some(assertion),
        at: now(),
    };
    response.build(signing).expect("it can be signed").xml()
}

/// `<what> <a> <b> <length> text`: in one of the good ones, at place `a b`, so many bytes replaced by the text; or the
/// text alone, as whatever it may be.
pub fn run(data: &[u8]) {
    let [what, a, b, length, text @ ..] = data else { return };
    let house = &*HOUSE;
    let changed = |good: &str| {
        let at = (usize::from(*a) << 8 | usize::from(*b)) % (good.len() + 1);
        let end = good.len().min(at + usize::from(*length));
        [&good.as_bytes()[..at], text, &good.as_bytes()[end..]].concat()
    };
    match what % 8 {
        4 => believed(text, house),
        5 => {
            let _ = Metadata::read(text, Pinned::default(), now());
            let _ = Metadata::read(text, Pinned { entity_id: None, certificates: &house.trust.certificates }, now());
        }
        6 => {
            let text = String::from_utf8_lossy(text);
            if let Ok(redirected) = Redirected::read(&text) {
                assert!(
                    verify_redirect(&redirected, Kind::LogoutRequest, &house.trust).is_err(),
                    "nobody signed {text:?}"
                );
            }
            let _ = from_post(&text);
        }
        7 => {
            for kind in [Kind::AuthnRequest, Kind::LogoutRequest, Kind::LogoutResponse] {
                let verified = Guarded::new(text, kind).map(|guarded| verify(guarded, &house.trust).is_ok());
                assert_ne!(verified.ok(), Some(true), "nobody signed {:?}", String::from_utf8_lossy(text));
            }
        }
        which => believed(&changed(&house.good[usize::from(which)]), house),
    }
}

fn believed(document: &[u8], house: &House) {
    let accepted = Guarded::new(document, Kind::Response)
        .and_then(|guarded| verify(guarded, &house.trust))
        .and_then(|verified| verified.accept(&expected()));
    if let Ok(assertion) = accepted {
        let who = (assertion.name_id.value.as_str(), assertion.values("groups"));
        assert_eq!(who, ("alice", &["staff".to_owned()][..]), "{:?}", String::from_utf8_lossy(document));
    }
}

fn expected() -> Expected<'static> {
    Expected {
        issuer: ISSUER,
        destination: Some(ACS),
        recipients: &[ACS],
        audiences: &[US],
        answer: Answer::To("_r"),
        authn_contexts: &[],
        now: now(),
        skew: SKEW,
    }
}

fn now() -> SystemTime {
    from_epoch_seconds(1_800_000_000)
}

pub fn seeds() -> Vec<Vec<u8>> {
    let assertion = "<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"_x\" Version=\"2.0\"></saml:Assertion>";
    let inserted = [
        "",
        "<!---->",
        "<?p q?>",
        "<![CDATA[x]]>",
        "&#97;",
        "&x;",
        " ID=\"_x\"",
        " xmlns:a=\"b\"",
        " xmlns=\"urn:x\"",
        "</saml:NameID><saml:NameID>admin",
        "<ds:Object></ds:Object>",
        "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xpath-19991116\"></ds:Transform>",
        assertion,
    ];
    let mut seeds = Vec::new();
    for (n, text) in inserted.iter().enumerate() {
        let place = u8::try_from(n).expect("few");
        seeds.push([&[place % 4, place, place.wrapping_mul(37), 0], text.as_bytes()].concat());
    }
    let alone = format!(
        "<samlp:Response xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\" ID=\"_a\" Version=\"2.0\"><samlp:Status>\
         <samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"/></samlp:Status>{assertion}</samlp:Response>"
    );
    let metadata = "<md:EntityDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" entityID=\"a\"><md:IDPSSODescriptor \
        protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\"></md:IDPSSODescriptor></md:EntityDescriptor>";
    let leaving =
        "<samlp:LogoutRequest xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\" ID=\"_a\" Version=\"2.0\"/>";
    for (what, text) in [
        (4, alone.as_str()),
        (5, metadata),
        (
            6,
            "SAMLRequest=fZA%2B&RelayState=x&SigAlg=http%3A%2F%2Fwww.w3.org%2F2001%2F04%2Fxmldsig-more%23rsa-sha256&Signature=AAAA",
        ),
        (7, leaving),
    ] {
        seeds.push([&[what, 0, 0, 0], text.as_bytes()].concat());
    }
    seeds
}
