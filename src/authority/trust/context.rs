//! What a policy's conditions can look at: the keys of one call and their values.

use std::collections::BTreeMap;

use serde_json::Value;

/// A condition key in its one spelling: AWS's own keys in lower case, a provider's claims as the token spells them.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::authority) struct Key(String);

impl Key {
    /// A key as a policy names it. `providers` are the registered providers' names, whose claims are keys.
    /// A key that no call ever sets is an error: a `Deny` on a misspelt key would deny nothing.
    pub(super) fn parse(text: &str, providers: &[String]) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let tag = |prefix: &str| lower.strip_prefix(prefix).is_some_and(|key| !key.is_empty());
        if GLOBAL.contains(&lower.as_str()) || tag("aws:requesttag/") || tag("aws:principaltag/") {
            return Some(Self(lower));
        }
        providers.iter().find_map(|provider| {
            // IAM compares keys without case, and host names have none; claims are JSON names and do
            let (name, claim) = text.split_at_checked(provider.len())?;
            let claim = claim.strip_prefix(':').filter(|claim| !claim.is_empty())?;
            name.eq_ignore_ascii_case(provider).then(|| Self::claim(provider, claim))
        })
    }

    /// One of AWS's own keys, such as `aws:SourceIp`.
    pub(in crate::authority) fn global(name: &str) -> Self {
        let key = Self(name.to_ascii_lowercase());
        debug_assert!(GLOBAL.contains(&key.0.as_str()), "{name}");
        key
    }

    /// `aws:RequestTag/<tag>`.
    pub(in crate::authority) fn request_tag(tag: &str) -> Self {
        Self(format!("aws:requesttag/{}", tag.to_ascii_lowercase()))
    }

    /// `aws:PrincipalTag/<tag>`.
    pub(in crate::authority) fn principal_tag(tag: &str) -> Self {
        Self(format!("aws:principaltag/{}", tag.to_ascii_lowercase()))
    }

    /// `<provider>:<claim>`.
    pub(in crate::authority) fn claim(provider: &str, claim: &str) -> Self {
        Self(format!("{provider}:{claim}"))
    }
}

/// The keys of one call and their values. A key without values is as good as absent.
#[derive(Clone, Debug, Default)]
pub(in crate::authority) struct Context(BTreeMap<Key, Vec<String>>);

impl Context {
    /// Says what a key's value is.
    pub(in crate::authority) fn set(&mut self, key: Key, value: impl Into<String>) {
        self.set_all(key, vec![value.into()]);
    }

    /// Says what a key's values are.
    pub(in crate::authority) fn set_all(&mut self, key: Key, values: Vec<String>) {
        self.0.insert(key, values);
    }

    /// Adds a token's claims as the provider's keys: texts, numbers, truth values and lists of them.
    ///
    /// `aud` is `azp` where there is one, and `oaud` the token's own `aud`, as IAM has it.
    pub(in crate::authority) fn add_claims(&mut self, provider: &str, claims: &serde_json::Map<String, Value>) {
        for (name, value) in claims {
            let name = if name == "aud" { "oaud" } else { name };
            self.set_all(Key::claim(provider, name), texts(value));
        }
        if let Some(audience) = claims.get("azp").or_else(|| claims.get("aud")) {
            self.set_all(Key::claim(provider, "aud"), texts(audience));
        }
    }

    pub(super) fn values(&self, key: &Key) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Bool(value) => vec![value.to_string()],
        Value::Array(list) => list.iter().filter(|v| !v.is_array()).flat_map(texts).collect(),
        Value::Null | Value::Object(_) => Vec::new(),
    }
}

const GLOBAL: [&str; 43] = [
    "aws:currenttime",
    "aws:epochtime",
    "aws:federatedprovider",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:securetransport",
    "aws:sourceidentity",
    "aws:sourceip",
    "aws:tagkeys",
    "saml:aud",
    "saml:cn",
    "saml:commonname",
    "saml:doc",
    "saml:eduorghomepageuri",
    "saml:eduorgidentityauthnpolicyuri",
    "saml:eduorglegalname",
    "saml:eduorgsuperioruri",
    "saml:eduorgwhitepagesuri",
    "saml:edupersonaffiliation",
    "saml:edupersonassurance",
    "saml:edupersonentitlement",
    "saml:edupersonnickname",
    "saml:edupersonorgdn",
    "saml:edupersonorgunitdn",
    "saml:edupersonprimaryaffiliation",
    "saml:edupersonprimaryorgunitdn",
    "saml:edupersonprincipalname",
    "saml:edupersonscopedaffiliation",
    "saml:edupersontargetedid",
    "saml:givenname",
    "saml:iss",
    "saml:mail",
    "saml:name",
    "saml:namequalifier",
    "saml:primarygroupsid",
    "saml:sub",
    "saml:sub_type",
    "saml:surname",
    "saml:uid",
    "sts:externalid",
    "sts:rolesessionname",
    "sts:sourceidentity",
    "sts:transitivetagkeys",
];
