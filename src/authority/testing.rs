//! An STS over a real socket, with an OpenID issuer whose tokens it takes; for tests.

#[cfg(feature = "saml")]
pub(crate) mod saml;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sts::config::{BehaviorVersion, Credentials, Region};
use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::{Value, json};
use url::Url;

use super::{Account, Authority, PolicyText};
use crate::clock::{Clock, ManualClock, SystemClock, epoch_seconds};
use crate::fetch::Fetch;
use crate::jose::Signer;
use crate::secret::Secret;
use crate::server::{Handler, Listener, Manner, Workers};
use crate::telemetry::Metrics;
use crate::tls::Trust;
use crate::web::{self, Body, Request, Response};

/// An STS, its account and its provider.
pub(crate) struct Site {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) url: Url,
    pub(crate) fetch: Arc<Fetch>,
    pub(crate) issuer: String,
    pub(crate) provider_arn: String,
    pub(crate) signer: Signer,
    /// They serve as long as they are kept.
    _workers: Workers,
}

/// What `[authority.user.ci]` would say.
pub(crate) const USER_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
pub(crate) const USER_SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub(crate) const VERDICT_TOKEN: &str = "verdict-token";
pub(crate) const AUDIENCE: &str = "app";

/// The discovery document and key set of an issuer.
struct Documents {
    issuer: String,
    keys: Value,
}

#[async_trait]
impl Handler for Documents {
    async fn handle(&self, request: Request) -> Response {
        match request.uri().path() {
            "/realm/.well-known/openid-configuration" => {
                let keys = format!("{}/keys", self.issuer);
                web::json(StatusCode::OK, &json!({"issuer": self.issuer, "jwks_uri": keys}))
            }
            "/realm/keys" => web::json(StatusCode::OK, &self.keys),
            _ => web::answer(StatusCode::NOT_FOUND, "text/plain", ""),
        }
    }
}

impl Site {
    /// A site whose roles are `roles`: a name, the trust policy's statements, and the longest session in seconds.
    /// In them `PROVIDER` is the provider's ARN and `CLAIMS` its name, the prefix of its condition keys.
    pub(crate) fn start(roles: &[(&str, Value, u64)]) -> Self {
        Self::with(roles, |_| {})
    }

    /// The same with more in its account, which `add` puts there before the roles.
    pub(crate) fn with(roles: &[(&str, Value, u64)], add: impl FnOnce(&mut Account)) -> Self {
        // signers of others' making know the system's time only
        let clock = Arc::new(ManualClock::at(epoch_seconds(SystemClock.now())));
        let workers = Workers::start(1).unwrap();
        let (signer, _) = Signer::generate().unwrap();
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let issuer = format!("http://{}/realm", listener.local_addr().unwrap());
        let keys = json!({"keys": [signer.public_jwk()]});
        serve(&workers, listener, Arc::new(Documents { issuer: issuer.clone(), keys }));

        let mut account = Account::new("123456789012".parse().unwrap(), "eu-west-1".parse().unwrap());
        let provider_arn = account.add_provider(&issuer, vec![AUDIENCE.to_owned()]).unwrap();
        add(&mut account);
        let (_, claims) = provider_arn.split_once("oidc-provider/").unwrap();
        for (name, statements, longest) in roles {
            let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
            let policy = policy.replace("PROVIDER", &provider_arn).replace("CLAIMS", claims);
            account.add_role(name, PolicyText::Json(policy), Duration::from_secs(*longest)).unwrap();
        }
        account.add_user("ci", USER_KEY, Secret::new(USER_SECRET)).unwrap();
        account.set_verdict_token(Secret::new(VERDICT_TOKEN));
        let fetch = Arc::new(Fetch::new(&Trust::system()));
        let authority = Authority::new(account, &fetch, Arc::clone(&clock) as Arc<dyn Clock>, &Metrics::new());
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        serve(&workers, listener, Arc::clone(&authority) as Arc<dyn Handler>);
        Self { clock, authority, url, fetch, issuer, provider_arn, signer, _workers: workers }
    }

    /// A token for alice, with these claims instead of the usual ones; null is for none.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.signer.sign("JWT", &self.claims(claims)).unwrap().expose().to_owned()
    }

    pub(crate) fn claims(&self, changes: &Value) -> Value {
        let now = epoch_seconds(self.clock.now());
        let mut claims = json!({"iss": self.issuer, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 300});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }

    /// AWS's own client.
    pub(crate) fn client(&self, credentials: Option<Credentials>) -> aws_sdk_sts::Client {
        let mut config = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(self.url.as_str())
            .retry_config(aws_sdk_sts::config::retry::RetryConfig::disabled())
            .http_client(crate::aws::way_out::WayOut::client(crate::fetch::Fetch::new(&crate::tls::Trust::system())));
        config.set_credentials_provider(credentials.map(aws_sdk_sts::config::SharedCredentialsProvider::new));
        aws_sdk_sts::Client::from_conf(config.build())
    }

    /// A call as a form; the answer's status and body.
    pub(crate) async fn call(&self, parameters: &[(&str, &str)]) -> (StatusCode, String) {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let request = http::Request::post("/").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(form.into()).unwrap()).await
    }

    /// Any request.
    pub(crate) async fn send(&self, request: http::Request<Bytes>) -> (StatusCode, String) {
        let response = self.authority.handle(request.map(Body::full)).await;
        let status = response.status();
        let body = response.into_body().collect(1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// AssumeRoleWithWebIdentity with a token of these claims.
    pub(crate) async fn assume(&self, role: &str, token: &str, more: &[(&str, &str)]) -> (StatusCode, String) {
        let role = role_arn(role);
        let mut parameters = vec![
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", &role),
            ("WebIdentityToken", token),
        ];
        if !more.iter().any(|(name, _)| *name == "RoleSessionName") {
            parameters.push(("RoleSessionName", "alice"));
        }
        parameters.extend(more);
        self.call(&parameters).await
    }

    /// Credentials for a role, by a token of these claims.
    pub(crate) async fn credentials(&self, role: &str, claims: &Value) -> Credentials {
        let (status, answer) = self.assume(role, &self.token(claims), &[]).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        Credentials::new(
            element(&answer, "AccessKeyId"),
            element(&answer, "SecretAccessKey"),
            Some(element(&answer, "SessionToken").to_owned()),
            None,
            "test",
        )
    }
}

pub(crate) fn serve(workers: &Workers, listener: Listener, handler: Arc<dyn Handler>) {
    let manner = Manner::plain("main", &Metrics::new());
    workers.serve(listener, manner, handler);
}

pub(crate) fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::123456789012:role/{name}")
}

/// A statement that lets the provider's tokens do these things.
pub(crate) fn trusting(actions: &Value, condition: &Value) -> Value {
    json!([{"Effect": "Allow", "Principal": {"Federated": "PROVIDER"}, "Action": actions, "Condition": condition}])
}

/// The text of the first element of this name.
pub(crate) fn element<'x>(xml: &'x str, name: &str) -> &'x str {
    let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {xml}"));
    rest.split_once(&format!("</{name}>")).unwrap().0
}
