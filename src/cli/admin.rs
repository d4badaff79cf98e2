//! Asks a gateway as its operator, for `deliveries` and `explain`.
//!
//! Invariant: the admin token is in no message.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use hookrill_client::{ConnectOptions, Relay, RelayAnswer, RelayBody};
use hookrill_core::{Secret, printable};
use http::{HeaderValue, Method, Request, StatusCode, header};
use serde_json::Value;
use tokio::time::timeout;

use super::{Context, USER_AGENT};
use crate::config::MissingSecrets;

/// How long an answer may take, and a connection.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// Longer than any answer: a body of 64 KiB, and headers.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// The longest reason that is repeated, in characters.
const REASON_CHARS_MAX: usize = 500;

/// Which gateway, and by which token.
#[derive(Debug, clap::Args)]
pub(super) struct AdminArgs {
    /// URL of the gateway [default: the gateway of this folder or configuration, on this
    /// machine]
    #[arg(long, env = "HOOKRILL_URL", value_parser = super::UrlParser)]
    url: Option<String>,

    /// The gateway's admin token; env:NAME and file:PATH keep it out of the process list
    /// [default: server.admin_token of the configuration]
    #[arg(long, env = "HOOKRILL_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
}

/// Where the token comes from.
#[derive(Debug, Clone, Copy)]
enum AdminTokenOrigin {
    Given,
    Configured,
}

/// A gateway that is asked.
pub(super) struct AdminClient {
    relay: Relay,
    url: String,
    bearer: HeaderValue,
    origin: AdminTokenOrigin,
}

/// What a gateway answered that did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct AdminRefusal {
    /// The status.
    pub(super) status: StatusCode,
    /// Why, and what to do.
    reason: String,
}

impl AdminArgs {
    /// # Errors
    ///
    /// Where there is no token, or no URL that can be used.
    pub(super) fn client(&self, context: &Context) -> anyhow::Result<AdminClient> {
        let url = context.url(self.url.as_deref());
        let (token, origin) = self.token(context)?;
        let bearer = [b"Bearer ", token.expose()].concat();
        let mut bearer = HeaderValue::from_bytes(&bearer)
            .map_err(|_| anyhow!("the admin token has characters that no header can carry"))?;
        bearer.set_sensitive(true);
        let options = ConnectOptions::new().user_agent(USER_AGENT);
        Ok(AdminClient {
            relay: Relay::new(&url, options)?,
            url,
            bearer,
            origin,
        })
    }

    fn token(&self, context: &Context) -> anyhow::Result<(Secret, AdminTokenOrigin)> {
        if let Some(given) = &self.admin_token {
            let token = context.sources().value(given);
            let token = token.context("--admin-token cannot be used")?;
            return Ok((Secret::from(token), AdminTokenOrigin::Given));
        }
        let config = context.config(MissingSecrets::Refuse).context(
            "there is no admin token: give one with --admin-token or HOOKRILL_ADMIN_TOKEN",
        )?;
        match config.server.admin_token {
            Some(token) => Ok((token, AdminTokenOrigin::Configured)),
            None => bail!(
                "there is no admin token: give one with --admin-token or HOOKRILL_ADMIN_TOKEN; \
                 the gateway has one once server.admin_token is configured"
            ),
        }
    }
}

impl AdminClient {
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Asks for JSON; the status is part of the answer where `is_taken` takes it.
    ///
    /// # Errors
    ///
    /// [`AdminRefusal`], or why there was no answer.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: String,
        is_taken: impl Fn(StatusCode) -> bool,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let sending = self
            .relay
            .send(self.request(method, path, body)?, ANSWER_BYTES_MAX);
        let answer = timeout(ANSWER_TIME_MAX, sending).await;
        let answer = answer
            .with_context(|| format!("no answer within {ANSWER_TIME_MAX:?}"))
            .and_then(|sent| sent.map_err(Into::into))
            .with_context(|| self.url.clone())?;
        if !is_taken(answer.status) {
            return Err(self.refusal(&answer).into());
        }
        let json = serde_json::from_slice(&answer.body);
        let json = json.with_context(|| format!("{} is no gateway of this version", self.url))?;
        Ok((answer.status, json))
    }

    /// Asks for what comes line by line.
    ///
    /// # Errors
    ///
    /// As [`AdminClient::ask`].
    pub(super) async fn follow(&self, path: &str) -> anyhow::Result<RelayBody> {
        let request = self.request(Method::GET, path, String::new())?;
        let begun = timeout(ANSWER_TIME_MAX, self.relay.begin(request)).await;
        let body = begun
            .with_context(|| format!("no answer within {ANSWER_TIME_MAX:?}"))
            .and_then(|sent| sent.map_err(Into::into))
            .with_context(|| self.url.clone())?;
        if body.status() == StatusCode::OK {
            return Ok(body);
        }
        let answer = timeout(ANSWER_TIME_MAX, body.into_answer(ANSWER_BYTES_MAX)).await??;
        Err(self.refusal(&answer).into())
    }

    fn request(&self, method: Method, path: &str, body: String) -> anyhow::Result<Request<Bytes>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, &self.bearer)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "application/json, application/x-ndjson");
        request
            .body(body.into())
            .context("the request cannot be made")
    }

    fn refusal(&self, answer: &RelayAnswer) -> AdminRefusal {
        let problem: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let detail = problem
            .as_ref()
            .and_then(|problem| problem["detail"].as_str());
        let status = answer.status;
        let reason = match (detail, status) {
            (_, StatusCode::UNAUTHORIZED) => self.token_hint().to_owned(),
            // A gateway without admin token, or something else.
            (None, _) => format!(
                "{} answers {status}; is it a gateway of this version?",
                self.url
            ),
            (Some(detail), _) => printable(detail, REASON_CHARS_MAX),
        };
        AdminRefusal { status, reason }
    }

    fn token_hint(&self) -> &'static str {
        match self.origin {
            AdminTokenOrigin::Given => {
                "the gateway has another admin token than that of --admin-token or \
                 HOOKRILL_ADMIN_TOKEN, or none: see server.admin_token of its configuration"
            }
            AdminTokenOrigin::Configured => {
                "the gateway has another admin token than server.admin_token of the configuration \
                 here: give it with --admin-token or HOOKRILL_ADMIN_TOKEN, or name the gateway's \
                 configuration with --config"
            }
        }
    }
}
