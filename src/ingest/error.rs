//! Why a delivery was refused, or could not be stored.

use hookrill_core::{Topic, TopicError};
use hookrill_verify::VerifyError;
use tokio::task::JoinError;

use crate::{journal::AppendError, rate::RateLimited};

/// Why a delivery was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The path does not name a topic.
    #[error("the URL does not end in a topic, as in /ingest/<topic>")]
    Topic(#[from] TopicError),
    /// No section of the configuration covers the topic.
    #[error(
        "no topic {0} is configured; write a section for it, or correct the topic in the sender's \
         URL"
    )]
    Unconfigured(Topic),
    /// The topic is below one whose deliveries name their subtopic themselves.
    #[error(
        "{0} accepts no deliveries: its section has a `partition`, so they go to the section's \
         own topic"
    )]
    BelowPartition(Topic),
    /// The topic's section lists who may send, and not this sender.
    #[error(
        "{0}: `allow_from` does not list the sender's address; behind a proxy, \
         `server.trusted_proxies` has to list that"
    )]
    AddressNotAllowed(Topic),
    /// The delivery did not verify.
    #[error("{topic}: signature verification failed")]
    Unverified {
        /// The topic that it was sent to.
        topic: Topic,
        /// What did not verify.
        source: VerifyError,
    },
    /// A provider sent a secret to a topic that does not accept one.
    #[error("{0}: the provider sent a secret, which only a topic with its own section accepts")]
    SecretNotAccepted(Topic),
    /// A provider's secret could not be stored.
    #[error("{topic}: the provider's secret could not be stored")]
    SecretNotStored {
        /// The topic that it was sent to.
        topic: Topic,
        /// Why not.
        source: std::io::Error,
    },
    /// The topic's section has a rate limit, and this is beyond it.
    #[error("{topic}: too many deliveries")]
    RateLimited {
        /// The topic that it was sent to.
        topic: Topic,
        /// When the next one fits.
        #[source]
        limited: RateLimited,
    },
    /// The process is stopping, or a bug ended the task.
    #[error("verification did not finish")]
    Interrupted(#[from] JoinError),
    /// The journal did not store it.
    #[error(transparent)]
    Journal(#[from] AppendError),
}

impl IngestError {
    /// Whether it was refused before a key was tried on its body.
    pub(super) fn is_before_mac(&self) -> bool {
        match self {
            Self::Topic(_)
            | Self::Unconfigured(_)
            | Self::BelowPartition(_)
            | Self::AddressNotAllowed(_) => true,
            // Tried, and only then compared.
            Self::Unverified { source, .. } => {
                !matches!(source, VerifyError::Mismatch | VerifyError::Stale { .. })
            }
            Self::SecretNotAccepted(_)
            | Self::SecretNotStored { .. }
            | Self::RateLimited { .. }
            | Self::Interrupted(_)
            | Self::Journal(_) => false,
        }
    }

    /// Whether it has nothing to do with the delivery, and passes.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::SecretNotStored { .. }
            | Self::Interrupted(_)
            | Self::Journal(_) => true,
            Self::Topic(_)
            | Self::Unconfigured(_)
            | Self::BelowPartition(_)
            | Self::AddressNotAllowed(_)
            | Self::Unverified { .. }
            | Self::SecretNotAccepted(_) => false,
        }
    }

    /// The reason as a metric's label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Topic(_) => "topic_malformed",
            Self::Unconfigured(_) => "topic_unknown",
            Self::BelowPartition(_) => "topic_below_partition",
            Self::AddressNotAllowed(_) => "address",
            Self::Unverified { source, .. } => source.reason(),
            Self::SecretNotAccepted(_) => "secret_not_accepted",
            Self::SecretNotStored { .. } => "secret_not_stored",
            Self::RateLimited { .. } => "rate_topic",
            Self::Interrupted(_) => "interrupted",
            Self::Journal(AppendError::NoRoom { .. }) => "journal_no_room",
            Self::Journal(AppendError::Scarce(_)) => "journal_scarce",
            Self::Journal(AppendError::Stalled { .. }) => "journal_stalled",
            Self::Journal(AppendError::Closed) => "journal_closed",
            Self::Journal(AppendError::Failed(_)) => "journal_failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a key was tried on a body or it is hashed for nothing: it is read once.
    #[test]
    fn a_refusal_takes_as_long_whether_there_is_such_a_topic_or_not() {
        let topic: Topic = "a.b".parse().unwrap();
        let unverified = |source| IngestError::Unverified {
            topic: topic.clone(),
            source,
        };
        let malformed = IngestError::Topic("a..b".parse::<Topic>().unwrap_err());
        for (error, is_before_mac) in [
            (malformed, true),
            (IngestError::Unconfigured(topic.clone()), true),
            (IngestError::BelowPartition(topic.clone()), true),
            (unverified(VerifyError::MethodNotTaken), true),
            (unverified(VerifyError::SecretPending), true),
            (unverified(VerifyError::Mismatch), false),
        ] {
            assert_eq!(error.is_before_mac(), is_before_mac, "{error}");
        }
    }
}
