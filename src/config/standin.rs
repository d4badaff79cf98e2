//! Until `verify` is merged.
use crate::verify::Secret;
use serde::Deserialize;
#[derive(Debug, Clone, Deserialize)]
pub struct Scheme {
    pub kind: String,
    #[serde(default)]
    pub dedup_id: Vec<String>,
}
#[derive(Debug, Clone)]
pub struct Verifier {
    pub scheme: Scheme,
    pub secrets: Vec<Secret>,
}
pub fn preset(name: &str) -> Option<Scheme> {
    ["github", "standard-webhooks"]
        .contains(&name)
        .then(|| Scheme {
            kind: "hmac".into(),
            dedup_id: vec!["x".into()],
        })
}
pub fn preset_names() -> Vec<&'static str> {
    vec!["github", "standard-webhooks"]
}
