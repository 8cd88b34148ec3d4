//! People who come by SAML in real browsers: however their provider signs, to roles in each of the three ways, and out
//! again from either end.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http::header::COOKIE;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

use crate::agent::Agent;
use crate::browser::Browser;
use crate::keycloak::{ALICE, Keycloak, SamlClient};
use crate::process::{Running, free_port};
use crate::report::Report;
use crate::simplesaml::{self, Party, SimpleSaml};
use crate::support::saml_attacks::OURSELVES;
use crate::two::app;

/// A `[credentials.<name>]`, whose roles begin with the name.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Saml,
    Minted,
    AssumeRole,
}

/// What a provider does for one of our sources, which is a party of its own there.
struct Variant {
    /// `[identity.<name>]`.
    name: &'static str,
    what: &'static str,
    client: SamlClient,
    ways: &'static [Way],
    out: Out,
}

/// How the visit ends.
#[derive(PartialEq)]
enum Out {
    Here,
    AtTheProvider,
    Not,
}

const PLAIN: SamlClient =
    SamlClient { signs_response: false, signs_assertion: false, encrypts: false, wants_signed: false };
const BOTH: SamlClient = SamlClient { signs_response: true, signs_assertion: true, ..PLAIN };
const VARIANTS: [Variant; 5] = [
    Variant {
        name: "response",
        what: "signed response",
        client: SamlClient { signs_response: true, ..PLAIN },
        ways: &[Way::Saml],
        out: Out::Not,
    },
    Variant {
        name: "assertion",
        what: "signed assertion",
        client: SamlClient { signs_assertion: true, ..PLAIN },
        ways: &[Way::Saml],
        out: Out::Not,
    },
    Variant { name: "both", what: "both signed", client: BOTH, ways: &WAYS, out: Out::Here },
    // an encrypted assertion is for us alone: STS can't read it
    Variant {
        name: "encrypted",
        what: "encrypted assertion",
        client: SamlClient { encrypts: true, ..BOTH },
        ways: &[Way::Minted],
        out: Out::Not,
    },
    Variant {
        name: "asked",
        what: "request that must be signed",
        client: SamlClient { wants_signed: true, ..BOTH },
        ways: &[Way::AssumeRole],
        out: Out::AtTheProvider,
    },
];

/// Logs people in at Keycloak, in each way that it answers, and at SimpleSAMLphp.
pub(crate) async fn check(keycloak: &Keycloak, cache: &Path, kept: &Path, report: &mut Report) {
    let folder = kept.join("saml-logins");
    fs::create_dir_all(&folder).expect("the folder is writable");
    fs::write(folder.join("sp.key"), OURSELVES.key_pem.expose()).expect("the folder is writable");
    fs::write(folder.join("sp.crt"), certificate_pem()).expect("the folder is writable");
    let site = Site { port: free_port(), authority: free_port(), app: app().await, folder };

    let clients: Vec<Value> = VARIANTS
        .iter()
        .map(|variant| {
            variant.client.keycloaks(&site.entity_id(variant.name), &site.saml(variant.name), &certificate())
        })
        .collect();
    keycloak.make_saml_realm(REALM, &clients).await;
    let (acs, logout) = (format!("{}/acs", site.saml(SIMPLESAML)), format!("{}/logout", site.saml(SIMPLESAML)));
    let (entity_id, certificate) = (site.entity_id(SIMPLESAML), certificate());
    let party = Party { entity_id: &entity_id, acs: &acs, logout: &logout, certificate: &certificate };
    let simplesaml = SimpleSaml::start(&site.folder, &party).await;

    let issuer = keycloak.issuer(REALM);
    let metadata = format!("{issuer}/protocol/saml/descriptor");
    let mut config = site.config();
    site.register(&mut config, "keycloak", &metadata, &VARIANTS.each_ref().map(|variant| variant.name)).await;
    site.register(&mut config, SIMPLESAML, &simplesaml.metadata, &[SIMPLESAML]).await;
    for Variant { name, ways, .. } in &VARIANTS {
        site.source(&mut config, name, &issuer, &metadata, ways);
    }
    site.source(&mut config, SIMPLESAML, &simplesaml.metadata, &simplesaml.metadata, &WAYS);
    let _claviger = site.start(&config).await;

    for Variant { name: source, what, ways, out, .. } in &VARIANTS {
        let (browser, what) = (Browser::start(cache, &site.folder), format!("SAML by Keycloak, {what}"));
        let mut visit = Visit { site: &site, browser, source, ways, what };
        visit.enter(ALICE.name, ALICE.password, report).await;
        match out {
            Out::Not => {}
            Out::Here => visit.leave(report).await,
            Out::AtTheProvider => {
                let there = format!("{issuer}/protocol/openid-connect/logout");
                let leave = async |browser: &mut Browser| {
                    browser.open(&there).await;
                    browser.press("log ?out").await;
                };
                visit.left_there(leave, report).await;
            }
        }
    }
    for out in [Out::Here, Out::AtTheProvider] {
        let (browser, what) = (Browser::start(cache, &site.folder), "SAML by SimpleSAMLphp".to_owned());
        let mut visit = Visit { site: &site, browser, source: SIMPLESAML, ways: &WAYS, what };
        visit.enter(simplesaml::NAME, simplesaml::PASSWORD, report).await;
        match out {
            Out::Here => visit.leave(report).await,
            _ => visit.left_there(async |browser| drop(browser.open(&simplesaml.logout).await), report).await,
        }
    }
}

