//! A fault as a person sees it.

use askama::Template;

use super::{Face, Next};
use crate::web::{self, Response};

/// Who reads an answer.
#[derive(Clone, Copy, Debug)]
pub enum Reader<'a> {
    /// A program, which gets JSON.
    Program,
    /// A person, who gets a page; with who they are where they are logged in and it matters.
    Person(Option<&'a LoggedIn>),
}

/// Who is logged in, as pages put it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoggedIn {
    /// What they are called.
    pub name: String,
    /// What the source of their login is called.
    pub source: String,
}

#[derive(Debug, Template)]
#[template(path = "fault/page.html", config = ".askama.toml")]
struct Page<'a> {
    face: &'a Face,
    request_id: &'a str,
    logged_in: Option<&'a LoggedIn>,
}

impl Face {
    pub(super) fn page(&self, request_id: &str, logged_in: Option<&LoggedIn>) -> Response {
        match (Page { face: self, request_id, logged_in }).render() {
            Ok(html) => web::page(self.status, html),
            Err(_) => web::answer(self.status, "text/plain; charset=utf-8", self.text.clone()),
        }
    }
}
