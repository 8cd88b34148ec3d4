//! Lines for people's eyes.

use http::Method;

use crate::support::client::{self, raw};
use crate::support::place::Place;
use crate::support::process::Process;

const CONFIG: &str = r#"
state_dir = "{folder}/state"
log = { level = "info", format = "text" }
server = { workers = 1 }

[listen.main]
address = "{address}"

[route.open]
host = "*"
upstream = "http://127.0.0.1:1"
allow = "anyone"
"#;

#[tokio::test]
async fn lines_of_text_say_what_lines_of_json_say_and_nobody_writes_one_of_their_own() {
    let (place, folder) = (Place::reserve(), tempfile::tempdir().unwrap());
    let config = CONFIG.replace("{address}", &place.at().to_string());
    let file = folder.path().join("claviger.toml");
    std::fs::write(&file, config.replace("{folder}", folder.path().to_str().unwrap())).unwrap();
    let claviger = Process::start(&file, &[]);
    let listening = claviger.line(|line| line.contains("listening")).await;
    assert!(listening.ends_with(&format!(" INFO listening listener=main address={}", place.at())), "{listening}");

    let sent = client::headers(&[("x-request-id", "mine")]);
    let answer = client::send(place.at(), Method::PUT, "/key%20a?code=canary", &sent, "").await;
    assert_eq!(answer.status, 502);
    let id = answer.header("x-request-id");
    let line = claviger.line(|line| line.contains(&format!(" request={id} "))).await;
    assert!(line.starts_with("127.0.0.1 - - [20") && !line.contains("canary"), "{line}");
    let target = format!("] \"PUT {}/key%20a\" 502 ", place.at());
    assert!(line.contains(&target), "{line}");
    for part in ["ms route=open fault=upstream_", " listener=main ", " trace="] {
        assert!(line.contains(part), "{part}: {line}");
    }

    // A36: what a client says stays in its quotes and its line
    for path in ["/\"%20200%20forged", "/%0aINFO%20forged", "/\\\"", "/\u{9b}x"] {
        let ask = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", place.at());
        raw(place.at(), ask.as_bytes()).await;
    }
    let last = client::send(place.at(), Method::GET, "/last", &sent, "").await;
    let id = last.header("x-request-id").to_owned();
    claviger.line(|line| line.contains(&id)).await;
    for line in claviger.log() {
        assert!(!line.chars().any(char::is_control) && !line.starts_with("INFO"), "{line}");
        assert!(line.starts_with("20") || line.matches(" listener=main ").count() == 1, "{line}");
    }
}
