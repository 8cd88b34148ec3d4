//! SimpleSAMLphp as the identity provider, as Debian has it: one person, and the parties it is given.
//!
//! Where Keycloak puts one `Attribute` element for each value, it puts the values into one; its metadata has no wish for
//! signed requests, and its logout goes from party to party by redirects.

use std::fs;
use std::path::Path;
use std::time::Duration;

use url::Url;

use crate::agent::Agent;
use crate::process::{Running, free_port};

/// A running provider.
#[derive(Debug)]
pub(crate) struct SimpleSaml {
    /// Its entity ID, where its metadata is.
    pub(crate) metadata: String,
    /// Where a browser ends its login there.
    pub(crate) logout: String,
    _process: Running,
}

/// Somebody it sends people to.
#[derive(Debug)]
pub(crate) struct Party<'a> {
    pub(crate) entity_id: &'a str,
    pub(crate) acs: &'a str,
    pub(crate) logout: &'a str,
    /// One line of base64.
    pub(crate) certificate: &'a str,
}

impl SimpleSaml {
    /// Starts it in PHP's own web server, with everything it writes below `folder`.
    pub(crate) async fn start(folder: &Path, party: &Party<'_>) -> Self {
        let folder = folder.join("simplesaml");
        for inside in ["metadata", "cert", "sessions", "tmp"] {
            fs::create_dir_all(folder.join(inside)).expect("the folder is writable");
        }
        let url = format!("http://127.0.0.1:{}", free_port());
        let metadata = format!("{url}/saml2/idp/metadata.php");
        let write = |name: &str, text: String| fs::write(folder.join(name), text).expect("the folder is writable");
        let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).expect("a key");
        let params = rcgen::CertificateParams::new(["idp.example.org".to_owned()]).expect("a name");
        write("cert/idp.key", pair.serialize_pem());
        write("cert/idp.crt", params.self_signed(&pair).expect("a certificate").pem());
        write("config.php", config(&url, &folder));
        write("authsources.php", PEOPLE.to_owned());
        write("metadata/saml20-idp-hosted.php", hosted(&metadata));
        write("metadata/saml20-sp-remote.php", remote(party));
        let mut process = Running::start("simplesaml", "php", &folder, |command| {
            command
                .args(["-S", url.trim_start_matches("http://"), "-t", "/usr/share/simplesamlphp/www"])
                .env("SIMPLESAMLPHP_CONFIG_DIR", &folder)
                .env("PHP_CLI_SERVER_WORKERS", "4")
        });
        let ready = Url::parse(&metadata).expect("a URL");
        process.ready(START, async || Agent::new().open(&ready).await.is_ok_and(|answer| answer.status == 200)).await;
        let logout = format!("{url}/saml2/idp/initSLO.php?RelayState=%2F");
        Self { metadata, logout, _process: process }
    }
}

fn config(url: &str, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r"<?php
$config = [
    'baseurlpath' => '{url}/',
    'certdir' => '{folder}/cert/',
    'datadir' => '{folder}/tmp/',
    'tempdir' => '{folder}/tmp/',
    'loggingdir' => '{folder}/tmp/',
    'logging.handler' => 'stderr',
    'logging.level' => 6,
    'secretsalt' => 'the contract has no secrets in it',
    'auth.adminpassword' => 'nobody is the administrator',
    'technicalcontact_name' => 'Nobody',
    'technicalcontact_email' => 'nobody@example.org',
    'timezone' => 'UTC',
    'enable.saml20-idp' => true,
    'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true],
    'store.type' => 'phpsession',
    'session.cookie.name' => 'SimpleSAMLSessionID',
    'session.cookie.secure' => false,
    'session.cookie.samesite' => 'Lax',
    'session.phpsession.cookiename' => 'SimpleSAML',
    'session.phpsession.savepath' => '{folder}/sessions',
    'session.phpsession.httponly' => true,
    'language.default' => 'en',
    'metadata.sources' => [['type' => 'flatfile', 'directory' => '{folder}/metadata']],
];
"
    )
}

fn hosted(entity_id: &str) -> String {
    format!(
        r"<?php
$metadata['{entity_id}'] = [
    'host' => '__DEFAULT__',
    'privatekey' => 'idp.key',
    'certificate' => 'idp.crt',
    'auth' => 'people',
    'sign.logout' => true,
    'redirect.sign' => true,
    'NameIDFormat' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
    'authproc' => [
        3 => [
            'class' => 'saml:AttributeNameID',
            'attribute' => 'uid',
            'Format' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
        ],
    ],
];
"
    )
}

fn remote(party: &Party<'_>) -> String {
    let Party { entity_id, acs, logout, certificate } = party;
    format!(
        r"<?php
$metadata['{entity_id}'] = [
    'AssertionConsumerService' => '{acs}',
    'SingleLogoutService' => [
        ['Binding' => 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect', 'Location' => '{logout}'],
    ],
    'certData' => '{certificate}',
    'validate.authnrequest' => true,
    'validate.logout' => true,
    'sign.logout' => true,
    'saml20.sign.assertion' => true,
    'saml20.sign.response' => true,
    'NameIDFormat' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
];
"
    )
}

/// The one person.
pub(crate) const NAME: &str = "carol";
pub(crate) const PASSWORD: &str = "carol's-own-password";

const PEOPLE: &str = r#"<?php
$config = [
    'people' => [
        'exampleauth:UserPass',
        "carol:carol's-own-password" => [
            'uid' => ['carol'],
            'department' => ['finance'],
            'https://aws.amazon.com/SAML/Attributes/RoleSessionName' => ['carol'],
            'https://aws.amazon.com/SAML/Attributes/Role' => [
                'arn:aws:iam::123456789012:saml-provider/simplesaml,arn:aws:iam::123456789012:role/saml-finance',
                'arn:aws:iam::123456789012:saml-provider/simplesaml,arn:aws:iam::123456789012:role/another',
            ],
        ],
    ],
];
"#;

const START: Duration = Duration::from_secs(30);
