//! Signs a request as a scheme's provider would.
//!
//! For `hookrill send` and for tests. Invariant: what is returned verifies; it
//! has been tried.

use std::fmt;

use data_encoding::BASE64;
use hookrill_core::{Secret, Timestamp};
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    check::{
        Check,
        grammar::SignatureLocation,
        signature::{Algorithm, SignatureCheck, TimestampSource},
        token::TokenLocation,
    },
    delivery::Delivery,
    error::SignError,
    facts::FactSource,
    scheme::{HeaderNames, Source},
    verifier::Verifier,
};

/// What to add to a request so that it verifies.
///
/// Its `Debug` shows no values: a token would be among them.
#[derive(Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Signed {
    /// Headers, each to replace one of the same name.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What to append to the query: `token=…`, already encoded. Only schemes
    /// with a token in the query have it.
    pub query: Option<String>,
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Signed")
            .field("headers", &names)
            .field("query", &self.query.is_some())
            .finish()
    }
}

impl Verifier {
    /// Signs `draft` at `now` with the first secret.
    ///
    /// `id` and `event_type` go into the headers that the scheme reads them
    /// from, unless the draft has those already. A scheme that reads the id
    /// from the body finds it there or not at all.
    ///
    /// # Errors
    ///
    /// [`SignError`]; among others where `event_type` has no header to go to.
    pub fn sign(
        &self,
        draft: &Delivery,
        event_type: Option<&str>,
        id: &str,
        now: Timestamp,
    ) -> Result<Signed, SignError> {
        let mut signing = Signing {
            draft: draft.clone(),
            signed: Signed::default(),
        };
        if let Some(event_type) = event_type {
            signing.put_event_type(&self.compiled.facts.event_type, event_type)?;
        }
        signing.put_first(&self.compiled.facts.dedup_id, id)?;
        match &self.compiled.check {
            Check::Signature(check) => signing.put_signature(check, now)?,
            Check::Token(check) => signing.put_token(check.location(), check.first_secret())?,
            Check::None => {}
        }
        self.verify(signing.draft, now)?;
        Ok(signing.signed)
    }
}

/// A request that is being signed, and what was added to it.
struct Signing {
    draft: Delivery,
    signed: Signed,
}

impl Signing {
    fn put(&mut self, header: &HeaderName, text: &str) -> Result<(), SignError> {
        let Ok(value) = HeaderValue::from_str(text) else {
            return Err(SignError::HeaderValueInvalid {
                header: header.clone(),
            });
        };
        self.draft.headers.insert(header, value.clone());
        self.signed.headers.push((header.clone(), value));
        Ok(())
    }

    /// Puts `text` into each of `names` that the draft has, since its receiver may read
    /// any of them, or else into the first.
    fn put_named(&mut self, names: &HeaderNames, text: &str) -> Result<(), SignError> {
        let there = names
            .iter()
            .filter(|name| self.draft.headers.contains_key(*name));
        let mut there: Vec<_> = there.cloned().collect();
        if there.is_empty() {
            there.push(names.first().clone());
        }
        there.iter().try_for_each(|name| self.put(name, text))
    }

    /// Puts `text` into the first source that is a header, unless the draft has
    /// it; returns whether there is such a source.
    fn put_first(&mut self, sources: &[FactSource], text: &str) -> Result<bool, SignError> {
        let header = sources.iter().find_map(|fact| match &fact.source {
            Source::Header(names) => Some(names),
            Source::Json(_) | Source::Query(_) | Source::Form(_) => None,
        });
        let Some(names) = header else {
            return Ok(false);
        };
        if !has_any(&self.draft.headers, names.iter()) {
            self.put(names.first(), text)?;
        }
        Ok(true)
    }

    fn put_event_type(
        &mut self,
        sources: &[FactSource],
        event_type: &str,
    ) -> Result<(), SignError> {
        if self.put_first(sources, event_type)? {
            return Ok(());
        }
        let first = sources.first().map(|fact| &fact.source);
        let Some(location @ (Source::Json(_) | Source::Form(_))) = first else {
            return Err(SignError::EventTypeUnsupported);
        };
        if location.find(&self.draft)?.as_deref() == Some(event_type) {
            return Ok(());
        }
        Err(SignError::EventTypeInBody {
            location: location.clone(),
        })
    }

    fn put_signature(&mut self, check: &SignatureCheck, now: Timestamp) -> Result<(), SignError> {
        let Algorithm::Mac(algorithm) = check.algorithm else {
            return Err(SignError::PublicKeyOnly);
        };
        let SignatureLocation::Header(names) = &check.grammar.location else {
            return Err(SignError::SignatureInBody);
        };
        let policy = check.timestamp.as_ref();
        let timestamp = policy.map(|policy| policy.format.format(now));
        let mut field = None;
        match (policy.map(|policy| &policy.source), &timestamp) {
            (Some(TimestampSource::Header(own)), Some(text)) => self.put_named(own, text)?,
            (Some(TimestampSource::Field(key)), Some(text)) => field = Some((&**key, &**text)),
            _ => {}
        }
        let message = check.message(&self.draft, timestamp.as_deref())?;
        let key = check.keys.first().ok_or(SignError::SecretPending)?;
        let mac = algorithm.compute(key, &message);
        let value = check.grammar.format(field, &check.encoding.encode(&mac));
        self.put_named(names, &value)
    }

    fn put_token(&mut self, location: &TokenLocation, secret: &Secret) -> Result<(), SignError> {
        let text = String::from_utf8_lossy(secret.expose());
        match location {
            TokenLocation::Header { names, prefix } => {
                self.put_named(names, &format!("{prefix}{text}"))
            }
            TokenLocation::Bearer => self.put(&AUTHORIZATION, &format!("Bearer {text}")),
            TokenLocation::Basic => {
                let pair = BASE64.encode(secret.expose());
                self.put(&AUTHORIZATION, &format!("Basic {pair}"))
            }
            TokenLocation::Json(pointer) => {
                if pointer.find(&self.draft.body).as_deref() == Some(&*text) {
                    return Ok(());
                }
                Err(SignError::TokenInBody {
                    pointer: pointer.clone(),
                })
            }
            TokenLocation::Query(name) => {
                self.put_parameter(name, &text);
                Ok(())
            }
        }
    }

    fn put_parameter(&mut self, name: &str, text: &str) {
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
        let parameter = format!("{name}={}", utf8_percent_encode(text, NON_ALPHANUMERIC));
        let target = &mut self.draft.path_and_query;
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(&parameter);
        self.signed.query = Some(parameter);
    }
}

fn has_any<'n>(headers: &HeaderMap, mut names: impl Iterator<Item = &'n HeaderName>) -> bool {
    names.any(|name| headers.contains_key(name))
}
