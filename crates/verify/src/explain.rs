//! Says step by step how a delivery proves, or where it fails.
//!
//! Follows the proof itself, so that it cannot tell another story.

use super::{delivery::Outcome, error::VerifyError};

/// How a delivery was proven, or where and why it was not. Holds no secret.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The steps taken, in order; of a refusal, the last one failed.
    pub steps: Vec<ExplanationStep>,
    /// Which secret matched, from 0.
    pub secret_index: Option<usize>,
    /// What came of it.
    pub outcome: Result<Outcome, VerifyError>,
    /// What to try, where something is known to help. May hold header names
    /// that the sender chose: printable ASCII only.
    pub hint: Option<String>,
}

/// One step of a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplanationStep {
    /// What was looked at: `signature`.
    pub name: &'static str,
    /// Whether it went well.
    pub passed: bool,
    /// What was found there, or why it failed. May hold text that the sender
    /// chose: printable ASCII only.
    pub detail: String,
}

/// Listens to a proof; deaf, unless somebody asked.
#[derive(Default)]
pub(super) struct Trace {
    listening: bool,
    current: &'static str,
    steps: Vec<ExplanationStep>,
    secret_index: Option<usize>,
}

impl Trace {
    /// Keeps nothing.
    pub(super) fn deaf() -> Self {
        Self::default()
    }

    /// Keeps each step.
    pub(super) fn listening() -> Self {
        Self {
            listening: true,
            ..Self::default()
        }
    }

    /// A step begins.
    pub(super) fn at(&mut self, name: &'static str) {
        self.current = name;
    }

    /// The step went well.
    pub(super) fn found(&mut self, detail: impl FnOnce() -> String) {
        if self.listening {
            self.push(true, detail());
        }
    }

    /// The step went well, and this secret matched.
    pub(super) fn matched(&mut self, index: usize) {
        self.secret_index = Some(index);
        self.found(|| format!("number {} matches", index + 1));
    }

    /// Ends with what came of it.
    pub(super) fn conclude(
        mut self,
        outcome: Result<Outcome, VerifyError>,
        hint: Option<String>,
    ) -> Explanation {
        if let Err(why) = &outcome {
            self.push(false, why.to_string());
        }
        Explanation {
            steps: self.steps,
            secret_index: self.secret_index,
            outcome,
            hint,
        }
    }

    fn push(&mut self, passed: bool, detail: String) {
        self.steps.push(ExplanationStep {
            name: self.current,
            passed,
            detail,
        });
    }
}
