//! Keycloak as the identity provider: a realm of two people, and one of strangers.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http_body_util::Full;
use serde_json::{Value, json};
use url::Url;

use crate::agent::{Agent, Answer, FORM};
use crate::process::{Running, free_port};

/// A Keycloak with its realms.
#[derive(Debug)]
pub(crate) struct Keycloak {
    /// `http://127.0.0.1:<port>`, without a slash.
    pub(crate) url: String,
    process: Running,
}

/// One of the people of a realm; the password is theirs alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Person {
    pub(crate) name: &'static str,
    pub(crate) password: &'static str,
    department: &'static str,
    /// The MinIO policy that the `policy` claim names.
    pub(crate) policy: &'static str,
}

pub(crate) const ALICE: Person =
    Person { name: "alice", password: "alice's own password", department: "finance", policy: "finance-buckets" };
pub(crate) const BOB: Person =
    Person { name: "bob", password: "bob's own password", department: "research", policy: "research-buckets" };

/// The realm that claviger and MinIO trust, and one that only claviger offers, on its chooser page.
pub(crate) const REALM: &str = "corp";
pub(crate) const OTHER_REALM: &str = "partners";
/// The realm of two instances that share their sessions.
pub(crate) const SHARED_REALM: &str = "shared";

/// Claviger's client in both realms.
pub(crate) const CLIENT_ID: &str = "claviger";
pub(crate) const CLIENT_SECRET: &str = "the-contract-client-secret";

/// How long Keycloak's access and ID tokens live: short, so that a few minutes show many renewals.
pub(crate) const TOKEN_LIFE: Duration = Duration::from_secs(60);

impl Keycloak {
    /// Starts Keycloak with an empty database in memory and makes both realms, whose client may return to `proxy`.
    pub(crate) async fn start(home: &Path, logs: &Path, proxy: &str) -> Self {
        let (port, health) = (free_port(), free_port());
        let mut process = Running::start("keycloak", home.join("bin/kc.sh"), logs, |command: &mut Command| {
            command
                .args(["start-dev", "--db=dev-mem", "--http-host=127.0.0.1", "--health-enabled=true"])
                .args([format!("--http-port={port}"), format!("--http-management-port={health}")])
                .envs([("KC_BOOTSTRAP_ADMIN_USERNAME", "admin"), ("KC_BOOTSTRAP_ADMIN_PASSWORD", ADMIN_PASSWORD)])
                // A minute of life is not worth the second compiler's time.
                .env("JAVA_OPTS_APPEND", "-XX:TieredStopAtLevel=1")
        });
        let health = Url::parse(&format!("http://127.0.0.1:{health}/health/ready")).expect("a URL");
        process
            .ready(START, async || Agent::new().open(&health).await.is_ok_and(|answer| answer.status.is_success()))
            .await;
        let keycloak = Self { url: format!("http://127.0.0.1:{port}"), process };
        for name in [REALM, OTHER_REALM] {
            keycloak.make_realm(&realm(name, proxy)).await;
        }
        keycloak
    }

    /// The issuer of a realm, as its discovery document names it.
    pub(crate) fn issuer(&self, realm: &str) -> String {
        format!("{}/realms/{realm}", self.url)
    }

