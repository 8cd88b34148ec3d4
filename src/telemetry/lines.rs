//! One thread that writes log lines, so that no request waits for a terminal or a pipe.

use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tracing_subscriber::fmt::MakeWriter;

/// The way to the log: whole lines go in, in order, and are written by one thread.
#[derive(Clone, Debug)]
pub struct Lines {
    sender: SyncSender<Message>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

enum Message {
    Line(Vec<u8>),
    End,
}

impl Lines {
    /// Starts the thread; it writes to `out`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING_LINES);
        let writer = std::thread::Builder::new().name("log".into()).spawn(move || write_all(receiver, out))?;
        Ok(Self { sender, writer: Arc::new(Mutex::new(Some(writer))) })
    }

    /// Hands over a line that may be lost when the log can't keep up; whether it was taken.
    pub fn offer(&self, line: Vec<u8>) -> bool {
        self.sender.try_send(Message::Line(line)).is_ok()
    }

    /// Writes what is waiting, and stops. Lines that come later are lost.
    pub fn finish(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && self.sender.send(Message::End).is_ok()
        {
            drop(writer.join());
        }
    }
}

fn write_all(receiver: Receiver<Message>, out: impl Write) {
    let mut out = BufWriter::with_capacity(64 * 1024, out);
    while let Ok(message) = receiver.recv() {
        let mut next = Some(message);
        while let Some(message) = next {
            match message {
                // a log that can't be written to is no reason to stop serving
                Message::Line(line) => drop(out.write_all(&line)),
                Message::End => return drop(out.flush()),
            }
            next = receiver.try_recv().ok();
        }
        drop(out.flush());
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
        drop(self.lines.sender.send(Message::Line(std::mem::take(&mut self.bytes))));
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, bytes: Vec::with_capacity(512) }
    }
}

/// At some 300 bytes a line this bounds what a stuck terminal can hold in memory to a few MiB.
const WAITING_LINES: usize = 16 * 1024;

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
        lines.offer(b"one\n".to_vec());
        lines.make_writer().write_all(b"two\n").unwrap();
        lines.finish();
        assert_eq!(*seen.0.lock().unwrap(), b"one\ntwo\n");
    }
}
