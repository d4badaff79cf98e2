//! A request to a program, made of a delivery.
//!
//! Invariant: nothing but what was asked for differs from what came: the signature where it
//! is made again, and the headers that are added or dropped.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use super::{delivery::StoredDelivery, target::Target};

/// Headers that are added to each request, or dropped from it.
#[derive(Debug, Default)]
pub(super) struct HeaderChanges {
    pub(super) added: Vec<(HeaderName, HeaderValue)>,
    pub(super) dropped: Vec<HeaderName>,
}

/// A request on its way to a program.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) path_and_query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Headers among them, and parameters of the query, that were not in the delivery and
    /// are secret.
    pub(super) secrets: SecretParts,
}

/// What of a request goes to its program alone, and into no file.
#[derive(Debug, Clone, Default)]
pub(super) struct SecretParts {
    pub(super) headers: Vec<HeaderName>,
    /// What was appended to the query.
    pub(super) query: Option<String>,
    /// The body before a token was put into it.
    pub(super) body: Option<Bytes>,
}

impl Outgoing {
    /// The request of a delivery as it came.
    pub(super) fn new(delivery: &StoredDelivery, target: &Target) -> Self {
        Self {
            method: delivery.method.clone(),
            path_and_query: target.path_and_query(&delivery.tail),
            headers: delivery.headers.clone(),
            body: delivery.body.clone(),
            secrets: SecretParts::default(),
        }
    }

    pub(super) fn change_headers(&mut self, changes: &HeaderChanges) {
        for name in &changes.dropped {
            self.headers.remove(name);
        }
        for (name, value) in &changes.added {
            // Of one that is given twice, both count.
            let is_first = changes.added.iter().find(|(other, _)| other == name);
            if is_first.is_some_and(|(_, first)| std::ptr::eq(first, value)) {
                self.headers.remove(name);
            }
            self.headers.append(name.clone(), value.clone());
        }
    }

    pub(super) fn append_query(&mut self, parameter: &str) {
        let mark = if self.path_and_query.contains('?') {
            '&'
        } else {
            '?'
        };
        self.path_and_query.push(mark);
        self.path_and_query.push_str(parameter);
    }

    /// The same without what is secret.
    pub(super) fn without_secrets(&self) -> Self {
        let mut shown = self.clone();
        for name in &self.secrets.headers {
            shown.headers.remove(name);
        }
        if let Some(parameter) = &self.secrets.query
            && let Some(rest) = shown.path_and_query.strip_suffix(parameter.as_str())
        {
            shown.path_and_query = rest.trim_end_matches(['?', '&']).to_owned();
        }
        if let Some(body) = &self.secrets.body {
            shown.body = body.clone();
        }
        shown.secrets = SecretParts::default();
        shown
    }

    /// The request as it is sent; `None` where its path can't be one.
    pub(super) fn request(&self) -> Option<Request<Bytes>> {
        let mut request = Request::new(self.body.clone());
        *request.uri_mut() = self.path_and_query.parse::<Uri>().ok()?;
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::delivery::tests::stored, *};

    fn outgoing() -> Outgoing {
        let stored = stored(serde_json::json!({"headers": [["x-a", "1"], ["x-b", "2"]]}));
        Outgoing::new(&stored, &Target::parse("3000/hooks").unwrap())
    }

    #[test]
    fn a_request_is_what_came_at_the_path_of_the_target() {
        let request = outgoing().request().unwrap();
        assert_eq!(request.uri(), "/hooks/x?y=1");
        assert_eq!(request.method(), "POST");
        assert_eq!(request.headers().len(), 2);
        assert_eq!(request.body(), "{}");
    }

    #[test]
    fn headers_are_dropped_and_added_as_was_asked_for() {
        let header = |name: &'static str, value: &'static str| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        let mut outgoing = outgoing();
        outgoing.change_headers(&HeaderChanges {
            added: vec![header("x-b", "3"), header("x-c", "4"), header("x-c", "5")],
            dropped: vec![HeaderName::from_static("x-a")],
        });
        let shown = outgoing.headers.iter();
        let shown = shown.map(|(name, value)| format!("{name}={}", value.to_str().unwrap()));
        let mut shown: Vec<_> = shown.collect();
        shown.sort();
        assert_eq!(shown, ["x-b=3", "x-c=4", "x-c=5"]);
    }

    #[test]
    fn what_is_secret_is_taken_out_again() {
        let mut outgoing = outgoing();
        outgoing.append_query("token=hunter2");
        assert_eq!(outgoing.path_and_query, "/hooks/x?y=1&token=hunter2");
        outgoing
            .headers
            .insert("x-token", HeaderValue::from_static("hunter2"));
        outgoing.secrets = SecretParts {
            headers: vec![HeaderName::from_static("x-token")],
            query: Some("token=hunter2".to_owned()),
            body: Some("{\"token\":\"\"}".into()),
        };
        let shown = format!("{:?}", outgoing.without_secrets());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("/hooks/x?y=1\""), "{shown}");
    }
}
