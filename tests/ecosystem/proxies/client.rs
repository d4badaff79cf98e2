//! What curl says: an answer, or a stream as it comes.

use std::time::{Duration, Instant};

use hookrill_testing::Subprocess;

/// Longer than anything here takes on a slow day.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer, whole.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Reply {
    pub fn read(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        // A request with a body may have been answered with 100 first.
        if head.split(' ').nth(1) == Some("100") {
            return Self::read(body);
        }
        Some(Self {
            status: head.split(' ').nth(1)?.parse().ok()?,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut headers = head.lines().filter_map(|line| line.split_once(": "));
    headers
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim())
}

/// A stream, as curl prints it.
pub struct Subscriber {
    lines: Subprocess,
    pub head: String,
}

impl Subscriber {
    pub fn of(lines: Subprocess) -> Self {
        let head = String::new();
        Self { lines, head }
    }

    pub fn read_head(&mut self) {
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            self.head += &line.to_ascii_lowercase();
            self.head += "\n";
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    fn line(&self) -> String {
        let line = self.lines.next_line(Instant::now() + PATIENCE);
        line.trim_end().to_owned()
    }

    /// The next event that is not Hookrill's own: its data.
    pub fn event(&self) -> String {
        let mut own = false;
        loop {
            let line = self.line();
            match line.split_once(": ") {
                _ if line.is_empty() => own = false,
                Some(("event", name)) => {
                    assert_eq!(name, "hookrill.cursor");
                    own = true;
                }
                Some(("data", data)) if !own => return data.to_owned(),
                _ => {}
            }
        }
    }

    /// Waits for the gateway's first word, or the next heartbeat.
    pub fn cursor(&self) {
        while self.line() != "event: hookrill.cursor" {}
    }

    /// Everything that has come since the last look.
    pub fn so_far(&self) -> String {
        let lines = std::iter::from_fn(|| self.lines.try_next_line());
        lines.map(|line| line + "\n").collect()
    }
}
