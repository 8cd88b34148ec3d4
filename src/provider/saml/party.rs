//! Who may ask: registered service providers, what they get, and where.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::saml::{Binding, Certificate, Endpoint, Metadata, Party, Pinned};

/// A registered service provider.
#[derive(Clone, Debug)]
pub struct RelyingParty {
    /// Its entity ID.
    pub entity_id: Arc<str>,
    /// How pages call it.
    pub name: String,
    /// Its addresses and keys.
    pub(in crate::provider) party: Party,
    /// What of its Responses is signed.
    pub signs: Signs,
    /// Whether assertions are encrypted, to the first usable certificate that its metadata has for that.
    pub encrypt: bool,
    /// The format of NameIDs, where it asks for none.
    pub name_id_format: String,
    /// The Recipient of assertions; the ACS URL where there is none.
    pub recipient: Option<String>,
    /// The audience of assertions; its entity ID where there is none.
    pub audience: Option<String>,
    /// Attributes by their names, each with the claim it is of. Absent: every claim under its own name.
    pub attributes: Option<BTreeMap<String, String>>,
    /// What AWS wants to be told.
    pub aws: Option<AwsAttributes>,
}

/// What of a Response is signed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signs {
    /// The assertion.
    Assertion,
    /// The Response around it.
    Response,
    /// One and the other.
    #[default]
    Both,
}

/// AWS's attributes (`https://aws.amazon.com/SAML/Attributes/…`), from a user's claims.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsAttributes {
    /// The ARN of this provider in AWS.
    pub provider: String,
    /// Role ARNs. `{claim}` in them is a claim; one with several values makes several roles, one that a user does not
    /// have none.
    pub roles: Vec<String>,
    /// The claim that names the session.
    #[serde(default = "preferred_username")]
    pub session_name: String,
    /// Session tags by their keys, each with the claim it is of.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The keys of tags that go along when a session assumes another role.
    #[serde(default)]
    pub transitive_tags: Vec<String>,
    /// The claim that is the source identity.
    #[serde(default)]
    pub source_identity: Option<String>,
    /// How long sessions may last, in seconds: 900 to 43200.
    #[serde(default)]
    pub session_duration: Option<u32>,
}

impl RelyingParty {
    /// A party as its metadata describes it. The file vouches for it.
    ///
    /// # Errors
    /// What is wrong with the metadata, or that it has nowhere to send anybody to.
    pub fn from_metadata(metadata: &[u8]) -> Result<Self, String> {
        let read = Metadata::read(metadata, Pinned::default(), SystemTime::UNIX_EPOCH);
        let metadata = read.map_err(|error| crate::web::chain(&error))?;
        let party = metadata.party.ok_or("it describes no service provider (SPSSODescriptor)")?;
        if party.consumer(None, None).is_none() {
            return Err("it has no AssertionConsumerService for HTTP-POST".to_owned());
        }
        Ok(Self::of(&metadata.entity_id, party))
    }

    /// A party by its entity ID and the one address that Responses go to; with `logout_url` and certificates it can log
    /// out, too.
    ///
    /// # Errors
    /// An address that is none, or not https (http is for loopback only).
    pub fn inline(
        entity_id: &str,
        acs_url: &str,
        logout_url: Option<&str>,
        certificates: Vec<Certificate>,
    ) -> Result<Self, String> {
        let endpoint = |url: &str| {
            // assertions are as good as the passwords they stand for; the same rule as for redirect URIs (A7)
            url.parse::<super::super::RedirectUri>().map_err(|problem| format!("`{url}` {problem}"))?;
            Ok::<_, String>(Endpoint {
                binding: Binding::Post,
                location: url.to_owned(),
                response_location: None,
                index: None,
                is_default: false,
            })
        };
        let party = Party {
            encryption: certificates.clone(),
            certificates,
            consumers: vec![endpoint(acs_url)?],
            logout: logout_url.map(endpoint).transpose()?.into_iter().collect(),
            signs_requests: false,
            wants_signed_assertions: false,
        };
        Ok(Self::of(entity_id, party))
    }

    fn of(entity_id: &str, party: Party) -> Self {
        Self {
            entity_id: entity_id.into(),
            name: entity_id.to_owned(),
            party,
            signs: Signs::default(),
            encrypt: false,
            name_id_format: super::subject::PERSISTENT.to_owned(),
            recipient: None,
            audience: None,
            attributes: None,
            aws: None,
        }
    }

    /// Where logout messages go, by a redirect where there is one. A party whose messages could not be verified is sent
    /// none.
    pub(super) fn logout(&self) -> Option<&Endpoint> {
        let all = || self.party.logout.iter().filter(|_| !self.party.certificates.is_empty());
        all().find(|endpoint| endpoint.binding == Binding::Redirect).or_else(|| all().next())
    }

    /// How many certificates there are to encrypt to.
    pub(super) fn encryption_certificates(&self) -> usize {
        self.party.encryption.len()
    }

    /// The certificate that assertions are encrypted to, where they are to be.
    pub(super) fn encryption(&self) -> Option<&Certificate> {
        self.party.encryption.first().filter(|_| self.encrypt)
    }
}

impl AwsAttributes {
    /// How long sessions may last.
    pub(super) fn duration(&self) -> Option<Duration> {
        self.session_duration.map(|seconds| Duration::from_secs(u64::from(seconds)))
    }
}

fn preferred_username() -> String {
    "preferred_username".to_owned()
}
