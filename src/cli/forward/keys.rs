//! The keys of a run at a terminal: send the last one again, send those that failed, show
//! the last one.
//!
//! Reads nothing while another program has the terminal. Invariant: the terminal is left as
//! it was found, also by a panic.

use std::{
    convert::Infallible,
    future::pending,
    io::{self, IsTerminal as _, Stdin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use hookrill_core::printable;
use http::{HeaderMap, header::CONTENT_ENCODING};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Signal, getpgrp, getpid, kill_process},
    termios::{
        LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
    },
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::{Receiver, Sender, channel},
};

use super::{
    session::{Patience, Session},
    tally::{LastSent, body_shown},
};

/// How much of a body is shown, in bytes.
const BODY_BYTES_MAX: usize = 4096;
/// The most characters of a header's value that are shown.
const VALUE_CHARS_MAX: usize = 400;
/// How often the thread that reads looks whether it is to end.
const LOOK_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};
/// So many keys are kept that nobody has acted upon.
const KEYS_MAX: usize = 8;

/// A keyboard of which each key is read at once, and not shown.
struct Keyboard {
    before: Termios,
    keys: Receiver<u8>,
    /// Ends the thread that reads.
    is_closed: Arc<AtomicBool>,
}

impl Keyboard {
    /// `None` where stdin is no terminal, or this is in the background.
    fn open() -> Option<Self> {
        let stdin = io::stdin();
        if !stdin.is_terminal() || !is_in_foreground(&stdin) {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let is_closed = Arc::new(AtomicBool::new(false));
        let (sender, keys) = channel(KEYS_MAX);
        let thread_closed = Arc::clone(&is_closed);
        thread::Builder::new()
            .spawn(move || read_keys(&sender, &thread_closed))
            .ok()?;
        let keyboard = Self {
            before,
            keys,
            is_closed,
        };
        keyboard.take();
        Some(keyboard)
    }

    /// Ctrl-C stays a signal, and lines that are printed stay lines.
    fn take(&self) {
        let mut modes = self.before.clone();
        modes
            .local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        set(&modes);
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::Relaxed);
        set(&self.before);
    }
}

fn set(modes: &Termios) {
    let stdin = io::stdin();
    if is_in_foreground(&stdin) {
        _ = tcsetattr(&stdin, OptionalActions::Now, modes);
    }
}

