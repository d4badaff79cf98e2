//! `/streams` as others read it: the conformance tests of the Durable Streams protocol,
//! clients of it, and a cache in front.
//!
//! `streams/js/writer.mjs` is the writing half, which those tests need and the gateway has
//! not: what they append becomes a signed webhook.

mod caching;
mod readers;

use std::{collections::BTreeMap, fs, process::Command};

use hookrill_testing::Process;
use serde_json::Value;
use tempfile::TempDir;

use crate::installed::installed;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The groups of the tests that read.
const READING: [&str; 11] = [
    "Read Operations",
    "Long-Poll Operations",
    "Browser Security Headers",
    "HEAD Metadata",
    "HEAD Metadata Edge Cases",
    "Offset Validation and Resumability",
    "Long-Poll Edge Cases",
    "Caching and ETag",
    "Chunking and Large Payloads",
    "Read-Your-Writes Consistency",
    "SSE Mode",
];
const READING_COUNT: usize = 85;

/// Those that fail, and why that is right.
const EXPECTED_FAILURES: [(&str, &str); 1] = [(
    "HEAD Metadata Edge Cases should return TTL metadata if configured",
    "a stream has no lifetime of its own: retention is the journal's",
)];

fn sections() -> String {
    format!(
        "cors_origins = [\"*\"]\n[streams]\nlong_poll = \"1s\"\n[topics.ds]\naccess = \"public\"\n\
         preset = \"standard-webhooks\"\nsecrets = [\"{SECRET}\"]\n"
    )
}

#[test]
fn the_reading_half_of_the_protocol_s_own_tests_passes() {
    let folder = TempDir::new().unwrap();
    let report = folder.path().join("report.json");
    let gateway = Process::with_sections(&sections());
    let groups = format!("^({}) ", READING.join("|"));
    let suite = installed("tests/ecosystem/streams/js");
    let vitest = installed("tests/ecosystem/streams/js/node_modules/vitest/vitest.mjs");
    let ran = Command::new("node")
        .arg(vitest)
        .args(["run", "--reporter=json", "-t", &groups])
        // The suite waits two seconds for some answers, and five for a case.
        .args(["--testTimeout=60000", "--hookTimeout=60000", "--retry=3"])
        .arg(format!("--outputFile={}", report.display()))
        .current_dir(suite)
        .env("HOOKRILL_URL", gateway.url())
        .env("HOOKRILL_SECRET", SECRET)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    let report = fs::read(report).unwrap_or_else(|error| panic!("{error}: {told}"));
    let outcomes = outcomes(&serde_json::from_slice(&report).unwrap());
    assert_eq!(outcomes.len(), READING_COUNT, "{outcomes:#?}");
    for (name, failure) in &outcomes {
        let expected = EXPECTED_FAILURES.iter().find(|(known, _)| known == name);
        match (failure, expected) {
            (Some(failure), None) => panic!("{name}: {failure}"),
            (None, Some((_, why))) => panic!("{name} passes, and was to fail: {why}"),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
    for (known, _) in EXPECTED_FAILURES {
        assert!(outcomes.contains_key(known), "there is no {known}");
    }
}

/// By name: how each test that ran has failed, if it did.
fn outcomes(report: &Value) -> BTreeMap<String, Option<String>> {
    let files = report["testResults"].as_array().unwrap();
    let tests = files
        .iter()
        .flat_map(|file| file["assertionResults"].as_array().unwrap());
    let ran = tests.filter(|test| test["status"] != "skipped");
    ran.map(|test| {
        let failure = (test["status"] != "passed").then(|| test["failureMessages"].to_string());
        (test["fullName"].as_str().unwrap().to_owned(), failure)
    })
    .collect()
}
