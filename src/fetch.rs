//! Bounded outgoing HTTP, for discovery, key sets, tokens and userinfo: small answers, short waits, no redirects,
//! and no way to addresses that the asker has no business with (A19).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::{PathAndQuery, Scheme, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::rt;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use crate::telemetry::Metrics;
use crate::tls::Trust;
use crate::web::BoxError;

mod reach;

use reach::{Closeness, closeness, gives_credentials};

/// The way out. Every request has a connection of its own: they are rare, and come from runtimes that end at
/// different times.
#[derive(Clone, Debug)]
pub struct Fetch {
    trust: Trust,
    limit: usize,
    wait: Duration,
    metrics: Option<Metrics>,
}

/// How far a request may reach.
#[derive(Clone, Debug)]
pub enum Reach {
    /// Anywhere but link-local and metadata addresses: the operator wrote the URL.
    Configured,
    /// The URL came from a document of this configured host's: it may not lead to an address that is more private
    /// than the host's own (a public issuer can't send us to loopback or a private network).
    NoCloserThan(String),
    /// This machine, and the addresses at which AWS gives a machine or container its own keys: nowhere else may a request
    /// go that is answered with them in clear text.
    MachineCredentials,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is out of bounds.
    #[error("`{host}` leads to {address}, where this request may not go")]
    OutOfBounds {
        /// The host that was asked for.
        host: String,
        /// The address it has.
        address: IpAddr,
    },
    /// No connection, no answer in time, or an answer that broke off.
    #[error("`{host}` can't be reached")]
    Unreachable {
        /// The host that was asked for.
        host: String,
        /// What happened.
        #[source]
        source: BoxError,
    },
    /// The answer is larger than 1 MiB.
    #[error("the answer of `{host}` is larger than {limit} bytes")]
    TooLarge {
        /// The host that was asked for.
        host: String,
        /// In bytes.
        limit: usize,
    },
}

impl Fetch {
    /// A way out that believes `trust`'s roots.
    pub fn new(trust: &Trust) -> Self {
        Self { trust: trust.clone(), limit: LIMIT, wait: WAIT, metrics: None }
    }

    /// The same one, whose requests are counted.
    pub fn counted(self, metrics: &Metrics) -> Self {
        metrics.describe("claviger_fetches_total", None, "Requests to identity providers and collectors, by outcome.");
        metrics.describe("claviger_fetch_seconds", None, "How long such a request took with its answer.");
        Self { metrics: Some(metrics.clone()), ..self }
    }

    /// Sends the request, whose URI is absolute, and reads the whole answer, whatever its status. Redirects are
    /// answers like others.
    ///
    /// # Errors
    /// [`FetchError`]
    pub async fn send(
        &self,
        request: http::Request<Bytes>,
        reach: &Reach,
    ) -> Result<http::Response<Bytes>, FetchError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let started = Instant::now();
        let answer = tokio::time::timeout(self.wait, self.exchange(request, reach)).await;
        if let Some(metrics) = &self.metrics {
            let outcome = answer.as_ref().map_or("unreachable", |answer| outcome(answer.as_ref()));
            metrics.counter("claviger_fetches_total", &[("host", &host), ("outcome", outcome)]).increment(1);
            metrics.histogram("claviger_fetch_seconds", &[("host", &host)]).record(started.elapsed().as_secs_f64());
        }
        match answer {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(Failure::OutOfBounds(address))) => Err(FetchError::OutOfBounds { host, address }),
            Ok(Err(Failure::TooLarge)) => Err(FetchError::TooLarge { host, limit: self.limit }),
            Ok(Err(Failure::Other(source))) => Err(FetchError::Unreachable { host, source }),
            Err(_) => Err(FetchError::Unreachable { host, source: format!("no answer within {:?}", self.wait).into() }),
        }
    }

    async fn exchange(
        &self,
        mut request: http::Request<Bytes>,
        reach: &Reach,
    ) -> Result<http::Response<Bytes>, Failure> {
        let target = Target::of(request.uri())?;
        let stream = connect(&target.addresses(reach).await?).await?;

        let headers = request.headers_mut();
        headers.insert(header::HOST, target.authority);
        headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
        *request.uri_mut() = target.path.into();
        let request = request.map(Full::new);

        if target.tls {
            let name = ServerName::try_from(target.host)?;
            let connector = TlsConnector::from(self.trust.client_config(&[b"http/1.1"]));
            self.converse(connector.connect(name, stream).await?, request).await
        } else {
            self.converse(stream, request).await
        }
    }

    /// One request and its answer over a connection that is then closed.
    async fn converse<S>(
        &self,
        stream: S,
        request: http::Request<Full<Bytes>>,
    ) -> Result<http::Response<Bytes>, Failure>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
        TokioIo<S>: rt::Read + rt::Write,
    {
        let (mut sender, connection) =
            http1::Builder::new().max_header_size(HEAD_LIMIT).handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
        let exchange = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            match Limited::new(body, self.limit).collect().await {
                Ok(body) => Ok(http::Response::from_parts(head, body.to_bytes())),
                Err(e) if e.is::<LengthLimitError>() => Err(Failure::TooLarge),
                Err(e) => Err(Failure::Other(e)),
            }
        };
        // the connection is driven here rather than in a task, so that it ends with this future
        let drive = async {
            let _: Result<(), hyper::Error> = connection.await; // its error reaches the exchange too
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = exchange => answer,
            () = drive => Err(Failure::Other("the connection ended".into())),
        }
    }
}

