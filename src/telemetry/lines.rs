//! One thread that writes log lines, so that no request waits for a terminal or a pipe.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// The way to the log: whole lines go in, in order, and are written by one thread.
#[derive(Clone, Debug)]
pub struct Lines {
    desk: Arc<Desk>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// Where lines wait.
#[derive(Debug, Default)]
struct Desk {
    waiting: Mutex<Waiting>,
    /// Told when the first line comes, and at the end.
    filled: Condvar,
    /// Told when all lines were taken.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Whether an event is among the lines: those are few, and an audit line must be out when its process is killed.
    urgent: bool,
    ended: bool,
}

impl Lines {
    /// Starts the thread; it writes to `out`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let desk_of_writer = Arc::clone(&desk);
        let writer = std::thread::Builder::new().name("log".into()).spawn(move || desk_of_writer.write_all(out))?;
        Ok(Self { desk, writer: Arc::new(Mutex::new(Some(writer))) })
    }

    /// Hands over a line that may be lost when the log can't keep up; whether it was taken.
    pub fn offer(&self, line: &[u8]) -> bool {
        let waiting = self.desk.waiting();
        let taken = waiting.has_room_for(line);
        if taken {
            self.desk.put(waiting, line, false);
        }
        taken
    }

    /// Writes what is waiting, and stops. Lines that come later are lost.
    pub fn finish(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            self.desk.waiting().ended = true;
            self.desk.filled.notify_one();
            drop(writer.join());
        }
    }

    /// Hands over a line, and waits for room.
    fn push(&self, line: &[u8]) {
        let mut waiting = self.desk.waiting();
        while !waiting.has_room_for(line) {
            waiting = self.desk.emptied.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        self.desk.put(waiting, line, true);
    }
}

impl Desk {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the writer for the first line and for events only: waking it costs more than everything else about a line.
    fn put(&self, mut waiting: MutexGuard<'_, Waiting>, line: &[u8], urgent: bool) {
        let first = waiting.bytes.is_empty() || urgent;
        waiting.urgent |= urgent;
        if !waiting.ended {
            waiting.bytes.extend_from_slice(line);
        }
        drop(waiting);
        if first {
            self.filled.notify_one();
        }
    }

    fn write_all(&self, mut out: impl Write) {
        let mut lines = Vec::new();
        loop {
            let waiting = self.waiting();
            let idle = |waiting: &mut Waiting| waiting.bytes.is_empty() && !waiting.ended;
            let mut waiting = self.filled.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
            if !waiting.ended && !waiting.urgent {
                // gathers what comes in this while, so that a busy proxy's log is written in large pieces
                let gathered = self.filled.wait_timeout_while(waiting, GATHER, |waiting| !waiting.ended && !waiting.urgent);
                waiting = gathered.unwrap_or_else(PoisonError::into_inner).0;
            }
            std::mem::swap(&mut lines, &mut waiting.bytes);
            let ended = waiting.ended;
            waiting.urgent = false;
            drop(waiting);
            self.emptied.notify_all();
            // a log that can't be written to is no reason to stop serving
            drop(out.write_all(&lines).and_then(|()| out.flush()));
            if ended {
                return;
            }
            lines.clear();
            lines.shrink_to(KEPT);
        }
    }
}

impl Waiting {
    /// An empty desk takes any line, or one that is too long would wait for ever.
    fn has_room_for(&self, line: &[u8]) -> bool {
        self.ended || self.bytes.is_empty() || self.bytes.len() + line.len() <= MOST
    }
}

/// One event's bytes on their way in: `tracing` writes to it piece by piece.
#[derive(Debug)]
pub struct Line<'a> {
    lines: &'a Lines,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        // audit lines come this way: they wait for their turn rather than get lost
        self.lines.push(&self.bytes);
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, bytes: Vec::with_capacity(512) }
    }
}

/// How late a line may be written.
const GATHER: Duration = Duration::from_millis(10);
/// Bytes that may wait. A stuck terminal holds as many again.
const MOST: usize = 2 << 20;
/// Bytes of room that the writer keeps from one turn to the next.
const KEPT: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<u8>>>);

    impl Write for Seen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_and_before_the_end() {
        let seen = Seen::default();
        let lines = Lines::start(seen.clone()).unwrap();
        lines.offer(b"one\n");
        lines.make_writer().write_all(b"two\n").unwrap();
        lines.finish();
        assert_eq!(*seen.0.lock().unwrap(), b"one\ntwo\n");
    }

    /// Takes nothing until told to.
    struct Stuck(std::sync::mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_log_holds_no_more_than_it_may() {
        let (free, stuck) = std::sync::mpsc::channel();
        let lines = Lines::start(Stuck(stuck)).unwrap();
        let line = vec![b'x'; MOST / 4];
        let taken = (0..20).filter(|_| lines.offer(&line)).count();
        assert!((4..20).contains(&taken), "{taken}");
        drop(free);
        lines.finish();
        assert!(lines.offer(b"late\n"), "what comes later is lost, and nobody waits");
        assert!(lines.desk.waiting().bytes.is_empty());
    }
}
