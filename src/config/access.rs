//! The section `[access]`: who signs subscriber tokens.
//!
//! Refuses what would leave a question open at run time: two issuers of one
//! name, an issuer without a name beside others, and keys that others sign
//! with as well without an audience.

use std::time::Duration;

use hookrill_core::{Secret, TopicMap};

use super::{
    diagnostic::Location,
    section::{Located, Section},
    topics,
    tree::TreeValue,
    url, values,
};
use crate::access::{
    Issuer, Key, KeySource, Policy, Settings, TOPICS_CLAIM, Template, TopicSource,
};

/// The most issuers.
const ISSUERS_MAX: usize = 64;
/// The most topics that are built from one token's claims.
const TEMPLATES_MAX: usize = 64;

pub(super) fn access(mut section: Section<'_>, policies: TopicMap<Policy>) -> Settings {
    // Whether it is written counts, not whether it is good: a bad one has its
    // own error already.
    let written = section.has("secret") || section.has("issuers");
    let secret: Option<Secret> = section.value("secret", values::token_secret);
    let leeway = section.value("leeway", values::leeway);
    let token_ttl_max = section.value("token_ttl_max", values::token_ttl_max);
    let issuers = issuers(&mut section);
    let in_need = topics::names(&policies, Policy::Token);
    if !written && !in_need.is_empty() {
        section.refuse(
            "secret",
            format!(
                "{} can be read with a token only, and nothing signs tokens; write a secret \
                 here (make one with: openssl rand -hex 32), or access = \"public\" there",
                in_need.join(", ")
            ),
        );
    }
    section.end();
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
    let (diagnostics, path, location) = (
        above.diagnostics,
        above.path.key("issuers"),
        node.location.clone(),
    );
    let items = node.items().unwrap_or_else(|_| {
        let what = "these are sections: write each as [[access.issuers]]";
        diagnostics.add(&path, &location, what);
        Vec::new()
    });
    let several = items.len() + usize::from(above.has_taken("secret")) > 1;
    if items.len() > ISSUERS_MAX {
        diagnostics.add(
            &path,
            &location,
            format!("there are at most {ISSUERS_MAX} issuers"),
        );
        return Vec::new();
    }
    let mut issuers: Vec<Issuer> = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let path = path.item(index);
        let location = item.location.clone();
        let section = Section::new(item, path.clone(), diagnostics);
        let Some(issuer) = issuer(section, several) else {
            continue;
        };
        if issuer.name.is_some() && issuers.iter().any(|other| other.name == issuer.name) {
            let what = "another issuer has this name; a token would be either's";
            diagnostics.add(&path.key("issuer"), &location, what);
        }
        issuers.push(issuer);
    }
    issuers
}

/// Reads one issuer. What is bad in it is reported and left out.
fn issuer(mut section: Section<'_>, several: bool) -> Option<Issuer> {
    let named = section.has("issuer");
    let name = section.value("issuer", values::text);
    let audience = audience(&mut section);
    let audience_written = section.has_taken("audience");
    let keys = keys(&mut section);
    let topics = topics_from(&mut section);
    if several && !named {
        let what = "with several that sign, each says its name: what `iss` is in its tokens";
        section.refuse("issuer", what);
    }
    let shared = matches!(keys, Some(KeySource::Public(_) | KeySource::Url(_)));
    if shared && !audience_written {
        let what = "write what `aud` is in tokens for this gateway: without it, a token that \
                    this issuer signed for any other service would be good here";
        section.refuse("audience", what);
    }
    section.end();
    Some(Issuer {
        name: name.map(Into::into),
        audience,
        keys: keys?,
        topics,
    })
}

/// One text or several.
fn audience(section: &mut Section<'_>) -> Box<[Box<str>]> {
    if section.holds_a_text("audience") {
        let one = section.value("audience", values::text);
        return one.into_iter().map(Into::into).collect();
    }
    let Some(many) = section.list("audience", values::text) else {
        return Box::default();
    };
    if many.value.is_empty() {
        section
            .diagnostics
            .add(&many.path, &many.location, "this names nobody");
    }
    many.value.into_iter().map(|one| one.value.into()).collect()
}

/// The one of the three that is written.
fn keys(section: &mut Section<'_>) -> Option<KeySource> {
    const ONE_OF: [&str; 3] = ["secret", "public_key", "jwks_url"];
    let count = ONE_OF.iter().filter(|key| section.has(key)).count();
    if count != 1 {
        section.refuse_whole("an issuer has exactly one of secret, public_key and jwks_url");
    }
    let secret = section.value("secret", values::token_secret);
    let public = section.value("public_key", public_key);
    let url = section.value("jwks_url", url::key_set);
    secret
        .map(KeySource::Secret)
        .or(public.map(|key| KeySource::Public(Box::new(key))))
        .or(url.map(|url| KeySource::Url(url.into())))
}

/// Nothing of a key is repeated: it may be the private half.
fn public_key(kind: &TreeValue) -> Result<Key, String> {
    Key::from_pem(values::as_str(kind)?).map_err(|error| error.to_string())
}

fn topics_from(section: &mut Section<'_>) -> TopicSource {
    let claim = section.located("topics_claim", values::text);
    let templates = section.list("topics", template);
    match (claim, templates) {
        (Some(Located { path, location, .. }), Some(_)) => {
            let what = "topics come from a claim or are built by `topics`, not both";
            section.diagnostics.add(&path, &location, what);
            TopicSource::Claim(TOPICS_CLAIM.into())
        }
        (Some(claim), None) => TopicSource::Claim(claim.value.into()),
        (None, None) => TopicSource::Claim(TOPICS_CLAIM.into()),
        (None, Some(templates)) => {
            let good = (1..=TEMPLATES_MAX).contains(&templates.value.len());
            if !good && !section.diagnostics.below(&templates.path) {
                let what = format!("this is a list of 1 to {TEMPLATES_MAX} topics");
                let (path, location): (_, &Location) = (&templates.path, &templates.location);
                section.diagnostics.add(path, location, what);
            }
            TopicSource::Templates(templates.value.into_iter().map(|t| t.value).collect())
        }
    }
}

fn template(kind: &TreeValue) -> Result<Template, String> {
    let text = values::as_str(kind)?;
    text.parse().map_err(|error| {
        format!(
            "{}; {error}",
            values::not_a(kind, "a topic with claims in it")
        )
    })
}
