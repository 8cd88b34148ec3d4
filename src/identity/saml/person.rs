//! From an assertion to subject and claims.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::identity::{Claims, SamlLogin, SourceName, Subject};
use crate::saml::{Assertion, NameId};

/// What of an assertion is whose name, and which attributes are claims under names of their own.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) issuer: String,
    pub(super) entity_id: String,
    /// The attribute that names the subject; absent: the NameID does.
    pub(super) subject: Option<String>,
    /// Claims, and the attributes that they are.
    pub(super) claims: BTreeMap<String, String>,
    pub(super) emails_are_verified: bool,
}

impl Mapping {
    /// Whom an assertion speaks of, and what it says of them.
    ///
    /// # Errors
    /// Why it names nobody.
    pub(super) fn read(&self, source: &SourceName, assertion: &Assertion) -> Result<(Subject, Claims), String> {
        let id = match &self.subject {
            None => self.name(&assertion.name_id)?,
            Some(attribute) => match assertion.values(attribute) {
                [only] => only.trim(),
                _ => return Err(format!("the attribute `{attribute}`, which names who it is, has not one value")),
            },
        };
        let id = subject(id)?;
        let attributes = assertion.attributes.iter().map(|found| (found.name.clone(), value(&found.values)));
        let claims = self.claims(&id, attributes.collect());
        Ok((Subject { source: Arc::clone(source), id }, claims))
    }

    /// Whom a NameID by itself names, where it does.
    pub(super) fn subject_of(&self, source: &SourceName, name: &NameId) -> Option<Subject> {
        let id = self.subject.is_none().then(|| self.name(name).and_then(subject))?.ok()?;
        Some(Subject { source: Arc::clone(source), id })
    }

    /// The same of claims that stand for an assertion: `sub` for its name, the others for attributes.
    pub(super) fn as_if(&self, attributes: Map<String, Value>) -> Result<(Arc<str>, Claims), String> {
        let named = self.subject.as_deref().unwrap_or("sub");
        let id = attributes.get(named).and_then(Value::as_str);
        let id = subject(id.ok_or_else(|| format!("there is no `{named}`, the text that names who it is"))?)?;
        let claims = self.claims(&id, attributes);
        Ok((id, claims))
    }

    /// Who a provider's name means: one that another than the provider gave, or that was given for another than us, is
    /// somebody else's of the same letters (SAML-Core §2.2.2, A21).
    fn name<'n>(&self, name: &'n NameId) -> Result<&'n str, String> {
        if name.name_qualifier.as_ref().is_some_and(|by| *by != self.issuer) {
            return Err("the NameID's NameQualifier is not the provider".into());
        }
        if name.sp_name_qualifier.as_ref().is_some_and(|to| *to != self.entity_id) {
            return Err("the NameID's SPNameQualifier is not us".into());
        }
        Ok(&name.value)
    }

    /// Every attribute under its own name, and those of the mapping under theirs. Where the attribute of a mapped claim
    /// is absent so is the claim, whatever another attribute of that name says.
    fn claims(&self, id: &str, attributes: Map<String, Value>) -> Claims {
        let mut claims = attributes.clone();
        for (claim, attribute) in &self.claims {
            match attributes.get(attribute) {
                Some(value) => drop(claims.insert(claim.clone(), value.clone())),
                None => drop(claims.remove(claim)),
            }
        }
        claims.insert("sub".into(), id.into());
        // SAML has no word for it: it is the operator who knows whether the provider lets people write what they like
        claims.remove(VERIFIED);
        if self.emails_are_verified {
            claims.insert(VERIFIED.into(), true.into());
        }
        Claims::new(claims)
    }
}

/// What the provider calls them, to be asked to end the login.
pub(super) fn login_of(assertion: &Assertion) -> SamlLogin {
    SamlLogin { session_index: assertion.session_index.clone(), ..named(&assertion.name_id) }
}

/// A provider's name for somebody, without a login.
pub(super) fn named(name: &NameId) -> SamlLogin {
    SamlLogin {
        name: name.value.clone(),
        format: name.format.clone(),
        name_qualifier: name.name_qualifier.clone(),
        sp_name_qualifier: name.sp_name_qualifier.clone(),
        session_index: None,
    }
}

fn subject(id: &str) -> Result<Arc<str>, String> {
    let is_plain = !id.is_empty() && id.len() <= LONGEST_NAME && !id.chars().any(char::is_control);
    if is_plain { Ok(id.into()) } else { Err("the name of the subject is not 1 to 255 bytes without controls".into()) }
}

/// One value as a text, several as a list.
fn value(values: &[String]) -> Value {
    match values {
        [only] => only.as_str().into(),
        several => several.into(),
    }
}

const VERIFIED: &str = "email_verified";
/// As OpenID Connect Core §2 has it; SAML-Core §8.3.7 has 256 characters.
const LONGEST_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mapping() -> Mapping {
        Mapping {
            issuer: "https://idp.example".into(),
            entity_id: "https://apps.example".into(),
            subject: None,
            claims: [("groups", "urn:groups"), ("email", "mail")].map(|(c, a)| (c.to_owned(), a.to_owned())).into(),
            emails_are_verified: true,
        }
    }

    fn name(value: &str) -> NameId {
        NameId { value: value.into(), format: None, name_qualifier: None, sp_name_qualifier: None }
    }

    #[test]
    fn mapped_claims_are_their_attributes_and_nothing_else() {
        let attributes = json!({
            "sub": "alice", "urn:groups": ["staff", "wiki"], "groups": ["root"], "mail": "a@x.example",
            "email_verified": "false", "other": "kept",
        });
        let (id, claims) = mapping().as_if(attributes.as_object().cloned().unwrap()).unwrap();
        assert_eq!((&*id, claims.texts("groups").collect::<Vec<_>>()), ("alice", vec!["staff", "wiki"]));
        assert_eq!(
            (claims.text("email").as_deref(), claims.text("other").as_deref()),
            (Some("a@x.example"), Some("kept"))
        );
        assert_eq!(claims.value("email_verified"), Some(&Value::Bool(true)));

        // without its attribute a mapped claim is absent, whatever else has its name
        let attributes = json!({"sub": "mallory", "groups": ["root"], "email_verified": true});
        let unsure = Mapping { emails_are_verified: false, ..mapping() };
        let (_, claims) = unsure.as_if(attributes.as_object().cloned().unwrap()).unwrap();
        assert!(claims.value("groups").is_none() && claims.value("email_verified").is_none());
    }

    /// A21
    #[test]
    fn a_name_of_another_authority_or_for_another_party_is_nobodys() {
        let mapping = mapping();
        assert_eq!(mapping.name(&name("alice")), Ok("alice"));
        let by = |qualifier: &str| NameId { name_qualifier: Some(qualifier.into()), ..name("alice") };
        assert_eq!(mapping.name(&by("https://idp.example")), Ok("alice"));
        assert!(mapping.name(&by("https://other.example")).is_err());
        let to = |qualifier: &str| NameId { sp_name_qualifier: Some(qualifier.into()), ..name("alice") };
        assert_eq!(mapping.name(&to("https://apps.example")), Ok("alice"));
        assert!(mapping.name(&to("https://other.example")).is_err());
        for odd in ["", "a\nb", &"x".repeat(256)] {
            assert!(subject(odd).is_err(), "{odd:?}");
        }
    }
}
