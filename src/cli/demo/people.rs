//! The provider of the demo, and who can log in there.

use std::sync::Arc;

use serde_json::json;
use url::Url;

#[cfg(feature = "saml")]
use super::account::{ACCOUNT, SAML_PROVIDER};
use crate::clock::Clock;
#[cfg(feature = "saml")]
use crate::provider::{AwsAttributes, RelyingParty, SamlSetup};
use crate::provider::{Client, Lifetimes, OpenIdProvider, Setup};
use crate::secret::Secret;
use crate::users::{Email, User, Users, hash_password};
use crate::web::BoxError;

/// A provider at `issuer` that sends people back to the proxy.
pub(super) fn provider(issuer: &Url, proxy: &Url, clock: &Arc<dyn Clock>) -> Result<Arc<OpenIdProvider>, BoxError> {
    let person = |name: &str, sub: &str, password: &str, shown: &str, department: Option<&str>| {
        let claims = department.map(|department| json!({ "department": department }));
        let claims = claims.and_then(|claims| claims.as_object().cloned()).unwrap_or_default();
        Ok::<_, BoxError>(User {
            name: name.parse()?,
            sub: sub.into(),
            password: hash_password(&Secret::new(password))?.parse()?,
            display_name: Some(shown.to_owned()),
            email: Some(Email { address: format!("{name}@example.com"), verified: true }),
            groups: department.map_or_else(Vec::new, |department| vec!["demo".to_owned(), department.to_owned()]),
            claims,
            disabled: false,
        })
    };
    let people = vec![
        person("alice", "u-1001", "wonderland", "Alice Liddell", Some("finance"))?,
        person("bob", "u-1002", "builder", "Bob Builder", Some("engineering"))?,
        person("mallory", "u-1003", "marlinspike", "Mallory", None)?,
    ];
    let client = Client {
        id: "claviger".into(),
        name: "the claviger demo".to_owned(),
        secret: None,
        redirect_uris: vec![proxy.join("/.claviger/callback")?.as_str().parse()?],
        post_logout_redirect_uris: vec![proxy.join("/.claviger/signed-out")?.as_str().parse()?],
        id_token_on_refresh: true,
        device_flow: false,
    };
    let setup = Setup {
        issuer: issuer.clone(),
        users: Arc::new(Users::new(people, Arc::clone(clock))?),
        clients: vec![client],
        lifetimes: Lifetimes::default(),
        signing_key: None,
    };
    #[cfg(feature = "saml")]
    let provider = OpenIdProvider::with_saml(setup, saml_setup(proxy)?, Arc::clone(clock))?;
    #[cfg(not(feature = "saml"))]
    let provider = OpenIdProvider::new(setup, Arc::clone(clock))?;
    Ok(provider)
}

/// The proxy, as the provider knows it by SAML.
#[cfg(feature = "saml")]
fn saml_setup(proxy: &Url) -> Result<SamlSetup, BoxError> {
    let acs_url = proxy.join("/.claviger/saml/saml/acs")?;
    // as the proxy's config has it
    let entity_id = format!("{}/.claviger/saml/saml/metadata", proxy.origin().ascii_serialization());
    let mut party = RelyingParty::inline(&entity_id, acs_url.as_str(), None, Vec::new())?;
    "the claviger demo".clone_into(&mut party.name);
    // made for AWS and sent to claviger, which shows it there
    party.recipient = Some("https://signin.aws.amazon.com/saml".to_owned());
    party.audience = Some("urn:amazon:webservices".to_owned());
    party.aws = Some(AwsAttributes {
        provider: format!("arn:aws:iam::{ACCOUNT}:saml-provider/{SAML_PROVIDER}"),
        roles: vec![format!("arn:aws:iam::{ACCOUNT}:role/demo-{{department}}")],
        session_name: "email".to_owned(),
        tags: [("department".to_owned(), "department".to_owned())].into(),
        transitive_tags: Vec::new(),
        source_identity: Some("preferred_username".to_owned()),
        session_duration: Some(3600),
    });
    Ok(SamlSetup { parties: vec![party], ..SamlSetup::default() })
}
