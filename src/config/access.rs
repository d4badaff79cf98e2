//! The section `[access]`: who signs subscriber tokens.
//!
//! Refuses what would be ambiguous at run time: two issuers with the same name,
//! an issuer without a name next to others, and a shared key without an
//! audience.

use std::time::Duration;

use hookrill_core::{Secret, TopicMap};

use super::{diagnostic::Mistake, secrets, section::Section, topics, tree::TreeValue, url, values};
use crate::access::{
    Issuer, Key, KeySource, Policy, Settings, TOPICS_CLAIM, Template, TopicSource,
};

/// The most issuers.
const ISSUERS_MAX: usize = 64;
/// The most topics that one token's claims are turned into.
const TEMPLATES_MAX: usize = 64;

/// `is_misspelt`: whether a section that there is not was probably meant to be this one.
pub(super) fn access(
    mut section: Section<'_>,
    policies: TopicMap<Policy>,
    is_misspelt: bool,
) -> Settings {
    // A bad secret or issuer counts as well: it has a diagnostic of its own.
    let anybody_signs = section.has("secret") || section.has("issuers");
    let secret: Option<Secret> = section.secret("secret", values::token_secret);
    let leeway = section.value("leeway", values::leeway);
    let token_ttl_max = section.value("token_ttl_max", values::token_ttl_max);
    let written = [
        ("leeway", leeway.is_some_and(|leeway| !leeway.is_zero())),
        ("token_ttl_max", token_ttl_max.is_some()),
    ];
    for (key, _) in written.iter().filter(|(_, is_written)| *is_written) {
        if !anybody_signs {
            let message = "has no effect, since nothing signs tokens: there is no secret and no \
                           issuer";
            section.warn(key, message);
        }
    }
    let issuers = issuers(&mut section);
    let need_token = topics::names(&policies, Policy::Token);
    let is_misspelt =
        is_misspelt || section.is_misspelt("secret") || section.is_misspelt("issuers");
    if !anybody_signs && !need_token.is_empty() && !is_misspelt {
        section.report(
            "secret",
            format!(
                "subscribers need a token for {}, but nothing signs tokens; write a secret here \
                 (create one with: openssl rand -hex 32), or access = \"public\" in the topic",
                need_token.join(", ")
            ),
        );
    }
    section.finish();
    Settings {
        secret,
        issuers,
        leeway: leeway.unwrap_or(Duration::ZERO),
        token_ttl_max,
        policies,
    }
}

fn issuers(above: &mut Section<'_>) -> Vec<Issuer> {
    let Some(node) = above.node("issuers") else {
        return Vec::new();
    };
    let (diagnostics, path) = (above.diagnostics, above.path.key("issuers"));
    let location = node.location.clone();
    let Ok(items) = node.items() else {
        let message = "must be sections: write each issuer as [[access.issuers]]";
        diagnostics.report(&path, &location, message);
        return Vec::new();
    };
    if items.len() > ISSUERS_MAX {
        let message = format!("must be at most {ISSUERS_MAX} issuers");
        diagnostics.report(&path, &location, message);
        return Vec::new();
    }
    let several = items.len() + usize::from(above.has_taken("secret")) > 1;
    let mut issuers: Vec<Issuer> = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let item_path = path.item(index);
        let item_location = item.location.clone();
        let section = Section::new(item, item_path.clone(), diagnostics);
        let Some(issuer) = issuer(section, several) else {
            continue;
        };
        if issuer.name.is_some() && issuers.iter().any(|other| other.name == issuer.name) {
            let message = "another issuer has the same name, so that a token could be of either";
            diagnostics.report(&item_path.key("issuer"), &item_location, message);
        }
        issuers.push(issuer);
    }
    issuers
}

/// Reads one issuer; `None` where it has no usable key.
fn issuer(mut section: Section<'_>, several: bool) -> Option<Issuer> {
    let has_name = section.has("issuer");
    let name = section.value("issuer", values::text);
    let audience = audience(&mut section);
    let keys = keys(&mut section);
    let topics = topic_source(&mut section);
    if several && !has_name && !section.is_misspelt("issuer") {
        let message = "must be set where several sign tokens: the value of `iss` in this \
                       issuer's tokens";
        section.report("issuer", message);
    }
    let signs_for_others = matches!(keys, Some(KeySource::Public(_) | KeySource::Url(_)));
    let has_audience = section.has_taken("audience") || section.is_misspelt("audience");
    if signs_for_others && !has_audience {
        let message = "must be set to the value of `aud` in tokens for this gateway; without it, \
                       a token that this issuer signed for any other service would be valid here";
        section.report("audience", message);
    }
    section.finish();
    Some(Issuer {
        name: name.map(Into::into),
        audience,
        keys: keys?,
        topics,
    })
}

/// One text or several.
fn audience(section: &mut Section<'_>) -> Box<[Box<str>]> {
    if section.has_text("audience") {
        let single = section.value("audience", values::text);
        return single.into_iter().map(Into::into).collect();
    }
    let Some(list) = section.list("audience", values::text) else {
        return Box::default();
    };
    if list.value.is_empty() && !section.diagnostics.any_in(&list.path) {
        list.report(section.diagnostics, "must not be an empty list");
    }
    list.value
        .into_iter()
        .map(|item| item.value.into())
        .collect()
}

/// The one of the three that is written.
fn keys(section: &mut Section<'_>) -> Option<KeySource> {
    const ONE_OF: [&str; 3] = ["secret", "public_key", "jwks_url"];
    let count = ONE_OF.iter().filter(|key| section.has(key)).count();
    let is_misspelt = ONE_OF.iter().any(|key| section.is_misspelt(key));
    if count > 1 || count == 0 && !is_misspelt {
        section.report_whole("an issuer must have exactly one of secret, public_key and jwks_url");
    }
    let secret = section.secret("secret", values::token_secret);
    let public = section.value("public_key", public_key);
    let url = section.value("jwks_url", url::key_set_url);
    secret
        .map(KeySource::Secret)
        .or(public.map(|key| KeySource::Public(Box::new(key))))
        .or(url.map(|url| KeySource::Url(url.into())))
}

/// No message repeats a key: it may be the private half.
fn public_key(value: &TreeValue) -> Result<Key, Mistake> {
    let form = "a PEM public key, or file:PATH";
    secrets::refuse_lookalike(value)?;
    Key::from_pem(values::as_str(value, form)?).map_err(Mistake::from_error)
}

fn topic_source(section: &mut Section<'_>) -> TopicSource {
    let claim = section.located("topics_claim", values::text);
    let templates = section.list("topics", template);
    let Some(templates) = templates else {
        let name = claim.map(|claim| claim.value.into());
        return TopicSource::Claim(name.unwrap_or_else(|| TOPICS_CLAIM.into()));
    };
    if let Some(claim) = claim {
        let message = "must not be set together with `topics`; remove one of them";
        claim.report(section.diagnostics, message);
    }
    let is_good = (1..=TEMPLATES_MAX).contains(&templates.value.len());
    if !is_good && !section.diagnostics.any_in(&templates.path) {
        let message = format!("must be a list of 1 to {TEMPLATES_MAX} topics");
        templates.report(section.diagnostics, message);
    }
    TopicSource::Templates(templates.value.into_iter().map(|item| item.value).collect())
}

fn template(value: &TreeValue) -> Result<Template, Mistake> {
    let form = "a topic, with claims in braces such as \"orders.{sub}\"";
    values::as_str(value, form)?.parse().map_err(|error| {
        let message = format!("{} is not a topic with claims", values::quoted(value));
        Mistake::caused_by(message, error)
    })
}
