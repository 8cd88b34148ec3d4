//! The `xmlsec1` command, which has our C library's rules and none of our code: whatever we sign it verifies, and whatever
//! we believe it verifies too.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use claviger::saml::{
    Answer, AuthnRequest, Certificate, Expected, Guarded, Kind, LogoutRequest, LogoutResponse, NameId, PartyOf,
    ProviderOf, SKEW, SUCCESS, SigningKey, Trust, from_post, verify,
};
use claviger::secret::Secret;

use crate::report::Report;
use crate::saml_provider::documents;
use crate::support::saml_attacks::{OURSELVES, PROVIDER, Stage, attacks};

pub(crate) async fn check(kept: &Path, report: &mut Report) {
    let folder = kept.join("saml");
    fs::create_dir_all(&folder).expect("the folder is writable");
    let pair = rcgen::KeyPair::generate().expect("a P-256 key");
    let pem = Secret::new(pair.serialize_pem());
    let params = rcgen::CertificateParams::new(["sp.example.org".to_owned()]).expect("a name");
    let made = params.self_signed(&pair).expect("a certificate");
    let certificate = Certificate::from_der(made.der()).expect("a certificate of P-256");
    let elliptic = SigningKey::new(&pem, certificate).expect("a pair");
    let mut signed = 0;
    let mut refused = Vec::new();
    for (kind, key, pem) in [("RSA", &PROVIDER.signing, &PROVIDER.key_pem), ("P-256", &elliptic, &pem)] {
        let by_name = ours(key).into_iter().map(|(name, document)| (name.to_owned(), document));
        for (name, document) in by_name.chain(documents(pem, key.certificate()).await) {
            signed += 1;
            if !verified(&folder, &document, key.certificate()) {
                refused.push(format!("{name} by {kind}"));
            }
        }
    }
    report.row("documents that we sign, refused by xmlsec1", 0, format!("{refused:?} of {signed}"), refused.is_empty());

    let stage = Stage::alone();
    let trust = Trust {
        certificates: vec![PROVIDER.certificate.clone()],
        decryption: vec![OURSELVES.decryption()],
        cbc: false,
    };
    let mut believed = 0;
    let mut doubted = Vec::new();
    for attack in attacks() {
        let document = attack.document(&stage);
        // what is signed within an encryption only, xmlsec1 does not see
        if !is_believed(&document, &stage, &trust) || !document.windows(13).any(|w| w == b"<ds:Signature") {
            continue;
        }
        believed += 1;
        if !verified(&folder, &document, &PROVIDER.certificate) {
            doubted.push(attack.name);
        }
    }
    let met = doubted.is_empty() && believed > 0;
    report.row("Responses that we believe, refused by xmlsec1", 0, format!("{doubted:?} of {believed}"), met);
}

/// One of each kind of document that we sign.
fn ours(key: &SigningKey) -> Vec<(&'static str, Vec<u8>)> {
    let at = Stage::alone().now;
    let (issuer, destination) = ("https://apps.example.org/saml", "https://idp.example.org/saml");
    let name_id = NameId {
        value: "alice & <co>\r\n\"é\"".into(),
        format: None,
        name_qualifier: Some("\t\"<>&".into()),
        sp_name_qualifier: None,
    };
    let request = AuthnRequest {
        issuer,
        destination,
        acs_url: "https://apps.example.org/acs?a=b&c=d",
        force_authn: true,
        is_passive: true,
        name_id_format: Some("urn:x"),
        authn_contexts: &["urn:a", "urn:b"],
        at,
    };
    let leaving = LogoutRequest { issuer, destination, name_id: &name_id, session_indexes: &["_1"], at };
    let left = LogoutResponse { issuer, destination, in_response_to: "_1", status: SUCCESS, at };
    let posted =
        [("AuthnRequest", request.build()), ("LogoutRequest", leaving.build()), ("LogoutResponse", left.build())];
    let posted = posted.map(|(name, outgoing)| {
        let posted = outgoing.post(key).expect("it can be signed");
        (name, from_post(&posted.value).expect("it is ours"))
    });
    let valid_until = Some(at + Duration::from_secs(60));
    let decryption = [OURSELVES.decryption()];
    let party = PartyOf {
        entity_id: issuer,
        acs_url: "https://apps.example.org/acs",
        logout_url: Some("https://apps.example.org/slo"),
        signing: &[key.certificate()],
        encryption: &decryption,
        wants_signed_assertions: true,
        valid_until,
    };
    let provider = ProviderOf {
        entity_id: destination,
        sign_on_url: "https://idp.example.org/sso",
        logout_url: None,
        signing: &[key.certificate()],
        wants_signed_requests: true,
        name_id_formats: &["urn:x"],
        valid_until,
    };
    let metadata =
        [("metadata of a party", party.write(Some(key))), ("metadata of a provider", provider.write(Some(key)))];
    let metadata = metadata.map(|(name, text)| (name, text.expect("it can be signed").into_bytes()));
    posted.into_iter().chain(metadata).collect()
}

fn is_believed(document: &[u8], stage: &Stage, trust: &Trust) -> bool {
    let expected = Expected {
        issuer: &stage.issuer,
        destination: Some(&stage.acs_url),
        recipients: &[&stage.acs_url],
        audiences: &[&stage.audience],
        answer: Answer::To(&stage.request),
        authn_contexts: &[],
        now: stage.now,
        skew: SKEW,
    };
    let verified = Guarded::new(document, Kind::Response).and_then(|guarded| verify(guarded, trust));
    verified.and_then(|verified| verified.accept(&expected)).is_ok()
}

fn verified(folder: &Path, document: &[u8], certificate: &Certificate) -> bool {
    let (file, pem) = (folder.join("document.xml"), folder.join("certificate.pem"));
    fs::write(&file, document).expect("the folder is writable");
    let lines = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", certificate.base64());
    fs::write(&pem, lines).expect("the folder is writable");
    let mut command = Command::new("xmlsec1");
    command.arg("--verify").arg("--pubkey-cert-pem").arg(&pem);
    for element in [
        "assertion:Assertion",
        "protocol:Response",
        "protocol:AuthnRequest",
        "protocol:LogoutRequest",
        "protocol:LogoutResponse",
        "metadata:EntityDescriptor",
    ] {
        command.arg("--id-attr:ID").arg(format!("urn:oasis:names:tc:SAML:2.0:{element}"));
    }
    command.arg(&file).output().expect("xmlsec1 is installed").status.success()
}
