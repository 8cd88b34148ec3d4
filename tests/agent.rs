//! `claviger agent`: one login, and every tool has keys; with the real binary, over its real socket.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use http::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::browser::Browser;
use crate::support::routes::OPEN;
use crate::support::world::{Plan, World};

const CONFIG: &str = r#"
[identity.corp]
kind = "oidc"
issuer = "{idp}"
client_id = "claviger-cli"

[credentials.aws]
kind = "web_identity"
region = "eu-west-1"
endpoint = "{authority}"

[profile.direct]
description = "What everybody may"
role = "arn:aws:iam::123456789012:role/direct"
region = "eu-west-1"

[profile.hub]
through = ["arn:aws:iam::123456789012:role/direct"]
role = "arn:aws:iam::123456789012:role/hub"

[profile.refused]
role = "arn:aws:iam::123456789012:role/finance"
"#;

/// A developer's machine, with a home of its own.
struct Desk {
    world: World,
    home: TempDir,
}

/// Ends a process that the test began.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Desk {
    async fn new() -> Self {
        let world = Plan::with_routes(OPEN).start().await;
        let home = tempfile::tempdir().unwrap();
        let desk = Self { world, home };
        let config = CONFIG
            .replace("{idp}", &format!("http://{}", desk.world.provider_at))
            .replace("{authority}", &format!("http://{}", desk.world.authority_at));
        desk.write_config(&config, 0o600);
        desk
    }

    fn config(&self) -> PathBuf {
        self.home.path().join(".config/claviger/developer.toml")
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("run/claviger/agent.sock")
    }

    fn write_config(&self, text: &str, mode: u32) {
        std::fs::create_dir_all(self.config().parent().unwrap()).unwrap();
        std::fs::write(self.config(), text).unwrap();
        std::fs::set_permissions(self.config(), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claviger"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.home.path());
        command.env("XDG_RUNTIME_DIR", self.home.path().join("run"));
        command
    }

    /// What a command says, and how it ends.
    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// The agent, in the foreground.
    async fn agent(&self) -> Ended {
        let mut agent = Ended(self.command(&["agent"]).spawn().unwrap());
        let mut log = BufReader::new(agent.0.stderr.take().unwrap());
        tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            while !line.contains("listening") {
                line.clear();
                assert_ne!(log.read_line(&mut line).unwrap(), 0, "the agent has ended");
            }
            // read on, or it would wait for its log to be read
            std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
        })
        .await
        .unwrap();
        agent
    }

    /// Logs in at the address that `claviger login` prints; what it says in the end.
    async fn log_in(&self, name: &str) -> (bool, String) {
        self.log_in_by("--no-browser", async |url| {
            let page = self.world.log_in(&mut Browser::default(), &url, name).await;
            assert_eq!(page.status, StatusCode::OK, "{}", page.text());
            assert!(page.text().contains("Logged in") && page.text().contains(name), "{}", page.text());
        })
        .await
    }

    /// Does at the printed address what is to be done there.
    async fn log_in_by(&self, way: &str, there: impl AsyncFnOnce(String)) -> (bool, String) {
        let mut login = Ended(self.command(&["login", "direct", way]).spawn().unwrap());
        let mut said = BufReader::new(login.0.stderr.take().unwrap());
        let (url, mut said) = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            while !line.trim().starts_with("http") {
                line.clear();
                assert_ne!(said.read_line(&mut line).unwrap(), 0, "no address was printed");
            }
            (line.trim().to_owned(), said)
        })
        .await
        .unwrap();
        there(url).await;
        tokio::task::spawn_blocking(move || {
            let mut rest = String::new();
            said.read_to_string(&mut rest).unwrap();
            (login.0.wait().unwrap().success(), rest)
        })
        .await
        .unwrap()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn one_login_serves_every_profile_and_tool() {
    let desk = Desk::new().await;
    let agent = desk.agent().await;
    let before = desk.run(&["credential-process", "direct"]).await;
    assert!(!before.status.success() && before.stdout.is_empty());
    assert_eq!(text(&before.stderr), "claviger: nobody is logged in; run `claviger login direct`\n");

    let (is_done, said) = desk.log_in("alice").await;
    assert!(is_done && said.contains("Logged in at corp as alice"), "{said}");
    assert!(said.contains("Profiles: direct, hub, refused."), "{said}");

    let process = desk.run(&["credential-process", "direct"]).await;
    let keys: Value = serde_json::from_slice(&process.stdout).unwrap();
    assert_eq!((&keys["Version"], &keys["AccountId"]), (&1.into(), &"123456789012".into()));
    for key in ["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"] {
        assert!(keys[key].as_str().is_some_and(|text| !text.is_empty()), "{key}");
    }
    let calls = desk.world.sts_calls();
    let again = desk.run(&["credential-process", "direct"]).await;
    assert_eq!(again.stdout, process.stdout, "they are at hand");
    assert_eq!(desk.world.sts_calls(), calls);

    let chained = desk.run(&["env", "hub"]).await;
    assert!(text(&chained.stdout).starts_with("export AWS_ACCESS_KEY_ID='ASIA"), "{}", text(&chained.stderr));
    let refused = desk.run(&["env", "refused"]).await;
    let said = text(&refused.stderr);
    assert!(said.contains("role/finance") && said.contains("AccessDenied") && refused.stdout.is_empty(), "{said}");

    let status = desk.run(&["status", "--json"]).await;
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["logins"][0]["name"], "alice");
    assert_eq!(status["profiles"][0]["role"], "arn:aws:iam::123456789012:role/direct");
    assert_eq!(status["profiles"][0]["expires"], keys["Expiration"]);

    assert!(desk.run(&["logout", "direct"]).await.status.success());
    assert!(!desk.run(&["credential-process", "direct"]).await.status.success());
    drop(agent);
}

