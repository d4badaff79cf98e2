//! Makes `docs/presets.md` from the presets, and holds it to them.
//!
//! `HOOKRILL_WRITE_DOCS=1 cargo test --test it presets_page` rewrites it.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use hookrill_verify::{BodySize, Coverage, Expectation, Preset, presets, scheme};
use scheme::{MessagePart, Scheme, SchemeKind, Source};

/// What was looked at and is not here, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "SendGrid, PayPal, AWS SNS, Plaid, Kick, Netlify",
        "sign by ECDSA, RSA or JWT, partly with keys that have to be fetched: no kind of Hookrill's",
    ),
    (
        "Xero, Mollie",
        "the SDKs have no verifier, and no values are published",
    ),
    (
        "Front, Klaviyo, LinkedIn, Tailscale, Cloudflare Stream, Knock, Courier, Statsig, Persona, \
         TikTok, Airwallex, LaunchDarkly, Segment",
        "no SDK verifies, no collection of verifiers knows them, no values are published; the \
         language can express them",
    ),
    (
        "Nylas",
        "its SDK shows the handshake and nothing of the signature",
    ),
    (
        "Strava",
        "deliveries are not signed; a scheme of kind \"token\" with a word in the query, and its \
         handshake, can be written",
    ),
    (
        "WebSub hubs",
        "the hub picks the hash in the header; write a scheme with the one that yours uses",
    ),
    (
        "MongoDB Atlas",
        "its documentation and the public code contradict each other",
    ),
    (
        "Grafana with a timestamp header",
        "two sources contradict each other; without that header the preset `grafana` serves",
    ),
    (
        "Stytch, Brex, Render, Etsy, ShipBob, incident.io, Gemini",
        "said to use Standard Webhooks or Svix: try the preset `standard-webhooks`",
    ),
    (
        "Hygraph, Contentful, Cloudinary, Plivo, Dropbox Sign, MailChannels, fal",
        "sign re-encoded JSON, canonical headers or plain hashes: the language cannot express that",
    ),
    (
        "Terraform Cloud, Autodesk, ConnectWise, Clio, Attentive, Alchemy, Uber, Chargify, Bunny, \
         Shopline, Smile, FastSpring, Tally, Picqer, ShipHero, AfterShip, Commerce Layer, Ashby, \
         Cursor, Fireflies, Flexport, Enode, Expo",
        "simple schemes that the language can express, for which no evidence was found",
    ),
];

/// Where the reasons of a refusal are named.
const REASONS_AT: [&str; 4] = [
    "crates/verify/src/error.rs",
    "src/ingest/error.rs",
    "src/http/body.rs",
    "src/http/limits.rs",
];

#[test]
fn the_page_is_made_from_the_presets() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/presets.md");
    let page = page();
    if std::env::var_os("HOOKRILL_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = written
        .lines()
        .zip(page.lines())
        .find(|(old, new)| old != new);
    assert!(
        written == page,
        "docs/presets.md is out of date at {differs:?}: run \
         HOOKRILL_WRITE_DOCS=1 cargo test --test it presets_page"
    );
}

/// What a person copies must be right: each block is read as a configuration.
#[test]
fn every_block_of_the_page_is_a_configuration() {
    use hookrill::config::{Config, Environment, MissingSecrets, Sources};
    for preset in presets() {
        let block = block(&preset);
        let key = match preset.scheme.kind {
            SchemeKind::Ed25519 => {
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
            }
            // As base64 it has 24 bytes.
            _ => "c0ffee00c0ffee00c0ffee00c0ffee00",
        };
        let key = match (preset.scheme.kind, &*preset.name) {
            (_, "postmark") => "user:password",
            (_, "telnyx") => "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=",
            _ => key,
        };
        let toml = block
            .replace("\"env:", "\"x")
            .replace(&format!("x{}", secret(&preset)), key);
        let toml = format!("{toml}access = \"public\"\n");
        let environment = Environment::default();
        let read = |_: &Path| Ok(toml.clone().into_bytes());
        let sources = Sources::new(&environment)
            .with_file("page.toml".as_ref())
            .with_reader(&read);
        let loaded = Config::load(sources, MissingSecrets::Refuse);
        assert!(
            loaded.is_ok(),
            "{}: {}\n{toml}",
            preset.name,
            loaded.unwrap_err()
        );
    }
}

