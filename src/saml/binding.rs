//! How messages travel through a browser: in a form (SAML-Bindings §3.5), or in the query of a redirect (§3.4), where the
//! signature stands beside the message.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::key::SigningKey;
use super::reason::{Reason, Refused};
use super::scan;
use super::sign;
use super::write::Element;

/// A message of ours, to be sent one way or the other.
#[derive(Clone, Debug)]
pub struct Outgoing {
    element: Element,
    parameter: Parameter,
    destination: String,
}

/// The name of the field that a message travels in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Parameter {
    /// `SAMLRequest`.
    Request,
    /// `SAMLResponse`.
    Response,
}

/// What a form must hold for a message: `<form method=post action=destination>` with a hidden field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Posted {
    /// The form's action.
    pub destination: String,
    /// The field's name: `SAMLRequest` or `SAMLResponse`.
    pub name: &'static str,
    /// The field's value.
    pub value: String,
}

/// A message that came in a query, with what is said to sign it. Nothing of it is believed:
/// [`verify_redirect`](super::verify_redirect) does that.
#[derive(Clone, Debug)]
pub struct Redirected {
    pub(super) document: Vec<u8>,
    /// The query's own bytes that the signature is over.
    pub(super) covered: String,
    pub(super) algorithm: Option<String>,
    pub(super) signature: Option<Vec<u8>>,
    /// Which of the two fields it came in.
    pub parameter: Parameter,
    /// What the other side wants back, decoded; a stranger's text.
    pub relay_state: Option<String>,
}

/// The library can't sign or encrypt: out of randomness, or a key of another kind than is needed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a SAML message can't be signed or encrypted")]
pub struct Unsignable;

impl Outgoing {
    pub(super) fn new(element: Element, parameter: Parameter, destination: &str) -> Self {
        Self { element, parameter, destination: destination.to_owned() }
    }

    /// The message's ID, which its answer will name.
    pub fn id(&self) -> &str {
        self.element.attribute("ID").unwrap_or_default()
    }

    /// The document, as it is.
    pub fn xml(&self) -> String {
        self.element.write()
    }

    /// By form, signed within.
    ///
    /// # Errors
    /// [`Unsignable`].
    pub fn post(&self, key: &SigningKey) -> Result<Posted, Unsignable> {
        let signed = sign::enveloped(self.element.clone(), key).ok_or(Unsignable)?;
        Ok(self.posted(&signed))
    }

    /// By form, as it is: a Response that carries its signatures, or a request to a provider that wants none.
    pub fn as_is(&self) -> Posted {
        self.posted(&self.element)
    }

    /// By redirect: the URL to send the browser to, signed beside the message where there is a key.
    ///
    /// # Errors
    /// [`Unsignable`].
    pub fn redirect(&self, relay_state: Option<&str>, key: Option<&SigningKey>) -> Result<String, Unsignable> {
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
        deflate.write_all(self.xml().as_bytes()).map_err(|_| Unsignable)?;
        let deflated = STANDARD.encode(deflate.finish().map_err(|_| Unsignable)?);
        let mut query = format!("{}={}", self.parameter.name(), encoded(&deflated));
        if let Some(state) = relay_state {
            query.extend(["&RelayState=", &encoded(state)]);
        }
        if let Some(key) = key {
            query.extend(["&SigAlg=", &encoded(key.algorithm())]);
            let signature = STANDARD.encode(key.sign(query.as_bytes()).ok_or(Unsignable)?);
            query.extend(["&Signature=", &encoded(&signature)]);
        }
        let joint = if self.destination.contains('?') { '&' } else { '?' };
        Ok(format!("{}{joint}{query}", self.destination))
    }

    fn posted(&self, element: &Element) -> Posted {
        let value = STANDARD.encode(element.write());
        Posted { destination: self.destination.clone(), name: self.parameter.name(), value }
    }
}

impl Parameter {
    /// The field's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "SAMLRequest",
            Self::Response => "SAMLResponse",
        }
    }
}

