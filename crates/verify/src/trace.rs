//! The steps of one verification, recorded for whoever asks for an explanation.
//!
//! Follows the verification itself, so that an explanation cannot disagree
//! with it. Disabled, it allocates nothing.

/// One step of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExplanationStep {
    /// What was looked at: `signature`.
    pub name: &'static str,
    /// Whether it went well.
    pub passed: bool,
    /// What was found there, or why it failed. May hold text that the sender
    /// chose: printable ASCII only.
    pub detail: String,
}

/// Records the steps of one verification, if enabled.
#[derive(Default)]
pub(crate) struct Trace {
    enabled: bool,
    current: &'static str,
    steps: Vec<ExplanationStep>,
    secret_index: Option<usize>,
}

impl Trace {
    /// Records nothing.
    pub(crate) fn disabled() -> Self {
        Self::default()
    }

    /// Records each step.
    pub(crate) fn enabled() -> Self {
        Self {
            enabled: true,
            ..Self::default()
        }
    }

    /// One that records what this one does, for an attempt that may come to nothing.
    pub(crate) fn attempt(&self) -> Self {
        Self {
            enabled: self.enabled,
            ..Self::default()
        }
    }

    /// The attempt counts: its steps follow.
    pub(crate) fn adopt(&mut self, attempt: Self) {
        self.current = attempt.current;
        self.steps.extend(attempt.steps);
        self.secret_index = attempt.secret_index;
    }

    /// A step begins.
    pub(crate) fn begin(&mut self, name: &'static str) {
        self.current = name;
    }

    /// The step went well.
    pub(crate) fn passed(&mut self, detail: impl FnOnce() -> String) {
        if self.enabled {
            self.push(true, detail());
        }
    }

    /// The step went well, and this secret matched.
    pub(crate) fn matched(&mut self, index: usize) {
        self.secret_index = Some(index);
        self.passed(|| format!("number {} matches", index + 1));
    }

    /// The step failed.
    pub(crate) fn failed(&mut self, detail: String) {
        self.push(false, detail);
    }

    /// The steps, and which secret matched, from 0.
    pub(crate) fn into_parts(self) -> (Vec<ExplanationStep>, Option<usize>) {
        (self.steps, self.secret_index)
    }

    fn push(&mut self, passed: bool, detail: String) {
        debug_assert!(!self.current.is_empty(), "a step has begun");
        self.steps.push(ExplanationStep {
            name: self.current,
            passed,
            detail,
        });
    }
}
