//! What one address may do: how often it may send requests, how many streams it may
//! have open, and how many connections without one.
//!
//! Looks only at who sent a request, before its body is read and its token
//! verified, so that a refusal is cheap and says nothing about topics. Where the
//! server does not know the address (one that only takes a router may not), no
//! limit applies. Invariant: the memory for addresses is bounded, whoever they
//! are.

mod address;
mod buckets;
mod connections;
mod page_places;
mod stream_slots;

use std::net::IpAddr;

use hookrill_core::Timestamp;

use super::Gateway;
use crate::rate::{Rate, RateLimited};
pub(super) use address::Address;
use buckets::Buckets;
pub(super) use connections::{
    ConnectionBounds, ConnectionPermit, ConnectionRequests, ConnectionSlot, Connections,
    RequestGuard, RequestProgress, WaitingRequest,
};
pub(super) use page_places::{PagePlace, PagePlaces, PagePlacesFull, PageProgress};
pub(super) use stream_slots::{StreamSlot, StreamSlots};

/// What one address may do; `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddressLimits {
    /// How often it may send requests to ingest.
    pub ingest_rate_per_address_max: Option<Rate>,
    /// How often it may request a page of history, or wait for one.
    pub page_rate_per_address_max: Option<Rate>,
    /// How often it may request a stream.
    pub subscribe_rate_per_address_max: Option<Rate>,
    /// How many streams it may have open.
    pub subscribers_per_address_max: Option<usize>,
}

/// The limits, and what each address has left of its rates. Open streams are
/// counted elsewhere, in [`StreamSlots`], since they outlive a change of limits.
pub(super) struct Limits {
    ingest: Option<Buckets>,
    pages: Option<Buckets>,
    subscribe: Option<Buckets>,
    subscribers_max: Option<usize>,
}

impl Limits {
    pub(super) fn new(settings: &AddressLimits) -> Self {
        Self {
            ingest: settings.ingest_rate_per_address_max.map(Buckets::new),
            pages: settings.page_rate_per_address_max.map(Buckets::new),
            subscribe: settings.subscribe_rate_per_address_max.map(Buckets::new),
            subscribers_max: settings.subscribers_per_address_max,
        }
    }
}

/// How many wrong admin tokens an address may try at once; then one request a second.
const WRONG_TOKENS_MAX: u64 = 5;

/// Holds addresses to few wrong admin tokens.
pub(super) struct WrongTokens(Buckets);

impl WrongTokens {
    pub(super) fn new() -> Self {
        Self(Buckets::new(Rate::each_second_after(WRONG_TOKENS_MAX)))
    }

    /// Whether this address may try another one.
    ///
    /// # Errors
    ///
    /// [`RateLimited`] where it has tried too many.
    pub(super) fn check(&self, client: Option<IpAddr>, now: Timestamp) -> Result<(), RateLimited> {
        self.0.check(Self::address(client), now)
    }

    /// Counts a wrong one.
    pub(super) fn count(&self, client: Option<IpAddr>, now: Timestamp) {
        _ = self.0.take(Self::address(client), now);
    }

    fn address(client: Option<IpAddr>) -> Address {
        client.map_or(Address::UNKNOWN, Address::from)
    }
}

/// Which limit an address has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum LimitExceeded {
    /// Of requests.
    #[error("too many requests from this address")]
    Rate(#[source] RateLimited),
    /// Of open streams.
    #[error("too many open streams from this address")]
    Subscribers,
    /// Of pages that are on their way.
    #[error("too many pages are on their way to this address")]
    Pages,
}

impl LimitExceeded {
    /// The reason as a metric's label.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Rate(_) => "rate_address",
            Self::Subscribers => "subscribers_per_address_max",
            Self::Pages => "pages_per_address",
        }
    }
}

impl Gateway {
    /// Counts a request to ingest.
    ///
    /// # Errors
    ///
    /// [`LimitExceeded`] where its address sends too many.
    pub(super) fn admit_to_ingest(&self, client: Option<IpAddr>) -> Result<(), LimitExceeded> {
        let limits = self.limits.load();
        self.check_rate(limits.ingest.as_ref(), client)
    }

    /// Counts a request for a stream.
    ///
    /// # Errors
    ///
    /// [`LimitExceeded`] where its address sends too many, or has as many
    /// streams as it may have.
    pub(super) fn admit_to_events(&self, client: Option<IpAddr>) -> Result<(), LimitExceeded> {
        let limits = self.limits.load();
        self.check_rate(limits.subscribe.as_ref(), client)?;
        if let Some(ip) = client
            && !self
                .stream_slots
                .has_room(ip.into(), limits.subscribers_max)
        {
            return Err(LimitExceeded::Subscribers);
        }
        Ok(())
    }

    /// Counts a request for a page of history, or for one delivery.
    ///
    /// # Errors
    ///
    /// [`LimitExceeded`] where its address sends too many.
    pub(super) fn admit_to_pages(&self, client: Option<IpAddr>) -> Result<(), LimitExceeded> {
        let limits = self.limits.load();
        self.check_rate(limits.pages.as_ref(), client)
    }

    /// Takes one of the stream slots of its address; `None` where the address
    /// is not known. Only an authorised stream takes one, or others behind the
    /// same address could be kept out without a token.
    ///
    /// # Errors
    ///
    /// [`LimitExceeded`] where others have taken the last ones meanwhile.
    pub(super) fn take_stream_slot(
        &self,
        client: Option<IpAddr>,
    ) -> Result<Option<StreamSlot>, LimitExceeded> {
        let Some(ip) = client else {
            return Ok(None);
        };
        let max = self.limits.load().subscribers_max;
        let slot = self.stream_slots.take(ip.into(), max);
        slot.map(Some).ok_or(LimitExceeded::Subscribers)
    }

    fn check_rate(
        &self,
        buckets: Option<&Buckets>,
        client: Option<IpAddr>,
    ) -> Result<(), LimitExceeded> {
        let (Some(buckets), Some(ip)) = (buckets, client) else {
            return Ok(());
        };
        let taken = buckets.take(ip.into(), self.clock.monotonic());
        taken.map_err(LimitExceeded::Rate)
    }
}
