//! What one address may do: how often it may ask, and how many streams it may
//! have open.
//!
//! Looks at nothing of a request but whom it is from, before its body is read
//! and its token looked at, so that a refusal is cheap and says nothing about
//! topics. Where the server does not know the address (one that only takes a
//! router may not say), there is nothing to count by, and no limit applies.
//! Invariant: what is remembered of addresses is bounded, whoever they are.

mod buckets;
mod connections;
mod stream_slots;

use std::net::{IpAddr, Ipv4Addr};

use super::Gateway;
use crate::rate::{Rate, RateLimited};
use buckets::Buckets;
pub(super) use connections::ConnectionPermit;
pub(super) use stream_slots::{StreamSlot, StreamSlots};

/// What one address may do; `None` is as much as it likes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressLimits {
    /// How often it may come to ingest.
    pub ingest_rate_per_address_max: Option<Rate>,
    /// How often it may ask for a stream.
    pub subscribe_rate_per_address_max: Option<Rate>,
    /// How many streams it may have open.
    pub subscribers_per_address_max: Option<usize>,
}

/// The settings, and how far each address has used them up. The count of open
/// streams is apart, in [`StreamSlots`], since it holds whatever the settings are.
pub(super) struct Limits {
    ingest: Option<Buckets>,
    subscribe: Option<Buckets>,
    subscribers_max: Option<usize>,
}

impl Limits {
    pub(super) fn new(settings: &AddressLimits) -> Self {
        Self {
            ingest: settings.ingest_rate_per_address_max.map(Buckets::new),
            subscribe: settings.subscribe_rate_per_address_max.map(Buckets::new),
            subscribers_max: settings.subscribers_per_address_max,
        }
    }
}

/// Who is counted: an IPv4 address, or the /64 that an IPv6 address is in,
/// since whoever has one of those has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Address {
    V4(Ipv4Addr),
    V6Net([u8; 8]),
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6Net([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// What an address has too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LimitExceeded {
    /// Requests.
    Rate(RateLimited),
    /// Open streams.
    Subscribers,
}

impl LimitExceeded {
    /// The reason as a metric's label.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Rate(_) => "rate_address",
            Self::Subscribers => "subscribers_per_address_max",
        }
    }
}

impl Gateway {
    /// Counts a request to ingest.
    ///
    /// # Errors
    ///
    /// [`LimitExceeded`] where its address comes too often; counted and logged.
    pub(super) fn admit_to_ingest(&self, client: Option<IpAddr>) -> Result<(), LimitExceeded> {
        let admitted = self.within_rate(self.limits.load().ingest.as_ref(), client);
        admitted.inspect_err(|over| {
            self.telemetry.ingest_refused(over.reason());
            self.log_over_limit(*over, client);
        })
    }

    /// Counts a request for a stream.
    ///
    /// # Errors
    ///
    /// [`LimitExceeded`] where its address comes too often, or has as many streams
    /// as it may already; counted and logged.
    pub(super) fn admit_to_events(&self, client: Option<IpAddr>) -> Result<(), LimitExceeded> {
        let has_room = |client: IpAddr| {
            let max = self.limits.load().subscribers_max;
            self.stream_slots.has_room(client.into(), max)
        };
        let admitted = self.within_rate(self.limits.load().subscribe.as_ref(), client);
        let admitted = admitted.and_then(|()| match client.is_none_or(has_room) {
            true => Ok(()),
            false => Err(LimitExceeded::Subscribers),
        });
        admitted.inspect_err(|over| self.refused_at_events(*over, client))
    }

    /// Takes the place of a stream among those of its address; `None` where
    /// the address is not known. Only what was allowed to open takes one, or
    /// others behind the same address could be kept out without a token.
    ///
    /// # Errors
    ///
    /// [`LimitExceeded`] where others have taken the last ones in the meantime.
    pub(super) fn take_stream_slot(
        &self,
        client: Option<IpAddr>,
    ) -> Result<Option<StreamSlot>, LimitExceeded> {
        let Some(address) = client else {
            return Ok(None);
        };
        let max = self.limits.load().subscribers_max;
        let seat = self.stream_slots.take(address.into(), max);
        let seat = seat.ok_or(LimitExceeded::Subscribers);
        seat.map(Some)
            .inspect_err(|over| self.refused_at_events(*over, client))
    }

    fn within_rate(
        &self,
        buckets: Option<&Buckets>,
        client: Option<IpAddr>,
    ) -> Result<(), LimitExceeded> {
        let (Some(buckets), Some(client)) = (buckets, client) else {
            return Ok(());
        };
        let taken = buckets.take(client.into(), self.clock.now());
        taken.map_err(LimitExceeded::Rate)
    }

    fn refused_at_events(&self, over: LimitExceeded, client: Option<IpAddr>) {
        self.telemetry.subscribe_refused(over.reason());
        self.log_over_limit(over, client);
    }

    fn log_over_limit(&self, over: LimitExceeded, client: Option<IpAddr>) {
        if self.log_budget.take(self.clock.now()) {
            let client = client.map(tracing::field::display);
            tracing::info!(client, reason = over.reason(), "over a limit");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_client_is_its_64_and_an_ipv4_client_its_address() {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("::1", "::2", true),
            ("::1", "0.0.0.0", false),
        ] {
            assert_eq!(address(one) == address(other), same, "{one} {other}");
        }
    }
}
