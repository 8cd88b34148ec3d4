//! Frames without end: each flood ends in GOAWAY, costs little, and nobody else notices.

use std::fmt;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    field, frame, get, head, opening, read,
};
use crate::bystander::beside;
use crate::report::Report;
use crate::site::Site;

/// The frames of the n-th round, n from 0.
type Round = fn(u32) -> Vec<u8>;

/// What is sent first, and what then without end.
const FLOODS: &[(&str, Round, Round)] = &[
    // CVE-2023-44487
    ("rapid reset", nothing, |n| [get(odd(n), PATH), frame(RST_STREAM, 0, odd(n), &CANCEL)].concat()),
    // CVE-2025-8671: the client makes the server reset
    ("made you reset by WINDOW_UPDATE 0", nothing, |n| {
        [get(odd(n), PATH), frame(WINDOW_UPDATE, 0, odd(n), &[0; 4])].concat()
    }),
    ("made you reset by a window overflow", nothing, |n| {
        [get(odd(n), PATH), frame(WINDOW_UPDATE, 0, odd(n), &[0x7f, 0xff, 0xff, 0xff])].concat()
    }),
    ("made you reset by DATA after the end", nothing, |n| {
        [get(odd(n), PATH), frame(DATA, END_STREAM, odd(n), b"x")].concat()
    }),
    ("made you reset by HEADERS after the end", nothing, |n| [get(odd(n), PATH), get(odd(n), PATH)].concat()),
    ("made you reset by a short PRIORITY", nothing, |n| {
        [get(odd(n), PATH), frame(PRIORITY, 0, odd(n), &[0; 4])].concat()
    }),
    // CVE-2024-24549 and its kin
    (
        "CONTINUATION",
        |_| frame(HEADERS, END_STREAM, 1, &head("GET", PATH)),
        |n| frame(CONTINUATION, 0, 1, &field(&format!("x-{n}"), &"y".repeat(120)).repeat(8)),
    ),
    ("empty CONTINUATION", |_| frame(HEADERS, END_STREAM, 1, &head("GET", PATH)), |_| frame(CONTINUATION, 0, 1, &[])),
    // RUSTSEC-2026-0258
    ("empty DATA", |_| frame(HEADERS, END_HEADERS, 1, &head("POST", PATH)), |_| frame(DATA, 0, 1, &[])),
    (
        "padding",
        |_| frame(HEADERS, END_HEADERS, 1, &head("POST", PATH)),
        |_| frame(DATA, 8, 1, &[&[255][..], &[0; 255]].concat()),
    ),
    // CVE-2019-9515, CVE-2019-9512, CVE-2019-9513
    ("SETTINGS", nothing, |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
    ("empty SETTINGS", nothing, |_| frame(SETTINGS, 0, 0, &[])),
    ("PING", nothing, |n| frame(PING, 0, 0, &u64::from(n).to_be_bytes())),
    ("PRIORITY", nothing, |n| frame(PRIORITY, 0, odd(n), &[0, 0, 0, 0, 1])),
    ("WINDOW_UPDATE", nothing, |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ("unknown frames", nothing, |_| frame(0xbe, 0, 0, b"beef")),
];

/// Each flood, again and again for a while.
pub async fn check(report: &Report, site: &Site) {
    for (name, first, round) in FLOODS {
        let ends = beside(report, "A13", name, site, async {
            let (begun, mut ends) = (Instant::now(), Vec::new());
            while begun.elapsed() < AT_LEAST {
                ends.push(flood(site, *first, *round).await);
            }
            ends
        })
        .await;
        let worst = ends.iter().max_by_key(|end| end.frames).expect("at least one");
        let all_end = ends.iter().all(|end| end.how != How::Never);
        let seen = format!("{worst}; {} times", ends.len());
        report.row("A13", format!("{name}: a flood of it ends in"), "GOAWAY or a close", seen, all_end);
    }
}

/// How a flood ended.
struct End {
    how: How,
    /// Rounds that were sent by then.
    frames: u32,
}

#[derive(PartialEq)]
enum How {
    /// With this error code.
    Goaway(u32),
    Closed,
    Never,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.how {
            How::Goaway(code) => write!(f, "GOAWAY {code:#x} after {} rounds", self.frames),
            How::Closed => write!(f, "a close after {} rounds", self.frames),
            How::Never => write!(f, "nothing, after {} rounds", self.frames),
        }
    }
}

/// Sends and reads at once, until the other side has had enough.
async fn flood(site: &Site, first: Round, round: Round) -> End {
    let (mut reader, mut writer) = tokio::io::split(site.world.tls(b"h2").await);
    let mut frames = 0;
    let told = async {
        while let Some((kind, _, _, payload)) = read(&mut reader).await {
            if kind == GOAWAY {
                return How::Goaway(payload.get(4..8).map_or(0, |code| u32::from_be_bytes(code.try_into().unwrap())));
            }
        }
        How::Closed
    };
    let sent = async {
        if writer.write_all(&[opening(&[]), first(0)].concat()).await.is_err() {
            return;
        }
        while frames < ROUNDS {
            let piece: Vec<u8> = (frames..frames + PIECE).flat_map(round).collect();
            if writer.write_all(&piece).await.is_err() {
                return;
            }
            frames += PIECE;
        }
    };
    let how = timeout(PATIENCE, async {
        let mut told = std::pin::pin!(told);
        tokio::select! {
            how = &mut told => how,
            () = sent => timeout(AFTERWARDS, told).await.unwrap_or(How::Never),
        }
    });
    let how = how.await.unwrap_or(How::Never);
    End { how, frames }
}

fn nothing(_: u32) -> Vec<u8> {
    Vec::new()
}

fn odd(n: u32) -> u32 {
    2 * n + 1
}

const PATH: &str = "/public/flood";
const CANCEL: [u8; 4] = [0, 0, 0, 8];
/// Far more than anything should take.
const ROUNDS: u32 = 100_000;
const PIECE: u32 = 50;
const AT_LEAST: Duration = Duration::from_secs(2);
const AFTERWARDS: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(20);