/// Every reason that `hookrill_ingest_refused_total` may have as its label is
/// in the page's table, and the table has no other.
#[test]
fn the_page_explains_every_reason_of_a_refusal() {
    let night = night();
    let rows = night.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split(" | ").next().unwrap());
    let explained: BTreeSet<_> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let texts = REASONS_AT.map(|path| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        std::fs::read_to_string(path).unwrap()
    });
    let reasons: BTreeSet<_> = texts.iter().flat_map(|text| reasons(text)).collect();
    assert!(reasons.contains("mismatch") && reasons.contains("rate_address"));
    assert_eq!(explained, reasons);
}

/// Each has a series from the start on.
#[test]
fn every_reason_of_a_refusal_is_in_the_list_that_the_metrics_begin_with() {
    let texts = REASONS_AT.map(|path| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        std::fs::read_to_string(path).unwrap()
    });
    let reasons: BTreeSet<_> = texts.iter().flat_map(|text| reasons(text)).collect();
    let listed: BTreeSet<_> = hookrill::telemetry::INGEST_REASONS
        .iter()
        .copied()
        .collect();
    assert_eq!(
        listed, reasons,
        "INGEST_REASONS in src/telemetry/sections.rs"
    );
}

/// What the functions of that name give, one literal in each arm.
fn reasons(source: &str) -> impl Iterator<Item = &str> {
    let functions = source.split("fn reason(").skip(1);
    let arms = functions.flat_map(|text| text.split("\n    }\n").next().unwrap().lines());
    let literals = arms.filter_map(|arm| arm.split_once("=> \"")?.1.strip_suffix("\","));
    // Of a subscription, not of a delivery.
    let of_subscriptions = ["subscribers_per_address_max", "pages_per_address"];
    literals.filter(move |reason| !of_subscriptions.contains(reason))
}

fn page() -> String {
    let presets = presets();
    let mut page = format!(
        "# Presets\n\n\
         <!-- Made from crates/verify/src/presets.toml by tests/it/presets_page.rs. Do not edit:\n     \
         HOOKRILL_WRITE_DOCS=1 cargo test --test it presets_page -->\n\n\
         Hookrill knows how {} providers sign. Each preset is checked against code that nobody of this \
         project wrote (the provider's own SDK where there is one), or against published \
         values: the tests verify what those sign, and refuse it with one byte changed. \
         What could not be checked is [left out](#left-out).\n\n\
         Write `preset = \"…\"` into a topic's section, put the secret into the variable that it names, and give \
         the provider `https://<your public URL>/ingest/<topic>`. `secrets` may list \
         several while you rotate them. Any other scheme can be described in the same language \
         (`[topics.X.scheme]`): [crates/verify/src/presets.toml](../crates/verify/src/presets.toml) is full of \
         examples.\n\n",
        presets.len()
    );
    page += &night();
    page += "## All of them\n\n\
             | preset | provider | signature | by | timestamp | id signed | type signed | handshake |\n\
             |---|---|---|---|---|---|---|---|\n";
    for preset in &presets {
        page += &row(preset);
    }
    page += "\n";
    for preset in &presets {
        page += &section(preset);
    }
    page += "## Left out\n\n\
             A preset without evidence is not shipped. These were looked at:\n\n\
             | provider | why not |\n|---|---|\n";
    for (who, why) in LEFT_OUT {
        writeln!(page, "| {who} | {why} |").unwrap();
    }
    page
}