/// Reads keys, until the keyboard is closed or gone. A thread, since a terminal can be
/// waited for without blocking only where everybody who shares it agrees.
fn read_keys(sender: &Sender<u8>, is_closed: &AtomicBool) {
    let stdin = io::stdin();
    while !is_closed.load(Ordering::Relaxed) {
        let mut waited = [PollFd::new(&stdin, PollFlags::IN)];
        let found = poll(&mut waited, Some(&LOOK_INTERVAL));
        if !found.is_ok_and(|count| count > 0) {
            continue;
        }
        if !is_in_foreground(&stdin) {
            // What is typed is for another program.
            _ = poll(&mut [], Some(&LOOK_INTERVAL));
            continue;
        }
        let mut key = [0];
        match rustix::io::read(&stdin, &mut key) {
            // Of more keys than can be kept, some are dropped.
            Ok(1) => _ = sender.try_send(key[0]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            _ => return,
        }
    }
}

/// Whoever is in the background is stopped by touching the terminal.
fn is_in_foreground(stdin: &Stdin) -> bool {
    tcgetpgrp(stdin).is_ok_and(|group| group == getpgrp())
}

/// Does what keys ask for, as long as there is a keyboard.
pub(super) async fn serve(session: &Session) -> anyhow::Result<Infallible> {
    let keyboard = Keyboard::open().filter(|_| io::stdout().is_terminal());
    let Some(mut keyboard) = keyboard else {
        return pending().await;
    };
    session.screen.borrow_mut().status(
        "Keys: r sends the last one again, f those that failed, i shows the last one; Ctrl-C ends",
    );
    // A shell finds the terminal as it was, and may leave it otherwise.
    let of_terminal = |own: Signal| signal(SignalKind::from_raw(own.as_raw()));
    let mut stopped = of_terminal(Signal::TSTP)?;
    let mut continued = of_terminal(Signal::CONT)?;
    loop {
        let key = tokio::select! {
            key = keyboard.keys.recv() => key,
            _ = stopped.recv() => {
                set(&keyboard.before);
                kill_process(getpid(), Signal::STOP)?;
                continue;
            }
            _ = continued.recv() => {
                keyboard.take();
                continue;
            }
        };
        match key {
            None => return pending().await,
            Some(b'r') => send_last(session).await?,
            Some(b'f') => send_failed(session).await?,
            Some(b'i') => show_last(session)?,
            _ => {}
        }
    }
}

async fn send_last(session: &Session) -> anyhow::Result<()> {
    let last = session.tally.borrow().last.as_ref().map(|last| {
        let LastSent { app, delivery, .. } = last;
        (*app, Rc::clone(delivery))
    });
    let Some((app, delivery)) = last else {
        session.status("nothing was sent yet");
        return Ok(());
    };
    session.deliver(app, &delivery, Patience::Once).await?;
    Ok(())
}

async fn send_failed(session: &Session) -> anyhow::Result<()> {
    let failed = session.tally.borrow().failed_ids();
    if failed.is_empty() {
        session.status("none has failed");
    }
    for (id, app) in failed {
        if let Some(delivery) = session.fetched(&id, Patience::Once).await? {
            session.deliver(app, &delivery, Patience::Once).await?;
        }
    }
    Ok(())
}

fn show_last(session: &Session) -> anyhow::Result<()> {
    let page = session.tally.borrow().last.as_ref().map(page);
    match page {
        Some(page) => session.screen.borrow_mut().page(&page),
        None => {
            session.status("nothing was sent yet");
            Ok(())
        }
    }
}

/// Request and answer, for people.
fn page(last: &LastSent) -> String {
    let request = &last.request;
    let path = printable(&request.path_and_query, VALUE_CHARS_MAX);
    let mut text = format!("\n{} {path}\n{}", request.method, headers(&request.headers));
    text.push_str(&format!("\n{}\n", body(&request.headers, &request.body)));
    match &last.answer {
        None => text.push_str("\nno answer\n"),
        Some(answer) => {
            text.push_str(&format!(
                "\n→ {}\n{}",
                answer.status,
                headers(&answer.headers)
            ));
            let more = if answer.is_whole { "" } else { "\n…" };
            text.push_str(&format!(
                "\n{}{more}\n",
                body(&answer.headers, &answer.body)
            ));
        }
    }
    text.push('\n');
    text
}

fn headers(headers: &HeaderMap) -> String {
    let lines = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        format!("{name}: {}\n", printable(&value, VALUE_CHARS_MAX))
    });
    lines.collect()
}

fn body(headers: &HeaderMap, body: &bytes::Bytes) -> String {
    if headers.contains_key(CONTENT_ENCODING) {
        return format!("({} bytes, encoded)", body.len());
    }
    body_shown(body, BODY_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{delivery::tests::stored, outgoing::Outgoing, target::Target},
        *,
    };

    #[test]
    fn a_page_shows_the_request_and_nothing_that_a_terminal_acts_upon() {
        let delivery = Rc::new(stored(serde_json::json!({
            "headers": [["x-a", "\u{1b}[2J\u{9b}1"]], "target": "/\u{9b}2J",
        })));
        let request = Outgoing::new(&delivery, &Target::parse("3000/hooks").unwrap());
        let page = page(&LastSent {
            app: 0,
            delivery,
            request,
            answer: None,
        });
        assert!(
            !page.contains(|c: char| c.is_control() && c != '\n'),
            "{page:?}"
        );
        assert!(page.starts_with("\nPOST /hooks/"), "{page}");
        assert!(page.ends_with("\n\n{}\n\nno answer\n\n"), "{page}");
    }
}