/// Where a request goes.
struct Target {
    tls: bool,
    /// Without the brackets of an IPv6 literal.
    host: String,
    port: u16,
    /// As `Host` has it.
    authority: HeaderValue,
    path: PathAndQuery,
}

impl Target {
    fn of(uri: &Uri) -> Result<Self, Failure> {
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err("only http and https URLs can be fetched".into()),
        };
        let authority = uri.authority().ok_or("a URL without a host can't be fetched")?;
        if authority.as_str().contains('@') {
            return Err("a URL with a user name can't be fetched".into());
        }
        let host = authority.host();
        Ok(Self {
            tls,
            host: host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str())?,
            path: uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
        })
    }

    /// The host's addresses, every one of them within reach. The connection goes to these and the name is not asked
    /// again, so that DNS can't give one answer to the check and another to the connection.
    async fn addresses(&self, reach: &Reach) -> Result<Vec<SocketAddr>, Failure> {
        let closest = match reach {
            Reach::Configured => Closeness::Loopback,
            Reach::MachineCredentials => return self.machine_credentials().await,
            // of several addresses the most public one counts: who is out there could add a private one
            Reach::NoCloserThan(host) => {
                let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
                resolve(host, 0).await?.iter().filter_map(|a| closeness(a.ip())).min().unwrap_or(Closeness::Public)
            }
        };
        let addresses = resolve(&self.host, self.port).await?;
        for address in &addresses {
            if closeness(address.ip()).is_none_or(|found| found > closest) {
                return Err(Failure::OutOfBounds(address.ip()));
            }
        }
        Ok(addresses)
    }

    async fn machine_credentials(&self) -> Result<Vec<SocketAddr>, Failure> {
        let addresses = resolve(&self.host, self.port).await?;
        match addresses.iter().find(|address| !gives_credentials(address.ip())) {
            Some(elsewhere) => Err(Failure::OutOfBounds(elsewhere.ip())),
            None => Ok(addresses),
        }
    }
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
    if addresses.is_empty() { Err("the name has no address".into()) } else { Ok(addresses) }
}

/// The first address that answers.
async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addresses).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What came of an exchange, as a label.
fn outcome(answer: Result<&http::Response<Bytes>, &Failure>) -> &'static str {
    match answer {
        Ok(response) if response.status().is_success() => "2xx",
        Ok(response) if response.status().is_redirection() => "3xx",
        Ok(response) if response.status().is_client_error() => "4xx",
        Ok(_) => "5xx",
        Err(Failure::OutOfBounds(_)) => "out_of_bounds",
        Err(Failure::TooLarge) => "too_large",
        Err(Failure::Other(_)) => "unreachable",
    }
}

/// Why an exchange failed, before the host is put to it.
enum Failure {
    OutOfBounds(IpAddr),
    TooLarge,
    Other(BoxError),
}

impl<E: Into<BoxError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// Discovery documents and key sets are a few KiB; 1 MiB is generous (A19).
const LIMIT: usize = 1024 * 1024;
/// For an answer's head.
const HEAD_LIMIT: usize = 64 * 1024;
/// For the whole exchange, from the name to the last byte.
const WAIT: Duration = Duration::from_secs(5);
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("claviger/", env!("CARGO_PKG_VERSION")));

#[cfg(test)]
mod tests;
