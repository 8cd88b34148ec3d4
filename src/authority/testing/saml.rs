//! A SAML provider whose Responses an STS takes; for tests.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::saml::{
    AssertionOf, Certificate, Encryption, NameId, ProviderOf, ResponseOf, SUCCESS, Signing, SigningKey, fresh_id,
    from_post,
};
use crate::secret::Secret;

/// The key of a provider, and its name.
pub(crate) struct SamlIssuer {
    pub(crate) entity_id: &'static str,
    pub(crate) key: SigningKey,
}

/// What a Response says, where it differs from the usual.
#[derive(Clone, Debug)]
pub(crate) struct Says<'a> {
    pub(crate) issuer: Option<&'a str>,
    pub(crate) recipient: &'a str,
    pub(crate) audience: &'a str,
    pub(crate) format: Option<&'a str>,
    /// `Role` is short for `https://aws.amazon.com/SAML/Attributes/Role`; names with a colon are whole.
    pub(crate) attributes: Vec<(&'a str, Vec<&'a str>)>,
    pub(crate) session_ends_at: Option<SystemTime>,
    pub(crate) status: &'a str,
    pub(crate) signed: bool,
    /// Encrypted to this certificate.
    pub(crate) encrypt: Option<&'a Certificate>,
    pub(crate) lives: Duration,
}

impl Default for Says<'_> {
    fn default() -> Self {
        Self {
            issuer: None,
            recipient: "https://signin.aws.amazon.com/saml",
            audience: "urn:amazon:webservices",
            format: Some("urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"),
            attributes: Vec::new(),
            session_ends_at: None,
            status: SUCCESS,
            signed: true,
            encrypt: None,
            lives: Duration::from_secs(3600),
        }
    }
}

impl SamlIssuer {
    pub(crate) fn fresh(entity_id: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["idp.example.com".to_owned()]).unwrap();
        let certificate = Certificate::from_der(params.self_signed(&pair).unwrap().der()).unwrap();
        Self { entity_id, key: SigningKey::new(&Secret::new(pair.serialize_pem()), certificate).unwrap() }
    }

    pub(crate) fn metadata(&self, valid_until: Option<SystemTime>) -> String {
        let provider = ProviderOf {
            entity_id: self.entity_id,
            sign_on_url: "https://idp.example.com/sso",
            logout_url: None,
            signing: &[self.key.certificate()],
            wants_signed_requests: false,
            name_id_formats: &[],
            valid_until,
        };
        provider.write(None).unwrap()
    }

    /// A Response for alice, in base64 as browsers post it.
    pub(crate) fn response(&self, at: SystemTime, says: &Says<'_>) -> String {
        let name_id = NameId {
            value: "alice".to_owned(),
            format: says.format.map(str::to_owned),
            name_qualifier: None,
            sp_name_qualifier: None,
        };
        let attributes = says.attributes.iter().map(|(name, values)| {
            let whole = if name.contains("://") || name.starts_with("urn:") {
                (*name).to_owned()
            } else {
                format!("https://aws.amazon.com/SAML/Attributes/{name}")
            };
            (whole, values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>())
        });
        let attributes: Vec<(String, Vec<String>)> = attributes.collect();
        let attributes: Vec<(&str, Vec<String>)> = attributes.iter().map(|(n, v)| (&**n, v.clone())).collect();
        let assertion = AssertionOf {
            name_id: &name_id,
            recipient: says.recipient,
            audience: says.audience,
            attributes: &attributes,
            session_index: &fresh_id(),
            authn_instant: at,
            authn_context: "urn:oasis:names:tc:SAML:2.0:ac:classes:Password",
            session_ends_at: says.session_ends_at,
            lives: says.lives,
        };
        let response = ResponseOf {
            issuer: says.issuer.unwrap_or(self.entity_id),
            destination: "https://apps.example.com/acs",
            in_response_to: Some("_request"),
            status: says.status,
            status_detail: None,
            assertion: (says.status == SUCCESS).then_some(assertion),
            at,
        };
        let encrypt = says.encrypt.map(|certificate| (certificate, Encryption::default()));
        let signing = Signing { key: &self.key, response: false, assertion: says.signed, encrypt };
        response.build(signing).unwrap().as_is().value
    }
}

/// The same Response with a text of it exchanged, which its signature does not know of.
pub(crate) fn changed(response: &str, from: &str, to: &str) -> String {
    let xml = String::from_utf8(from_post(response).unwrap()).unwrap();
    assert!(xml.contains(from), "no {from} in {xml}");
    STANDARD.encode(xml.replace(from, to))
}
