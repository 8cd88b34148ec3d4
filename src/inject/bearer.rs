//! `kind = "bearer"`: passes the person's own token from the identity provider on to the upstream.

use std::sync::Arc;

use http::HeaderName;
use serde::Deserialize;

use super::token_header::TokenHeader;
use super::{Given, InjectError, Injector, Materials, Needs};
use crate::built_in::{BuiltIn, SettingsError};
use crate::identity::TokenKind;
use crate::web::Request;

pub(super) const BUILT_IN: BuiltIn<dyn Injector, Materials> = BuiltIn {
    kind: "bearer",
    summary: "Puts the signed-in person's own access token from the identity provider on requests.",
    example: include_str!("../../config/examples/inject/bearer.toml"),
    build: |settings, materials| Ok(Arc::new(Bearer::new(settings.parse()?, materials)?)),
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BearerSettings {
    /// An ID token says who somebody is to *us* (OpenID Connect Core §2): only who writes it down passes it on.
    #[serde(default)]
    token: TokenKind,
    header: Option<String>,
    #[serde(default)]
    plain_http: bool,
}

#[derive(Debug)]
struct Bearer {
    token: TokenKind,
    header: TokenHeader,
}

impl Bearer {
    fn new(settings: BearerSettings, materials: &Materials) -> Result<Self, SettingsError> {
        let BearerSettings { token, header, plain_http } = settings;
        if !plain_http {
            materials.keep_tokens_off_the_wire()?;
        }
        let header = TokenHeader::read(header.as_deref().unwrap_or("Authorization"))?;
        Ok(Self { token, header })
    }
}

impl Injector for Bearer {
    fn needs(&self) -> Needs {
        Needs { token: Some(self.token), ..Needs::NOTHING }
    }

    fn sets(&self) -> &[HeaderName] {
        self.header.vouched()
    }

    fn puts(&self) -> &[HeaderName] {
        self.header.names()
    }

    /// On a public path there is nobody whose token it could be; the client's own header goes all the same.
    fn inject(&self, mut request: Request, given: &Given<'_>) -> Result<Request, InjectError> {
        if given.identity.is_none() {
            return Ok(request);
        }
        let token = given.token(self.token).ok_or(InjectError::Missing("the person's token"))?;
        let value = self.header.value(token.expose())?;
        self.header.put(request.headers_mut(), value);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::value::tests::someone;
    use super::*;
    use crate::secret::Secret;
    use crate::web::Body;

    fn build(text: &str, upstream: &str) -> Result<Bearer, SettingsError> {
        let in_clear_text = Some(upstream.to_owned()).filter(|text| text.starts_with("http:"));
        let materials = Materials { identity_issuer: None, upstream: None, in_clear_text, sources: Vec::new() };
        Bearer::new(crate::built_in::parse_table(text.parse().unwrap())?, &materials)
    }

    #[test]
    fn the_token_takes_the_place_of_what_the_client_says() {
        let (access, id, alice) = (Secret::new("access"), Secret::new("id"), someone("u-1", json!({})));
        let given = Given {
            identity: Some(&alice),
            access_token: Some(&access),
            id_token: Some(&id),
            ..Given::nothing(std::time::SystemTime::UNIX_EPOCH)
        };
        for (text, name, value, vouched) in [
            ("", "authorization", "Bearer access", false),
            ("token = \"id\"", "authorization", "Bearer id", false),
            ("header = \"X-Forwarded-Access-Token\"", "x-forwarded-access-token", "access", true),
        ] {
            let bearer = build(text, "https://api.internal").unwrap();
            let mut request = Request::new(Body::Empty);
            request.headers_mut().append("authorization", "Basic x".parse().unwrap());
            request.headers_mut().append("authorization", "Bearer forged".parse().unwrap());
            let put = bearer.inject(request, &given).unwrap();
            assert_eq!(put.headers().get_all(name).iter().collect::<Vec<_>>(), [value], "{text}");
            assert!(put.headers()[name].is_sensitive());
            // A1: a name that upstreams may believe unseen is nobody's but ours; `Authorization` proves itself
            assert_eq!(!bearer.sets().is_empty(), vouched, "{text}");
        }
        let nothing = Given { access_token: None, ..given };
        let bearer = build("", "https://api.internal").unwrap();
        assert!(matches!(bearer.inject(Request::new(Body::Empty), &nothing), Err(InjectError::Missing(_))));
    }

    #[test]
    fn tokens_cross_no_network_in_clear_text_unless_it_is_written_down() {
        for (text, upstream, key) in [
            ("", "http://api.internal", Some("kind")),
            ("plain_http = true", "http://api.internal", None),
            ("", "https://api.internal", None),
            ("header = \"Cookie\"", "https://api.internal", Some("header")),
            ("token = \"refresh\"", "https://api.internal", Some("token")),
        ] {
            assert_eq!(build(text, upstream).err().map(|error| error.key), key.map(str::to_owned), "{text} {upstream}");
        }
    }
}
