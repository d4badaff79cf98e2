//! Programs of others, run unprivileged and ended with all that they started.

use std::{
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, getuid, kill_process_group};

/// Whom root becomes before it starts a proxy or a browser: `nobody`.
const NOBODY: u32 = 65_534;

/// Lets a program that root starts be nobody's, with this folder as its own.
pub(crate) fn unprivileged(command: &mut Command, folder: &Path) {
    command.current_dir(folder).env("HOME", folder);
    for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"] {
        command.env_remove(name);
    }
    if getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
}

/// Lets the folder or file be that of unprivileged programs.
pub(crate) fn give_to_nobody(path: &Path) {
    if getuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
    }
}

/// A program with all that it has started.
pub(crate) struct Group(Child);

impl Group {
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_owned();
        let started = command.process_group(0).spawn();
        Self(started.unwrap_or_else(|error| panic!("{}: {error}", name.display())))
    }

    /// As [`Group::start`], and what it writes, which is piped.
    pub(crate) fn start_with_output(command: &mut Command) -> (Self, ChildStdout) {
        let mut group = Self::start(command.stdout(Stdio::piped()));
        let out = group.0.stdout.take().expect("it is piped");
        (group, out)
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        _ = self.0.wait();
    }
}