/// What helps when a delivery is refused.
fn night() -> String {
    "## When deliveries are refused\n\n\
     The sender sees the same 401 whatever was wrong with the topic or the signature; the log and the metric \
     `hookrill_ingest_refused_total` name the reason. Capture one delivery and ask:\n\n\
     ```sh\n\
     hookrill verify --preset github --secret env:GITHUB_SECRET \\\n  \
     --header 'X-Hub-Signature-256: sha256=…' --show-signed body.json\n\
     ```\n\n\
     `--at` sets the time of verification, `--target` and `--public-url` the URL that it was \
     sent to. \
     `--show-signed` prints the bytes that should have been signed.\n\n\
     | reason | means | look at |\n|---|---|---|\n\
     | `method`, `body_of_get` | the request is not a POST, nor by one of the section's `methods`, and no handshake; or a GET has a body | who calls this URL, and why |\n\
     | `header_missing`, `query_missing` | there is no signature, or no token | is a secret set at the provider? Does a proxy drop headers? |\n\
     | `not_ascii` | a header that is needed has bytes outside ASCII | a proxy that changes headers |\n\
     | `header_duplicate` | a header was given more than once, with different values | a proxy that adds one of its own |\n\
     | `signature_prefix`, `signature_form`, `token_form` | the header has another form | another version of the provider's scheme, or another preset |\n\
     | `signature_encoding`, `signature_length` | hex for base64, or a cut value | another preset; a proxy that cuts headers |\n\
     | `signatures_too_many` | there are more than 16 signatures | a proxy that adds some; an attempt to make verification slow |\n\
     | `mismatch` | another secret or other bytes | the secret of another environment or webhook; a proxy that rewrites or decompresses bodies; for presets that sign the URL, `server.public_url` |\n\
     | `body_hash` | the signed URL announces another hash of the body | a proxy that rewrites or decompresses bodies |\n\
     | `stale` | the signature is genuine, the timestamp too old or in the future | the clocks; a retry that repeats its first signature: raise `tolerance` |\n\
     | `timestamp_form`, `timestamp_missing` | there is no timestamp where one should be | another version of the scheme |\n\
     | `json_missing`, `field_missing`, `not_a_form` | the body is not what is signed | the content type set at the provider |\n\
     | `delimiter_in_part` | a signed part contains the text that separates it from the next, so that the same bytes could mean two messages | the part that the log names |\n\
     | `signable_by_anyone` | what is signed is one bare word, which the provider's handshake signs for anyone | somebody is trying to forge deliveries |\n\
     | `secret_pending`, `secret_already_provisioned`, `secret_not_accepted` | the provider sends its secret itself | [below](#secrets-that-providers-send) |\n\
     | `secret_not_stored` | the provider's secret could not be written; the sender gets 503 | the disk of the journal's folder, and who may write there |\n\
     | `verify_token`, `challenge` | a handshake failed | is the topic's `verify_token` the token that you gave the provider? |\n\
     | `topic_unknown`, `topic_malformed` | nothing configures that topic | the end of the URL |\n\
     | `address` | the sender's address is not in the topic's `allow_from` | that list; behind a proxy, `server.trusted_proxies` |\n\
     | `topic_below_partition` | the topic is below one with a `partition` | send to the topic of the section itself |\n\
     | `rate_topic`, `rate_address` | more than the topic's `rate_max`, or `server.ingest_rate_per_address_max`, allows; the sender gets 429 | the limits; who sends that much |\n\
     | `body_too_long` | longer than `server.body_bytes_max`; the sender gets 413 | that limit |\n\
     | `body_too_slow`, `body_broken` | the body took too long, or ended early; the sender gets 408 or 400 | the sender's network, and proxies |\n\
     | `coding_unknown`, `coding_broken` | the body's `Content-Encoding` is none of gzip, deflate, br, zstd, or more than three, or not what the body is; the sender gets 415 or 400 | how the sender compresses; a proxy that changes bodies |\n\
     | `body_budget` | the bodies that are being read hold all the memory that there is for them; the sender gets 503 | who sends so much at once |\n\
     | `journal_no_room` | the disk is nearly full; the sender gets 503 | the disk, and `journal.retain_bytes` |\n\
     | `journal_scarce` | the system had no open files or memory to spare for the journal; the sender gets 503 | the limit of open files (`ulimit -n`), and memory |\n\
     | `journal_stalled` | a commit takes longer than `journal.commit_stall_max`; the sender gets 503 | the disk: it hangs, or is overloaded |\n\
     | `journal_failed`, `journal_closed`, `interrupted` | the journal could not store it, or the gateway is stopping; the sender gets 503 | the log |\n\n\
     ### Handshakes\n\n\
     Some providers send a handshake before any event. Hookrill answers it and stores \
     nothing; the log says `handshake answered` with the topic, and `hookrill_handshakes_total` \
     counts them. What is echoed is printable, at most 1 KiB, and sent as `text/plain` with `nosniff` \
     or as JSON. An answer that needs a secret is made with the topic's first one. A GET or \
     HEAD that is not a valid handshake gets the same 405 as any other.\n\n\
     ### Secrets that providers send\n\n\
     Asana and Notion send the secret themselves, with the first request. Hookrill accepts the \
     first one that comes to a topic with a section of its own and no `secrets`, stores it in \
     `provisioned-secrets/<topic>` of the journal's folder, readable by the owner alone, and refuses any \
     other from then on. Until then whoever knows the URL can send a secret of their own: \
     name the topic so that it cannot be guessed, create the webhook right after the start, and \
     look for `a provider's secret was stored` in the log. To start over, stop Hookrill, delete \
     the file, and start it. With the memory journal the secret lasts as long as the process.\n\n"
        .to_owned()
}

