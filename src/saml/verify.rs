//! Verifying: from a guarded document to one whose signed part is believed, and read from nothing else.
//!
//! Of the ways to read what was signed, the safest is taken: xmlsec1 gives back the very bytes that the digest was made
//! of, and they are parsed anew. Whatever stood beside them in the document is not in them. They are canonical XML (no
//! comments, no entities), so a reader has little to misread; and they must say, element by element, what the guard read
//! at that place, so that a document which libxml2 and the guard understood differently is refused whoever was right
//! ([`Reason::Differential`]).

use super::binding::Redirected;
use super::decrypt::{self, DecryptionKey};
use super::guard::{Body, Guarded, KeyKind, Kind, Part};
use super::key::Certificate;
use super::names::{ASSERTION, DSIG};
use super::reason::{Reason, Refused};
use super::same::same;
use super::scan::{self, scan};
use super::{tree, xmlsec};

/// Whom to believe, and what can be decrypted.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The pinned certificates of the one who must have signed: no others count, and with none nothing is believed. Two
    /// while a provider changes its key. Their own expiry and issuers mean nothing: being listed is what counts.
    pub certificates: Vec<Certificate>,
    /// Our keys that assertions may be encrypted to: the newest first, two while one is replaced.
    pub decryption: Vec<DecryptionKey>,
    /// Whether content may be encrypted by AES-CBC, which keeps nobody from changing it on the way, and can tell a patient
    /// attacker what it holds. For providers that can do no better.
    pub cbc: bool,
}

/// A document whose signed part is believed. Only [`verify`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    kind: Kind,
    /// What was signed: canonical, the signed element its root.
    signed: String,
    /// The whole Response, where no more than its assertion was signed: looked at to refuse, and never to believe.
    around: Option<String>,
}

/// Verifies every signature of a document by the pinned certificates; decrypts first, where its assertion is encrypted.
/// Blocks for some 300 µs: [`Workers`](super::Workers) run it off the async workers.
///
/// An encrypted assertion in a signed Response is decrypted once the signature around it has been verified, and must then
/// verify itself where it carries a signature. In an unsigned Response it must carry one (sign, then encrypt).
///
/// # Errors
/// [`Reason::Unsigned`], [`Reason::NoCertificate`], [`Reason::Signature`], [`Reason::Differential`],
/// [`Reason::Undecryptable`], [`Reason::Encryption`], and the guard's for what was encrypted.
pub fn verify(guarded: Guarded, trust: &Trust) -> Result<Verified, Refused> {
    if guarded.body() != Body::EncryptedAssertion {
        return Ok(signed(guarded, trust)?);
    }
    // what may be decrypted is known before a key is touched
    let was_signed = guarded.is_signed();
    let text = if was_signed { signed(guarded, trust)?.signed } else { guarded.into_text() };
    let opened = decrypt::in_place(&text, &trust.decryption, trust.cbc)?;
    let again = Guarded::decrypted(&opened, was_signed).map_err(|reason| match reason {
        Reason::Encryption(_) | Reason::Unsigned => reason,
        // what a wrong key or a changed byte of CBC decrypts to is malformed in a thousand ways, and none is told
        _ => Reason::Undecryptable,
    })?;
    let kind = again.kind();
    if !again.is_signed() {
        return Ok(Verified { kind, signed: again.into_text(), around: None });
    }
    Ok(signed(again, trust)?)
}

/// Verifies a message that came in a query: by the signature beside it, over the query's own bytes, and on aws-lc-rs alone
/// (SAML-Bindings §3.4.4.1).
///
/// # Errors
/// [`Reason::Unsigned`], [`Reason::NoCertificate`], [`Reason::Signature`], and the guard's.
pub fn verify_redirect(redirected: &Redirected, kind: Kind, trust: &Trust) -> Result<Verified, Refused> {
    // a Response never comes this way (SAML-Profiles §4.1.2)
    if matches!(kind, Kind::Response | Kind::Metadata) {
        return Err(Reason::Encoding("such a message does not come in a query").into());
    }
    let (Some(algorithm), Some(signature)) = (&redirected.algorithm, &redirected.signature) else {
        return Err(Reason::Unsigned.into());
    };
    if trust.certificates.is_empty() {
        return Err(Reason::NoCertificate.into());
    }
    let covered = redirected.covered.as_bytes();
    if !trust.certificates.iter().any(|certificate| certificate.verifies(algorithm, covered, signature)) {
        return Err(Reason::Signature.into());
    }
    let guarded = Guarded::new(&redirected.document, kind)?;
    if guarded.is_signed() {
        return Err(Reason::SignatureShape("it is signed within, too".into()).into());
    }
    Ok(Verified { kind, signed: guarded.into_text(), around: None })
}

impl Verified {
    /// Which document it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What was signed, as canonical XML, whose root is the signed element.
    pub fn signed_xml(&self) -> &str {
        &self.signed
    }

    /// The whole Response, signed or not: for what may refuse, and must not convince.
    pub(super) fn whole(&self) -> &str {
        self.around.as_deref().unwrap_or(&self.signed)
    }
}

fn signed(guarded: Guarded, trust: &Trust) -> Result<Verified, Reason> {
    let signatures = guarded.signatures();
    let Some(outermost) = signatures.first().copied() else { return Err(Reason::Unsigned) };
    if trust.certificates.is_empty() {
        return Err(Reason::NoCertificate);
    }
    if signatures.iter().any(|signed| signed.key != outermost.key) {
        return Err(Reason::SignatureShape("the two signatures are of different kinds of keys".into()));
    }
    // xmlsec1 fails on a key of another kind instead of trying the next
    let of_kind =
        trust.certificates.iter().filter(|certificate| certificate.is_rsa() == (outermost.key == KeyKind::Rsa));
    let certificates: Vec<Vec<u8>> = of_kind.map(|certificate| certificate.der().to_vec()).collect();
    if certificates.is_empty() {
        return Err(Reason::Signature);
    }
    let digested = xmlsec::digested(guarded.text(), &certificates)?;
    is_what_was_read(&guarded, outermost.part, &digested)?;
    let kind = guarded.kind();
    let around = (outermost.part == Part::Assertion).then(|| guarded.into_text());
    Ok(Verified { kind, signed: digested, around })
}

/// The digested bytes must be the element that the guard saw the signature in. Canonicalisation that failed silently
/// leaves none (CVE-2025-66568).
fn is_what_was_read(guarded: &Guarded, part: Part, digested: &str) -> Result<(), Reason> {
    let limits = if guarded.kind() == Kind::Metadata { scan::METADATA } else { DIGESTED };
    let digested = scan(digested.as_bytes(), limits).map_err(|_| Reason::Differential)?;
    let digested = tree::parse(digested).map_err(|_| Reason::Differential)?;
    let document = tree::parse(guarded.text())?;
    let root = document.root_element();
    let element = match part {
        Part::Root => Some(root),
        Part::Assertion => tree::one(root, ASSERTION, "Assertion"),
    };
    let element = element.ok_or(Reason::Differential)?;
    let signature = tree::one(element, DSIG, "Signature");
    if signature.is_some() && same(element, digested.root_element(), signature) {
        Ok(())
    } else {
        Err(Reason::Differential)
    }
}

/// Canonical text writes out what was short: empty elements, references, declarations of each branch.
const DIGESTED: scan::Limits = scan::Limits { bytes: 4 * scan::MESSAGE.bytes, ..scan::MESSAGE };