    /// The ID token of a person who logs in without claviger: code flow, answer read off the redirect.
    pub(crate) async fn id_token(&self, realm: &str, person: Person, redirect_uri: &str) -> String {
        let mut agent = Agent::new();
        let parameters = [
            ("client_id", CLIENT_ID),
            ("redirect_uri", redirect_uri),
            ("response_type", "code"),
            ("scope", "openid"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        let endpoint = format!("{}/protocol/openid-connect", self.issuer(realm));
        let begin = Url::parse_with_params(&format!("{endpoint}/auth"), parameters).expect("a URL");
        let back = |url: &Url| url.as_str().starts_with(redirect_uri);
        let page = agent.follow(&begin, back).await.expect("Keycloak shows its login page");
        let answer = sign_in(&mut agent, &page, person, back).await;
        let callback = answer.location().unwrap_or_else(|| panic!("no code for {}: {}", person.name, answer.text()));
        let code = callback.query_pairs().find(|(key, _)| key == "code").expect("a code").1.into_owned();
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", redirect_uri),
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
            ("code_verifier", VERIFIER),
        ];
        let answer = post(&format!("{endpoint}/token"), &fields).await;
        let tokens: Value = serde_json::from_slice(&answer.body).expect("a token answer");
        tokens["id_token"].as_str().unwrap_or_else(|| panic!("no ID token in {tokens}")).to_owned()
    }

    /// One more realm, whose tokens live for seconds and whose refresh tokens are good once: one that comes again ends the
    /// login.
    pub(crate) async fn make_shared_realm(&self, proxy: &str) {
        let mut realm = realm(SHARED_REALM, proxy);
        realm["accessTokenLifespan"] = json!(15);
        realm["revokeRefreshToken"] = json!(true);
        realm["refreshTokenMaxReuse"] = json!(0);
        self.make_realm(&realm).await;
    }

    /// A realm of the same people whose clients speak SAML.
    #[cfg(feature = "saml")]
    pub(crate) async fn make_saml_realm(&self, name: &str, clients: &[Value]) {
        let mut realm = realm(name, "http://127.0.0.1");
        realm["clients"] = json!(clients);
        self.make_realm(&realm).await;
    }

    /// What it has logged: refusals among it.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    async fn make_realm(&self, realm: &Value) {
        let token = format!("{}/protocol/openid-connect/token", self.issuer("master"));
        let admin = [("grant_type", "password"), ("client_id", "admin-cli"), ("username", "admin")];
        let fields = [&admin[..], &[("password", ADMIN_PASSWORD)]].concat();
        let answer = post(&token, &fields).await;
        let tokens: Value = serde_json::from_slice(&answer.body).expect("a token answer");
        let request = Request::post(format!("{}/admin/realms", self.url))
            .header(AUTHORIZATION, format!("Bearer {}", tokens["access_token"].as_str().expect("an admin token")))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(Bytes::from(realm.to_string())))
            .expect("a request");
        let answer = Agent::new().send(request).await.expect("Keycloak answers");
        assert!(answer.status.is_success(), "the realm is not made: {} {}", answer.status, answer.text());
    }
}

/// What a SAML client is sent, and asked for.
#[cfg(feature = "saml")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct SamlClient {
    pub(crate) signs_response: bool,
    pub(crate) signs_assertion: bool,
    pub(crate) encrypts: bool,
    /// Whether its requests must be signed.
    pub(crate) wants_signed: bool,
}

#[cfg(feature = "saml")]
impl SamlClient {
    /// The client whose addresses begin with `saml`, as Keycloak's admin API takes it; `certificate` is one line of base64.
    pub(crate) fn keycloaks(self, entity_id: &str, saml: &str, certificate: &str) -> Value {
        let says = |yes: bool| if yes { "true" } else { "false" };
        let (acs, logout) = (format!("{saml}/acs"), format!("{saml}/logout"));
        json!({
            "clientId": entity_id,
            "protocol": "saml",
            "enabled": true,
            "frontchannelLogout": true,
            "redirectUris": [acs],
            "attributes": {
                "saml.server.signature": says(self.signs_response),
                "saml.assertion.signature": says(self.signs_assertion),
                "saml.encrypt": says(self.encrypts),
                "saml.client.signature": says(self.wants_signed),
                "saml.signing.certificate": certificate,
                "saml.encryption.certificate": certificate,
                "saml.signature.algorithm": "RSA_SHA256",
                "saml.authnstatement": "true",
                "saml.force.post.binding": "true",
                "saml_name_id_format": "persistent",
                "saml_assertion_consumer_url_post": acs,
                "saml_single_logout_service_url_post": logout,
                "saml_single_logout_service_url_redirect": logout,
            },
            "protocolMappers": [
                saml_attribute("department", "saml-user-attribute-mapper", "user.attribute", "department"),
                saml_attribute(
                    "https://aws.amazon.com/SAML/Attributes/RoleSessionName",
                    "saml-user-property-mapper",
                    "user.attribute",
                    "username",
                ),
                saml_attribute(
                    "https://aws.amazon.com/SAML/Attributes/Role",
                    "saml-hardcode-attribute-mapper",
                    "attribute.value",
                    "arn:aws:iam::123456789012:role/saml-finance,arn:aws:iam::123456789012:saml-provider/keycloak",
                ),
            ],
        })
    }
}

