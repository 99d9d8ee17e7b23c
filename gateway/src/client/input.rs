//! What `pub` publishes: read whole, or line by line as it comes.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::iter;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use mio::Waker;

use super::args::{Content, Repeat};
use super::failure::Failure;
use super::session::DATAGRAM_MAX;

/// Octets of the longest message; a few less fit into a PUBLISH.
const MESSAGE_MAX: usize = DATAGRAM_MAX;

/// Lines that are read ahead.
const LINES_AHEAD: usize = 16;

/// Where messages come from.
#[derive(Debug)]
pub(super) enum Source {
    /// One message, some more times.
    Given { payload: Vec<u8>, repeat: Repeat, not_before: Duration },
    /// Lines, from a thread that reads them.
    Lines(Receiver<io::Result<Vec<u8>>>),
}

/// What there is to publish.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A message.
    Message(Vec<u8>),
    /// Nothing until then.
    NotBefore(Duration),
    /// Nothing until the waker is used.
    Nothing,
    /// Nothing any more.
    End,
}

/// What is published, before it is known where to: reads what is to be read whole.
#[derive(Debug)]
pub(super) enum Input {
    Whole(Vec<u8>),
    Lines,
}

impl Input {
    pub(super) fn new(content: Content) -> Result<Self, Failure> {
        match content {
            Content::Given(payload) => Ok(Self::Whole(payload)),
            Content::StdinLines => Ok(Self::Lines),
            Content::Stdin => read_whole(io::stdin().lock(), "standard input").map(Self::Whole),
            Content::File(path) => read_file(&path).map(Self::Whole),
        }
    }

    /// Gives messages to somebody who has nothing else to wait for.
    pub(super) fn blocking(
        self,
        repeat: Repeat,
    ) -> Box<dyn Iterator<Item = Result<Vec<u8>, Failure>>> {
        match self {
            Self::Lines => Box::new(iter::from_fn(|| {
                read_line(&mut io::stdin().lock()).map_err(stdin_error).transpose()
            })),
            Self::Whole(payload) => Box::new((0..repeat.times).map(move |number| {
                if number > 0 {
                    thread::sleep(repeat.delay);
                }
                Ok(payload.clone())
            })),
        }
    }

    /// Begins to give messages. Lines wake up who waits for them.
    pub(super) fn open(self, repeat: Repeat, waker: Arc<Waker>) -> Source {
        match self {
            Self::Whole(payload) => Source::Given { payload, repeat, not_before: Duration::ZERO },
            Self::Lines => {
                let (sender, lines) = sync_channel(LINES_AHEAD);
                // It ends with the lines, or with the process.
                thread::spawn(move || {
                    read_lines(io::stdin().lock(), &sender, &waker);
                    drop(sender);
                    // Nobody waits any more if that fails.
                    let _ = waker.wake();
                });
                Source::Lines(lines)
            }
        }
    }
}

impl Source {
    /// What to publish now that the message before is done with.
    pub(super) fn next(&mut self, now: Duration) -> Result<Next, Failure> {
        match self {
            Self::Given { repeat: Repeat { times: 0, .. }, .. } => Ok(Next::End),
            Self::Given { not_before, .. } if now < *not_before => Ok(Next::NotBefore(*not_before)),
            Self::Given { payload, repeat, .. } => {
                repeat.times -= 1;
                Ok(Next::Message(payload.clone()))
            }
            Self::Lines(lines) => match lines.try_recv() {
                Ok(Ok(line)) => Ok(Next::Message(line)),
                Ok(Err(error)) => Err(stdin_error(error)),
                Err(TryRecvError::Empty) => Ok(Next::Nothing),
                Err(TryRecvError::Disconnected) => Ok(Next::End),
            },
        }
    }

    /// The message is done with.
    pub(super) fn done(&mut self, now: Duration) {
        match self {
            Self::Given { repeat, not_before, .. } => *not_before = now + repeat.delay,
            Self::Lines(_) => {}
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let name = format!("-f {}", path.display());
    match File::open(path) {
        Ok(file) => read_whole(file, &name),
        Err(error) => Err(Failure::error(format!("{name}: {error}"))),
    }
}

fn read_whole(source: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut octets = Vec::new();
    match source.take(MESSAGE_MAX as u64 + 1).read_to_end(&mut octets) {
        Ok(size) if size > MESSAGE_MAX => Err(Failure::error(format!("{name}: {}", too_long()))),
        Ok(_) => Ok(octets),
        Err(error) => Err(Failure::error(format!("{name}: {error}"))),
    }
}

/// Reads lines until they end, or nobody wants them, or one is too long.
fn read_lines(mut source: impl BufRead, lines: &SyncSender<io::Result<Vec<u8>>>, waker: &Waker) {
    while let Some(line) = read_line(&mut source).transpose() {
        let is_last = line.is_err();
        if lines.send(line).is_err() || waker.wake().is_err() || is_last {
            break;
        }
    }
}

/// A line without its end; the last one may have none.
fn read_line(source: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let size = source.take(MESSAGE_MAX as u64 + 1).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if size > MESSAGE_MAX {
        return Err(io::Error::other(too_long()));
    }
    Ok((size > 0).then_some(line))
}

fn stdin_error(error: io::Error) -> Failure {
    Failure::error(format!("standard input: {error}"))
}

fn too_long() -> String {
    format!("a message of more than {MESSAGE_MAX} octets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message_without_its_end() {
        let mut source = &b"a\n\nb\r\nlast"[..];
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut source).expect("memory can be read") {
            lines.push(line);
        }
        assert_eq!(lines, [&b"a"[..], b"", b"b\r", b"last"]);
    }

    #[test]
    fn a_line_without_end_is_not_read_forever() {
        assert!(read_line(&mut io::BufReader::new(io::repeat(b'x'))).is_err());
        let mut longest = vec![b'x'; MESSAGE_MAX];
        longest.push(b'\n');
        let line = read_line(&mut longest.as_slice()).expect("it is short enough");
        assert_eq!(line.map(|line| line.len()), Some(MESSAGE_MAX));
        assert!(read_whole(io::repeat(b'x'), "x").is_err());
    }

    #[test]
    fn a_message_is_given_as_often_as_asked_for_and_not_too_soon() {
        let second = Duration::from_secs(1);
        let repeat = Repeat { times: 2, delay: second };
        let mut source =
            Source::Given { payload: b"hi".to_vec(), repeat, not_before: Duration::ZERO };
        let mut next = |now, done| {
            let next = source.next(now);
            if done {
                source.done(now);
            }
            next
        };
        assert_eq!(next(Duration::ZERO, true), Ok(Next::Message(b"hi".to_vec())));
        assert_eq!(next(second / 2, false), Ok(Next::NotBefore(second)));
        assert_eq!(next(second, true), Ok(Next::Message(b"hi".to_vec())));
        assert_eq!(next(second * 2, false), Ok(Next::End));
    }
}
