//! Whether a request that an upstream has seen is signed, and by whom: as a service behind claviger would find out.

use claviger::clock::{Clock as _, SystemClock};
use claviger::secret::Secret;
use claviger::sigv4::{HexDigest, Presented};
use http::Method;
use serde_json::{Value, json};

use super::client;
use super::upstream::Seen;
use super::world::World;

impl World {
    /// The caller, in the authority's words.
    ///
    /// # Panics
    /// When the signature is not right, for this service, for every byte that was seen.
    pub async fn signer(&self, seen: &Seen, service: &str) -> Value {
        let mut request = http::Request::new(());
        *request.method_mut() = seen.method.clone();
        *request.uri_mut() = seen.target.parse().unwrap();
        *request.headers_mut() = seen.headers.clone();
        let (parts, ()) = request.into_parts();
        let body = HexDigest::of(&seen.body);
        let presented = Presented::read(&parts, &service.parse().unwrap(), &body, SystemClock.now())
            .unwrap_or_else(|e| panic!("{e}: {} {} {:?}", seen.method, seen.target, seen.headers));
        let question = json!({
            "access_key_id": presented.access_key_id(),
            "session_token": presented.session_token().map(Secret::expose),
            "scope": presented.scope(),
            "string_to_sign": presented.string_to_sign(),
            "signature": presented.signature(),
        });
        let sent = client::headers(&[("authorization", "Bearer verdict-token")]);
        let answer =
            client::send(self.authority_at, Method::POST, "/verdict", &sent, question.to_string().into_bytes()).await;
        let mut verdict = answer.json();
        assert_eq!(verdict["verdict"], "ok", "{} {} {:?}", seen.method, seen.target, seen.headers);
        verdict["caller"].take()
    }
}
