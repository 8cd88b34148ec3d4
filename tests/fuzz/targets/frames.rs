//! A13: frames are counted alike in whatever pieces they come.

use claviger::server::frames::Frames;
use tokio::time::Instant;

pub fn run(data: &[u8]) {
    let Some((size, bytes)) = data.split_first() else { return };
    let now = Instant::now();
    let whole = Frames::new(now).follow(bytes, || now);
    let mut pieces = Frames::new(now);
    let mut passed = 0;
    let mut stopped = None;
    for piece in bytes.chunks(usize::from(*size).max(1)) {
        stopped = pieces.follow(piece, || now).map(|at| passed + at);
        if stopped.is_some() {
            break;
        }
        passed += piece.len();
    }
    // where the header came in pieces, what was passed on is not taken back
    match (whole, stopped) {
        (None, None) => {}
        (Some(whole), Some(stopped)) => assert!((whole..whole + 9).contains(&stopped), "{whole} and {stopped}"),
        (whole, stopped) => panic!("as a whole {whole:?}, in pieces {stopped:?}"),
    }
    // by hand: after the preface, control frames beyond the burst stop it
    let (mut at, mut control) = (24, 0_usize);
    while let Some([a, b, c, kind, ..]) = bytes.get(at..at + 9) {
        control = if *kind <= 1 { control.saturating_sub(4) } else { control + 1 };
        assert!(whole.is_some_and(|stop| stop <= at) || control <= 1000, "{control} control frames pass");
        at += 9 + u32::from_be_bytes([0, *a, *b, *c]) as usize;
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let head = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x82];
    let flood = [&[7][..], preface, &ping.repeat(1001)].concat();
    vec![flood, [&[1][..], preface, &head, &ping].concat(), [&[255][..], preface, &[0xff; 40]].concat()]
}
