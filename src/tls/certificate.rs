//! A client's certificate, as TLS has verified it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::clock::from_epoch_seconds;

/// What a client's certificate says (RFC 5280). It is read once for each connection, and only after the handshake has
/// verified its chain and that the client has its key.
#[derive(Debug)]
pub struct ClientCertificate {
    /// The SHA-256 of the whole certificate.
    pub fingerprint: [u8; 32],
    /// It is valid from here on.
    pub not_before: SystemTime,
    /// It is valid up to and with here.
    pub not_after: SystemTime,
    /// `CN` of the subject.
    pub common_names: Vec<String>,
    /// `O` of the subject.
    pub organizations: Vec<String>,
    /// `OU` of the subject.
    pub organizational_units: Vec<String>,
    /// DNS names (`dNSName`).
    pub dns_names: Vec<String>,
    /// URIs, such as SPIFFE ids (`uniformResourceIdentifier`).
    pub uris: Vec<String>,
    /// E-mail addresses (`rfc822Name`).
    pub emails: Vec<String>,
    /// The serial number, in hexadecimal digits.
    pub serial: String,
    /// The issuer's name, for people to read: `C=DE, O=Corp, CN=Clients`.
    pub issuer: String,
    /// As it was shown, with what stands between it and its root.
    chain: Vec<CertificateDer<'static>>,
    /// By which config it was last believed.
    believed_by: AtomicU64,
}

/// The certificate can't be read.
#[derive(Debug, thiserror::Error)]
#[error("the client's certificate can't be read: {0}")]
pub struct CertificateError(&'static str);

impl ClientCertificate {
    /// Reads a certificate, which is the first of the chain that the client has shown.
    ///
    /// # Errors
    /// Anything in it that we can't make sense of: what can't be read could be what names somebody else.
    pub fn shown(chain: &[CertificateDer<'_>]) -> Result<Self, CertificateError> {
        let read = Self::read(chain.first().ok_or(CertificateError("there is none"))?)?;
        Ok(Self { chain: chain.iter().map(|one| one.clone().into_owned()).collect(), ..read })
    }

    fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let Ok((&[], certificate)) = X509Certificate::from_der(der) else {
            return Err(CertificateError("it is not one X.509 certificate"));
        };
        let subject = certificate.subject();
        let mut read = Self {
            fingerprint: digest(&SHA256, der).as_ref().first_chunk().copied().unwrap_or_default(),
            not_before: time(certificate.validity().not_before),
            not_after: time(certificate.validity().not_after),
            common_names: texts(subject.iter_common_name())?,
            organizations: texts(subject.iter_organization())?,
            organizational_units: texts(subject.iter_organizational_unit())?,
            dns_names: Vec::new(),
            uris: Vec::new(),
            emails: Vec::new(),
            serial: hex(certificate.raw_serial()),
            issuer: X509Name::to_string(certificate.issuer()),
            chain: Vec::new(),
            believed_by: AtomicU64::new(0),
        };
        let names = certificate.subject_alternative_name().map_err(|_| ODD_NAMES)?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => read.dns_names.push((*name).to_owned()),
                GeneralName::URI(uri) => read.uris.push((*uri).to_owned()),
                GeneralName::RFC822Name(address) => read.emails.push((*address).to_owned()),
                GeneralName::Invalid(..) => return Err(ODD_NAMES),
                _ => {}
            }
        }
        Ok(read)
    }

    /// As it was shown: its own certificate first.
    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Whether the config of this number believes it: it is asked once, as verifying a chain takes a while.
    pub fn was_believed_by(&self, config: u64, believes: impl FnOnce() -> bool) -> bool {
        if self.believed_by.load(Ordering::Relaxed) == config {
            return true;
        }
        let is_believed = believes();
        if is_believed {
            self.believed_by.store(config, Ordering::Relaxed);
        }
        is_believed
    }

    /// Whether it is valid at `now`: a connection may outlive the certificate it was made with.
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The fingerprint in hexadecimal digits.
    pub fn fingerprint_text(&self) -> String {
        hex(&self.fingerprint)
    }
}

fn texts<'a>(attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Result<Vec<String>, CertificateError> {
    let unreadable = |_| CertificateError("a name in its subject is not in an encoding we read");
    attributes.map(|attribute| attribute.as_str().map(str::to_owned).map_err(unreadable)).collect()
}

fn time(at: ASN1Time) -> SystemTime {
    from_epoch_seconds(u64::try_from(at.timestamp()).unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}"));
        text
    })
}

const ODD_NAMES: CertificateError =
    CertificateError("its alternative names are malformed, or there are two lists of them");

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, SerialNumber};

    use super::*;
    use crate::clock::epoch_seconds;

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn names_are_read_in_their_order() {
        let der = certificate(|params| {
            params.distinguished_name.push(DnType::CommonName, "Zoë");
            params.distinguished_name.push(DnType::OrganizationName, "Corp, O=Other");
            params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0x1b]));
            params.not_after = rcgen::date_time_ymd(2030, 1, 1);
            params.subject_alt_names = vec![
                SanType::DnsName("b.test".try_into().unwrap()),
                SanType::URI("spiffe://a/b".try_into().unwrap()),
                SanType::DnsName("a.test".try_into().unwrap()),
                SanType::IpAddress("127.0.0.1".parse().unwrap()),
                SanType::Rfc822Name("a@b.test".try_into().unwrap()),
            ];
        });
        let read = ClientCertificate::read(&der).unwrap();
        assert_eq!(read.common_names, ["Zoë"]);
        assert_eq!(read.organizations, ["Corp, O=Other"]);
        assert!(read.organizational_units.is_empty());
        assert_eq!((read.dns_names, read.uris), (vec!["b.test".into(), "a.test".into()], vec!["spiffe://a/b".into()]));
        assert_eq!((read.emails, read.serial.as_str()), (vec!["a@b.test".into()], "0a1b"));
        assert_eq!(epoch_seconds(read.not_after), 1_893_456_000);
    }

    #[test]
    fn its_time_is_judged_with_both_ends() {
        let der = certificate(|params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        });
        let read = ClientCertificate::read(&der).unwrap();
        for (at, expected) in
            [(1_577_836_799, false), (1_577_836_800, true), (1_893_456_000, true), (1_893_456_001, false)]
        {
            assert_eq!(read.is_valid_at(from_epoch_seconds(at)), expected, "{at}");
        }
    }

    #[test]
    fn what_is_not_one_certificate_is_refused() {
        let der = certificate(|_| ());
        assert!(ClientCertificate::read(&der).is_ok());
        let trailing = [der.as_slice(), b"x"].concat();
        for odd in [&b""[..], b"x", &der[1..], &der[..der.len() - 1], &trailing] {
            assert!(ClientCertificate::read(odd).is_err());
        }
        // any byte may be broken: it is refused or read, and never a panic
        for at in 0..der.len() {
            let mut broken = der.clone();
            broken[at] ^= 0x1f;
            let _ = ClientCertificate::read(&broken);
        }
    }
}
