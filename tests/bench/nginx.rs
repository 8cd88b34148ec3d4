//! nginx twice: the upstream that both proxies stand before, and the plain proxy that claviger is measured against.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::certificate::Certificate;
use crate::process::{Running, free_port};
use crate::ready::until_answered;

/// A running nginx of one worker.
#[derive(Debug)]
pub(crate) struct Nginx {
    /// `http://127.0.0.1:<port>`, without a slash.
    pub(crate) url: String,
    /// The same by https, HTTP/1.1 and HTTP/2.
    pub(crate) tls_url: String,
    pub(crate) process: Running,
    /// From spawn to the first 200.
    pub(crate) took: Duration,
}

impl Nginx {
    /// Serves bodies of several sizes under each of the routes' paths.
    pub(crate) async fn upstream(kept: &Path) -> Self {
        let root = kept.join("upstream");
        for path in ["public", "session", "signed", "service"] {
            let folder = root.join(path);
            fs::create_dir_all(&folder).expect("the folder is writable");
            fs::write(folder.join("small"), vec![b'x'; SMALL]).expect("writable");
            fs::write(folder.join("large"), vec![b'x'; LARGE]).expect("writable");
            fs::write(folder.join("page"), vec![b'x'; PAGE]).expect("writable");
            fs::write(folder.join("script"), vec![b'x'; SCRIPT]).expect("writable");
        }
        let server = format!("location / {{ root {}; }}", root.display());
        Self::start("nginx-upstream", "", &server, "access_log off;", kept).await
    }

    /// A plain `proxy_pass`, as fast as nginx does it: connections kept, nothing buffered on disk.
    pub(crate) async fn proxy(upstream: &str, sink: &str, access_log: bool, kept: &Path) -> Self {
        let upstream = upstream.trim_start_matches("http://");
        let upstreams = format!("upstream behind {{ server {upstream}; keepalive 256; keepalive_requests 1000000; }}");
        let pass = "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;";
        let server = format!(
            "location / {{ proxy_pass http://behind; {pass} proxy_max_temp_file_size 0; }}\n\
             location /upload {{ proxy_pass {sink}; {pass} proxy_request_buffering off; client_max_body_size 0; }}"
        );
        let (name, log) = if access_log {
            ("nginx-logging", format!("access_log {};", kept.join("nginx-access.log").display()))
        } else {
            ("nginx", "access_log off;".to_owned())
        };
        Self::start(name, &upstreams, &server, &log, kept).await
    }

    async fn start(name: &str, upstreams: &str, server: &str, log: &str, kept: &Path) -> Self {
        let (port, tls_port) = (free_port(), free_port());
        let folder = kept.join(name);
        fs::create_dir_all(&folder).expect("the folder is writable");
        let Certificate { chain, key } = Certificate::in_folder(kept);
        let (chain, key) = (chain.display(), key.display());
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|kind| format!("{kind}_temp_path {}/{kind};", folder.display())).join(" ");
        let config = format!(
            "user root; worker_processes 1; daemon off; pid {folder}/pid; error_log stderr;\n\
             worker_rlimit_nofile 20000; events {{ worker_connections 15000; }}\n\
             http {{ {log} {temporary} keepalive_requests 1000000; sendfile on; tcp_nopush on;\n{upstreams}\n\
             server {{ listen 127.0.0.1:{port}; listen 127.0.0.1:{tls_port} ssl http2;\n\
             ssl_certificate {chain}; ssl_certificate_key {key}; {server} }} }}\n",
            folder = folder.display()
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, config).expect("writable");
        let start = || {
            Running::start(name, "/usr/sbin/nginx", kept, |command| {
                command.arg("-p").arg(&folder).arg("-c").arg(&file).args(["-e", "stderr"])
            })
        };
        let url = format!("http://127.0.0.1:{port}");
        let (process, took) = until_answered(start, &format!("{url}/public/small")).await;
        Self { url, tls_url: format!("https://127.0.0.1:{tls_port}"), process, took }
    }
}

/// A small answer, so that the proxies' work shows.
const SMALL: usize = 100;
/// Of other sizes than those that are measured, to train with.
const PAGE: usize = 2_300;
const SCRIPT: usize = 21_000;
/// One mebibyte.
const LARGE: usize = 1024 * 1024;
