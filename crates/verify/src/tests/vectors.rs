//! Known answers: published by providers, or computed apart from this code.

use super::*;

/// A delivery that verifies, and with which secret.
pub(super) struct Vector {
    pub(super) preset: &'static str,
    pub(super) secret: &'static str,
    pub(super) body: &'static str,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) signed_at: u64,
}

pub(super) const VECTORS: &[Vector] = &[
    // GitHub's documentation, "Validating webhook deliveries".
    Vector {
        preset: "github",
        secret: "It's a Secret to Everybody",
        body: "Hello, World!",
        headers: &[
            (
                "X-Hub-Signature-256",
                "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
            ),
            ("X-GitHub-Event", "push"),
            ("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ],
        signed_at: SIGNED_AT,
    },
    // octokit/webhooks-methods.js, its tests.
    Vector {
        preset: "github",
        secret: "secret",
        body: "data",
        headers: &[(
            "X-Hub-Signature-256",
            "sha256=1b2c16b75bd2a870c114153ccda5bcfca63314bc722fa160d690de133ccbb9db",
        )],
        signed_at: SIGNED_AT,
    },
    // standard-webhooks, the Go library's test.
    Vector {
        preset: "standard-webhooks",
        secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        body: r#"{"test": 2432232314}"#,
        headers: &[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            (
                "webhook-signature",
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
        ],
        signed_at: 1_614_265_330,
    },
    // The same under Svix's names, and a secret without its prefix.
    Vector {
        preset: "standard-webhooks",
        secret: "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        body: r#"{"test": 2432232314}"#,
        headers: &[
            ("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("svix-timestamp", "1614265330"),
            (
                "svix-signature",
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
        ],
        signed_at: 1_614_265_330,
    },
    // Slack's documentation, "Verifying requests from Slack".
    Vector {
        preset: "slack",
        secret: "8f742231b10e8888abcd99yyyzzz85a5",
        body: "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow\
            &channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner\
            &command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com\
            %2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
            &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
        headers: &[
            ("X-Slack-Request-Timestamp", "1531420618"),
            (
                "X-Slack-Signature",
                "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            ),
        ],
        signed_at: 1_531_420_618,
    },
    // Neither publishes one: computed with Python's `hmac`.
    Vector {
        preset: "stripe",
        secret: "whsec_test_secret",
        body: r#"{"id":"evt_1","type":"invoice.paid"}"#,
        headers: &[(
            "Stripe-Signature",
            "t=1614265330,v1=1c85623cfb52e27f927d9e4eac778cbe54c3d4f90b17edce4689e027779c4380",
        )],
        signed_at: 1_614_265_330,
    },
    Vector {
        preset: "shopify",
        secret: "hush",
        body: r#"{"id":4711,"total_price":"12.50"}"#,
        headers: &[
            (
                "X-Shopify-Hmac-Sha256",
                "PTSaDYQ5bYyhUbnR/Yl1JRi3VShxHH5CdXBGy0tYahA=",
            ),
            ("X-Shopify-Topic", "orders/paid"),
            (
                "X-Shopify-Webhook-Id",
                "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
            ),
        ],
        signed_at: SIGNED_AT,
    },
];

impl Vector {
    pub(super) fn verifier(&self) -> Verifier {
        by_preset(self.preset, &[self.secret])
    }

    pub(super) fn delivery(&self) -> Delivery {
        post(self.body, self.headers)
    }

    pub(super) fn verify(&self, delivery: Delivery) -> Result<Outcome, VerifyError> {
        self.verifier().verify(delivery, at(self.signed_at))
    }
}

#[test]
fn known_vectors_verify() {
    for vector in VECTORS {
        facts(vector.verify(vector.delivery()));
    }
}

#[test]
fn the_facts_are_where_the_preset_says() {
    let expected = [
        (
            0,
            Some("push"),
            Some("72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            false,
        ),
        (1, None, None, false),
        (2, None, Some("msg_p5jXN8AQM9LWM0D4loKWxJek"), true),
        (3, None, Some("msg_p5jXN8AQM9LWM0D4loKWxJek"), true),
        (4, None, None, false),
        (5, Some("invoice.paid"), Some("evt_1"), true),
        (
            6,
            Some("orders/paid"),
            Some("b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"),
            false,
        ),
    ];
    for (index, event_type, dedup_id, dedup_id_signed) in expected {
        let vector = &VECTORS[index];
        let facts = facts(vector.verify(vector.delivery()));
        assert_eq!(facts.event_type.as_deref(), event_type, "{index}");
        assert_eq!(facts.dedup_id.as_deref(), dedup_id, "{index}");
        assert_eq!(facts.dedup_id_signed, dedup_id_signed, "{index}");
        assert_eq!(facts.event_type_signed, index == 5, "{index}");
        assert_eq!(facts.respond, None);
    }
}

// Providers without a preset, in the language that a topic's own scheme has.
#[test]
fn published_vectors_of_other_providers_verify_by_a_scheme_of_ones_own() {
    // square-nodejs-sdk, webhooks test.
    let square = r#"
        kind = "hmac"
        hash = "sha256"
        signature = { header = "x-square-hmacsha256-signature" }
        encoding = "base64"
        message = ["url", "body"]"#;
    let mut delivery = post(
        r#"{"data":{"type":"webhooks","id":"fake_id"}}"#,
        &[(
            "x-square-hmacsha256-signature",
            "W3FlCNk5IA3ZQ2LHTWoajvzfaDu/OwY2tNHIHC3IUOA=",
        )],
    );
    delivery.path_and_query = "/webhooks".into();
    let verifier = custom(square, &["signature-key"]).unwrap();
    facts(verifier.verify(delivery.clone(), at(0)));
    delivery.path_and_query = "/webhook".into();
    assert_eq!(
        refusal(verifier.verify(delivery, at(0))),
        VerifyError::Mismatch
    );
}

// paddle-node-sdk, webhooks-validator test; mux-elixir, webhooks test.
#[test]
fn published_vectors_with_a_timestamp_verify_by_a_scheme_of_ones_own() {
    for (header, secret, body, value, field, key, between, signed_at) in [
        (
            "Paddle-Signature",
            "VALID_SECRET",
            r#"{"data": ["1", "2"]}"#,
            "ts=1698796800;h1=a300428748dce5c70e4da19bffd60769591ea969c99dea3105d0ec9612cf43f9",
            "ts",
            "h1",
            ":",
            1_698_796_800,
        ),
        (
            "Mux-Signature",
            "SuperSecret123",
            r#"{"test":"body"}"#,
            "t=1565125718,v1=854ece4c22acef7c66b57d4e504153bc512595e8e9c772ece2a68150548c19a7",
            "t",
            "v1",
            ".",
            1_565_125_718,
        ),
    ] {
        let toml = format!(
            r#"
            kind = "hmac"
            hash = "sha256"
            encoding = "hex"
            message = ["timestamp", {{ literal = "{between}" }}, "body"]
            timestamp = {{ field = "{field}", tolerance = "5s" }}
            [signature]
            header = "{header}"
            separator = ",;"
            key_separator = "="
            key = "{key}""#
        );
        let verifier = custom(&toml, &[secret]).unwrap();
        let delivery = post(body, &[(header, value)]);
        facts(verifier.verify(delivery.clone(), at(signed_at + 5)));
        let stale = refusal(verifier.verify(delivery, at(signed_at + 6)));
        assert_eq!(stale.to_string(), "timestamp is 6 s off; the limit is 5 s");
    }
}