/// Where everything is.
struct Site {
    port: u16,
    /// The STS, which is the upstream as well: it says who has signed.
    authority: u16,
    /// What streams.
    app: SocketAddr,
    folder: PathBuf,
}

impl Site {
    /// By another name than the providers have, so that what they post comes from another site (A10, A12).
    fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    fn saml(&self, source: &str) -> String {
        self.url(&format!("/.claviger/saml/{source}"))
    }

    fn entity_id(&self, source: &str) -> String {
        format!("{}/metadata", self.saml(source))
    }

    /// On which the STS says whose signature it saw.
    fn page(&self, source: &str, way: Way) -> String {
        self.url(&format!("/{source}/{}/?Action=GetCallerIdentity&Version=2011-06-15", way.name()))
    }

    fn config(&self) -> String {
        let Self { port, authority, .. } = self;
        let mut config = format!(
            r#"
state_dir = "{state}"

[log]
level = "debug"

[listen.main]
address = "127.0.0.1:{port}"
public_url = "http://localhost:{port}"

[authority]
address = "127.0.0.1:{authority}"
account = "123456789012"
region = "eu-west-1"

[authority.provider.claviger]
issuer = "http://localhost:{port}/.claviger/issuer"
audiences = ["sts.amazonaws.com"]

[authority.user.claviger]
access_key_id = "{OWN_KEY}"
secret_access_key = {{ env = "AWS_SECRET_ACCESS_KEY" }}

[credentials.saml]
kind = "saml"
region = "eu-west-1"
endpoint = "http://127.0.0.1:{authority}"

[credentials.minted]
kind = "minted"
region = "eu-west-1"
endpoint = "http://127.0.0.1:{authority}"

[credentials.own-keys]
kind = "assume_role"
region = "eu-west-1"
endpoint = "http://127.0.0.1:{authority}"
base = ["environment"]
"#,
            state = self.folder.join("state").display(),
        );
        let arn = |resource: &str| format!("arn:aws:iam::123456789012:{resource}");
        for (way, principal, action) in [
            (
                Way::Saml,
                json!({ "Federated": [arn("saml-provider/keycloak"), arn("saml-provider/simplesaml")] }),
                "sts:AssumeRoleWithSAML",
            ),
            (
                Way::Minted,
                json!({ "Federated": arn(&format!("oidc-provider/localhost:{port}/.claviger/issuer")) }),
                "sts:AssumeRoleWithWebIdentity",
            ),
            (Way::AssumeRole, json!({ "AWS": arn("user/claviger") }), "sts:AssumeRole"),
        ] {
            let (name, file) = (way.name(), self.folder.join(format!("{}.json", way.name())));
            let actions = json!([action, "sts:TagSession", "sts:SetSourceIdentity"]);
            let statement = json!([{ "Effect": "Allow", "Principal": principal, "Action": actions }]);
            let trust = json!({ "Version": "2012-10-17", "Statement": statement });
            fs::write(&file, trust.to_string()).expect("the folder is writable");
            let file = file.display();
            let _ = write!(config, "\n[authority.role.{name}-finance]\ntrust_policy = {{ file = \"{file}\" }}\n");
        }
        config
    }