fn row(preset: &Preset) -> String {
    let scheme = &preset.scheme;
    let tolerance = scheme.timestamp.as_ref().map_or_else(
        || "–".to_owned(),
        |rule| humantime::format_duration(rule.tolerance).to_string(),
    );
    let yes = |there: bool, signed: bool| match (there, signed) {
        (false, _) => "–",
        (true, true) => "yes",
        (true, false) => "no",
    };
    let handshake = preset.handshake.as_ref().map_or("–", |_| "yes");
    let name = &preset.name;
    format!(
        "| [{name}](#{name}) | {} | `{}` | {} | {tolerance} | {} | {} | {handshake} |\n",
        preset.title,
        scheme.location(),
        scheme.algorithm(),
        yes(!scheme.dedup_id.is_empty(), preset.signed.dedup_id),
        yes(!scheme.event_type.is_empty(), preset.signed.event_type),
    )
}

fn section(preset: &Preset) -> String {
    let name = &preset.name;
    let mut text = format!(
        "## {name}\n\n**{}.** {}\n\n",
        preset.title,
        sentence(&preset.setup)
    );
    write!(text, "```toml\n{}```\n\n", block(preset)).unwrap();
    let mut item =
        |what: &str, said: &str| writeln!(text, "- **{what}:** {}", sentence(said)).unwrap();
    item("URL", &format!("`https://hooks.example.com/ingest/{name}`"));
    item("Signed", &signed(&preset.scheme));
    item("Facts", &facts(&preset.scheme, preset.signed));
    item("Handshake", preset.handshake.as_deref().unwrap_or("none"));
    item("While it is set up", &setup_traffic(preset));
    if let Some(expects) = &preset.expects {
        item("Answer", &expected_answer(preset, expects));
    }
    if let Some(size) = &preset.body_bytes_max {
        item("Bodies", &body_size(size));
    }
    item("What remains", &remains(&preset.scheme, preset.signed));
    if let Some(notes) = &preset.notes {
        item("Mind", notes);
    }
    if runs_on(&preset.scheme) {
        let what = "the body follows the URL without a separator, so that the end of the path can \
                    be moved into it: give this topic no subtopics, and a secret of its own";
        item("Mind", what);
    }
    let failures = failures(preset);
    if !failures.is_empty() {
        item("If it is refused", &failures);
    }
    item("Accepted by", &preset.evidence.join(", "));
    writeln!(
        text,
        "\n[{}'s documentation]({})\n",
        preset.title, preset.docs
    )
    .unwrap();
    text
}

fn secret(preset: &Preset) -> String {
    format!(
        "{}_SECRET",
        preset.name.to_ascii_uppercase().replace('-', "_")
    )
}

/// A configuration to copy.
fn block(preset: &Preset) -> String {
    let name = &preset.name;
    let mut toml = String::new();
    if preset.scheme.needs_public_url() {
        toml += "[server]\npublic_url = \"https://hooks.example.com\"\n\n";
    }
    writeln!(toml, "[topics.{name}]\npreset = \"{name}\"").unwrap();
    match preset.scheme.provisioned_secret {
        Some(_) => toml += "# No secrets: the provider sends one.\n",
        None => writeln!(toml, "secrets = [\"env:{}\"]", secret(preset)).unwrap(),
    }
    if preset.scheme.needs_verify_token() {
        let word = secret(preset).replace("_SECRET", "_VERIFY_TOKEN");
        writeln!(toml, "verify_token = \"env:{word}\"").unwrap();
    }
    toml
}

fn signed(scheme: &Scheme) -> String {
    match scheme.kind {
        SchemeKind::Token => return format!("nothing; the token is in {}", token_place(scheme)),
        SchemeKind::None => return "nothing".to_owned(),
        SchemeKind::Hmac | SchemeKind::Ed25519 => {}
        other => panic!("the page has no words for {other}"),
    }
    let parts: Vec<_> = scheme.parts().iter().map(part).collect();
    let (parts, form) = (parts.join(", then "), signature_form(scheme));
    let mut text = format!("{parts}, as {form}, by {}", scheme.algorithm());
    if let Some(rule) = &scheme.timestamp {
        let at = match (&rule.header, &rule.field, &rule.json, &rule.form) {
            (Some(names), ..) => format!("`{names}`"),
            (_, Some(field), ..) => format!("`{field}=` of the same header"),
            (_, _, Some(pointer), _) => format!("`{pointer}` of the body"),
            (.., Some(name)) => format!("`{name}` of the form"),
            _ => panic!("a scheme that compiles has one of them"),
        };
        let (format, off) = (
            rule.format.as_str(),
            humantime::format_duration(rule.tolerance),
        );
        write!(
            text,
            ". The timestamp is {format} in {at}, and may be {off} off"
        )
        .unwrap();
    }
    text
}