/// The document in the value of a form's field.
///
/// # Errors
/// [`Reason::Exceeds`] before anything is decoded, [`Reason::Encoding`].
pub fn from_post(value: &str) -> Result<Vec<u8>, Refused> {
    if value.len() > MOST_ENCODED {
        return Err(Reason::Exceeds("bytes than a message may have").into());
    }
    // some break it into lines
    let decoded = if value.bytes().any(|b| b.is_ascii_whitespace()) {
        STANDARD.decode(value.split_ascii_whitespace().collect::<String>())
    } else {
        STANDARD.decode(value)
    };
    Ok(decoded.map_err(|_| Reason::Encoding("the field is no base64"))?)
}

impl Redirected {
    /// The document, as nobody has looked at it.
    pub fn document(&self) -> &[u8] {
        &self.document
    }

    /// The message in a query, raw as it stands in the request line.
    ///
    /// # Errors
    /// [`Reason::Encoding`]; [`Reason::Exceeds`] while it is inflated (CVE-2023-28119).
    pub fn read(query: &str) -> Result<Self, Refused> {
        if query.len() > MOST_ENCODED {
            return Err(Reason::Exceeds("bytes than a message may have").into());
        }
        let (request, response) = (field(query, "SAMLRequest")?, field(query, "SAMLResponse")?);
        let (parameter, message) = match (request, response) {
            (Some(request), None) => (Parameter::Request, request),
            (None, Some(response)) => (Parameter::Response, response),
            _ => return Err(Reason::Encoding("the query has not one message").into()),
        };
        if let Some(other) = field(query, "SAMLEncoding")? {
            // §3.4.4: DEFLATE is the one that is known
            if decoded(other)? != "urn:oasis:names:tc:SAML:2.0:bindings:URL-Encoding:DEFLATE" {
                return Err(Reason::Encoding("the query's encoding is not DEFLATE").into());
            }
        }
        let relay_state = field(query, "RelayState")?;
        let algorithm = field(query, "SigAlg")?;
        // §3.4.4.1: over the values as they were sent, in this order; encoding them anew might not give them back
        let mut covered = format!("{}={message}", parameter.name());
        for (name, value) in [("RelayState", relay_state), ("SigAlg", algorithm)] {
            if let Some(value) = value {
                covered.extend(["&", name, "=", value]);
            }
        }
        let base64 = |value: &str| -> Result<Vec<u8>, Reason> {
            let value: String = decoded(value)?.split_ascii_whitespace().collect();
            STANDARD.decode(value).map_err(|_| Reason::Encoding("a value of the query is no base64"))
        };
        Ok(Self {
            document: inflate(&base64(message)?)?,
            covered,
            algorithm: algorithm.map(decoded).transpose()?,
            signature: field(query, "Signature")?.map(base64).transpose()?,
            parameter,
            relay_state: relay_state.map(decoded).transpose()?,
        })
    }
}

/// The raw value of a field that stands at most once: of two, one side would sign what the other does not read.
fn field<'q>(query: &'q str, name: &str) -> Result<Option<&'q str>, Reason> {
    // a name that is written otherwise (`SAML%52esponse`) is another's field, for us and for the signature
    let mut values = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(key, _)| *key == name);
    let first = values.next().map(|(_, value)| value);
    if values.next().is_some() {
        return Err(Reason::Encoding("the query has a field twice"));
    }
    Ok(first)
}

fn decoded(value: &str) -> Result<String, Reason> {
    let spaced = value.replace('+', " ");
    let text = percent_decode_str(&spaced).decode_utf8().map_err(|_| Reason::Encoding("the query is not UTF-8"))?;
    Ok(text.into_owned())
}

fn inflate(deflated: &[u8]) -> Result<Vec<u8>, Reason> {
    let mut document = Vec::new();
    let most = scan::MESSAGE.bytes as u64 + 1;
    let read = DeflateDecoder::new(deflated).take(most).read_to_end(&mut document);
    read.map_err(|_| Reason::Encoding("the message is not DEFLATEd"))?;
    if document.len() > scan::MESSAGE.bytes {
        return Err(Reason::Exceeds("bytes than a message may have"));
    }
    Ok(document)
}

fn encoded(value: &str) -> String {
    utf8_percent_encode(value, &ENCODED).to_string()
}

/// RFC 3986 §2.3
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The largest document in base64, broken into lines.
const MOST_ENCODED: usize = scan::MESSAGE.bytes / 3 * 4 + scan::MESSAGE.bytes / 16;
