//! Clients that show a certificate, over real TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use claviger::clock::{Clock as _, SystemClock};
use http::StatusCode;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod,
    KeyPair, RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion, version};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::ends::{STREAM, SWITCH, held};
use super::issuer::Issuer;
use super::{KNOWN, fault, seen};
use crate::reload::{put, reload};
use crate::support::client::{Answer, headers};
use crate::support::routes::PUBLIC;
use crate::support::secure::SECURE_ORIGIN;
use crate::support::world::{Plan, World, until};

const ROUTES: &str = r#"
[listen.secure]
address = "127.0.0.1:0"
public_url = "https://apps.test"
tls = { certificate = "tls.crt", key = "tls.key", client_ca = "clients.pem"{more} }

[identity.devices]
kind = "mtls"
{subject}
groups_claim = "organizational_unit"

[route.grouped]
host = "*"
path = "/grouped"
upstream = "{upstream}"
allow = { groups = ["payments"], claims = { organization = "Corp" } }

[route.signed]
host = "*"
path = "/signed"
upstream = "{upstream}"
allow = "signed-in"
credentials = "minted"
role = "arn:aws:iam::123456789012:role/anyone"
session_name = "{claims.common_name}"
inject = { kind = "sigv4", service = "execute-api", region = "eu-west-1" }
"#;

const SPIFFE: &str = "spiffe://corp.example/ns/prod/sa/batch";

