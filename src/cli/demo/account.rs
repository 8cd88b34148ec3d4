//! The demo's AWS account: roles by department, for whoever the proxy or the provider vouches for.

use serde_json::{Value, json};
use url::Url;

use crate::authority::{Account, PolicyText};
use crate::built_in::Environment;
use crate::provider::OpenIdProvider;
use crate::secret::{Secret, random_token};
use crate::web::BoxError;

/// The proxy's own keys.
#[derive(Debug)]
pub(super) struct OwnKeys {
    id: String,
    secret: Secret,
}

impl OwnKeys {
    pub(super) fn fresh() -> Self {
        Self { id: "AKIACLAVIGERDEMO0000".to_owned(), secret: Secret::new(random_token(30)) }
    }

    /// As the AWS SDKs find them.
    pub(super) fn environment(&self) -> Environment {
        let pairs = [("AWS_ACCESS_KEY_ID", &*self.id), ("AWS_SECRET_ACCESS_KEY", self.secret.expose())];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect()
    }
}

/// An account whose roles trust the tokens that claviger mints, the provider's responses and claviger's own keys, each for
/// people of their own department only.
pub(super) fn account(
    proxy: &Url,
    people: &OpenIdProvider,
    keys: &OwnKeys,
    verdict_token: Secret,
) -> Result<Account, BoxError> {
    let mut account = Account::new(ACCOUNT.parse()?, REGION.parse()?);
    let minted =
        account.add_provider(proxy.join("/.claviger/issuer")?.as_str(), vec!["sts.amazonaws.com".to_owned()])?;
    account.add_user("claviger", &keys.id, keys.secret.clone())?;
    let user = format!("arn:aws:iam::{ACCOUNT}:user/claviger");
    let mut trusted = vec![
        (json!({ "Federated": minted }), "sts:AssumeRoleWithWebIdentity"),
        (json!({ "AWS": user }), "sts:AssumeRole"),
    ];
    trusted.extend(saml_provider(&mut account, people)?);
    for department in ["finance", "engineering"] {
        let statement = |(principal, action): &(Value, &str)| {
            json!({
                "Effect": "Allow",
                "Principal": principal,
                "Action": [action, "sts:TagSession", "sts:SetSourceIdentity"],
                "Condition": { "StringEquals": { "aws:RequestTag/department": department } },
            })
        };
        let statements: Vec<Value> = trusted.iter().map(statement).collect();
        let trust = PolicyText::Json(json!({ "Version": "2012-10-17", "Statement": statements }).to_string());
        account.add_role(&format!("demo-{department}"), trust, MAX_DURATION)?;
    }
    account.set_verdict_token(verdict_token);
    Ok(account)
}

/// The provider by SAML, as a principal, and what it may do.
#[cfg(feature = "saml")]
fn saml_provider(account: &mut Account, people: &OpenIdProvider) -> Result<Option<(Value, &'static str)>, BoxError> {
    let metadata = people.saml_metadata().ok_or("the provider has no SAML metadata")?;
    let provider = account.add_saml_provider(SAML_PROVIDER, metadata.as_bytes(), &[], &[])?;
    Ok(Some((json!({ "Federated": provider }), "sts:AssumeRoleWithSAML")))
}

#[cfg(not(feature = "saml"))]
fn saml_provider(_: &mut Account, _: &OpenIdProvider) -> Result<Option<(Value, &'static str)>, BoxError> {
    Ok(None)
}

pub(super) const ACCOUNT: &str = "123456789012";
pub(super) const REGION: &str = "eu-west-1";
/// What the account calls the provider.
#[cfg(feature = "saml")]
pub(super) const SAML_PROVIDER: &str = "demo";
const MAX_DURATION: std::time::Duration = std::time::Duration::from_secs(3600);