fn token_place(scheme: &Scheme) -> String {
    use scheme::{Authorization, Token};
    match &scheme.token {
        Some(Token {
            authorization: Some(Authorization::Basic),
            ..
        }) => "`Authorization: Basic`; the secret is `user:password`".to_owned(),
        _ => format!("`{}`", scheme.location()),
    }
}

/// How the signature's header looks.
fn signature_form(scheme: &Scheme) -> String {
    let Some(signature) = &scheme.signature else {
        return String::new();
    };
    if let Some(pointer) = &signature.json {
        return format!("`{pointer}` of the body");
    }
    if let Some(name) = &signature.form {
        return format!("`{name}` of the form");
    }
    let key = match (&signature.key, &signature.key_separator) {
        (Some(key), Some(separator)) => format!("{key}{separator}"),
        _ => String::new(),
    };
    let many = match &signature.separator {
        Some(_) => " (one of several items)",
        None => "",
    };
    format!("`{}: {key}{}…`{many}", scheme.location(), signature.prefix)
}

fn part(part: &MessagePart) -> String {
    match part {
        MessagePart::Literal(text) => format!("`{text}`"),
        MessagePart::Header(names) => format!("`{names}`"),
        MessagePart::Form(name) => format!("`{name}` of the form"),
        MessagePart::BodyOrField(name) => {
            format!("the body, or, of a form, its only field `{name}`")
        }
        MessagePart::Json(pointer) => format!("`{}`", last(pointer)),
        MessagePart::JsonOrEmpty(pointer) => format!("`{}` (or nothing)", last(pointer)),
        other => other.to_string(),
    }
}

/// The last step of a pointer: the page says elsewhere where it is.
fn last(pointer: &hookrill_core::Pointer) -> String {
    let text = pointer.to_string();
    text.rsplit('/').next().unwrap_or_default().to_owned()
}

fn source(source: &Source) -> String {
    match source {
        Source::Header(names) => format!("`{names}`"),
        Source::Json(pointer) => format!("`{pointer}` of the body"),
        Source::Query(name) => format!("`{name}` of the query"),
        Source::Form(name) => format!("`{name}` of the form"),
        other => panic!("the page has no words for {other}"),
    }
}

fn facts(scheme: &Scheme, signed: Coverage) -> String {
    let of = |what: &str, sources: &[Source], is_signed: bool| match sources {
        [] => format!("no {what}"),
        _ => {
            let places: Vec<_> = sources.iter().map(source).collect();
            let covered = if is_signed {
                "signed"
            } else {
                "**not signed**"
            };
            format!("the {what} is {} ({covered})", places.join(", else "))
        }
    };
    let id = of("id", &scheme.dedup_id, signed.dedup_id);
    let kind = of("type", &scheme.event_type, signed.event_type);
    format!("{id}; {kind}")
}

/// What comes beside events, and who says so.
fn setup_traffic(preset: &Preset) -> String {
    let said = &preset.setup_traffic;
    match &said.source {
        Some(source) if !said.comes() => format!(
            "nothing beside events: [what describes it]({source}) names no check of the URL and no \
             test delivery"
        ),
        Some(source) => format!("{} ([source]({source}))", said.sends),
        None => "what the provider sends is not known: no source was found".to_owned(),
    }
}

/// What the provider wants of the answer, and what Hookrill says.
fn expected_answer(preset: &Preset, expects: &Expectation) -> String {
    let mut wants = Vec::new();
    wants.extend(
        expects
            .status
            .as_ref()
            .map(|status| format!("wants {status}")),
    );
    wants.extend(
        expects
            .within
            .as_ref()
            .map(|within| format!("waits {within}")),
    );
    wants.extend(
        expects
            .retries
            .as_ref()
            .map(|when| format!("retries: {when}")),
    );
    let mut text = format!("{} ([source]({}))", wants.join("; "), expects.source);
    if let Some(respond) = &preset.scheme.respond {
        let body = match &*respond.body {
            "" => "an empty body".to_owned(),
            body => format!("`{body}`"),
        };
        write!(text, "; Hookrill answers {} with {body}", respond.status).unwrap();
    }
    text
}

