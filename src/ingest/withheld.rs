//! Counts the stored events of which subscribers see nothing.
//!
//! Follows the journal, so that no sender waits while a body is searched. Invariant: an event is counted once, after it became durable.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream::BoxStream};
use hookrill_core::{Swap, TopicMap};
use tokio::task::spawn_blocking;

use super::route::IngestRoute;
use crate::{
    journal::{Commit, ReadError},
    telemetry::Telemetry,
};

pub(super) type Routes = TopicMap<Arc<IngestRoute>>;

/// Counts until the journal is closed. Holds one commit at a time; what comes
/// meanwhile waits in the journal.
pub(super) async fn count(
    mut commits: BoxStream<'static, Result<Commit, ReadError>>,
    routes: Arc<Swap<Routes>>,
    telemetry: Arc<Telemetry>,
) -> Result<(), ReadError> {
    while let Some(commit) = commits.next().await {
        let (commit, routes) = (commit?, routes.load());
        if !routes_of(&routes).any(IngestRoute::cuts) {
            continue;
        }
        // Many bodies, and long ones: not on a thread that others need.
        let counted = spawn_blocking(move || withheld(&commit, &routes)).await;
        telemetry.withheld.increment(counted.unwrap_or_default());
    }
    Ok(())
}

fn withheld(commit: &Commit, routes: &Routes) -> u64 {
    let events = commit.iter().map(|event| &event.draft);
    // The event's own topic decides, which may have a section of its own.
    let withheld = events.filter(|draft| {
        let route = routes.lookup(&draft.topic);
        route.is_some_and(|route| route.withholds(draft))
    });
    withheld.count() as u64
}

fn routes_of(routes: &Routes) -> impl Iterator<Item = &IngestRoute> {
    let named = routes.named().map(|(_, route)| &**route);
    named.chain(routes.any().map(|route| &**route))
}
