//! The keys of a run at a terminal.

use std::{
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::Child,
    sync::{Arc, Mutex},
};

use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

use super::*;

/// A program at a terminal of its own.
struct AtTerminal {
    child: Child,
    keyboard: File,
    terminal: File,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl AtTerminal {
    /// By `setsid`, since only the leader of a session has a terminal.
    fn start(command: &Command) -> Self {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let terminal = File::options().read(true).write(true).open(path).unwrap();
        let size = Winsize {
            ws_row: 40,
            ws_col: 120,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).unwrap();
        let clone = || terminal.try_clone().unwrap();
        let mut setsid = Command::new("setsid");
        setsid
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args());
        setsid
            .current_dir(command.get_current_dir().unwrap())
            .env("TERM", "xterm");
        setsid.stdin(clone()).stdout(clone()).stderr(clone());
        let child = setsid.spawn().unwrap();
        let keyboard = File::from(master);
        let mut screen = keyboard.try_clone().unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let shown_too = Arc::clone(&shown);
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut piece) {
                shown_too.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        });
        Self {
            child,
            keyboard,
            terminal,
            shown,
        }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    fn wait_until_it_shows(&self, words: &str, times: usize) {
        let deadline = Instant::now() + WAIT_MAX;
        while self.shown().matches(words).count() < times {
            assert!(
                Instant::now() < deadline,
                "no {words:?} in {}",
                self.shown()
            );
            thread::park_timeout(POLL_INTERVAL);
        }
    }

    fn press(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    /// Whether lines are edited and keys are shown.
    fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.terminal).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Lets the program go on that was stopped, once it is.
    fn go_on(&self) {
        let setsid = self.child.id();
        let children = format!("/proc/{setsid}/task/{setsid}/children");
        let children = fs::read_to_string(children).unwrap();
        // Without a child it is the program itself.
        let id = children.trim().parse().unwrap_or(setsid);
        let deadline = Instant::now() + WAIT_MAX;
        while !fs::read_to_string(format!("/proc/{id}/stat"))
            .unwrap()
            .contains(") T ")
        {
            assert!(Instant::now() < deadline, "it does not stop");
            thread::park_timeout(POLL_INTERVAL);
        }
        kill_process(Pid::from_raw(id.cast_signed()).unwrap(), Signal::CONT).unwrap();
    }

    fn wait_until_cooked(&self, expected: bool) {
        let deadline = Instant::now() + WAIT_MAX;
        while self.is_cooked() != expected {
            assert!(Instant::now() < deadline, "{}", self.shown());
            thread::park_timeout(POLL_INTERVAL);
        }
    }
}

impl Drop for AtTerminal {
    fn drop(&mut self) {
        _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn keys_send_again_and_show_and_the_terminal_is_left_as_it_was() {
    let folder = folder();
    let hostile = json!({"type": "\u{1b}]0;owned\u{7}", "headers": [["x-a", "\u{9b}31m"]]});
    let body = delivery(1, hostile.clone()).to_string();
    let length = body.len();
    let gateway = FakeGateway::start(move |number| match number {
        1 => Reply::Stream([opening(0), event(1, hostile.clone())].concat()),
        _ => Reply::Bytes(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        )),
    });
    let app = FakeApp::start(|stream, number| {
        let status = if number < 4 { "500 Oh" } else { "201 Created" };
        app::reply(stream, status, "X-Answer: yes", "oh\u{1b}[2J");
    });
    let mut command = command(folder.path(), &["forward", "orders", &app.port()]);
    command.args(["--url", &gateway.url(), "--token", "t"]);
    let mut terminal = AtTerminal::start(&command);
    terminal.wait_until_it_shows("Keys: r sends the last one again", 1);
    terminal.wait_until_it_shows("500", 1);
    assert!(!terminal.is_cooked());
    terminal.press(b"r");
    terminal.wait_until_it_shows("500", 2);
    terminal.press(b"f");
    terminal.wait_until_it_shows("500", 3);
    terminal.press(b"r");
    terminal.wait_until_it_shows("201", 1);
    terminal.press(b"i");
    terminal.wait_until_it_shows("x-answer: yes", 1);
    terminal.press(b"f");
    terminal.wait_until_it_shows("none has failed", 1);
    // Ctrl-Z leaves the terminal to a shell, and it is taken again after that.
    terminal.press(&[26]);
    terminal.wait_until_cooked(true);
    terminal.go_on();
    terminal.wait_until_cooked(false);
    // As Ctrl-C does at a terminal.
    terminal.press(&[3]);
    terminal.wait_until_it_shows("Go on:", 1);
    assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
    terminal.wait_until_cooked(true);
    let shown = terminal.shown().replace("\r\u{1b}[K", "");
    assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{shown:?}");
    assert!(shown.contains("1 delivered, 3 failed"), "{shown}");
}

#[test]
fn a_backlog_shows_how_much_of_it_is_sent_and_a_wait_how_long_it_is() {
    let folder = folder();
    let events: String = (1..=9)
        .map(|number| {
            event(
                number,
                json!({"time": format!("2026-11-2{number}T12:00:00.000Z")}),
            )
        })
        .collect();
    let gateway = FakeGateway::streaming([opening(0), events, live(9)].concat());
    let address = hookrill_testing::free_address();
    let target = address.to_string();
    let mut command = command(
        folder.path(),
        &["forward", "orders", &target, "--last", "9"],
    );
    command.args(["--url", &gateway.url(), "--token", "t"]);
    let terminal = AtTerminal::start(&command);
    let waits = format!("\r\u{1b}[Kwaiting for {target}: less than 1 s");
    terminal.wait_until_it_shows(&waits, 2);
    assert_eq!(terminal.shown().matches("nothing listens at").count(), 1);
    let _app = FakeApp::at(address, |stream, _| {
        app::answer(stream, "200 OK", "Content-Length: 0", "");
    });
    terminal.wait_until_it_shows("1 sent", 1);
    terminal.wait_until_it_shows("e-9", 1);
    let shown = terminal.shown();
    assert!(
        shown.contains("[===                           ]  11 %"),
        "{shown}"
    );
    assert!(shown.contains(" late)"), "{shown}");
}
