//! `hookrill verify`.

use data_encoding::HEXLOWER;
use flate2::{Compression, write::GzEncoder};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::*;

#[test]
fn verify_says_at_which_step_a_delivery_fails() {
    let folder = folder();
    let folder = folder.path();
    std::fs::write(folder.join("body"), "Hello, World!").unwrap();
    std::fs::write(folder.join("other"), "Hello, World?").unwrap();
    let verify = |body, more: &[&str]| {
        let secret = [
            "verify",
            "--preset",
            "github",
            "--secret",
            GITHUB_SECRET,
            body,
        ];
        run(folder, &[&secret[..], more].concat())
    };
    let good = verify("body", &["--header", GITHUB_SIGNATURE])
        .has_status(0)
        .says_nothing()
        .prints("the secret that matches: --secret number 1");
    assert!(good.stdout.ends_with("Signature verified.\n"), "{good:?}");

    let shapeless = ["--secret", "another", "--header", "X-Hub-Signature-256: 00"];
    verify("body", &shapeless)
        .has_status(1)
        .prints("header x-hub-signature-256 does not begin with \"sha256=\"");

    let changed = verify("other", &["--header", GITHUB_SIGNATURE, "--show-signed"])
        .has_status(1)
        .prints("\nFAIL  ");
    let signed = "signed: 13 bytes\nHello, World?\n";
    assert!(changed.stdout.starts_with(signed), "{changed:?}");
    assert!(!changed.stdout.contains(GITHUB_SECRET));

    verify("body", &[])
        .has_status(1)
        .prints("header x-hub-signature-256 is missing");
    verify("none", &[]).has_status(1);
    for unknown in [
        &["verify", "--preset", "GitHub", "--secret", "s", "body"][..],
        &["send", "a", "{}", "--preset", "githbu", "--secret", "s"],
        &["presets", "GITHUB"],
    ] {
        run(folder, unknown)
            .has_status(2)
            .says("there is no such preset; did you mean `github`? (`hookrill presets` lists all)");
    }
}