#[tokio::test]
async fn a_login_is_confirmed_on_another_device() {
    let desk = Desk::new().await;
    let _agent = desk.agent().await;
    let (is_done, said) = desk
        .log_in_by("--device", async |url| {
            let mut browser = Browser::default();
            let page = desk.world.log_in(&mut browser, &url, "alice").await;
            let page = browser.submit(&page, &[("decision", "allow")]).await;
            assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        })
        .await;
    assert!(is_done && said.contains("confirm the code") && said.contains("as alice"), "{said}");
    assert!(desk.run(&["credential-process", "direct"]).await.status.success());

    let (is_done, said) = desk
        .log_in_by("--device", async |url| {
            let mut browser = Browser::default();
            let page = desk.world.log_in(&mut browser, &url, "bob").await;
            browser.submit(&page, &[("decision", "refuse")]).await;
        })
        .await;
    assert!(!is_done && said.contains("access_denied"), "{said}");
    let status = desk.run(&["status"]).await;
    assert!(text(&status.stdout).contains("logged in as alice"), "who was logged in still is: {status:?}");
}

#[tokio::test]
async fn a_child_gets_keys_from_its_own_port_and_ends_as_it_likes() {
    let desk = Desk::new().await;
    let _agent = desk.agent().await;
    desk.log_in("alice").await;
    let script = r#"
        [ -z "$AWS_ACCESS_KEY_ID" ] || exit 1
        [ "$AWS_REGION" = eu-west-1 ] || exit 2
        curl --silent --fail --header "Authorization: $AWS_CONTAINER_AUTHORIZATION_TOKEN" "$AWS_CONTAINER_CREDENTIALS_FULL_URI"
        echo
        curl --silent --output /dev/null --write-out '%{http_code}\n' "$AWS_CONTAINER_CREDENTIALS_FULL_URI"
        curl --silent --output /dev/null --write-out '%{http_code}\n' --header "Origin: https://evil.test" \
            --header "Authorization: $AWS_CONTAINER_AUTHORIZATION_TOKEN" "$AWS_CONTAINER_CREDENTIALS_FULL_URI"
        exit 7"#;
    let mut command = desk.command(&["exec", "direct", "--", "sh", "-c", script]);
    command.env("AWS_ACCESS_KEY_ID", "AKIASOMEBODYELSES");
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(ended.status.code(), Some(7), "{}", text(&ended.stderr));
    let lines: Vec<&str> = text(&ended.stdout).lines().collect();
    let keys: Value = serde_json::from_str(lines[0]).unwrap();
    assert!(keys["AccessKeyId"].as_str().unwrap().starts_with("ASIA") && keys["RoleArn"].is_string(), "{keys}");
    assert_eq!(lines[1..], ["401", "403"]);

    let ended = desk.run(&["exec", "--env", "direct", "--", "sh", "-c", "echo $AWS_ACCESS_KEY_ID; kill -9 $$"]).await;
    assert_eq!(text(&ended.stdout).trim(), keys["AccessKeyId"]);
    let missing = desk.run(&["exec", "direct", "--", "no-such-program"]).await;
    assert!(text(&missing.stderr).contains("`no-such-program` can't be run"), "{}", text(&missing.stderr));
}

