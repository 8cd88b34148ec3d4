//! E-mail addresses, where a provider has verified them.

use serde_json::Value;

use super::Claims;

/// An address in its two parts.
#[derive(Clone, Copy, Debug)]
pub struct Email<'a> {
    /// All of it.
    pub whole: &'a str,
    /// What follows the `@`.
    pub domain: &'a str,
}

impl<'a> Email<'a> {
    /// An address with exactly one `@` and something on both sides: of `attacker@evil.example@company.example` nobody
    /// knows the domain (A21, CVE-2026-40574).
    pub fn parse(whole: &'a str) -> Option<Self> {
        let (local, domain) = whole.split_once('@')?;
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '<' | '>' | ',' | ';' | '(' | ')');
        let ok = !local.is_empty() && !domain.is_empty() && !domain.contains('@') && !whole.contains(odd);
        ok.then_some(Self { whole, domain })
    }

    /// The `email` claim, if `email_verified` says so: anybody can write anything into the other kind (A21).
    ///
    /// Some providers write the boolean as a text.
    pub fn verified(claims: &'a Claims) -> Option<Self> {
        match claims.value("email_verified")? {
            Value::Bool(true) => {}
            Value::String(text) if text == "true" => {}
            _ => return None,
        }
        Self::parse(claims.value("email")?.as_str()?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A21
    #[test]
    fn only_verified_addresses_with_one_at_count() {
        for (claims, domain) in [
            (json!({"email": "a@corp.example", "email_verified": true}), Some("corp.example")),
            (json!({"email": "a@corp.example", "email_verified": "true"}), Some("corp.example")),
            (json!({"email": "a@corp.example", "email_verified": false}), None),
            (json!({"email": "a@corp.example", "email_verified": "false"}), None),
            (json!({"email": "a@corp.example", "email_verified": 1}), None),
            (json!({"email": "a@corp.example"}), None),
            (json!({"email": "a@evil.example@corp.example", "email_verified": true}), None),
            (json!({"email": "\"a@evil.example\"@corp.example", "email_verified": true}), None),
            (json!({"email": "@corp.example", "email_verified": true}), None),
            (json!({"email": "a@", "email_verified": true}), None),
            (json!({"email": "a@corp.example\n", "email_verified": true}), None),
            (json!({"email": ["a@corp.example"], "email_verified": true}), None),
        ] {
            let read = Claims::new(claims.as_object().cloned().unwrap());
            assert_eq!(Email::verified(&read).map(|email| email.domain), domain, "{claims}");
        }
    }
}
