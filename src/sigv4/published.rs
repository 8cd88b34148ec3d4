//! AWS's published cases, as the `aws-sigv4` crate ships them. They are read where Cargo keeps that crate.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use aws_lc_rs::signature::KeyPair as _;
use http::{HeaderValue, Request, request};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::canonical::{Canonical, PathRule};
use super::{HexDigest, Keys, Payload, Presented, Signer, VerifyError, check_v4a};
use crate::secret::Secret;

#[test]
fn every_published_case_is_signed_and_believed() {
    let Some(folder) = suite() else {
        println!("SKIPPED: Cargo does not know where the sources of aws-sigv4 are");
        return;
    };
    let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let (mut all, mut signed, mut believed) = (0, 0, 0);
    // two cases of an older suite have no context; their requests hold it, and the rule for paths has them as tests
    for path in names.iter().filter(|path| path.join("context.json").is_file()) {
        let (is_signed, is_believed) = Case::load(path).run();
        (all, signed, believed) = (all + 1, signed + usize::from(is_signed), believed + usize::from(is_believed));
    }
    assert!(all >= 38 && signed >= 28 && believed >= 30, "{all} cases, {signed} signed, {believed} believed");
}

/// The cases of SigV4a: the canonical request, the key, and AWS's signatures, which are others each time.
#[test]
fn every_published_case_of_sigv4a_is_signed_and_believed() {
    let Some(folder) = suite().map(|folder| folder.with_file_name("v4a")) else {
        println!("SKIPPED: Cargo does not know where the sources of aws-sigv4 are");
        return;
    };
    let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let cases: Vec<Case> =
        names.filter(|path| path.join("context.json").is_file()).map(|path| Case::load(&path)).collect();
    assert!(cases.len() >= 38, "{} cases", cases.len());
    let signed = cases.iter().filter(|case| case.run_v4a()).count();
    assert!(signed >= 28, "{signed} signed");
}

fn suite() -> Option<PathBuf> {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let metadata = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .ok()?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).ok()?;
    let package = metadata["packages"].as_array()?.iter().find(|package| package["name"] == "aws-sigv4")?;
    let folder = Path::new(package["manifest_path"].as_str()?).parent()?.join("aws-signing-test-suite/v4");
    folder.is_dir().then_some(folder)
}

struct Case {
    name: String,
    folder: PathBuf,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    credentials: Given,
    normalize: bool,
    region: String,
    service: String,
    timestamp: String,
    #[serde(default)]
    omit_session_token: bool,
    #[serde(default = "yes")]
    sign_body: bool,
}

#[derive(Deserialize)]
struct Given {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
}

impl Context {
    fn now(&self) -> SystemTime {
        OffsetDateTime::parse(&self.timestamp, &Rfc3339).unwrap().into()
    }
}

impl Case {
    fn load(folder: &Path) -> Self {
        let context = std::fs::read(folder.join("context.json")).unwrap();
        Self {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            folder: folder.to_owned(),
            context: serde_json::from_slice(&context).unwrap(),
        }
    }

    /// Whether it could be signed, and whether it could be verified.
    fn run(&self) -> (bool, bool) {
        self.is_canonical();
        // `http::Uri` takes no space: such a target can't be sent, and only its canonical form can be compared.
        // Not normalising while encoding twice is no service's rule.
        let is_real = self.context.normalize && !self.name.starts_with("get-space");
        // The signer leaves the payload's digest to S3.
        let is_signed = is_real && !self.context.sign_body;
        if is_signed {
            self.is_signed();
        }
        if is_real {
            self.is_believed("header");
            self.is_believed("query");
        }
        (is_signed, is_real)
    }

    /// Whether it could be signed.
    fn run_v4a(&self) -> bool {
        self.is_canonical();
        let given = &self.context.credentials;
        let secret = Secret::new(&*given.secret_access_key);
        let key: serde_json::Value = serde_json::from_str(&self.text("public-key.json")).unwrap();
        let pair = super::v4a::derive(&given.access_key_id, &secret).unwrap();
        let public: String = pair.public_key().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = format!("04{}{}", key["X"].as_str().unwrap(), key["Y"].as_str().unwrap());
        assert_eq!(public, expected, "{}", self.name);
        for form in ["header", "query"] {
            let (text, signature) =
                (self.text(&format!("{form}-string-to-sign.txt")), self.text(&format!("{form}-signature.txt")));
            assert!(check_v4a(&given.access_key_id, &secret, &text, signature.trim()), "{} {form}", self.name);
        }
        let is_real = self.context.normalize && !self.name.starts_with("get-space") && !self.context.sign_body;
        if is_real {
            let (mut parts, body) = Raw::parse(&self.text("request.txt")).into_parts();
            let token = given.token.as_deref().filter(|_| !self.context.omit_session_token);
            let token = token.map(|token| HeaderValue::from_str(token).unwrap());
            let keys = Keys { access_key_id: &given.access_key_id, secret: &secret, session_token: token.as_ref() };
            let signer = Signer::new(self.context.service.parse().unwrap(), self.context.region.parse().unwrap());
            let signer = signer.asymmetric(self.context.region.parse().unwrap());
            signer.sign(&mut parts, &Payload::of(&body), &keys, self.context.now()).unwrap();
            let line = parts.headers["authorization"].to_str().unwrap();
            // all but the signature is AWS's, which signs what ours signs
            let (said, signature) = line.rsplit_once('=').unwrap();
            let theirs = Raw::parse(&self.text("header-signed-request.txt"));
            let theirs = theirs.headers.iter().find(|(name, _)| name == "authorization").unwrap();
            assert_eq!(said, theirs.1.trim().rsplit_once('=').unwrap().0, "{}", self.name);
            let text = self.text("header-string-to-sign.txt");
            assert!(check_v4a(&given.access_key_id, &secret, &text, signature), "{}", self.name);
        }
        is_real
    }