#[cfg(feature = "saml")]
fn saml_attribute(name: &str, mapper: &str, key: &str, value: &str) -> Value {
    json!({
        "name": name,
        "protocol": "saml",
        "protocolMapper": mapper,
        "config": { "attribute.name": name, "attribute.nameformat": "Basic", key: value },
    })
}

/// Fills in the login form that Keycloak shows and follows what comes, until `stop`.
///
/// # Panics
/// When there is no form, with the page there is.
pub(crate) async fn sign_in(agent: &mut Agent, page: &Answer, person: Person, stop: impl Fn(&Url) -> bool) -> Answer {
    let form = page.form().unwrap_or_else(|| panic!("no login form at {}: {}", page.url, page.text()));
    let form = form.filled(&[("username", person.name), ("password", person.password)]);
    agent.submit(&form, stop).await.expect("Keycloak takes the login form")
}

/// Sends a form to an API.
pub(crate) async fn post(url: &str, fields: &[(&str, &str)]) -> Answer {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = Request::post(url).header(CONTENT_TYPE, FORM).body(Full::from(form)).expect("a request");
    Agent::new().send(request).await.unwrap_or_else(|error| panic!("{error}"))
}

/// A realm as Keycloak's admin API takes it.
fn realm(name: &str, proxy: &str) -> Value {
    json!({
        "realm": name,
        "enabled": true,
        "sslRequired": "none",
        "accessTokenLifespan": TOKEN_LIFE.as_secs(),
        "ssoSessionIdleTimeout": 4 * 60 * 60,
        "ssoSessionMaxLifespan": 10 * 60 * 60,
        "clients": [{
            "clientId": CLIENT_ID,
            "secret": CLIENT_SECRET,
            "publicClient": false,
            "standardFlowEnabled": true,
            "redirectUris": [format!("{proxy}/.claviger/callback")],
            "attributes": {
                "post.logout.redirect.uris": format!("{proxy}/.claviger/signed-out"),
                "pkce.code.challenge.method": "S256",
            },
            "protocolMappers": [from_attribute("policy"), from_attribute("department"), groups()],
        }],
        "groups": [{ "name": ALICE.department }, { "name": BOB.department }],
        "users": [user(ALICE), user(BOB)],
        // Attributes that no profile describes are dropped otherwise.
        "components": { "org.keycloak.userprofile.UserProfileProvider": [{
            "providerId": "declarative-user-profile",
            "config": { "kc.user.profile.config": [r#"{"unmanagedAttributePolicy":"ENABLED","attributes":[
                {"name":"username"},{"name":"email"},{"name":"firstName"},{"name":"lastName"}]}"#] },
        }] },
    })
}

fn user(person: Person) -> Value {
    json!({
        "username": person.name,
        "enabled": true,
        "email": format!("{}@example.com", person.name),
        "emailVerified": true,
        "firstName": person.name,
        "lastName": "Example",
        "attributes": { "department": [person.department], "policy": [person.policy] },
        "groups": [person.department],
        "credentials": [{ "type": "password", "value": person.password, "temporary": false }],
    })
}

/// Puts a user attribute into the ID token under its own name.
fn from_attribute(name: &str) -> Value {
    json!({
        "name": name,
        "protocol": "openid-connect",
        "protocolMapper": "oidc-usermodel-attribute-mapper",
        "config": {
            "user.attribute": name, "claim.name": name, "jsonType.label": "String",
            "id.token.claim": "true", "access.token.claim": "true", "userinfo.token.claim": "true",
        },
    })
}

fn groups() -> Value {
    json!({
        "name": "groups",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-group-membership-mapper",
        "config": { "claim.name": "groups", "full.path": "false", "id.token.claim": "true", "userinfo.token.claim": "true" },
    })
}

const ADMIN_PASSWORD: &str = "admin";

/// A first start compiles Keycloak's configuration, on a machine that may be busy.
const START: Duration = Duration::from_secs(300);

/// The pair of RFC 7636 Appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
