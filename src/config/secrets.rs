//! What people write in place of a secret by mistake.
//!
//! Refuses references in the spelling of other tools, which would become the secret
//! themselves. Strips nothing from a secret: what may be a mistake is warned of.
//! Invariant: no message has more of a value than the name of a variable or of a
//! file.

use super::{diagnostic::Mistake, tree::TreeValue};

/// How other tools begin a reference to a variable. In lower case; of two that fit,
/// the longer one is first.
const OF_VARIABLES: [&str; 17] = [
    "process.env.",
    "process.env[",
    "os.environ.get(",
    "os.environ[",
    "os.getenv(",
    "deno.env.get(",
    "getenv(",
    "!env ",
    "$env:",
    "env://",
    "env:",
    "env.",
    "env[",
    "env(",
    "env=",
    "${",
    "{{",
];
/// How references begin that only another tool can resolve.
const OF_TOOLS: [&str; 5] = ["op://", "vault://", "arn:aws:", "ref+", "sops://"];
/// The tools that others refer to by name, a colon, and what is meant there.
const TOOLS: [&str; 26] = [
    "1password",
    "akeyless",
    "akv",
    "asm",
    "aws",
    "awssm",
    "azure",
    "azurekeyvault",
    "bws",
    "conjur",
    "doppler",
    "gcp",
    "gcpsm",
    "gsm",
    "infisical",
    "k8s",
    "keychain",
    "keyring",
    "keyvault",
    "op",
    "pass",
    "secret",
    "secretsmanager",
    "sops",
    "ssm",
    "vault",
];
/// How other tools say that a path follows.
const OF_FILES: [&str; 5] = ["file://", "file:", "file.", "file=", "file("];
/// How providers begin their secrets. No variable is named so in lower case.
const OF_SECRETS: [&str; 22] = [
    "whsec_",
    "whsk_",
    "whpk_",
    "sk_",
    "pk_",
    "rk_",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "ghr_",
    "github_pat_",
    "glpat",
    "gldt",
    "shpss_",
    "shpat_",
    "xoxb",
    "xoxp",
    "xapp",
    "sq0",
    "pdl_",
    "ntn_",
];
/// Where containers have their secrets.
const FOLDERS: [&str; 3] = ["/run/secrets/", "/var/run/secrets/", "/etc/secrets/"];
/// What stands in examples, without its punctuation.
const PLACEHOLDERS: [&str; 22] = [
    "changeit",
    "changeme",
    "changethis",
    "dummy",
    "example",
    "fixme",
    "foobar",
    "mysecret",
    "none",
    "null",
    "password",
    "placeholder",
    "replaceme",
    "secret",
    "supersecret",
    "tbd",
    "test",
    "todo",
    "token",
    "topsecret",
    "undefined",
    "webhooksecret",
];

/// Refuses a text that was meant to be a reference.
///
/// # Errors
///
/// What was probably meant.
pub(super) fn refuse_lookalike(value: &TreeValue) -> Result<(), Mistake> {
    let (TreeValue::Text(text)
    | TreeValue::Untyped {
        text,
        secret: false,
    }) = value
    else {
        // What was read through a reference is the secret, whatever it looks like.
        return Ok(());
    };
    match lookalike(text) {
        Some(message) => Err(message.into()),
        None => Ok(()),
    }
}

/// What is wrong with a text that was meant to be a reference.
pub(super) fn lookalike(text: &str) -> Option<String> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    if OF_TOOLS.iter().any(|start| lower.starts_with(start)) || is_of_tool(text) {
        return Some(
            "is a reference that only another tool resolves; let that tool set a variable or \
             write a file, and refer to it by env:NAME or file:PATH"
                .to_owned(),
        );
    }
    if let Some(name) = variable_meant(text, &lower) {
        let meant = if is_plainly_a_name(name) {
            format!("did you mean `env:{name}`?")
        } else {
            "for a variable, write env:NAME.".to_owned()
        };
        return Some(format!(
            "is a reference in the spelling of another tool, and would be the secret itself; \
             {meant} (A secret that looks like this can be read by env: or file:)"
        ));
    }
    if let Some(path) = file_meant(text, &lower) {
        let meant = if path.starts_with(['/', '.']) {
            format!("did you mean `file:{path}`?")
        } else {
            "for a file, write file:PATH".to_owned()
        };
        return Some(format!(
            "looks like the path of a file, and would be the secret itself; {meant}"
        ));
    }
    let is_between = |start, end| text.starts_with(start) && text.ends_with(end);
    if is_between("{{", "}}") || is_between("$(", ")") || is_between("${", "}") {
        let message = "is a template, and nothing here fills it in; write env:NAME or file:PATH";
        return Some(message.to_owned());
    }
    if is_between("<", ">") {
        let message = "is a placeholder; write the secret in its place, or env:NAME or file:PATH";
        return Some(message.to_owned());
    }
    None
}