    fn is_canonical(&self) {
        let raw = Raw::parse(&self.text("header-signed-request.txt"));
        let digest = HexDigest::of(raw.body.as_bytes());
        let expected = self.text("header-canonical-request.txt");
        let mut headers: Vec<(&str, &[u8])> = raw.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
        headers.retain(|(name, _)| *name != "authorization");
        headers.retain(|(name, _)| *name != "x-amz-security-token" || !self.context.omit_session_token);
        headers.sort_by_key(|(name, _)| *name);
        let canonical = Canonical {
            method: &raw.method,
            path: raw.target.split('?').next().unwrap(),
            query: raw.target.split_once('?').map(|(_, query)| query),
            headers: &headers,
            signed_headers: expected.lines().rev().nth(1).unwrap(),
            payload: digest.as_str(),
        };
        // In the cases that aren't normalised nothing is encoded that could be encoded again, so S3's rule is theirs.
        let rule = if self.context.normalize { PathRule::NormalizedTwice } else { PathRule::Once };
        assert_eq!(String::from_utf8(canonical.text(rule)).unwrap(), expected, "{}", self.name);
    }

    fn is_signed(&self) {
        let (mut parts, body) = Raw::parse(&self.text("request.txt")).into_parts();
        let given = &self.context.credentials;
        let token = given.token.as_deref().filter(|_| !self.context.omit_session_token);
        let token = token.map(|token| HeaderValue::from_str(token).unwrap());
        let secret = Secret::new(&*given.secret_access_key);
        let keys = Keys { access_key_id: &given.access_key_id, secret: &secret, session_token: token.as_ref() };
        let signer = Signer::new(self.context.service.parse().unwrap(), self.context.region.parse().unwrap());
        signer.sign(&mut parts, &Payload::of(&body), &keys, self.context.now()).unwrap();
        let signed = parts.headers["authorization"].to_str().unwrap();
        assert!(signed.ends_with(&format!("Signature={}", self.text("header-signature.txt"))), "{}", self.name);
    }

    /// The signed request as AWS has it is believed; one whose session token is sent but not signed is not.
    fn is_believed(&self, form: &str) {
        let (parts, body) = Raw::parse(&self.text(&format!("{form}-signed-request.txt"))).into_parts();
        let service = self.context.service.parse().unwrap();
        let secret = Secret::new(&*self.context.credentials.secret_access_key);
        let presented = Presented::read(&parts, &service, &HexDigest::of(&body), self.context.now());
        let verified = presented.as_ref().map(|presented| presented.verify(&secret));
        match (self.context.omit_session_token, form) {
            (false, _) => {
                assert_eq!(verified, Ok(Ok(())), "{} {form}", self.name);
                let expected = self.text(&format!("{form}-string-to-sign.txt"));
                assert_eq!(presented.unwrap().string_to_sign(), expected, "{} {form}", self.name);
            }
            (true, "header") => {
                assert_eq!(verified, Err(&VerifyError::HeaderNotSigned("x-amz-security-token".to_owned())));
            }
            (true, _) => assert_eq!(verified, Ok(Err(VerifyError::SignatureDoesNotMatch))),
        }
    }

    fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.join(file)).unwrap().replace("\r\n", "\n")
    }
}

/// A request as the suite writes it: a raw target, header lines that may go on in the next line, a body.
struct Raw {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Raw {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let (method, rest) = lines.next().unwrap().split_once(' ').unwrap();
        let target = rest.strip_suffix(" HTTP/1.1").unwrap();
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            match (line.strip_prefix(' '), headers.last_mut()) {
                (Some(more), Some((_, value))) => value.extend([" ", more]),
                _ => {
                    let (name, value) = line.split_once(':').unwrap();
                    headers.push((name.to_ascii_lowercase(), value.to_owned()));
                }
            }
        }
        Self { method: method.to_owned(), target: target.to_owned(), headers, body: body.to_owned() }
    }

    fn into_parts(self) -> (request::Parts, Vec<u8>) {
        let mut request = Request::builder().method(&*self.method).uri(self.target);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        (request.body(()).unwrap().into_parts().0, self.body.into_bytes())
    }
}

const fn yes() -> bool {
    true
}