/// A37: what is killed loses no login.
#[tokio::test]
async fn a_login_outlives_its_agent() {
    let desk = Desk::new().await;
    let agent = desk.agent().await;
    desk.log_in("alice").await;
    drop(agent); // SIGKILL
    assert!(desk.socket().exists(), "nothing was put away");
    let _agent = desk.agent().await;
    let process = desk.run(&["credential-process", "direct"]).await;
    assert!(process.status.success(), "{}", text(&process.stderr));
}

#[tokio::test]
async fn who_asks_starts_it_and_there_is_one() {
    let desk = Desk::new().await;
    let asked = (0..8).map(|_| desk.run(&["status", "--json"]));
    let said = futures_util::future::join_all(asked).await;
    let pids: Vec<Value> = said
        .iter()
        .map(|said| serde_json::from_slice::<Value>(&said.stdout).unwrap_or_else(|_| panic!("{}", text(&said.stderr))))
        .map(|status| status["pid"].clone())
        .collect();
    let _ended = Started(desk.home.path().display().to_string());
    assert!(pids.iter().all(|other| *other == pids[0]), "{pids:?}");
    let second = desk.run(&["agent"]).await;
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("an agent is running already"), "{}", text(&second.stderr));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&desk.socket()), mode(desk.socket().parent().unwrap())), (0o600, 0o700));
}

/// The agents that were started by commands in this home: of several at once all but one end by themselves, but where that
/// one is gone first another may take its place.
struct Started(String);

impl Started {
    fn pids(&self) -> Vec<String> {
        let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let is_ours = |pid: &String| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.contains("agent") && line.contains(&self.0)
        };
        all.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(is_ours).collect()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        for pids in std::iter::repeat_with(|| self.pids()).take_while(|pids| !pids.is_empty()) {
            let _ = Command::new("kill").arg("-9").args(pids).stderr(Stdio::null()).status();
        }
    }
}

#[tokio::test]
async fn the_config_to_begin_with_is_sound() {
    let said = Command::new(env!("CARGO_BIN_EXE_claviger")).args(["check", "config/developer.toml"]).output().unwrap();
    assert!(said.status.success(), "{}", text(&said.stderr));
    assert!(text(&said.stdout).contains("archive  arn:aws:iam::210987654321:role/archive  at corp"), "{said:?}");
    let shown = Command::new(env!("CARGO_BIN_EXE_claviger")).args(["profiles", "--example"]).output().unwrap();
    assert_eq!(text(&shown.stdout), std::fs::read_to_string("config/developer.toml").unwrap());
    // it is for the agent, and there is nothing to serve
    let served =
        Command::new(env!("CARGO_BIN_EXE_claviger")).args(["serve", "config/developer.toml"]).output().unwrap();
    assert_eq!(served.status.code(), Some(2));
    assert!(text(&served.stderr).contains("claviger agent"), "{}", text(&served.stderr));
}

/// A25: each says what to do.
#[tokio::test]
async fn what_others_can_change_is_not_used() {
    let desk = Desk::new().await;
    let config = std::fs::read_to_string(desk.config()).unwrap();
    desk.write_config(&config, 0o666);
    let said = desk.run(&["agent"]).await;
    assert!(text(&said.stderr).contains("can be written by others than you"), "{}", text(&said.stderr));
    assert_eq!(said.status.code(), Some(1));
    let said = desk.run(&["status"]).await;
    assert!(text(&said.stderr).contains("can be written by others than you"), "{}", text(&said.stderr));

    desk.write_config(&config, 0o600);
    let folder = desk.socket().parent().unwrap().to_owned();
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = desk.run(&["agent"]).await;
    assert!(text(&said.stderr).contains("only you can use"), "{}", text(&said.stderr));

    std::fs::remove_file(desk.config()).unwrap();
    let said = desk.run(&["status"]).await;
    assert!(text(&said.stderr).contains("there is no config at"), "{}", text(&said.stderr));
    desk.write_config("[identity.corp]\nkind = \"oidc\"", 0o600);
    let said = desk.run(&["agent"]).await;
    assert_eq!(said.status.code(), Some(2));
}
