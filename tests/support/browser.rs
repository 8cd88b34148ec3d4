//! A browser as far as logins need one: cookies by host, redirects, forms, Fetch Metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderMap, Method};
use url::Url;

use super::client::{self, Answer, headers};

/// One person's browser.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    /// `(host, name)` to value and path. Ports share cookies, as in real browsers.
    pub cookies: BTreeMap<(String, String), (String, String)>,
    /// Those of them that come along with forms of other sites: `SameSite=None; Secure`.
    pub with_posts: BTreeSet<(String, String)>,
    /// Where it is.
    pub at: Option<Url>,
    /// Everything it asked for, with the answers.
    pub history: Vec<(Url, Answer)>,
}

impl Browser {
    /// Opens a page and follows redirects; the answer is the last.
    pub async fn open(&mut self, url: &str) -> Answer {
        let url = self.at.as_ref().map_or_else(|| Url::parse(url), |at| at.join(url)).unwrap();
        self.go(Method::GET, url, Vec::new()).await
    }

    /// Opens a page without following anything.
    pub async fn step(&mut self, url: &str) -> Answer {
        let url = self.at.as_ref().map_or_else(|| Url::parse(url), |at| at.join(url)).unwrap();
        self.exchange(&Method::GET, &url, Vec::new(), "none").await
    }

    /// Opens a page and follows redirects, but for those to `place`: then the answer is the one that leads there.
    pub async fn open_until(&mut self, url: &str, place: &str) -> Answer {
        let mut answer = self.step(url).await;
        for _ in 0..20 {
            let next = self.at.as_ref().unwrap().join(answer.location()).unwrap();
            if !answer.status.is_redirection() || next.path() == place {
                return answer;
            }
            answer = self.step(next.as_str()).await;
        }
        panic!("more than 20 redirects from {url}");
    }

    /// Sends the page's only form with these fields filled in, and follows redirects.
    pub async fn submit(&mut self, page: &Answer, fill: &[(&str, &str)]) -> Answer {
        let (url, body) = self.filled(page, fill);
        self.go(Method::POST, url, body).await
    }

    /// Sends the page's only form without following anything.
    pub async fn step_form(&mut self, page: &Answer, fill: &[(&str, &str)]) -> Answer {
        let (url, body) = self.filled(page, fill);
        self.exchange(&Method::POST, &url, body, "none").await
    }

    /// Has a page of another site post a form, without following anything. Only cookies of `SameSite=None` go along.
    pub async fn post_from_elsewhere(&mut self, url: &str, fields: &[(&str, &str)]) -> Answer {
        let url = Url::parse(url).unwrap();
        let kept = self.cookies.clone();
        self.cookies.retain(|key, _| self.with_posts.contains(key));
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let answer = self.exchange(&Method::POST, &url, body.into_bytes(), "cross-site").await;
        for (key, value) in kept {
            if !self.with_posts.contains(&key) && !self.cookies.contains_key(&key) {
                self.cookies.insert(key, value);
            }
        }
        answer
    }

    fn filled(&self, page: &Answer, fill: &[(&str, &str)]) -> (Url, Vec<u8>) {
        let (action, mut fields) = form(page.text());
        for (name, value) in fill {
            fields.retain(|(n, _)| n != name);
            fields.push(((*name).to_owned(), (*value).to_owned()));
        }
        let url = self.at.as_ref().unwrap().join(&action).unwrap();
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        (url, body.into_bytes())
    }