fn body_size(size: &BodySize) -> String {
    const DEFAULT: usize = 5 << 20;
    let (kib, source) = (size.bytes >> 10, &size.source);
    let most = if kib >= 1024 {
        format!("{} MiB", kib >> 10)
    } else {
        format!("{kib} KiB")
    };
    let raise = if size.bytes > DEFAULT {
        "; `server.body_bytes_max` is 5 MiB by default, so raise it"
    } else {
        ""
    };
    format!("up to {most} ([source]({source})){raise}")
}

/// What a person who captured a delivery can still do, and the remedy.
fn remains(scheme: &Scheme, signed: Coverage) -> String {
    const KNOWN: &str = "`dedup_by = \"body\"` recognises it by what is signed, and then two events \
                         of the same content within the window count as one";
    if scheme.kind == SchemeKind::Token {
        return "whoever learns the token can send anything: TLS all the way, and a new token when in \
                doubt"
            .to_owned();
    }
    let has_id = !scheme.dedup_id.is_empty();
    match (scheme.timestamp.is_some(), has_id, signed.dedup_id) {
        (true, true, true) => {
            "a replay within the tolerance is a duplicate, by its signed id; a later one is stale"
                .to_owned()
        }
        (true, true, false) => format!(
            "a captured delivery, replayed within the tolerance under a new id, counts as new: {KNOWN}"
        ),
        (true, false, _) => "there is no id, so a replay within the tolerance counts as new: \
                             `dedup = \"1h\"` recognises it by its content"
            .to_owned(),
        (false, true, true) => "a captured delivery never goes stale: it is a duplicate for as long \
                                as `dedup` says (24 h), and counts as new after that; `dedup = \"30days\"` is \
                                the most"
            .to_owned(),
        (false, true, false) => format!(
            "a captured delivery never goes stale, and under a new id it counts as new: {KNOWN}"
        ),
        (false, false, _) => "a captured delivery never goes stale, and there is no id: \
                              `dedup = \"24h\"` recognises it by its content"
            .to_owned(),
    }
}

/// Whether the body follows the URL without a separator.
fn runs_on(scheme: &Scheme) -> bool {
    use scheme::Function;
    let twilio = |part: &MessagePart| *part == MessagePart::Function(Function::Twilio);
    let url = |part: &MessagePart| {
        matches!(
            part,
            MessagePart::Url | MessagePart::Function(Function::HubspotUrl)
        )
    };
    let body = |part: &MessagePart| matches!(part, MessagePart::Body | MessagePart::FormSorted);
    let parts = scheme.parts();
    let beside = parts.windows(2).any(|pair| url(&pair[0]) && body(&pair[1]));
    beside || parts.iter().any(twilio)
}

/// What commonly goes wrong with this one.
fn failures(preset: &Preset) -> String {
    let scheme = &preset.scheme;
    let form = scheme.secret.clone().unwrap_or_default();
    let mut known = Vec::new();
    match (form.encoding, &*form.prefix) {
        (scheme::SecretEncoding::Base64, "") => {
            known.push("the secret is base64, as it was shown".to_owned());
        }
        (scheme::SecretEncoding::Base64, prefix) => {
            known.push(format!(
                "the secret is base64 after `{prefix}`, which may be included or left out"
            ));
        }
        (scheme::SecretEncoding::Hex, _) => {
            known.push("the secret is hex, as it was shown".to_owned());
        }
        _ => {}
    }
    if scheme.needs_public_url() {
        known.push(
            "`server.public_url` and the path and query are, letter by letter, what the provider was given"
                .to_owned(),
        );
    }
    if scheme.timestamp.is_some() {
        known.push("clocks that are off, and retries that repeat an old timestamp".to_owned());
    }
    known.join("; ")
}

/// With a full stop at its end and a capital at its front.
fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut letters = text.chars();
    let text = match letters.next() {
        Some(first) if !text.starts_with("npm") && !text.starts_with("https") => {
            format!("{}{}", first.to_uppercase(), letters.as_str())
        }
        _ => text.to_owned(),
    };
    if text.ends_with(['.', '!', '?']) {
        text
    } else {
        format!("{text}.")
    }
}
