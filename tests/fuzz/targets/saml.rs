//! SAML: however a document is changed, the one who is believed is the one who was signed for (A15, A16).
//!
//! What is changed are the table's attack documents and their honest kin, made with keys of this run: an input says which
//! one, and what is done to it. So most of them come past the guard, into decryption and xmlsec1; how many, is counted.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use claviger::saml::{
    Answer, Assertion, Expected, Guarded, Kind, Metadata, Pinned, Reason, Redirected, Refused, SKEW, Trust, from_post,
    verify, verify_redirect,
};

mod surgery;

use crate::support::saml_attacks::{ALICE, OURSELVES, PROVIDER, Stage, attacks, encrypted, signed, unsigned};

struct House {
    stage: Stage,
    trust: Trust,
    /// The table's, but for those whose size is what they are about.
    documents: Vec<String>,
    /// Those of them that the guard lets through: what is done to them gets furthest.
    let_through: Vec<String>,
    unsigned: String,
}

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let stage = Stage::alone();
    let attacks = attacks().into_iter().filter(|attack| !attack.name.starts_with("size:"));
    let documents = attacks.filter_map(|attack| String::from_utf8(attack.document(&stage)).ok());
    let documents: Vec<_> = documents.filter(|document| document.is_ascii() && document.len() < LONGEST).collect();
    let let_through = documents.iter().filter(|document| Guarded::new(document.as_bytes(), Kind::Response).is_ok());
    let let_through = let_through.cloned().collect();
    let trust =
        Trust { certificates: vec![PROVIDER.certificate.clone()], decryption: vec![OURSELVES.decryption()], cbc: true };
    House { trust, documents, let_through, unsigned: unsigned(&stage), stage }
});

/// `<what> <which> <which> <a> <b> <length> text`. Of the document `which`, of all or of those that the guard lets through:
/// so many bytes at the place `a b` are the text; or the text is steps of surgery, with parts of the document `a b`, before
/// anybody encrypts it, or before the provider signs it. Or the text is a document alone, whatever it may be.
pub fn run(data: &[u8]) {
    let [what, high, low, a, b, length, text @ ..] = data else { return };
    let house = &*HOUSE;
    let at = |high: &u8, low: &u8| usize::from(*high) << 8 | usize::from(*low);
    let of = |documents: &'static [String], n: usize| documents[n % documents.len()].as_str();
    let bases = if HOSTILE.contains(&(what % 9)) { &house.documents } else { &house.let_through };
    let (base, other) = (of(bases, at(high, low)), of(&house.documents, at(a, b)));
    match what % 9 {
        0 | 1 => {
            let from = at(a, b) % (base.len() + 1);
            let to = base.len().min(from + usize::from(*length));
            is_alice(&[&base.as_bytes()[..from], text, &base.as_bytes()[to..]].concat(), house);
        }
        2 | 3 => is_alice(surgery::changed(base, text, other).as_bytes(), house),
        4 => {
            if let Some(sealed) = encrypted(&surgery::changed(base, text, other), &house.stage) {
                is_alice(sealed.as_bytes(), house);
            }
        }
        5 => {
            // whoever it is: the provider says so
            if let Some(signed) = signed(&surgery::changed(&house.unsigned, text, other)) {
                let _ = read(signed.as_bytes(), house);
            }
        }
        6 => {
            is_alice(text, house);
            let _ = Metadata::read(text, Pinned::default(), house.stage.now);
            let pinned = Pinned { entity_id: None, certificates: &house.trust.certificates };
            let _ = Metadata::read(text, pinned, house.stage.now);
        }
        7 => {
            let text = String::from_utf8_lossy(text);
            if let Ok(redirected) = Redirected::read(&text) {
                assert!(
                    verify_redirect(&redirected, Kind::LogoutRequest, &house.trust).is_err(),
                    "nobody signed {text:?}"
                );
            }
            let _ = from_post(&text);
        }
        _ => {
            for kind in [Kind::AuthnRequest, Kind::LogoutRequest, Kind::LogoutResponse] {
                let verified = Guarded::new(text, kind).map(|guarded| verify(guarded, &house.trust).is_ok());
                assert_ne!(verified.ok(), Some(true), "nobody signed {:?}", String::from_utf8_lossy(text));
            }
        }
    }
}