    /// A SAML provider of the STS, by the metadata that the provider itself gives. It can't write AWS's Recipient and
    /// Audience (both send people where the Recipient says), so ours are taken too.
    async fn register(&self, config: &mut String, name: &str, metadata: &str, sources: &[&str]) {
        let url = Url::parse(metadata).expect("a URL");
        let metadata = Agent::new().open(&url).await.expect("the provider gives its metadata");
        let file = self.folder.join(format!("{name}.xml"));
        fs::write(&file, &metadata.body).expect("the folder is writable");
        let recipients: Vec<String> = sources.iter().map(|source| format!("{}/acs", self.saml(source))).collect();
        let audiences: Vec<String> = sources.iter().map(|source| self.entity_id(source)).collect();
        let _ = write!(
            config,
            "\n[authority.saml_provider.{name}]\nmetadata_file = \"{}\"\nrecipients = {recipients:?}\naudiences = {audiences:?}\n",
            file.display()
        );
    }

    fn source(&self, config: &mut String, name: &str, issuer: &str, metadata: &str, ways: &[Way]) {
        let (entity_id, acs) = (self.entity_id(name), format!("{}/acs", self.saml(name)));
        let _ = write!(
            config,
            r#"
[identity.{name}]
kind = "saml"
issuer = "{issuer}"
entity_id = "{entity_id}"
metadata_url = "{metadata}"
signing = [{{ key = {{ file = "sp.key" }}, certificate = "sp.crt" }}]
decryption = [{{ key = {{ file = "sp.key" }}, certificate = "sp.crt" }}]
aws = {{ recipient = "{acs}", audience = "{entity_id}" }}

[route.{name}-stream]
host = "*"
path = "/{name}/stream"
strip_prefix = "/{name}"
upstream = "http://{app}"
identity = ["{name}"]
allow = "signed-in"
"#,
            app = self.app
        );
        for way in ways.iter().map(|way| way.name()) {
            let _ = write!(
                config,
                r#"
[route.{name}-{way}]
host = "*"
path = "/{name}/{way}"
strip_prefix = "/{name}/{way}"
upstream = "http://127.0.0.1:{authority}"
identity = ["{name}"]
credentials = "{way}"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/{way}-{{claims.department}}"
inject = {{ kind = "sigv4", service = "sts", region = "eu-west-1" }}
"#,
                authority = self.authority
            );
        }
    }

    async fn start(&self, config: &str) -> Running {
        let file = self.folder.join("claviger.toml");
        fs::write(&file, config).expect("the folder is writable");
        let mut process = Running::start("claviger-saml", env!("CARGO_BIN_EXE_claviger"), &self.folder, |command| {
            let keys = [("AWS_ACCESS_KEY_ID", OWN_KEY), ("AWS_SECRET_ACCESS_KEY", "the contract's own secret key")];
            command.arg("serve").arg(&file).envs(keys)
        });
        let ready = Url::parse(&self.url("/.claviger/me")).expect("a URL");
        process.ready(START, async || Agent::new().open(&ready).await.is_ok()).await;
        process
    }
}

/// One person's visit by one source.
struct Visit<'a> {
    site: &'a Site,
    browser: Browser,
    source: &'a str,
    ways: &'a [Way],
    /// In the report.
    what: String,
}

