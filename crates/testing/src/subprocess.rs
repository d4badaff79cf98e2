//! Programs of which every line of output is wanted.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Instant,
};

/// Lines kept for the test before the program has to wait.
const LINES_MAX: usize = 1 << 16;

/// A program whose standard output is read line by line. It ends with this.
pub struct Subprocess {
    name: String,
    child: Child,
    lines: Receiver<String>,
}

impl Subprocess {
    /// Starts a program.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} can't be started: {error}"));
        let output = child.stdout.take().expect("it is piped");
        let (sender, lines) = sync_channel(LINES_MAX);
        thread::spawn(move || send_lines(output, &sender));
        Self {
            name: name.to_owned(),
            child,
            lines,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line, waited for until `deadline`.
    pub fn next_line(&self, deadline: Instant) -> String {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("{} prints nothing in time", self.name),
            Err(RecvTimeoutError::Disconnected) => panic!("{} has ended", self.name),
        }
    }

    /// All lines up to the program's own end, waited for until `deadline`.
    #[must_use]
    pub fn remaining_lines(&self, deadline: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return lines,
                Err(RecvTimeoutError::Timeout) => panic!("{} does not end in time", self.name),
            }
        }
    }

    /// The next line, if it is there already.
    #[must_use]
    pub fn try_next_line(&self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Sends the program an empty line, on which it goes on.
    pub fn send_newline(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin.write_all(b"\n").expect("the program reads");
    }
}

fn send_lines(output: ChildStdout, sender: &SyncSender<String>) {
    for line in BufReader::new(output).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line).into_owned();
        if sender.send(line).is_err() {
            return;
        }
    }
}

impl Drop for Subprocess {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
