//! Handshakes in memory: what is shown, and what is believed.

use std::fs;

use rustls::pki_types::ServerName;
use tokio::io::duplex;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

/// A handshake in memory: what ALPN chose, and the certificate that was shown.
async fn shake(
    identity: &ServerIdentity,
    trust: &Trust,
    offers: [&[&[u8]]; 2],
) -> std::io::Result<(Option<Vec<u8>>, CertificateDer<'static>)> {
    let (near, far) = duplex(1 << 16);
    let server = TlsAcceptor::from(identity.server_config(offers[0])).accept(far);
    let client = TlsConnector::from(trust.client_config(offers[1]));
    let client = client.connect(ServerName::try_from("localhost").unwrap(), near);
    let (server, client) = tokio::join!(server, client);
    let (_server, client) = (server?, client?);
    let session = client.get_ref().1;
    let shown = session.peer_certificates().unwrap()[0].clone().into_owned();
    Ok((session.alpn_protocol().map(<[u8]>::to_vec), shown))
}

#[tokio::test]
async fn the_servers_preference_decides_the_protocol() {
    let (identity, trust) = testing::pair();
    let (chosen, _) = shake(&identity, &trust, [&[b"h2", b"http/1.1"], &[b"http/1.1", b"h2"]]).await.unwrap();
    assert_eq!(chosen.unwrap(), b"h2");
    // RFC 7301 §3.2: no common protocol ends the handshake
    shake(&identity, &trust, [&[b"h2"], &[b"http/1.1"]]).await.unwrap_err();
}

#[tokio::test]
async fn a_server_outside_our_roots_is_not_believed() {
    let (identity, _) = testing::pair();
    let (_, other) = testing::pair();
    shake(&identity, &other, [&[], &[]]).await.unwrap_err();
}

#[tokio::test]
async fn what_the_files_held_is_shown_until_they_are_loaded_anew() {
    let folder = testing::folder();
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let old = ServerIdentity::load(&certificate, &key).unwrap();
    let old_trust = Trust::with_file(&certificate).unwrap();
    let first = shake(&old, &old_trust, [&[], &[]]).await.unwrap().1;

    testing::write(folder.path());
    let new = ServerIdentity::load(&certificate, &key).unwrap();
    let second = shake(&new, &Trust::with_file(&certificate).unwrap(), [&[], &[]]).await.unwrap().1;
    assert_ne!(first, second);
    assert_eq!(shake(&old, &old_trust, [&[], &[]]).await.unwrap().1, first);

    fs::write(&key, "half a key").unwrap();
    ServerIdentity::load(&certificate, &key).unwrap_err();
}

/// Whether a client with this certificate gets through the handshake.
async fn comes_in(identity: &ServerIdentity, trust: &Trust, client: &rcgen::CertifiedKey<rcgen::KeyPair>) -> bool {
    let (near, far) = duplex(1 << 16);
    let server = TlsAcceptor::from(identity.server_config(&[])).accept(far);
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trust.extra.iter().cloned());
    let key = PrivateKeyDer::from_pem_slice(client.signing_key.serialize_pem().as_bytes()).unwrap();
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![client.cert.der().clone()], key)
        .unwrap();
    let client = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), near);
    let (server, _client) = tokio::join!(server, client);
    server.is_ok_and(|server| server.get_ref().1.peer_certificates().is_some_and(|shown| shown.len() == 1))
}

#[tokio::test]
async fn clients_are_believed_by_the_roots_that_were_loaded() {
    let folder = testing::folder();
    let [certificate, key, ca] = ["tls.crt", "tls.key", "clients.pem"].map(|name| folder.path().join(name));
    let client = || {
        let mut params = rcgen::CertificateParams::new(["batch.test".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, fastrand::u64(..).to_string());
        let signing_key = rcgen::KeyPair::generate().unwrap();
        // a certificate may be its own root
        rcgen::CertifiedKey { cert: params.self_signed(&signing_key).unwrap(), signing_key }
    };
    let (old, new) = (client(), client());
    fs::write(&ca, old.cert.pem()).unwrap();
    let clients = ClientAuth { ca: ca.clone(), crl: None, required: true };
    let identity = ServerIdentity::asking(&certificate, &key, Some(&clients)).unwrap();
    let trust = Trust::with_file(&certificate).unwrap();
    assert!(comes_in(&identity, &trust, &old).await && !comes_in(&identity, &trust, &new).await);

    fs::write(&ca, new.cert.pem()).unwrap();
    let later = ServerIdentity::asking(&certificate, &key, Some(&clients)).unwrap();
    assert!(comes_in(&later, &trust, &new).await && !comes_in(&later, &trust, &old).await);

    for (file, content, expected) in [
        ("clients.pem", "no certificate", "clients.pem` is not a PEM file of the certificates that sign clients' own"),
        ("revoked.pem", &new.cert.pem(), "revoked.pem` is not a PEM file of lists of revoked certificates"),
    ] {
        fs::write(&ca, new.cert.pem()).unwrap();
        fs::write(folder.path().join(file), content).unwrap();
        let clients = ClientAuth { crl: Some(folder.path().join("revoked.pem")), ..clients.clone() };
        let error = ServerIdentity::asking(&certificate, &key, Some(&clients)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn errors_name_the_file_and_what_was_expected() {
    let folder = testing::folder();
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let (missing, empty) = (folder.path().join("missing.pem"), folder.path().join("empty.pem"));
    fs::write(&empty, "").unwrap();
    let told = |certificate: &Path, key: &Path| ServerIdentity::load(certificate, key).unwrap_err().to_string();

    assert!(told(&missing, &key).ends_with("missing.pem` can't be read"));
    assert!(told(&certificate, &missing).ends_with("missing.pem` can't be read"));
    assert!(told(&empty, &key).ends_with("empty.pem` is not a PEM chain of certificates"));
    assert!(told(&certificate, &certificate).ends_with("tls.crt` is not a PEM private key"));
    assert!(Trust::with_file(&empty).unwrap_err().to_string().ends_with("is not a PEM file of root certificates"));

    let other = testing::folder();
    assert!(told(&certificate, &other.path().join("tls.key")).ends_with("can't be used together"));
}

#[test]
fn a_broken_key_is_not_quoted() {
    let folder = testing::folder();
    let key = folder.path().join("tls.key");
    fs::write(&key, "-----BEGIN PRIVATE canary KEY\ncanary\n").unwrap();
    let error = ServerIdentity::load(&folder.path().join("tls.crt"), &key).unwrap_err();
    assert!(!format!("{error:?} {error}").contains("canary"));
}