impl Visit<'_> {
    /// Somebody opens a page, logs in, and is brought back to it; then the page of each way is signed with their own role.
    async fn enter(&mut self, person: &str, password: &str, report: &mut Report) {
        let Self { site, browser, source, ways, what } = self;
        // who comes from another site's page is not let do what a query asks for: they land on one without
        let landing = site.url(&format!("/{source}/{}/", ways[0].name()));
        browser.open(&landing).await;
        let landed = browser.sign_in(person, password, &landing).await;
        report.equal(&format!("{what}: a login leads back to"), landing, without_query(&landed));
        for way in ways.iter() {
            let shown = browser.open(&site.page(source, *way)).await;
            let wanted = format!(":assumed-role/{}-finance/", way.name());
            let text = shown["text"].as_str().or_else(|| shown["error"].as_str()).unwrap_or_default();
            // the texts of an XML page follow on each other: the role's unique ID comes behind
            let signer = text.find("arn:aws:sts").map_or(text, |from| &text[from..]);
            let signer = signer.split("AROA").next().unwrap_or_default().trim();
            report.row(&format!("{what}: {way:?} signs as"), &wanted, signer, signer.contains(&wanted));
        }
    }

    /// Out at claviger: its session has ended, and the provider's too.
    async fn leave(&mut self, report: &mut Report) {
        let Self { site, browser, source, ways, what } = self;
        let page = site.page(source, ways[0]);
        let cookies = browser.cookies(&site.url("/")).await;
        report.equal(&format!("{what}: before the logout, the cookies get"), 200, status(&page, &cookies).await);
        browser.open(&site.url("/.claviger/logout")).await;
        let answered = format!("{}/logout", site.saml(source));
        let landed = browser.press_until("log ?out|sign ?out", &answered).await;
        let says = landed["title"].as_str().unwrap_or_default().to_owned();
        let met = says.contains("Logged out") && without_query(&landed) == answered;
        report.row(&format!("{what}: a logout here ends, by way of the provider, at"), "Logged out", says, met);
        report.equal(&format!("{what}: after it, the cookies get"), 401, status(&page, &cookies).await);
        let again = without_query(&browser.open(&page).await);
        let asked = browser.asks_for_a_password().await;
        report.row(&format!("{what}: logging in again asks for"), "a password", again, asked);
    }

    /// Out at the provider, which tells claviger by way of the browser: the session has ended, and its stream is cut.
    async fn left_there(&mut self, leave: impl AsyncFnOnce(&mut Browser), report: &mut Report) {
        let Self { site, browser, source, ways, what } = self;
        let page = site.page(source, ways[0]);
        let cookies = browser.cookies(&site.url("/")).await;
        report.equal(&format!("{what}: before a logout there, the cookies get"), 200, status(&page, &cookies).await);
        let mut stream = TcpStream::connect(("127.0.0.1", site.port)).await.expect("claviger listens");
        let cookie = header(&cookies);
        let request =
            format!("GET /{source}/stream HTTP/1.1\r\nHost: localhost:{}\r\nCookie: {cookie}\r\n\r\n", site.port);
        stream.write_all(request.as_bytes()).await.expect("the request is sent");
        let mut buffer = [0; 4096];
        let begun = stream.read(&mut buffer).await.unwrap_or_default();
        let has_begun = buffer[..begun].starts_with(b"HTTP/1.1 200");
        let left = Instant::now();
        leave(browser).await;
        let until_cut = async { while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {} };
        let was_cut = timeout(Duration::from_secs(30), until_cut).await.is_ok();
        let took = left.elapsed();
        browser.shot(&format!("left-{source}")).await;
        report.row(
            &format!("{what}: a logout there cuts a stream, pages and all, after"),
            "less than 15 s",
            format!("{took:.2?}"),
            has_begun && was_cut && took < Duration::from_secs(15),
        );
        report.equal(&format!("{what}: after it, the cookies get"), 401, status(&page, &cookies).await);
    }
}
impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Saml => "saml",
            Self::Minted => "minted",
            Self::AssumeRole => "own-keys",
        }
    }
}

/// What a script's request with these cookies gets.
async fn status(page: &str, cookies: &[(String, String)]) -> u16 {
    let request = Request::get(page).header(COOKIE, header(cookies)).header("accept", "*/*");
    let request = request.body(Full::<Bytes>::default()).expect("a request");
    Agent::new().send(request).await.map_or(0, |answer| answer.status.as_u16())
}

fn header(cookies: &[(String, String)]) -> String {
    cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
}

fn without_query(outcome: &Value) -> String {
    let url = outcome["url"].as_str().unwrap_or_default();
    url.split('?').next().unwrap_or_default().to_owned()
}

/// One line of base64.
fn certificate() -> String {
    OURSELVES.certificate.base64()
}

fn certificate_pem() -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", certificate())
}

const WAYS: [Way; 3] = [Way::Saml, Way::Minted, Way::AssumeRole];
const REALM: &str = "staff";
/// The source's name, and the provider's at the STS.
const SIMPLESAML: &str = "simplesaml";
const OWN_KEY: &str = "AKIACONTRACTEXAMPLE0";
const START: Duration = Duration::from_secs(30);
