//! Where requests may go, and under which name.

use std::sync::Arc;

use claviger::server::{Listener, Manner, Workers};
use claviger::telemetry::Metrics;
use http::Method;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

use crate::support::client::{self, headers};
use crate::support::secure::certificate;
use crate::support::upstream::Upstream;
use crate::support::world::Plan;

#[tokio::test]
async fn an_upstream_with_a_name_roots_and_wishes_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    for name in ["app.internal", "claviger.internal", "stranger"] {
        let (certificate, key) = certificate(name);
        std::fs::write(file(&format!("{name}.crt")), certificate).unwrap();
        std::fs::write(file(&format!("{name}.key")), key).unwrap();
    }
    let read = |name: &str| CertificateDer::from_pem_file(file(name)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(read("claviger.internal.crt")).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![read("app.internal.crt")],
            PrivateKeyDer::from_pem_file(file("app.internal.key")).unwrap(),
        )
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

    let (app, workers) = (Upstream::default(), Workers::start(1).unwrap());
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = listener.local_addr().unwrap();
    let manner = Manner { tls: Some(Arc::new(tls).into()), ..Manner::plain("app", &Metrics::new()) };
    workers.serve(listener, manner, Arc::new(app.clone()));

    let route = |name: &str, upstream: &str| {
        format!(
            "[route.{name}]\nhost = \"*\"\npath = \"/{name}\"\nallow = \"anyone\"\n\
             [route.{name}.upstream]\nurl = \"https://{at}\"\n{upstream}\n"
        )
    };
    let shown = |name: &str| {
        let (certificate, key) = (file(&format!("{name}.crt")), file(&format!("{name}.key")));
        format!("certificate = \"{}\"\nkey = \"{}\"\n", certificate.display(), key.display())
    };
    let ca = format!("ca = \"{}\"\n", file("app.internal.crt").display());
    let host = "host = \"app.internal\"\n";
    let routes = [
        route("good", &[&ca, host, &shown("claviger.internal")].concat()),
        route("http1", &[&ca, host, &shown("claviger.internal"), "protocol = \"http1\""].concat()),
        route("untrusted", &[host, &shown("claviger.internal")].concat()),
        route("unnamed", &[&*ca, &shown("claviger.internal")].concat()),
        route("silent", &[&*ca, host].concat()),
        route("stranger", &[&ca, host, &shown("stranger")].concat()),
    ];
    let world = Plan::with_routes(&routes.concat()).start().await;
    for (path, status) in
        [("/good", 200), ("/http1", 200), ("/untrusted", 502), ("/unnamed", 502), ("/silent", 502), ("/stranger", 502)]
    {
        let answer = client::send(world.at, Method::GET, path, &headers(&[("host", "apps.test")]), "").await;
        assert_eq!(answer.status, status, "{path}");
    }
    let seen = app.seen();
    assert_eq!(seen.len(), 2);
    for seen in seen {
        assert_eq!((seen.all("host"), seen.all("x-forwarded-host")), (vec!["app.internal"], vec!["apps.test"]));
    }
}

#[tokio::test]
async fn a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (heads, mut seen) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heads = heads.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {
                    if head.ends_with(b"\r\n\r\n") {
                        heads.send(String::from_utf8(std::mem::take(&mut head)).unwrap()).unwrap();
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                    }
                }
            });
        }
    });
    let routes = format!(
        "[route.app]\nhost = \"*\"\nallow = \"anyone\"\nupstream = \"unix:{0}\"\n\
         [route.own]\nhost = \"*\"\npath = \"/own\"\nallow = \"anyone\"\nupstream = \"unix:{0}\"\npreserve_host = false\n",
        path.display()
    );
    let world = Plan::with_routes(&routes).start().await;
    for (path, host) in [("/", "apps.test"), ("/own", "localhost")] {
        let answer = client::send(world.at, Method::GET, path, &headers(&[("host", "apps.test")]), "").await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "ok"));
        let head = seen.recv().await.unwrap();
        assert!(head.contains(&format!("host: {host}\r\n")), "{head}");
    }
}
