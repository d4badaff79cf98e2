//! What a process writes, kept for whoever waits for a line.

use std::{
    io::{BufRead as _, BufReader, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Beyond so many bytes the older half is forgotten.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// A log that grows line by line. Invariant: whoever writes never waits.
#[derive(Default)]
pub(crate) struct Log {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    text: String,
    ended: bool,
}

impl Log {
    /// Reads to the end of `output`, on a thread of its own.
    pub(crate) fn of(output: impl Read + Send + 'static) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n') {
                let Ok(line) = line else { break };
                writer.push(&String::from_utf8_lossy(&line));
            }
            writer.lock().ended = true;
            writer.changed.notify_all();
        });
        log
    }

    fn push(&self, line: &str) {
        let mut state = self.lock();
        if state.text.len() > KEPT_BYTES_MAX {
            let half = state.text.len() / 2;
            let cut = state.text[..half].rfind('\n').map_or(0, |at| at + 1);
            state.text.drain(..cut);
        }
        state.text += line;
        state.text.push('\n');
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the words are there so often; says whether they are.
    pub(crate) fn wait_for(&self, words: &str, times: usize, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if state.text.matches(words).count() >= times {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the end of the output, which comes with that of the process.
    pub(crate) fn wait_for_end(&self, patience: Duration) {
        let state = self.lock();
        _ = self
            .changed
            .wait_timeout_while(state, patience, |state| !state.ended);
    }

    /// All that was written so far.
    pub(crate) fn text(&self) -> String {
        self.lock().text.clone()
    }
}