#[tokio::test]
async fn a_certificate_names_its_subject_to_policy_and_upstream() {
    let ca = Ca::new();
    let gate = Gate::open(&ca, "", "").await;
    let mut batch = gate.client(Some(ca.leaf(|_| ()))).await;
    for path in ["/x", "/grouped"] {
        let answer = batch.get(path, &[]).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    }
    assert_eq!(batch.get("/x", &[]).await.status, StatusCode::OK);
    assert_eq!(seen(&gate.world, "x-user").unwrap(), format!("devices/{SPIFFE}"));
    assert_eq!(seen(&gate.world, "x-name").as_deref(), Some("batch"));
    // a page that turns somebody away offers no logout where there was no login
    let mut nobody =
        gate.client(Some(ca.leaf(|params| params.distinguished_name = rcgen::DistinguishedName::new()))).await;
    let navigation = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("accept", "text/html")];
    let page = nobody.get("/grouped", &navigation).await;
    assert!(page.status == StatusCode::FORBIDDEN && page.text().contains("You may not open this"), "{}", page.text());
    assert!(!page.text().contains("logout") && !page.text().contains("logged in"), "{}", page.text());
    // minted tokens speak for whoever we know
    let answer = batch.get("/signed", &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    // without one a client may come, and is nobody
    let mut nobody = gate.client(None).await;
    let answer = nobody.get("/x", &[]).await;
    assert_eq!((answer.status, fault(&answer).as_str()), (StatusCode::UNAUTHORIZED, "login_required"));
    assert_eq!(nobody.get("/public", &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_names_the_subject_is_configured() {
    let ca = Ca::new();
    for (subject, id) in [("dns", "batch.corp.example"), ("email", "batch@corp.example"), ("common_name", "batch")] {
        let gate = Gate::open(&ca, "", &format!("subject = \"{subject}\"")).await;
        assert_eq!(gate.client(Some(ca.leaf(|_| ()))).await.get("/x", &[]).await.status, StatusCode::OK);
        assert_eq!(seen(&gate.world, "x-user").unwrap(), format!("devices/{id}"));
    }
    let gate = Gate::open(&ca, "", "subject = \"fingerprint\"").await;
    assert_eq!(gate.client(Some(ca.leaf(|_| ()))).await.get("/x", &[]).await.status, StatusCode::OK);
    assert_eq!(seen(&gate.world, "x-user").unwrap().len(), "devices/".len() + 64);
}

/// None is nobody's here; of several nobody knows which is meant; and a NUL ends no name (CVE-2009-2408).
#[tokio::test]
async fn a_certificate_must_have_one_name() {
    let ca = Ca::new();
    let gate = Gate::open(&ca, "", "").await;
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let with = |names: Vec<SanType>| ca.leaf(|params| params.subject_alt_names = names);
    for (leaf, code) in [
        (with(vec![]), "login_required"),
        (with(vec![SanType::DnsName("batch.corp.example".try_into().unwrap())]), "login_required"),
        (with(vec![uri(SPIFFE), uri("spiffe://corp.example/admin")]), "invalid_certificate"),
        (with(vec![uri("spiffe://corp.example/admin\0.evil")]), "invalid_certificate"),
        (with(vec![uri(&format!("spiffe://corp.example/{}", "x".repeat(300)))]), "invalid_certificate"),
    ] {
        let answer = gate.client(Some(leaf)).await.get("/x", &[]).await;
        assert_eq!((answer.status, fault(&answer).as_str()), (StatusCode::UNAUTHORIZED, code));
    }
    assert!(gate.world.upstream.seen().is_empty());
}

/// The handshake decides: another CA's certificate, one that has ended or begins tomorrow, one for servers alone, and a
/// leaf that signs another (GHSA class of chains whose signer is a leaf).
#[tokio::test]
async fn a_certificate_that_does_not_verify_makes_no_connection() {
    let ca = Ca::new();
    let gate = Gate::open(&ca, "", "").await;
    let now = OffsetDateTime::from(SystemClock.now());
    let forged = {
        let key = KeyPair::generate().unwrap();
        let signer = CertifiedIssuer::signed_by(params(), key, &ca.0).unwrap();
        let mut leaf = Leaf::signed_by(&signer, |_| ());
        leaf.chain.push(signer.der().clone());
        leaf
    };
    for (name, leaf) in [
        ("another CA", Ca::new().leaf(|_| ())),
        ("ended", ca.leaf(|params| params.not_after = now - Duration::from_secs(60))),
        ("not yet", ca.leaf(|params| params.not_before = now + Duration::from_secs(3600))),
        ("for servers", ca.leaf(|params| params.insert_extended_key_usage(rcgen::ExtendedKeyUsagePurpose::ServerAuth))),
        ("signed by a leaf", forged),
    ] {
        assert!(gate.refuses(Some(leaf)).await, "{name}");
    }
    assert!(gate.world.upstream.seen().is_empty());
    assert!(gate.world.metric("claviger_tls_handshake_failures_total{listener=\"secure\"}").await >= 5.0);
}

#[tokio::test]
async fn where_a_certificate_is_required_nobody_comes_without() {
    let ca = Ca::new();
    let gate = Gate::open(&ca, ", client_auth = \"required\"", "").await;
    assert!(gate.refuses(None).await);
    let mut batch = gate.client(Some(ca.leaf(|_| ()))).await;
    assert_eq!(batch.get("/x", &[]).await.status, StatusCode::OK);
}

/// A resumed session would bring its certificate back unseen, so there is none (CVE-2025-23419).
#[tokio::test]
async fn no_session_is_resumed_where_certificates_count() {
    let ca = Ca::new();
    let gate = Gate::open(&ca, "", "").await;
    for version in [&version::TLS13, &version::TLS12] {
        let config = gate.config(Some(ca.leaf(|_| ())), &[version]);
        for _ in 0..3 {
            let mut client = gate.connect(&config).await.unwrap();
            assert_eq!(client.handshake, HandshakeKind::Full, "{version:?}");
            assert_eq!(client.get("/x", &[]).await.status, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn what_was_revoked_makes_no_connection() {
    let ca = Ca::new();
    let serial = SerialNumber::from_slice(&[7, 7]);
    let plan = Gate::plan(&ca, ", client_crl = \"revoked.pem\"", "", "").file("revoked.pem", &ca.revoking(&serial));
    let gate = Gate::of(plan).await;
    let mut good = gate.client(Some(ca.leaf(|_| ()))).await;
    assert_eq!(good.get("/x", &[]).await.status, StatusCode::OK);
    assert!(gate.refuses(Some(ca.leaf(|params| params.serial_number = Some(serial.clone())))).await);
}

/// Neither does a connection outlive the list its certificate is put on, nor what was opened on it. One that is not on it
/// goes on, and what it has open.
#[tokio::test]
async fn what_is_revoked_by_a_reload_ends_on_open_connections_too() {
    let (ca, upstream) = (Ca::new(), held().await);
    let [nobodys, serial] = [[6, 6], [7, 7]].map(|bytes| SerialNumber::from_slice(&bytes));
    let route = format!(
        "[route.held]\nhost = \"*\"\npath = \"/held\"\nupstream = \"{}\"\nallow = \"signed-in\"",
        upstream.url()
    );
    let plan =
        Gate::plan(&ca, ", client_crl = \"revoked.pem\"", "", &route).file("revoked.pem", &ca.revoking(&nobodys));
    let gate = Gate::of(plan).await;
    let revoked = || ca.leaf(|params| params.serial_number = Some(serial.clone()));
    let (mut client, mut other) = (gate.client(Some(revoked())).await, gate.client(Some(ca.leaf(|_| ()))).await);
    let [one, another] = [revoked(), ca.leaf(|_| ())].map(|leaf| gate.config(Some(leaf), &[&version::TLS13]));
    let [mut tunnel, mut stream] = [gate.held(&one, SWITCH).await, gate.held(&one, STREAM).await];
    let mut lasting = gate.held(&another, SWITCH).await;
    for client in [&mut client, &mut other] {
        assert_eq!(client.get("/x", &[]).await.status, StatusCode::OK);
    }

    put(&gate.world, "revoked.pem", &ca.revoking(&serial));
    assert_eq!(reload(&gate.world).await["message"], "the config was reloaded");
    for stream in [&mut tunnel, &mut stream] {
        let mut rest = Vec::new();
        while stream.read_buf(&mut rest).await.is_ok_and(|count| count > 0) {}
        assert_eq!(String::from_utf8_lossy(&rest), "", "cut without a last word");
    }
    let answer = client.get("/x", &[]).await;
    assert_eq!((answer.status, fault(&answer).as_str()), (StatusCode::UNAUTHORIZED, "invalid_certificate"));
    assert_eq!(client.get("/public", &[]).await.status, StatusCode::UNAUTHORIZED, "what is shown there is as bad");
    assert_eq!(other.get("/x", &[]).await.status, StatusCode::OK);
    lasting.write_all(b"still here").await.unwrap();
    lasting.read_exact(&mut [0; 10]).await.unwrap();
}

/// Whoever connected in time is not in for ever: each request is judged by our clock.
#[tokio::test]
async fn a_certificate_may_end_while_its_connection_lasts() {
    let ca = Ca::new();
    let gate = Gate::open(&ca, "", "").await;
    let ends = OffsetDateTime::from(SystemClock.now()) + Duration::from_secs(3);
    let mut client = gate.client(Some(ca.leaf(|params| params.not_after = ends))).await;
    assert_eq!(client.get("/x", &[]).await.status, StatusCode::OK);
    let last = until(async || client.get("/x", &[]).await, |answer| answer.status != StatusCode::OK).await;
    assert_eq!((last.status, fault(&last).as_str()), (StatusCode::UNAUTHORIZED, "invalid_certificate"));
    assert_eq!(last.header("www-authenticate"), "Bearer realm=\"claviger\"", "no token was invalid");
}

/// What it opened does not outlive it either, though nothing more is asked.
#[tokio::test]
async fn what_is_open_is_cut_when_the_certificate_ends() {
    let (ca, upstream) = (Ca::new(), held().await);
    let route = format!(
        "[route.held]\nhost = \"*\"\npath = \"/held\"\nupstream = \"{}\"\nallow = \"signed-in\"",
        upstream.url()
    );
    let gate = Gate::open_among(&ca, &route).await;
    let ends = OffsetDateTime::from(SystemClock.now()) + Duration::from_secs(3);
    let (ending, lasting) = (ca.leaf(|params| params.not_after = ends), ca.leaf(|_| ()));
    let [ending, lasting] = [ending, lasting].map(|leaf| gate.config(Some(leaf), &[&version::TLS13]));
    let mut other = gate.held(&lasting, SWITCH).await;
    for mut stream in [gate.held(&ending, SWITCH).await, gate.held(&ending, STREAM).await] {
        let mut rest = Vec::new();
        while stream.read_buf(&mut rest).await.is_ok_and(|count| count > 0) {}
        assert_eq!(String::from_utf8_lossy(&rest), "", "cut without a last word");
    }
    let now = OffsetDateTime::from(SystemClock.now());
    assert!(now.unix_timestamp() >= ends.unix_timestamp(), "not before its time");
    other.write_all(b"still here").await.unwrap();
    other.read_exact(&mut [0; 10]).await.unwrap();
}

/// The certificate is the connection's: a ticket or a token beside it is one too many, unless the route names its sources.
#[tokio::test]
async fn a_certificate_beside_something_else_is_one_too_many() {
    let ca = Ca::new();
    let issuer = Issuer::start();
    let source =
        format!("[identity.services]\nkind = \"bearer\"\nissuer = \"{}\"\naudiences = [\"claviger\"]", issuer.url);
    let too = |subject: &str| format!("{source}\n[identity.too]\nkind = \"mtls\"\nsubject = \"{subject}\"");
    let token = format!("Bearer {}", issuer.token_of("batch"));
    // the certificate has a URI and a common name, so both sources know it
    let gate = Gate::open_among(&ca, &too("common_name")).await;
    assert_eq!(fault(&gate.client(Some(ca.leaf(|_| ()))).await.get("/x", &[]).await), "bad_request");
    // this one is nobody's to the second
    let gate = Gate::open_among(&ca, &too("dns")).await;
    let only_a_uri = |params: &mut CertificateParams| params.subject_alt_names.truncate(1);
    let mut batch = gate.client(Some(ca.leaf(only_a_uri))).await;
    assert_eq!(batch.get("/x", &[]).await.status, StatusCode::OK);
    assert_eq!(fault(&batch.get("/x", &[("authorization", &token)]).await), "bad_request");
    assert_eq!(fault(&batch.get("/people", &[("authorization", &token)]).await), "login_required");
    assert_eq!(gate.client(None).await.get("/x", &[("authorization", &token)]).await.status, StatusCode::OK);
}

/// A1: what a balancer before us could say of a certificate, no client says.
#[tokio::test]
async fn a1_headers_about_certificates_are_nobodys_word() {
    let ca = Ca::new();
    let gate = Gate::open(&ca, "", "").await;
    let mut nobody = gate.client(None).await;
    let forged = [
        ("x-forwarded-client-cert", "URI=spiffe://corp.example/admin"),
        ("x_forwarded_client_cert", "URI=spiffe://corp.example/admin"),
        ("X-SSL-Client-S-DN", "CN=admin"),
        ("X-SSL-Client-Verify", "SUCCESS"),
        ("ssl-client-verify", "SUCCESS"),
        ("SSL_CLIENT_CERT", "MIIB"),
        ("client-cert", ":MIIB:"),
        ("client-cert-chain", ":MIIB:"),
        ("x-forwarded-tls-client-cert", "MIIB"),
        ("x-amzn-mtls-clientcert-subject", "CN=admin"),
    ];
    assert_eq!(fault(&nobody.get("/x", &forged).await), "login_required");
    assert_eq!(nobody.get("/public", &forged).await.status, StatusCode::OK);
    let headers = gate.world.upstream.last().headers;
    let about = |name: &str| name.contains("cert") || name.contains("ssl");
    assert!(!headers.keys().any(|name| about(name.as_str())), "{headers:?}");
}

/// A certificate authority for clients.
struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its chain, and its key.
struct Leaf {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Corp clients");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn leaf(&self, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        Leaf::signed_by(&self.0, change)
    }

    /// A list on which this certificate is.
    fn revoking(&self, serial: &SerialNumber) -> String {
        let now = OffsetDateTime::from(SystemClock.now());
        let revoked = RevokedCertParams {
            serial_number: serial.clone(),
            revocation_time: now - Duration::from_secs(60),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: now - Duration::from_secs(60),
            next_update: now + Duration::from_secs(3600),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

impl Leaf {
    fn signed_by(issuer: &CertifiedIssuer<'static, KeyPair>, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (key, mut params) = (KeyPair::generate().unwrap(), params());
        change(&mut params);
        let certificate = params.signed_by(&key, issuer).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        Self { chain: vec![certificate.der().clone()], key }
    }
}

/// Of the service `batch`.
fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![
        SanType::URI(SPIFFE.try_into().unwrap()),
        SanType::DnsName("batch.corp.example".try_into().unwrap()),
        SanType::Rfc822Name("batch@corp.example".try_into().unwrap()),
    ];
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "batch");
    params.distinguished_name.push(DnType::OrganizationName, "Corp");
    params.distinguished_name.push(DnType::OrganizationalUnitName, "payments");
    params
}

/// A claviger with a listener that asks for certificates.
struct Gate {
    world: World,
    at: SocketAddr,
}

impl Gate {
    async fn open(ca: &Ca, more: &str, subject: &str) -> Self {
        Self::of(Self::plan(ca, more, subject, "")).await
    }

    /// One that has more sections.
    async fn open_among(ca: &Ca, sections: &str) -> Self {
        Self::of(Self::plan(ca, "", "", sections)).await
    }

    fn plan(ca: &Ca, more: &str, subject: &str, sections: &str) -> Plan {
        let routes =
            format!("{}{KNOWN}{PUBLIC}{sections}", ROUTES.replace("{more}", more).replace("{subject}", subject));
        let plan = Plan::with_routes(&routes).public_host("localhost").also_at(SECURE_ORIGIN);
        plan.certificate().file("clients.pem", &ca.0.pem())
    }

    async fn of(plan: Plan) -> Self {
        let world = plan.start().await;
        let at = world.secure_at().await;
        Self { world, at }
    }

    fn config(&self, leaf: Option<Leaf>, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.world.file("tls.crt")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        Arc::new(match leaf {
            Some(Leaf { chain, key }) => builder.with_client_auth_cert(chain, key).unwrap(),
            None => builder.with_no_client_auth(),
        })
    }

    async fn shake_hands(&self, config: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.at).await?;
        let name = ServerName::try_from("apps.test").unwrap();
        TlsConnector::from(Arc::clone(config)).connect(name, stream).await
    }

    async fn connect(&self, config: &Arc<ClientConfig>) -> std::io::Result<Client> {
        let stream = self.shake_hands(config).await?;
        let handshake = stream.get_ref().1.handshake_kind().unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Client { sender, handshake })
    }

    async fn client(&self, leaf: Option<Leaf>) -> Client {
        self.connect(&self.config(leaf, &[&version::TLS13])).await.unwrap()
    }

    /// A request to `/held` that has been let in, up to its first bytes.
    async fn held(&self, config: &Arc<ClientConfig>, request: &str) -> TlsStream<TcpStream> {
        let mut stream = self.shake_hands(config).await.unwrap();
        let request = request.replace("GET /", "GET /held/").replacen("\r\n", "\r\nHost: apps.test\r\n", 1);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut come = Vec::new();
        while !come.ends_with(b"hello") && !come.ends_with(b"hello\r\n") {
            assert!(stream.read_buf(&mut come).await.unwrap() > 0, "{}", String::from_utf8_lossy(&come));
        }
        stream
    }

    /// Whether no request of this client's is ever answered: in TLS 1.3 it learns of its fault after its own last word.
    async fn refuses(&self, leaf: Option<Leaf>) -> bool {
        match self.connect(&self.config(leaf, &[&version::TLS13])).await {
            Err(_) => true,
            Ok(mut client) => client.try_get("/public", &[]).await.is_err(),
        }
    }
}

/// A connection of a client's.
struct Client {
    sender: http1::SendRequest<Empty<bytes::Bytes>>,
    handshake: HandshakeKind,
}

impl Client {
    async fn get(&mut self, path: &str, sent: &[(&str, &str)]) -> Answer {
        self.try_get(path, sent).await.unwrap()
    }

    async fn try_get(&mut self, path: &str, sent: &[(&str, &str)]) -> hyper::Result<Answer> {
        self.sender.ready().await?;
        let mut request = http::Request::get(path).body(Empty::new()).unwrap();
        *request.headers_mut() = headers(sent);
        request.headers_mut().insert("host", "apps.test".parse().unwrap());
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes().to_vec();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}
