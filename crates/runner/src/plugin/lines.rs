//! The lines that a plugin writes to stdout, as far as its limits go. What it writes is read no faster than it is wanted.

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// Reads lines.
pub(super) struct Lines<R> {
    from: BufReader<R>,
    /// The line so far.
    partial: Vec<u8>,
    /// The number of the last line that was read, from 1.
    number: u64,
    /// Bytes since the last request.
    written: usize,
    longest: usize,
    most: usize,
}

/// What is next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A line, without its end.
    Line(Vec<u8>),
    /// There is nothing more: the plugin has ended, or closed its stdout.
    End,
    /// The line is longer than allowed.
    TooLong,
    /// There is more than allowed.
    TooMuch,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Lines of at most `longest` bytes, and at most `most` for a request.
    pub(super) fn new(from: R, longest: usize, most: usize) -> Self {
        Self {
            from: BufReader::new(from),
            partial: Vec::new(),
            number: 0,
            written: 0,
            longest,
            most,
        }
    }

    /// The number of the last line that was read, or of the one that is too long.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// A new request: what was written before no longer counts.
    pub(super) fn begin(&mut self) {
        self.written = 0;
    }

    /// The next line. Nothing is lost when this is dropped half-way.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            let Ok(buffer) = self.from.fill_buf().await else {
                return Next::End;
            };
            if buffer.is_empty() {
                // A last line without an end is cut off, so that it is no line.
                return Next::End;
            }
            let (taken, is_whole) = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end, true),
                None => (buffer.len(), false),
            };
            let fits = self.partial.len() + taken <= self.longest;
            if fits {
                self.partial.extend_from_slice(&buffer[..taken]);
            }
            let consumed = taken + usize::from(is_whole);
            self.from.consume(consumed);
            self.written += consumed;
            if !fits {
                self.number += 1;
                return Next::TooLong;
            }
            if self.written > self.most {
                self.number += u64::from(is_whole);
                return Next::TooMuch;
            }
            if is_whole {
                self.number += 1;
                return Next::Line(std::mem::take(&mut self.partial));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(text: &[u8], longest: usize, most: usize) -> (Vec<Next>, u64) {
        let mut lines = Lines::new(text, longest, most);
        let mut found = Vec::new();
        loop {
            let next = lines.next().await;
            let goes_on = matches!(next, Next::Line(_));
            found.push(next);
            if !goes_on {
                return (found, lines.number());
            }
        }
    }

    fn line(text: &str) -> Next {
        Next::Line(text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn lines_are_read_up_to_their_limits() {
        let cases: [(&str, usize, usize, Vec<Next>, u64); 5] = [
            ("a\nbc\n", 2, 9, vec![line("a"), line("bc"), Next::End], 2),
            ("a\nbcd\n", 2, 9, vec![line("a"), Next::TooLong], 2),
            (
                "a\nb\nc\n",
                2,
                4,
                vec![line("a"), line("b"), Next::TooMuch],
                3,
            ),
            // What has no end was cut off.
            ("a\nb", 2, 9, vec![line("a"), Next::End], 1),
            ("", 2, 9, vec![Next::End], 0),
        ];
        for (text, longest, most, found, number) in cases {
            assert_eq!(
                all(text.as_bytes(), longest, most).await,
                (found, number),
                "{text:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_flood_without_a_line_is_not_kept() {
        let flood = vec![b'x'; 1 << 20];
        assert_eq!(all(&flood, 100, 1 << 30).await, (vec![Next::TooLong], 1));
    }
}
