//! What is agreed on, believed and shown under TLS.

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::*;
use crate::tls::ClientIdentity;

/// Speaks what was agreed on, and answers with that.
async fn behind(server: Arc<ServerConfig>) -> Behind {
    let acceptor = TlsAcceptor::from(server);
    Behind::new(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    assert_eq!(request.uri().scheme_str(), Some("https"));
                    let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                    body.send_data("h2".into(), true).unwrap();
                }
                return;
            }
            while let Some(head) = head(&mut stream).await {
                let answer = match head.contains("upgrade: echo") {
                    true => "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
                    false => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nh1",
                };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

fn https(behind: &Behind, host: &str) -> Address {
    behind.url.replace("http://127.0.0.1", &format!("https://{host}")).parse().unwrap()
}

#[tokio::test]
async fn the_protocol_is_agreed_on() {
    const H1: &[u8] = b"http/1.1";
    for (protocol, offers, expected) in [
        (Protocol::Auto, &[b"h2", H1][..], Some("h2")),
        (Protocol::Auto, &[H1, b"h2"], Some("h1")),
        (Protocol::Auto, &[H1], Some("h1")),
        (Protocol::Auto, &[], Some("h1")),
        (Protocol::Auto, &[b"h2"], Some("h2")),
        (Protocol::Http1, &[b"h2", H1], Some("h1")),
        (Protocol::Http1, &[b"h2"], None),
        (Protocol::Http2, &[H1, b"h2"], Some("h2")),
        (Protocol::Http2, &[H1], None),
        (Protocol::Http2, &[], None),
    ] {
        let (identity, trust) = testing::pair();
        let behind = behind(identity.server_config(offers)).await;
        let destination = Destination { protocol, ..Destination::of(https(&behind, "localhost"), trust) };
        let upstream = to(destination, PATIENT);
        for _ in 0..2 {
            match (expected, upstream.send(get("/")).await) {
                (Some(expected), Ok(answer)) => assert_eq!(text(answer).await, expected, "{protocol:?}"),
                (None, Err(UpstreamError::Unreachable { .. })) => {}
                (_, other) => panic!("{protocol:?} {offers:?}: {other:?}"),
            }
        }
        assert_eq!(behind.connections(), if expected.is_some() { 1 } else { 2 }, "{protocol:?} {offers:?}");
    }
}

#[tokio::test]
async fn an_upgrade_agrees_on_http1() {
    let (identity, trust) = testing::pair();
    let behind = behind(identity.server_config(&[b"h2", b"http/1.1"])).await;
    let upstream = to(Destination::of(https(&behind, "localhost"), trust.clone()), PATIENT);
    assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "h2");
    assert_eq!(upstream.send(upgrade()).await.unwrap().status(), StatusCode::SWITCHING_PROTOCOLS);
    // where only HTTP/2 is spoken it is a request like others (RFC 9110 §7.8)
    let destination = Destination { protocol: Protocol::Http2, ..Destination::of(https(&behind, "localhost"), trust) };
    assert_eq!(text(to(destination, PATIENT).send(upgrade()).await.unwrap()).await, "h2");
}

#[tokio::test]
async fn the_certificate_must_be_for_the_host() {
    let (identity, trust) = testing::pair();
    let behind = behind(identity.server_config(&[])).await;
    let upstream = |address: &str, host: Option<&str>| {
        let host = host.map(|host| host.parse().unwrap());
        to(Destination { host, ..Destination::of(https(&behind, address), trust.clone()) }, PATIENT)
    };
    for (address, host, good) in [
        ("127.0.0.1", None, true),
        ("127.0.0.1", Some("localhost:8443"), true),
        ("localhost", Some("other.test"), false),
        ("127.0.0.1", Some("[::1]:1"), true),
    ] {
        let answer = upstream(address, host).send(get("/")).await;
        assert_eq!(answer.is_ok(), good, "{address} {host:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_certificate_is_shown_to_who_asks() {
    let folder = testing::folder();
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let ours = ClientIdentity::load(&certificate, &key).unwrap();
    let (server_folder, provider) = (testing::folder(), Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let read = |file: &str| {
        use rustls::pki_types::pem::PemObject as _;
        rustls::pki_types::CertificateDer::from_pem_file(file).unwrap()
    };
    let mut roots = RootCertStore::empty();
    roots.add(read(certificate.to_str().unwrap())).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let shown = server_folder.path().join("tls.crt");
    let server_key = {
        use rustls::pki_types::pem::PemObject as _;
        rustls::pki_types::PrivateKeyDer::from_pem_file(server_folder.path().join("tls.key")).unwrap()
    };
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![read(shown.to_str().unwrap())], server_key)
        .unwrap();
    let behind = behind(Arc::new(server)).await;
    let trust = || Trust::with_file(&shown).unwrap();
    let stranger = testing::folder();
    let theirs = ClientIdentity::load(&stranger.path().join("tls.crt"), &stranger.path().join("tls.key")).unwrap();
    let answer = async |trust| to(Destination::of(https(&behind, "localhost"), trust), PATIENT).send(get("/")).await;
    assert_eq!(text(answer(trust().showing(ours.clone())).await.unwrap()).await, "h1");
    answer(trust()).await.unwrap_err();
    answer(trust().showing(theirs.clone())).await.unwrap_err();

    // the same files are the same upstream, others are not
    let again = ClientIdentity::load(&certificate, &key).unwrap();
    assert!(trust().showing(ours.clone()) == trust().showing(again));
    assert!(trust().showing(ours.clone()) != trust().showing(theirs) && trust().showing(ours) != trust());
}
