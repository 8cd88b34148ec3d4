//! `socket = "…"` of the container kind: the system says who asks.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{CREDENTIALS, give_token, world};
use crate::reload::{edit, reload};
use crate::support::world::World;

/// What a client gets by a socket, whole.
async fn ask(socket: &Path, more: &str) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let host = if more.to_lowercase().contains("host:") { "" } else { "Host: localhost\r\n" };
    let asked = format!("GET {CREDENTIALS} HTTP/1.1\r\n{host}{more}Connection: close\r\n\r\n");
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn socket(world: &World) -> std::path::PathBuf {
    world.file("app.sock")
}

#[tokio::test]
async fn a24_this_user_gets_keys_by_the_socket_without_a_token() {
    let (world, _) = world().await;
    give_token(&world).await;
    world.claviger.event(|event| event["listener"] == "endpoint.local").await;
    let answer = ask(&socket(&world), "").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("AccessKeyId"), "{answer}");
    // A25: nobody else can even connect
    let found = std::fs::symlink_metadata(socket(&world)).unwrap();
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let line = world.claviger.event(|event| event["endpoint"] == "local").await;
    assert_eq!(line["client"], format!("uid {}", found.uid()));
    // A22: who speaks for others is refused here, too
    for more in
        ["Host: evil.test\r\n", "Origin: null\r\n", "Sec-Fetch-Site: none\r\n", "X-Forwarded-For: 192.0.2.7\r\n"]
    {
        let answer = ask(&socket(&world), more).await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.ends_with("\r\n\r\n"), "{more}: {answer}");
    }
}

/// A24: a process of another user connects where all may, and gets nothing unless that user is named.
#[tokio::test]
async fn a24_another_user_gets_keys_only_where_they_are_named() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can become another user");
        return;
    }
    const NOBODY: u32 = 65534;
    let (world, _) = world().await;
    give_token(&world).await;
    // their way to the socket
    std::fs::set_permissions(world.file(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    edit(&world, "socket = \"app.sock\"", &format!("socket = \"all.sock\"\nusers = [{}]", NOBODY - 1));
    assert_eq!(reload(&world).await["config.changed"], "endpoint.local changed");
    let Some(denied) = as_user(NOBODY, &world.file("all.sock")).await else { return };
    assert!(denied.starts_with("HTTP/1.1 403") && !denied.contains("SecretAccessKey"), "{denied}");
    edit(&world, &format!("users = [{}]", NOBODY - 1), &format!("users = [{NOBODY}]"));
    reload(&world).await;
    let given = as_user(NOBODY, &world.file("all.sock")).await.unwrap();
    assert!(given.starts_with("HTTP/1.1 200") && given.contains("SecretAccessKey"), "{given}");
    let denied = world.claviger.line(|line| line.contains("another user asks")).await;
    assert!(denied.contains(&format!("uid {NOBODY}")), "{denied}");
}

/// What a process of another user gets.
async fn as_user(user: u32, socket: &Path) -> Option<String> {
    let mut command = tokio::process::Command::new("curl");
    command.args(["-s", "-i", "--max-time", "10", "--unix-socket"]).arg(socket).arg("http://localhost/v1/credentials");
    let Ok(output) = command.uid(user).gid(user).current_dir("/").output().await else {
        eprintln!("SKIPPED: there is no curl to become another user");
        return None;
    };
    Some(String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn a_socket_goes_with_its_endpoint_and_a_dead_one_is_replaced() {
    let (mut world, _) = world().await;
    give_token(&world).await;
    world.claviger.event(|event| event["listener"] == "endpoint.local").await;
    world.claviger.kill();
    world.claviger.wait();
    assert!(socket(&world).exists(), "nobody could remove it");
    world.restart().await;
    world.claviger.event(|event| event["listener"] == "endpoint.local").await;
    assert!(ask(&socket(&world), "").await.starts_with("HTTP/1.1 200"));
    world.claviger.terminate();
    world.claviger.wait();
    assert!(!socket(&world).exists());
}
