//! Upgraded connections: bytes both ways, until either side or their term ends.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::term::Term;

/// Joins both sides once they have switched protocols, and cuts them at the end of their term, if they have one: a socket
/// must not outlive the login, token or certificate it was opened with.
///
/// It is only started after the upstream's own 101, so bytes pipelined behind an upgrade that was refused never get
/// past the door (A4, CVE-2026-2833).
pub(super) fn join(client: OnUpgrade, upstream: OnUpgrade, term: Option<Term>) {
    tokio::spawn(async move {
        let (client, upstream) = match tokio::try_join!(client, upstream) {
            Ok(sides) => sides,
            Err(error) => return tracing::debug!(%error, "an upgrade was not completed"),
        };
        let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
        tokio::select! {
            // either side closing is the ordinary end, and an error is how many clients close
            _ = copy_bidirectional(&mut client, &mut upstream) => {}
            () = ended(term) => tracing::info!("an upgraded connection was cut: who opened it is not vouched for any more"),
        }
    });
}

/// Waits for the end of the term; for ever where there is none.
async fn ended(term: Option<Term>) {
    match term {
        Some(term) => term.ended().await,
        None => std::future::pending().await,
    }
}
