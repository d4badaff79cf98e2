//! What an operator adds to a scheme.

use std::time::Duration;

use hookrill_core::Secret;
use http::Method;

use crate::{partition::Partition, scheme::Respond};

/// What an operator adds to a scheme: the secrets, and what the provider was
/// told.
///
/// ```
/// use hookrill_verify::Settings;
///
/// let settings = Settings::new(["the new secret", "the old one"])
///     .with_public_url("https://hooks.example.com");
/// # assert_eq!(settings.secrets.len(), 2);
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Settings {
    /// The secrets, at most [`SECRETS_MAX`](crate::SECRETS_MAX). Any of them
    /// may match, and the first one signs. Several let an operator rotate.
    pub secrets: Vec<Secret>,
    /// How far a signed timestamp may be off, in either direction, instead of
    /// what the scheme says. No effect on a scheme without a timestamp.
    pub tolerance: Option<Duration>,
    /// What stands in front of the path in the URL that the provider was given:
    /// `https://hooks.example.com`. Only schemes that sign the URL need it.
    pub public_url: Option<String>,
    /// The token that operator and provider agreed on for handshakes.
    pub verify_token: Option<Secret>,
    /// Which subtopic a delivery belongs to.
    pub partition: Option<Partition>,
    /// The answer on success, instead of what the scheme says.
    pub respond: Option<Respond>,
    /// Whether forms are not read as JSON.
    pub forms_as_text: bool,
    /// By which methods events come; none: by POST.
    pub methods: Vec<Method>,
}

impl Settings {
    /// Settings with these secrets and nothing else.
    pub fn new(secrets: impl IntoIterator<Item = impl Into<Secret>>) -> Self {
        Self {
            secrets: secrets.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// The same with [`Settings::tolerance`].
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = Some(tolerance);
        self
    }

    /// The same with [`Settings::public_url`].
    #[must_use]
    pub fn with_public_url(mut self, public_url: impl Into<String>) -> Self {
        self.public_url = Some(public_url.into());
        self
    }

    /// The same with [`Settings::verify_token`].
    #[must_use]
    pub fn with_verify_token(mut self, verify_token: impl Into<Secret>) -> Self {
        self.verify_token = Some(verify_token.into());
        self
    }

    /// The same with [`Settings::partition`].
    #[must_use]
    pub fn with_partition(mut self, partition: Partition) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The same with [`Settings::forms_as_text`].
    #[must_use]
    pub fn with_forms_as_text(mut self) -> Self {
        self.forms_as_text = true;
        self
    }

    /// The same with [`Settings::methods`].
    #[must_use]
    pub fn with_methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = methods.into_iter().collect();
        self
    }

    /// The same with [`Settings::respond`].
    #[must_use]
    pub fn with_respond(mut self, respond: Respond) -> Self {
        self.respond = Some(respond);
        self
    }
}