    /// What a script on the page would get: no navigation, cookies included.
    pub async fn fetch(
        &mut self,
        method: Method,
        url: &str,
        extra: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let url = self.at.as_ref().map_or_else(|| Url::parse(url), |at| at.join(url)).unwrap();
        let mut sent =
            headers(&[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty"), ("sec-fetch-site", "same-origin")]);
        sent.extend(headers(extra));
        self.add_cookies(&url, &mut sent);
        let answer = client::send(address(&url), method, &target(&url), &sent, body).await;
        self.keep_cookies(&url, &answer);
        self.history.push((url, answer.clone()));
        answer
    }

    /// The value of a cookie whose name starts so.
    pub fn cookie(&self, host: &str, prefix: &str) -> Option<(String, String)> {
        let mut found = self.cookies.iter().filter(|((h, n), _)| h == host && n.starts_with(prefix));
        found.next().map(|((_, name), (value, _))| (name.clone(), value.clone()))
    }

    async fn go(&mut self, mut method: Method, mut url: Url, mut body: Vec<u8>) -> Answer {
        let mut site = "none";
        for _ in 0..20 {
            let answer = self.exchange(&method, &url, std::mem::take(&mut body), site).await;
            if !answer.status.is_redirection() {
                return answer;
            }
            let next = url.join(answer.location()).unwrap();
            site = if next.host_str() == url.host_str() { "same-origin" } else { "cross-site" };
            (method, url) = (Method::GET, next);
        }
        panic!("more than 20 redirects, the last to {url}");
    }

    async fn exchange(&mut self, method: &Method, url: &Url, body: Vec<u8>, site: &str) -> Answer {
        let mut sent = headers(&[
            ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-site", site),
            ("sec-fetch-user", "?1"),
        ]);
        if *method == Method::POST {
            let origin = self.at.as_ref().unwrap_or(url).origin().ascii_serialization();
            sent.extend(headers(&[("content-type", "application/x-www-form-urlencoded"), ("origin", &origin)]));
            let site = if site == "cross-site" { site } else { "same-origin" };
            sent.insert("sec-fetch-site", site.parse().unwrap());
        }
        self.add_cookies(url, &mut sent);
        let answer = client::send(address(url), method.clone(), &target(url), &sent, body).await;
        self.keep_cookies(url, &answer);
        self.at = Some(url.clone());
        self.history.push((url.clone(), answer.clone()));
        answer
    }

    fn add_cookies(&self, url: &Url, sent: &mut HeaderMap) {
        sent.insert("host", authority(url).parse().unwrap());
        let host = url.host_str().unwrap();
        let mine: Vec<String> = self
            .cookies
            .iter()
            .filter(|((h, _), (_, path))| h == host && url.path().starts_with(path.as_str()))
            .map(|((_, name), (value, _))| format!("{name}={value}"))
            .collect();
        if !mine.is_empty() {
            sent.insert("cookie", mine.join("; ").parse().unwrap());
        }
    }

    fn keep_cookies(&mut self, url: &Url, answer: &Answer) {
        for line in answer.headers.get_all("set-cookie") {
            let mut parts = line.to_str().unwrap().split(';').map(str::trim);
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let attributes: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
            let path = attributes.iter().find_map(|a| a.strip_prefix("path=")).unwrap_or("/").to_owned();
            let gone = attributes.iter().any(|a| a == "max-age=0") || value.is_empty();
            let key = (url.host_str().unwrap().to_owned(), name.to_owned());
            if attributes.iter().any(|a| a == "samesite=none") && attributes.iter().any(|a| a == "secure") {
                self.with_posts.insert(key.clone());
            } else {
                self.with_posts.remove(&key);
            }
            if gone {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, (value.to_owned(), path));
            }
        }
    }
}

/// Every name is this machine here.
fn address(url: &Url) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), url.port_or_known_default().unwrap())
}

fn authority(url: &Url) -> String {
    url.port().map_or_else(|| url.host_str().unwrap().to_owned(), |port| format!("{}:{port}", url.host_str().unwrap()))
}

fn target(url: &Url) -> String {
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}

/// The first form of a page: its action and its fields with their values.
fn form(page: &str) -> (String, Vec<(String, String)>) {
    let start = page.find("<form").unwrap_or_else(|| panic!("no form in {page}"));
    let form = &page[start..page[start..].find("</form>").map_or(page.len(), |end| start + end)];
    let fields = form
        .split("<input")
        .skip(1)
        .filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value").unwrap_or_default())))
        .collect();
    (attribute(form, "action").unwrap_or_default(), fields)
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let tag = &tag[..tag.find('>')?];
    let start = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    let value = &tag[start..start + tag[start..].find('"')?];
    Some(
        value
            .replace("&#38;", "&")
            .replace("&amp;", "&")
            .replace("&#34;", "\"")
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&lt;", "<")
            .replace("&gt;", ">"),
    )
}