/// `vault:secret/github`, `ssm:/prod/github`, `doppler:GITHUB_SECRET`; not the user and
/// the password of somebody called so, unless that is several plain words as well.
fn is_of_tool(text: &str) -> bool {
    let Some((tool, rest)) = text.split_once(':') else {
        return false;
    };
    let is_tool = TOOLS.contains(&tool.to_ascii_lowercase().as_str());
    // What picks a field, a version or a region.
    let mut words = rest.split(['/', '#', '?', '=', ':', '.', '-', '_']);
    let is_path = rest.contains('/') && !rest.contains(char::is_whitespace);
    let is_name = rest.contains('_') && rest.bytes().all(is_upper);
    is_tool && (is_path || is_name) && words.all(is_word)
}

/// The name of the variable that was meant by `env://NAME`, `${NAME}` and the like.
fn variable_meant<'t>(text: &'t str, lower: &str) -> Option<&'t str> {
    let of_shell = text.strip_prefix('$');
    let of_windows = || text.strip_prefix('%')?.strip_suffix('%');
    if let Some(name) = of_shell.or_else(of_windows)
        && name.len() > 2
        && name.bytes().all(is_upper)
        && is_plainly_a_name(name)
    {
        return Some(name);
    }
    let start = OF_VARIABLES
        .iter()
        .find(|start| lower.starts_with(**start))?;
    let name = variable_name(&text[start.len()..]);
    (!name.is_empty()).then_some(name)
}

/// The name at the start of what follows `env:` or the like, without quotes, slashes
/// and braces; empty where there is none, or where more follows than closes it.
pub(super) fn variable_name(text: &str) -> &str {
    const OPENING: [char; 9] = [' ', '"', '\'', '/', '$', '{', '(', '[', '.'];
    let text = text.trim_start_matches(OPENING);
    // `{{ secrets.NAME }}`.
    let text = text.strip_prefix("secrets.").unwrap_or(text);
    let text = text.strip_prefix("env.").unwrap_or(text);
    let end = text
        .bytes()
        .take_while(|b| is_upper(*b) || b.is_ascii_lowercase());
    let (name, rest) = text.split_at(end.count());
    let has_default = [":-", ":?", ":=", "|"]
        .iter()
        .any(|start| rest.trim().starts_with(start));
    let is_closed = rest.chars().all(|c| " \"')]}%".contains(c));
    let is_name = !name.starts_with(|first: char| first.is_ascii_digit());
    if is_name && (is_closed || has_default) {
        name
    } else {
        ""
    }
}

/// Whether a text is so plainly the name of a variable that a message may repeat it:
/// short words in one case with `_` between them, with digits before or after them.
/// What may be a secret behind `env:` is not.
pub(super) fn is_plainly_a_name(text: &str) -> bool {
    const BYTES_MAX: usize = 64;
    let is_name = text.bytes().all(|b| is_upper(b) || b.is_ascii_lowercase());
    let is_first = text.starts_with(|first: char| first == '_' || first.is_ascii_alphabetic());
    is_name
        && is_first
        && text.len() <= BYTES_MAX
        && !begins_like_a_secret(text)
        && text.split('_').all(is_word)
}

/// Whether a text is so plainly the path of a file that a message may repeat it: from a
/// folder that it names, or of words like those of a variable's name.
pub(super) fn is_plainly_a_path(text: &str) -> bool {
    let mut words = text.split(['/', '.', '-', '_', ' ']);
    !begins_like_a_secret(text) && (text.starts_with(['/', '.']) || words.all(is_word))
}