#[test]
fn verify_reads_a_whole_request_as_it_was_captured() {
    let folder = folder();
    let folder = folder.path();
    let head = format!(
        "POST /ingest/github?a=1 HTTP/1.1\r\nHost: hooks.example.com\r\n{GITHUB_SIGNATURE}\r\n\
         Content-Length: 13\r\n\r\n"
    );
    std::fs::write(folder.join("captured"), format!("{head}Hello, World!")).unwrap();
    // As an editor leaves it.
    let edited = format!("{head}Hello, World!\n").replace("\r\n", "\n");
    std::fs::write(folder.join("edited"), edited).unwrap();
    let verify = [
        "verify",
        "--preset",
        "github",
        "--secret",
        GITHUB_SECRET,
        "--show-signed",
        "--request",
    ];
    for file in ["captured", "edited"] {
        run(folder, &[&verify[..], &[file]].concat())
            .has_status(0)
            .says_nothing()
            .prints("signed: 13 bytes\nHello, World!\n")
            .prints("Signature verified.");
    }
    std::fs::write(folder.join("body"), "Hello, World!").unwrap();
    run(folder, &[&verify[..], &["body"]].concat())
        .has_status(1)
        .says("body is not a request")
        .says("it must begin with a request line");
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_coded_body_is_verified_as_the_gateway_does_which_undoes_it() {
    let folder = folder();
    let folder = folder.path();
    let config = "[server]\nbody_bytes_max = \"1KiB\"\n[topics.github]\npreset = \"github\"\n\
                  secrets = [\"It's a Secret to Everybody\"]\naccess = \"public\"\n";
    std::fs::write(folder.join("hookrill.toml"), config).unwrap();
    let verify = |coding: &str, signature: &str, body: &[u8]| {
        let mut request = format!(
            "POST /ingest/github HTTP/1.1\r\n{signature}\r\nContent-Encoding: {coding}\r\n\r\n"
        )
        .into_bytes();
        request.extend(body);
        std::fs::write(folder.join("request"), request).unwrap();
        run(
            folder,
            &["verify", "--topic", "github", "--request", "request"],
        )
    };
    let sent = gzip(b"Hello, World!");
    verify("gzip", GITHUB_SIGNATURE, &sent)
        .has_status(0)
        .prints("the body is signed as it was before it was coded")
        .prints("the secret that matches: secrets[0] of the topic")
        .prints("Signature verified.");
    let mut mac = Hmac::<Sha256>::new_from_slice(GITHUB_SECRET.as_bytes()).unwrap();
    mac.update(&sent);
    let of_sent = HEXLOWER.encode(&mac.finalize().into_bytes());
    let of_sent = format!("X-Hub-Signature-256: sha256={of_sent}");
    verify("gzip", &of_sent, &sent)
        .has_status(0)
        .prints("the body is signed as it was sent, coded")
        .prints("the secret that matches: secrets[0] of the topic")
        .prints("Signature verified.");
    verify("gzip", GITHUB_SIGNATURE, &gzip(b"Hello, World?"))
        .has_status(1)
        .prints("no configured secret matches");
    for (coding, body, answer) in [
        ("foo", &b"Hello, World!"[..], "415 Unsupported Media Type"),
        ("gzip", b"Hello, World!", "400 Bad Request"),
        ("gzip", &gzip(&[0; 1025]), "413 Payload Too Large"),
        ("identity", &[b'a'; 1025], "413 Payload Too Large"),
    ] {
        verify(coding, GITHUB_SIGNATURE, body)
            .has_status(1)
            .prints("FAIL  body")
            .prints(&format!(
                "The gateway answers {answer}, and verifies nothing."
            ));
    }
}

#[test]
fn signed_bytes_are_printed_as_they_are() {
    let folder = folder();
    let folder = folder.path();
    let body = b"{\"a\":\"b\\n\", \"\x1b\":\xff}\r\n";
    std::fs::write(folder.join("body"), body).unwrap();
    let line = "verify --preset github --secret s --show-signed body";
    let arguments: Vec<&str> = line.split(' ').collect();
    let output = hookrill(folder, &arguments).output().unwrap();
    let expected = [b"signed: 20 bytes\n", &body[..], b"\n"].concat();
    assert!(output.stdout.starts_with(&expected), "{output:?}");
}

#[test]
fn verify_names_the_secret_that_matches_and_never_shows_it() {
    let folder = folder();
    let folder = folder.path();
    std::fs::write(folder.join("body"), "Hello, World!").unwrap();
    std::fs::write(folder.join("old"), "of before\n").unwrap();
    std::fs::write(folder.join("new"), GITHUB_SECRET).unwrap();
    let secrets = ["--secret", "file:old", "--secret", "file:new"];
    let line = ["verify", "body", "--preset", "github"];
    let header = ["--header", GITHUB_SIGNATURE];
    let exit = run(folder, &[&line[..], &secrets, &header].concat())
        .has_status(0)
        .prints("number 2 matches")
        .prints("the secret that matches: file:new");
    assert!(!exit.stdout.contains(GITHUB_SECRET), "{exit:?}");
}

#[test]
fn verify_shows_how_a_handshake_is_answered() {
    let folder = folder();
    let folder = folder.path();
    std::fs::write(folder.join("empty"), "").unwrap();
    let ask = |target: &str| {
        let line = ["verify", "empty", "--preset", "dropbox", "--secret", "s"];
        run(
            folder,
            &[&line[..], &["--method", "GET", "--target", target]].concat(),
        )
    };
    ask("/ingest/files?challenge=a%1Bb")
        .has_status(1)
        .prints("no printable text");
    ask("/ingest/files?challenge=a-b")
        .has_status(0)
        .prints("This is a handshake. The answer is 200 OK: a-b\n");
}

#[test]
fn verify_judges_a_capture_as_of_then() {
    let folder = folder();
    let folder = folder.path();
    // The vector of the Standard Webhooks library for Go.
    std::fs::write(folder.join("body"), r#"{"test": 2432232314}"#).unwrap();
    let verify = |at: &[&str]| {
        let capture = [
            "verify",
            "body",
            "--preset",
            "standard-webhooks",
            "--secret",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "--header",
            "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek",
            "--header",
            "webhook-timestamp: 1614265330",
            "--header",
            "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ];
        run(folder, &[&capture[..], at].concat())
    };
    verify(&["--at", "1614265331"]).has_status(0);
    verify(&["--at", "2021-02-25T15:02:11Z"]).has_status(0);
    verify(&[])
        .has_status(1)
        .prints("hint: the signature is genuine");
}
