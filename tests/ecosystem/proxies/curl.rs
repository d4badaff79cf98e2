//! Responses and streams, as curl prints them.

use std::{cell::RefCell, time::Instant};

use hookrill_client::sse::SseReader;
use hookrill_testing::{Message, Subprocess, WAIT_MAX};

/// What curl writes last, with its exit code behind it.
const EXIT_CODE: &str = "exit code ";
/// How it is told to.
pub(crate) const SHOW_EXIT_CODE: [&str; 2] = ["--write-out", "\nexit code %{exitcode}\n"];

/// A stream, as curl prints it.
pub(crate) struct CurlStream {
    curl: Subprocess,
    pub head: String,
    reader: RefCell<SseReader>,
}

impl CurlStream {
    pub(crate) fn new(curl: Subprocess) -> Self {
        Self {
            curl,
            head: String::new(),
            reader: RefCell::default(),
        }
    }

    pub(crate) fn read_head(&mut self) {
        loop {
            let line = self.line();
            if line.trim_end().is_empty() {
                break;
            }
            self.head += &line.to_ascii_lowercase();
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = headers.find(|(key, _)| *key == name);
        found.map(|(_, value)| value.trim())
    }

    fn line(&self) -> String {
        self.curl.next_line(Instant::now() + WAIT_MAX) + "\n"
    }

    fn next(&self) -> Message {
        loop {
            let line = self.line();
            let mut reader = self.reader.borrow_mut();
            if let Some(event) = reader.next(&mut line.as_bytes()).unwrap() {
                return event.into();
            }
        }
    }

    /// The data of the next event that is not a cursor.
    pub(crate) fn event(&self) -> String {
        loop {
            let message = self.next();
            if message.name == "message" {
                return message.data;
            }
            assert_eq!(message.name, "hookrill.cursor");
        }
    }

    /// Waits for the opening cursor, or for the next heartbeat.
    pub(crate) fn cursor(&self) {
        while self.next().name != "hookrill.cursor" {}
    }

    /// With what curl ends, by what it was told to write then.
    pub(crate) fn exit_code(&self) -> u32 {
        loop {
            if let Some(code) = self.line().strip_prefix(EXIT_CODE) {
                return code.trim().parse().unwrap();
            }
        }
    }

    /// All lines that have come and were not read yet.
    pub(crate) fn unread(&self) -> Vec<String> {
        std::iter::from_fn(|| self.curl.try_next_line()).collect()
    }
}
