//! A request to the provider, and the cookies that browsers bring.

use std::net::IpAddr;
use std::time::SystemTime;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{HeaderValue, SET_COOKIE};
use http::{Method, request};
use url::Url;

use super::OpenIdProvider;
use super::form::{Form, FormError};
use super::grants::SignedIn;
use crate::secret::random_token;
use crate::web::{Body, Response, cookies};

/// A request with its parameters: those of the query for GET, those of the body for POST.
#[derive(Debug)]
pub(super) struct Asked {
    /// The address at the other end of the connection.
    pub(super) from: IpAddr,
    pub(super) head: request::Parts,
    pub(super) form: Form,
    /// The parameters as they came.
    pub(super) text: String,
    pub(super) now: SystemTime,
}

/// The names and attributes of our two cookies.
#[derive(Clone, Debug)]
pub(super) struct Cookies {
    session: String,
    /// Names the browser to which forms are bound; it says nothing of who sits there.
    form: String,
    attributes: String,
}

impl Asked {
    pub(super) async fn read(
        from: IpAddr,
        head: request::Parts,
        body: Body,
        now: SystemTime,
    ) -> Result<Self, FormError> {
        let text = if head.method == Method::POST {
            String::from_utf8(Form::collect(body).await?.into()).map_err(|_| FormError::Broken)?
        } else {
            head.uri.query().unwrap_or_default().to_owned()
        };
        let form = Form::parse(text.as_bytes())?;
        Ok(Self { from, head, form, text, now })
    }
}

impl Cookies {
    /// `__Host-` keeps other hosts of the same domain from setting them (A10). Over http, on loopback, cookies are
    /// shared by all ports: there the port is in the name. Both kinds are names that a claviger in front keeps from
    /// its upstreams (A28), so the provider stands behind none: it can speak TLS itself.
    pub(super) fn new(issuer: &Url, base: &str) -> Self {
        if issuer.scheme() == "https" {
            Self {
                session: "__Host-claviger-provider".into(),
                form: "__Host-claviger-provider-form".into(),
                attributes: "; Path=/; Secure; HttpOnly; SameSite=Lax".into(),
            }
        } else {
            let port = issuer.port_or_known_default().unwrap_or_default();
            Self {
                session: format!("claviger-provider-{port}"),
                form: format!("claviger-provider-form-{port}"),
                attributes: format!("; Path={base}/; HttpOnly; SameSite=Lax"),
            }
        }
    }

    pub(super) fn set_session(&self, response: &mut Response, value: &str) {
        append(response, &format!("{}={value}{}", self.session, self.attributes));
    }

    pub(super) fn clear_session(&self, response: &mut Response) {
        append(response, &format!("{}=; Max-Age=0{}", self.session, self.attributes));
    }
}

impl OpenIdProvider {
    /// The session of the browser that asks, and its cookie's value. Someone disabled meanwhile has none.
    pub(super) fn session(&self, asked: &Asked) -> Option<(SignedIn, String)> {
        cookies(&asked.head.headers, &self.cookies.session)
            .find_map(|value| Some((self.sessions.find(value, asked.now)?, value.to_owned())))
            .filter(|(person, _)| self.users.active(&person.sub).is_some())
    }

    /// The seal of a form with this content, for this browser alone (A8: nobody signs another's browser in). Where the
    /// browser has no name yet, the second value is the one that [`OpenIdProvider::name_browser`] must give it.
    pub(super) fn seal(&self, asked: &Asked, content: &str) -> (String, Option<String>) {
        let known = cookies(&asked.head.headers, &self.cookies.form).find(|value| value.len() == NAME_LENGTH);
        let new = known.is_none().then(|| random_token(NAME_BYTES));
        let browser = known.or(new.as_deref()).unwrap_or_default();
        let tag = hmac::sign(&self.form_key, format!("{browser}\n{content}").as_bytes());
        (URL_SAFE_NO_PAD.encode(tag), new)
    }

    /// Whether the form that was sent is one we made, with this content, for this browser.
    pub(super) fn is_sealed(&self, asked: &Asked, content: &str) -> bool {
        let Some(Ok(tag)) = asked.form.value("seal").map(|seal| URL_SAFE_NO_PAD.decode(seal)) else { return false };
        cookies(&asked.head.headers, &self.cookies.form)
            .filter(|browser| browser.len() == NAME_LENGTH)
            .any(|browser| hmac::verify(&self.form_key, format!("{browser}\n{content}").as_bytes(), &tag).is_ok())
    }

    pub(super) fn name_browser(&self, response: &mut Response, name: Option<String>) {
        if let Some(name) = name {
            append(response, &format!("{}={name}{}", self.cookies.form, self.cookies.attributes));
        }
    }
}

fn append(response: &mut Response, cookie: &str) {
    if let Ok(mut value) = HeaderValue::from_str(cookie) {
        value.set_sensitive(true);
        response.headers_mut().append(SET_COOKIE, value);
    }
}

const NAME_BYTES: usize = 16;
/// [`NAME_BYTES`] in base64url.
const NAME_LENGTH: usize = 22;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::strip_from_request;

    /// A28: an upstream of a claviger on the same host is sent neither of them.
    #[test]
    fn our_cookies_go_to_no_upstream() {
        for issuer in ["https://apps.example.com/op", "http://127.0.0.1:9400"] {
            let Cookies { session, form, .. } = Cookies::new(&issuer.parse().unwrap(), "/op");
            let mut headers = http::HeaderMap::new();
            let sent = format!("{session}=s; mine=1; {form}=f");
            headers.insert(http::header::COOKIE, HeaderValue::try_from(sent).unwrap());
            strip_from_request(&mut headers);
            assert_eq!(headers[http::header::COOKIE], "mine=1", "{issuer}");
        }
    }
}