/// Nobody who can change a document, and not sign one, is anybody but who was signed for.
fn is_alice(document: &[u8], house: &House) {
    if let Ok(assertion) = read(document, house) {
        let who = (assertion.name_id.value.as_str(), assertion.values("groups"));
        let alice = (ALICE, &["staff".to_owned(), "wiki".to_owned()][..]);
        assert_eq!(who, alice, "{:?}", String::from_utf8_lossy(document));
    }
}

fn read(document: &[u8], house: &House) -> Result<Assertion, Refused> {
    READ.fetch_add(1, Relaxed);
    let guarded = Guarded::new(document, Kind::Response)?;
    GUARDED.fetch_add(1, Relaxed);
    let verified = verify(guarded, &house.trust);
    let by_xmlsec = match &verified {
        Ok(_) => true,
        Err(refused) => matches!(refused.reason(), Reason::Signature | Reason::Differential | Reason::Panicked),
    };
    XMLSEC.fetch_add(u64::from(by_xmlsec), Relaxed);
    let verified = verified?;
    VERIFIED.fetch_add(1, Relaxed);
    let stage = &house.stage;
    let assertion = verified.accept(&Expected {
        issuer: &stage.issuer,
        destination: Some(&stage.acs_url),
        recipients: &[&stage.acs_url],
        audiences: &[&stage.audience],
        answer: Answer::To(&stage.request),
        authn_contexts: &[],
        now: stage.now,
        skew: SKEW,
    })?;
    BELIEVED.fetch_add(1, Relaxed);
    Ok(assertion)
}

static READ: AtomicU64 = AtomicU64::new(0);
static GUARDED: AtomicU64 = AtomicU64::new(0);
static XMLSEC: AtomicU64 = AtomicU64::new(0);
static VERIFIED: AtomicU64 = AtomicU64::new(0);
static BELIEVED: AtomicU64 = AtomicU64::new(0);

/// How far documents came so far.
pub fn reached() -> Option<String> {
    let [read, guarded, xmlsec, verified, believed] =
        [&READ, &GUARDED, &XMLSEC, &VERIFIED, &BELIEVED].map(|count| count.load(Relaxed));
    let of = |count: u64| format!("{count} ({} %)", count * 100 / read.max(1));
    (read > 0).then(|| {
        format!(
            "of {read} documents, past the guard {}, judged by xmlsec1 {}, verified {}, believed {}",
            of(guarded),
            of(xmlsec),
            of(verified),
            of(believed)
        )
    })
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let count = u16::try_from(HOUSE.documents.len()).expect("some hundred");
    for n in 0..count {
        let [high, low] = n.to_be_bytes();
        // as it is; and with something done to it, each to another element
        seeds.push(vec![0, high, low, 0, 0, 0]);
        let [this, step] = [low, low % 7];
        seeds.push(vec![2, high, low, low, high, 0, step, this, this.wrapping_mul(37)]);
    }
    for n in 0..u8::try_from(HOUSE.let_through.len()).unwrap_or(u8::MAX) {
        seeds.push(vec![3, 0, n, 0, n, 0, n % 7, n.wrapping_mul(11), n]);
    }
    for n in 0..36 {
        seeds.push(vec![4, 0, n, 0, n * 3, 0, n % 7, n, n.wrapping_mul(11)]);
        seeds.push(vec![5, 0, 0, 0, n * 3, 0, n % 7, n, n.wrapping_mul(11)]);
    }
    let metadata = "<md:EntityDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" entityID=\"a\"><md:IDPSSODescriptor \
        protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\"></md:IDPSSODescriptor></md:EntityDescriptor>";
    let leaving =
        "<samlp:LogoutRequest xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\" ID=\"_a\" Version=\"2.0\"/>";
    for (what, text) in [
        (6, HOUSE.unsigned.as_str()),
        (6, metadata),
        (
            7,
            "SAMLRequest=fZA%2B&RelayState=x&SigAlg=http%3A%2F%2Fwww.w3.org%2F2001%2F04%2Fxmldsig-more%23rsa-sha256&Signature=AAAA",
        ),
        (8, leaving),
    ] {
        seeds.push([&[what, 0, 0, 0, 0, 0], text.as_bytes()].concat());
    }
    seeds
}

/// What is done to the whole table, and not only to what the guard lets through.
const HOSTILE: [u8; 2] = [0, 2];

/// Longer ones are about their size.
const LONGEST: usize = 32 * 1024;
