//! Signs a request as a scheme's provider would.
//!
//! For `hookrill send` and for tests. Invariant: what is returned proves; it
//! has been tried.

use std::fmt;

use data_encoding::BASE64;
use hookrill_core::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    delivery::Delivery,
    error::SignError,
    grammar, mac,
    plan::Pick,
    proof::{Lock, Moment, Proof, SignedProof},
    scheme::Source,
    token::Place,
    verifier::Verifier,
};

/// What to add to a request so that it proves.
///
/// Its `Debug` shows no values: a token would be among them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Signed {
    /// Headers, each to replace one of the same name.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What to append to the query: `token=…`, already encoded. Only schemes
    /// whose token travels there have it.
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
            signing.put_event_type(&self.plan.event_type, event_type)?;
        }
        signing.put_first(&self.plan.dedup_id, id)?;
        match &self.plan.proof {
            Proof::Signed(proof) => signing.put_mac(proof, now)?,
            Proof::Token(proof) => {
                // Not empty: a plan without a secret is not made.
                let secret = proof.secrets.first().map_or(&[][..], |one| one.expose());
                signing.put_token(&proof.place, secret)?;
            }
            Proof::None => {}
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
    fn put(&mut self, header: &HeaderName, value: &str) -> Result<(), SignError> {
        let invalid = |_| SignError::HeaderValueInvalid {
            header: header.clone(),
        };
        let value = HeaderValue::from_str(value).map_err(invalid)?;
        self.draft.headers.insert(header, value.clone());
        self.signed.headers.push((header.clone(), value));
        Ok(())
    }

    /// Puts `text` into the first place that is a header; says whether the
    /// draft now has one.
    fn put_first(&mut self, picks: &[Pick], text: &str) -> Result<bool, SignError> {
        let header = picks.iter().find_map(|pick| match &pick.source {
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

    fn put_event_type(&mut self, picks: &[Pick], event_type: &str) -> Result<(), SignError> {
        if self.put_first(picks, event_type)? {
            return Ok(());
        }
        let source = picks.first().map(|pick| &pick.source);
        let Some(location @ (Source::Json(_) | Source::Form(_))) = source else {
            return Err(SignError::EventTypeUnsupported);
        };
        if location.find(&self.draft)?.as_deref() == Some(event_type) {
            return Ok(());
        }
        Err(SignError::EventTypeInBody {
            location: location.clone(),
        })
    }

    fn put_mac(&mut self, proof: &SignedProof, now: Timestamp) -> Result<(), SignError> {
        let Lock::Mac(hash, keyed) = proof.lock else {
            return Err(SignError::PublicKeyOnly);
        };
        let grammar::Place::Header(names) = &proof.grammar.place else {
            return Err(SignError::SignatureInBody);
        };
        let clock = proof.clock.as_ref();
        let timestamp = clock.map(|clock| clock.format.write(now));
        let mut field = None;
        match (clock.map(|clock| &clock.moment), &timestamp) {
            (Some(Moment::Header(names)), Some(text)) => self.put(names.first(), text)?,
            (Some(Moment::Field(key)), Some(text)) => field = Some((&**key, &**text)),
            _ => {}
        }
        let message = proof.message(&self.draft, timestamp.as_deref())?;
        let key = proof.keys.first().ok_or(SignError::SecretPending)?;
        let mac = mac::compute((hash, keyed), key, &message);
        let value = proof.grammar.write(field, &proof.encoding.encode(&mac));
        self.put(names.first(), &value)
    }

    fn put_token(&mut self, place: &Place, secret: &[u8]) -> Result<(), SignError> {
        let text = String::from_utf8_lossy(secret);
        match place {
            Place::Header { names, prefix } => self.put(names.first(), &format!("{prefix}{text}")),
            Place::Bearer => self.put(&AUTHORIZATION, &format!("Bearer {text}")),
            Place::Basic => {
                let pair = BASE64.encode(secret);
                self.put(&AUTHORIZATION, &format!("Basic {pair}"))
            }
            Place::Query(name) => {
                let escape = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
                let query = format!("{}={}", escape(name), escape(&text));
                let next = if self.draft.path_and_query.contains('?') {
                    '&'
                } else {
                    '?'
                };
                self.draft.path_and_query.push(next);
                self.draft.path_and_query.push_str(&query);
                self.signed.query = Some(query);
                Ok(())
            }
        }
    }
}

fn has_any<'n>(headers: &HeaderMap, mut names: impl Iterator<Item = &'n HeaderName>) -> bool {
    names.any(|name| headers.contains_key(name))
}