/// Whether a text begins as providers begin their secrets.
fn begins_like_a_secret(text: &str) -> bool {
    OF_SECRETS.iter().any(|start| text.starts_with(start))
}

/// `GITHUB`, `github`, `Github`, `OAUTH2`, `2`; not `7fGhaa81kk`.
fn is_word(word: &str) -> bool {
    const BYTES_MAX: usize = 20;
    let bytes = word.as_bytes();
    let kind = |byte: u8| (byte.is_ascii_digit(), byte.is_ascii_lowercase());
    let turns = bytes.windows(2).filter(|two| kind(two[0]) != kind(two[1]));
    let is_capital = bytes.first().is_some_and(u8::is_ascii_uppercase)
        && bytes.get(1).is_some_and(u8::is_ascii_lowercase);
    let letters = bytes.iter().filter(|byte| !byte.is_ascii_digit());
    let is_one_case = letters.clone().all(u8::is_ascii_uppercase)
        || letters
            .skip(usize::from(is_capital))
            .all(u8::is_ascii_lowercase);
    word.len() <= BYTES_MAX && is_one_case && turns.count() <= 2
}

fn is_upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

/// The path that was meant by `FILE:/run/secrets/a`, `@/run/secrets/a` and the like.
fn file_meant<'t>(text: &'t str, lower: &str) -> Option<&'t str> {
    let is_path =
        |path: &str| path.starts_with(['/', '.']) || (path.contains('/') && !path.ends_with('='));
    if FOLDERS.iter().any(|folder| text.starts_with(folder)) {
        return Some(text);
    }
    if let Some(path) = text.strip_prefix('@') {
        return ["/", "./", "../"]
            .iter()
            .any(|start| path.starts_with(start))
            .then_some(path);
    }
    let start = OF_FILES.iter().find(|start| lower.starts_with(**start))?;
    let path = text[start.len()..].trim_end_matches(')');
    is_path(path).then_some(path)
}

/// What may be a mistake in a secret. Each is a sentence about the key.
pub(super) fn oddities(value: &TreeValue) -> Vec<String> {
    let (TreeValue::Text(text) | TreeValue::Untyped { text, .. }) = value else {
        return Vec::new();
    };
    let is_pem = text.trim_start().starts_with("-----BEGIN");
    let quote = text.chars().next().filter(|first| "\"'`".contains(*first));
    let quote = quote.filter(|first| text.len() > 1 && text.ends_with(*first));
    let is_assignment = text
        .split_once('=')
        .is_some_and(|(name, rest)| is_variable(name) && !rest.trim_matches('=').is_empty());
    let mut found = Vec::new();
    if let Some(quote) = quote {
        found.push(format!(
            "begins and ends with {quote}, which counts as a part of the secret; remove the \
             quotes where it is written, unless they belong to it"
        ));
    }
    if text.trim() != text {
        found.push(
            "begins or ends with a blank, which counts as a part of the secret; remove it where \
             the secret is written, unless it belongs to it"
                .to_owned(),
        );
    }
    if !is_pem && text.trim().contains(['\n', '\r']) {
        found.push(
            "has several lines, which are all one secret; is this the right file?".to_owned(),
        );
    }
    if text.ends_with("\\n") || text.ends_with("\\r") {
        found.push(
            "ends with a backslash and a letter: nothing makes a line end of them".to_owned(),
        );
    }
    if text.chars().any(is_invisible) {
        found.push("has characters that can't be seen, such as a byte order mark".to_owned());
    }
    if is_assignment {
        found.push(
            "begins with the name of a variable and =, which count as a part of the secret"
                .to_owned(),
        );
    }
    if is_placeholder(text) {
        found.push(
            "is a word from an example, which everybody can guess; use a secret of your own"
                .to_owned(),
        );
    }
    found
}

/// A name of several words in upper case.
fn is_variable(name: &str) -> bool {
    name.contains('_')
        && name.bytes().all(is_upper)
        && name.starts_with(|first: char| first.is_ascii_uppercase())
}

fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{a0}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{2060}' | '\u{feff}'
    ) || (c.is_control() && !"\r\n\t".contains(c))
}

fn is_placeholder(text: &str) -> bool {
    let kept = text.chars().filter(char::is_ascii_alphanumeric);
    let plain: String = kept.map(|c| c.to_ascii_lowercase()).collect();
    let is_filler = text.len() > 1 && text.chars().all(|c| ".…xX*-_?".contains(c));
    let is_yours = plain.strip_prefix("your").is_some_and(|rest| {
        ["secret", "token", "key"]
            .iter()
            .any(|word| rest.contains(word))
    });
    let is_bracketed = text.starts_with('<') && text.ends_with('>');
    PLACEHOLDERS.contains(&plain.as_str()) || is_filler || is_yours || is_bracketed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        lookalike(text).unwrap_or_default()
    }

    #[test]
    fn a_reference_in_the_spelling_of_another_tool_is_told_from_a_secret() {
        for text in [
            "${GITHUB_SECRET}",
            "${GITHUB_SECRET:-none}",
            "$GITHUB_SECRET",
            "$env:GITHUB_SECRET",
            "%GITHUB_SECRET%",
            "ENV:GITHUB_SECRET",
            "Env:GITHUB_SECRET",
            " env:GITHUB_SECRET",
            "env.GITHUB_SECRET",
            "env://GITHUB_SECRET",
            "env(GITHUB_SECRET)",
            "ENV['GITHUB_SECRET']",
            "process.env.GITHUB_SECRET",
            "os.environ[\"GITHUB_SECRET\"]",
            "!env GITHUB_SECRET",
            "{{ secrets.GITHUB_SECRET }}",
            "{{GITHUB_SECRET}}",
            "${{ secrets.GITHUB_SECRET }}",
            "{{ env.GITHUB_SECRET | quote }}",
        ] {
            let said = said(text);
            assert!(
                said.contains("did you mean `env:GITHUB_SECRET`?"),
                "{text}: {said}"
            );
        }
        for (text, meant) in [
            ("FILE:/run/secrets/a", "did you mean `file:/run/secrets/a`?"),
            ("file./run/secrets/a", "did you mean `file:/run/secrets/a`?"),
            ("@/run/secrets/a", "did you mean `file:/run/secrets/a`?"),
            ("/run/secrets/a", "did you mean `file:/run/secrets/a`?"),
            ("op://vault/item/field", "only another tool resolves"),
            (
                "arn:aws:secretsmanager:eu-1:1:secret:a",
                "only another tool",
            ),
            ("vault:secret/github", "only another tool resolves"),
            ("vault:secret/data/github#webhook_key", "only another tool"),
            ("Vault:secret/data/github?version=2", "only another tool"),
            ("aws:prod/github", "only another tool"),
            ("gcp:projects/shop/secrets/github", "only another tool"),
            ("ssm:/prod/github-secret", "only another tool"),
            ("ssm://prod/github", "only another tool"),
            ("doppler:GITHUB_SECRET", "only another tool"),
            ("sops:secrets/a.yaml", "only another tool"),
            ("op:vault/item/field", "only another tool"),
            ("{{ .Values.secret }}", "is a template"),
            ("$(cat secret)", "is a template"),
            ("<your secret>", "is a placeholder"),
        ] {
            let said = said(text);
            assert!(said.contains(meant), "{text}: {said}");
        }
    }

    #[test]
    fn secrets_as_providers_make_them_look_like_nothing_else() {
        for secret in [
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "It's a Secret to Everybody",
            "$ecret",
            "$2b$12$abcdefghijklmnopqrstuv",
            "$A",
            "%7Bx%7D",
            "50%",
            "envoy",
            "environment-secret",
            "user:password",
            "aws:password",
            "vault:pass-word",
            "vault:kJ8sd7/fGhaa81xxyy",
            "aws:kJ8sd7fGhaa81xxyy/MfKQ9r8GKYqr==",
            "op:correct horse/battery",
            "mia:prod/github",
            "vault/secret",
            "/9j4AAQSkZJRg/abc=",
            "@home",
            "@a8sd/7fGhaa81kksd",
            "%kJ8sd7fGhaa81xxyy",
            "%KJ8SD7FGHAA81XXYY",
            "%kJ8sd7fGhaa81xxyy%",
            "$KJ8SD7FGHAA81XXYY",
            "files",
            "<<a",
            "{\"a\":1}",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        ] {
            assert_eq!(lookalike(secret), None, "{secret}");
            let value = TreeValue::Text(secret.to_owned());
            assert_eq!(oddities(&value), [""; 0], "{secret}");
        }
    }

    #[test]
    fn what_may_be_the_secret_is_not_repeated() {
        for text in [
            "ENV:kJ8sd7fGhaa81xxyy",
            " env:whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "${kJ8sd7fGhaa81xxyy}",
            "env=kJ8sd7fGhaa81xxyy",
            "FILE:kJ8sd7/fGhaa81xxyy",
            "file=whsec_kJ8sd7/fGhaa81xxyy",
        ] {
            let said = said(text);
            assert!(
                said.contains("would be the secret itself"),
                "{text}: {said}"
            );
            for part in ["kJ8sd7", "fGhaa81", "MfKQ"] {
                assert!(!said.contains(part), "{text}: {said}");
            }
        }
    }

    #[test]
    fn a_name_is_told_from_what_may_be_a_secret() {
        for name in [
            "GITHUB_SECRET",
            "GITHUBSECRET",
            "github_secret",
            "Github_Secret",
            "STRIPE_WHSEC",
            "WHSEC_GITHUB",
            "OAUTH2_TOKEN",
            "S3KEY",
            "B2B_KEY_2",
            "_A",
            "a",
        ] {
            assert!(is_plainly_a_name(name), "{name}");
        }
        for text in [
            "",
            "whsec_MfKQ",
            "whsec_abcdef",
            "sk_live_abc",
            "kJ8sd7fGhaa81xxyy",
            "d75a980182b10ab7d54bfed3c964073a",
            "D75A980182B10AB7",
            "abcdefghijklmnopqrstuvwxyz",
            "githubSecret",
            "A-B",
            "2A",
            "A,env:B",
        ] {
            assert!(!is_plainly_a_name(text), "{text}");
        }
    }

    #[test]
    fn a_path_is_told_from_what_may_be_a_secret() {
        for path in [
            "/run/secrets/7fGhaa81kkxx",
            "./7fGhaa81kkxx",
            "../a",
            "github-secret",
            "secrets/github_secret.txt",
            "Secret2",
        ] {
            assert!(is_plainly_a_path(path), "{path}");
        }
        for text in [
            "whsec_abcdef",
            "kJ8sd7fGhaa81xxyy",
            "kJ8sd7/fGhaa81xxyy",
            "d75a980182b10ab7d54bfed3c964073a",
        ] {
            assert!(!is_plainly_a_path(text), "{text}");
        }
    }

    #[test]
    fn what_is_odd_about_a_secret_is_said_without_the_secret() {
        for (text, expected) in [
            ("\"hunter2hunter2\"", "begins and ends with \""),
            ("'hunter2hunter2'", "begins and ends with '"),
            (" hunter2", "begins or ends with a blank"),
            ("hunter2\t", "begins or ends with a blank"),
            ("hunter2\nhunter2", "has several lines"),
            ("hunter2\\n", "ends with a backslash"),
            ("\u{feff}hunter2", "can't be seen"),
            ("hunter2\u{200b}", "can't be seen"),
            (
                "GITHUB_SECRET=hunter2",
                "begins with the name of a variable",
            ),
            ("change-me", "is a word from an example"),
            ("Your_Secret_Here", "is a word from an example"),
            ("xxxxxxxx", "is a word from an example"),
            ("...", "is a word from an example"),
        ] {
            let value = TreeValue::Text(text.to_owned());
            let found = oddities(&value);
            let [one] = &found[..] else {
                panic!("{text}: {found:?}");
            };
            assert!(one.contains(expected), "{text}: {one}");
            assert!(!one.contains("hunter2"), "{one}");
        }
    }
}
