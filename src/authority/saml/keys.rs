//! The `saml:` keys that trust policies look at (IAM User Guide, "Available keys for SAML-based federation").

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::authority::trust::{Context, Key};
use crate::saml::Assertion;

/// Says all that the keys can say of an assertion.
pub(super) fn describe(
    assertion: &Assertion,
    name_qualifier: &str,
    account: &str,
    provider: &str,
    context: &mut Context,
) {
    context.set(Key::global("saml:aud"), &*assertion.recipient);
    context.set(Key::global("saml:iss"), &*assertion.issuer);
    context.set(Key::global("saml:sub"), &*assertion.name_id.value);
    context.set(Key::global("saml:sub_type"), subject_type(assertion));
    context.set(Key::global("saml:namequalifier"), name_qualifier);
    context.set(Key::global("saml:doc"), format!("{account}/{provider}"));
    for (key, names) in ATTRIBUTES {
        let values: Vec<String> = names.iter().flat_map(|name| assertion.values(name)).cloned().collect();
        context.set_all(Key::global(key), values);
    }
}

/// The NameID's format without the prefix of SAML 2.0's own: `persistent`, `transient`, or a whole URI.
pub(super) fn subject_type(assertion: &Assertion) -> String {
    // SAML-Core §2.2.2: unspecified where none is named
    let format = assertion.name_id.format.as_deref().unwrap_or(UNSPECIFIED);
    format.strip_prefix(FORMATS).unwrap_or(format).to_owned()
}

/// What tells equal subjects of several providers apart: a hash of issuer, account and provider, as AWS defines it. It
/// guards nothing.
pub(super) fn name_qualifier(assertion: &Assertion, account: &str, provider: &str) -> String {
    let text = format!("{}{account}/{provider}", assertion.issuer);
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

const FORMATS: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:";
const UNSPECIFIED: &str = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified";

/// Keys of attributes, by the names that directories give those.
const ATTRIBUTES: [(&str, &[&str]); 24] = [
    ("saml:edupersonaffiliation", &["urn:oid:1.3.6.1.4.1.5923.1.1.1.1"]),
    ("saml:edupersonnickname", &["urn:oid:1.3.6.1.4.1.5923.1.1.1.2"]),
    ("saml:edupersonorgdn", &["urn:oid:1.3.6.1.4.1.5923.1.1.1.3"]),
    ("saml:edupersonorgunitdn", &["urn:oid:1.3.6.1.4.1.5923.1.1.1.4"]),
    ("saml:edupersonprimaryaffiliation", &["urn:oid:1.3.6.1.4.1.5923.1.1.1.5"]),
    ("saml:edupersonprincipalname", &["urn:oid:1.3.6.1.4.1.5923.1.1.1.6"]),
    ("saml:edupersonentitlement", &["urn:oid:1.3.6.1.4.1.5923.1.1.1.7"]),
    ("saml:edupersonprimaryorgunitdn", &["urn:oid:1.3.6.1.4.1.5923.1.1.1.8"]),
    ("saml:edupersonscopedaffiliation", &["urn:oid:1.3.6.1.4.1.5923.1.1.1.9"]),
    ("saml:edupersontargetedid", &["urn:oid:1.3.6.1.4.1.5923.1.1.1.10"]),
    ("saml:edupersonassurance", &["urn:oid:1.3.6.1.4.1.5923.1.1.1.11"]),
    ("saml:eduorghomepageuri", &["urn:oid:1.3.6.1.4.1.5923.1.2.1.2"]),
    ("saml:eduorgidentityauthnpolicyuri", &["urn:oid:1.3.6.1.4.1.5923.1.2.1.3"]),
    ("saml:eduorglegalname", &["urn:oid:1.3.6.1.4.1.5923.1.2.1.4"]),
    ("saml:eduorgsuperioruri", &["urn:oid:1.3.6.1.4.1.5923.1.2.1.5"]),
    ("saml:eduorgwhitepagesuri", &["urn:oid:1.3.6.1.4.1.5923.1.2.1.6"]),
    ("saml:cn", &["urn:oid:2.5.4.3"]),
    ("saml:commonname", &["http://schemas.xmlsoap.org/claims/CommonName", "urn:oid:2.5.4.3"]),
    ("saml:name", &["http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"]),
    ("saml:givenname", &["http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname", "urn:oid:2.5.4.42"]),
    ("saml:surname", &["http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname", "urn:oid:2.5.4.4"]),
    (
        "saml:mail",
        &["http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress", "urn:oid:0.9.2342.19200300.100.1.3"],
    ),
    ("saml:primarygroupsid", &["http://schemas.microsoft.com/ws/2008/06/identity/claims/primarygroupsid"]),
    ("saml:uid", &["urn:oid:0.9.2342.19200300.100.1.1"]),
];
