//! A person's browser as far as HTTP goes: a cookie jar, redirects followed by hand, forms sent as forms.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use http::{HeaderMap, Method, Request, StatusCode, response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

/// A user agent with its own cookies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agent {
    /// By host, without the port: cookies are not isolated by port (RFC 6265 §8.5).
    cookies: BTreeMap<(String, String), String>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A form as a page shows it.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) action: Url,
    fields: BTreeMap<String, String>,
}

impl Agent {
    /// An agent that has been nowhere yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The cookies for one host, as `name=value`.
    pub(crate) fn cookies(&self, host: &str) -> Vec<String> {
        let ours = self.cookies.iter().filter(|((at, _), _)| at == host);
        ours.map(|((_, name), value)| format!("{name}={value}")).collect()
    }

    /// Sends one request and follows nothing. `Err` when no answer came.
    pub(crate) async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let url = Url::parse(&request.uri().to_string()).map_err(|error| error.to_string())?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let cookies = self.cookies(&host);
        if !cookies.is_empty() && !request.headers().contains_key(COOKIE) {
            request.headers_mut().insert(COOKIE, cookies.join("; ").parse().map_err(|_| "a bad cookie")?);
        }
        let answer = tokio::time::timeout(PATIENCE, exchange(&url, request)).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer in {PATIENCE:?}").into()));
        let (head, body) = answer.map_err(|why| format!("{url}: {why}"))?;
        for cookie in head.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            self.keep(&host, cookie);
        }
        Ok(Answer { url, status: head.status, headers: head.headers, body })
    }

    /// Opens a page as a navigation, without following redirects.
    pub(crate) async fn open(&mut self, url: &Url) -> Result<Answer, String> {
        self.send(navigation(Method::GET, url, Bytes::new())).await
    }

    /// Opens a page and follows redirects as a browser does, until a page comes or `stop` says that it is far enough.
    pub(crate) async fn follow(&mut self, url: &Url, stop: impl Fn(&Url) -> bool) -> Result<Answer, String> {
        let answer = self.open(url).await?;
        self.go_on(answer, stop).await
    }

    /// Sends a form and follows what comes.
    pub(crate) async fn submit(&mut self, form: &Form, stop: impl Fn(&Url) -> bool) -> Result<Answer, String> {
        let fields = form_urlencoded::Serializer::new(String::new()).extend_pairs(&form.fields).finish();
        let mut request = navigation(Method::POST, &form.action, fields.into());
        let origin = form.action.origin().ascii_serialization();
        request.headers_mut().insert(CONTENT_TYPE, FORM);
        request.headers_mut().insert(ORIGIN, origin.parse().map_err(|_| "a bad origin")?);
        let answer = self.send(request).await?;
        self.go_on(answer, stop).await
    }

    async fn go_on(&mut self, mut answer: Answer, stop: impl Fn(&Url) -> bool) -> Result<Answer, String> {
        for _ in 0..MAX_REDIRECTS {
            let Some(next) = answer.location() else { return Ok(answer) };
            if stop(&next) {
                return Ok(answer);
            }
            answer = self.open(&next).await?;
        }
        Err(format!("more than {MAX_REDIRECTS} redirects, the last to {}", answer.url))
    }

    fn keep(&mut self, host: &str, set_cookie: &str) {
        let (pair, attributes) = set_cookie.split_once(';').unwrap_or((set_cookie, ""));
        let Some((name, value)) = pair.split_once('=') else { return };
        let key = (host.to_owned(), name.trim().to_owned());
        if value.is_empty() || attributes.to_ascii_lowercase().contains("max-age=0") {
            self.cookies.remove(&key);
        } else {
            self.cookies.insert(key, value.to_owned());
        }
    }
}

impl Answer {
    /// Where a redirect leads.
    pub(crate) fn location(&self) -> Option<Url> {
        let to = self.headers.get(LOCATION).filter(|_| self.status.is_redirection())?;
        self.url.join(to.to_str().ok()?).ok()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The page's first form, with what its inputs hold already.
    pub(crate) fn form(&self) -> Option<Form> {
        let text = self.text();
        let form = text.split("<form").nth(1)?.split("</form>").next()?;
        let action = self.url.join(&attribute(form.split('>').next()?, "action").unwrap_or_default()).ok()?;
        let inputs = form.split("<input").skip(1).filter_map(|rest| rest.split('>').next());
        let fields =
            inputs.filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default())));
        Some(Form { action, fields: fields.collect() })
    }
}

impl Form {
    /// The form with these fields filled in.
    pub(crate) fn filled(mut self, fields: &[(&str, &str)]) -> Self {
        self.fields.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }
}

/// An attribute's value, as our and Keycloak's pages write them: in double quotes.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let value = tag.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?;
    Some(unescape(value))
}

/// Undoes what our and Keycloak's templates do to a URL in an attribute.
pub(crate) fn unescape(text: &str) -> String {
    text.replace("&#38;", "&").replace("&amp;", "&")
}

/// One request on a connection of its own, its answer read to the end.
async fn exchange(
    url: &Url,
    mut request: Request<Full<Bytes>>,
) -> Result<(response::Parts, Bytes), Box<dyn Error + Send + Sync>> {
    let place = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
    let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(place).await?)).await?;
    // The answer says what went wrong with the connection.
    let connection = tokio::spawn(connection);
    let authority = request.uri().authority().map_or("", |authority| authority.as_str());
    let authority = authority.parse()?;
    request.headers_mut().entry(HOST).or_insert(authority);
    *request.uri_mut() = request.uri().path_and_query().map_or("/", |target| target.as_str()).parse()?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    Ok((head, body))
}

/// What a browser says of itself when a person opens a page (Fetch Metadata).
fn navigation(method: Method, url: &Url, body: Bytes) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(url.as_str())
        .header(ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")
        .header("sec-fetch-mode", "navigate")
        .header("sec-fetch-dest", "document")
        .header("sec-fetch-site", "same-origin")
        .body(Full::from(body))
        .expect("a URL makes a request")
}

/// What forms are sent as.
pub(crate) const FORM: http::HeaderValue = http::HeaderValue::from_static("application/x-www-form-urlencoded");

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// As many as browsers follow before they call it a loop.
const MAX_REDIRECTS: usize = 20;
