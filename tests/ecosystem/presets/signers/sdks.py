"""Providers by their own SDK on PyPI."""

import json
from urllib.parse import parse_qsl, urlencode

from verified import FORM_TYPE, HARD, JSON_TYPE, NOW, PUBLIC_URL, by, event, hmac_base64, holds, say

from Adyen.util import (
    generate_notification_sig,
    generate_payload_sig,
    is_valid_hmac_notification,
    is_valid_hmac_payload,
)
from hubspot.utils.signature import Signature
from slack_sdk.signature import SignatureVerifier
from square.utils.webhooks_helper import verify_signature
from twilio.request_validator import RequestValidator


def slack():
    secret = "8f742231b10e8888abcd99yyyzzz85a5"
    signer = SignatureVerifier(secret)
    at = str(NOW)
    inner = event(type="event_callback", event_id="Ev08MFMKH6", event={"type": "app_mention"})
    handshake = json.dumps({"token": "t", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P", "type": "url_verification"})
    command = urlencode({"token": "gIkuvaNzQIHg97ATvDxqgjtO", "command": "/weather", "text": "Zoë + 94070"})
    for body, mime, facts in [
        (inner, JSON_TYPE, {"dedup_id": "Ev08MFMKH6", "event_type": "app_mention"}),
        # A slash command is a form: no id, and no type where events have it.
        (command, FORM_TYPE, {}),
        (handshake, JSON_TYPE, {
            "event_type": "url_verification",
            "handshake": {"status": 200, "body": json.loads(handshake)["challenge"], "headers": {"Content-Type": "text/plain"}},
        }),
    ]:
        headers = [mime, ("X-Slack-Request-Timestamp", at), ("X-Slack-Signature", signer.generate_signature(timestamp=at, body=body))]

        def accepts(headers, body, _):
            return signer.is_valid(body, headers["x-slack-request-timestamp"], headers["x-slack-signature"])

        holds("slack", accepts, headers, body, signature="X-Slack-Signature", timestamp="X-Slack-Request-Timestamp")
        say("slack", "Slack", by("slack_sdk", "SignatureVerifier.generate_signature"), "signs", secret, headers, body, **facts)


class Form(dict):
    """A form whose names may come twice, in the way of the frameworks that Twilio's SDK knows."""

    def __init__(self, pairs):
        super().__init__()
        for name, value in pairs:
            self.setdefault(name, []).append(value)

    def getlist(self, name):
        return self[name]


def twilio():
    secret = "12345678901234567890123456789012"
    signer = RequestValidator(secret)
    target = "/ingest/twilio?foo=1&bar=2"

    def form(headers, body, url):
        return signer.validate(url, Form(parse_qsl(body, keep_blank_values=True)), headers["x-twilio-signature"])

    for fields in [
        {"MessageSid": "SM2b", "SmsStatus": "delivered", "From": "+14158675309", "Body": "Zoë & co", "a": "", "Zed": "z"},
        {"CallSid": "CA1234567890ABCDE", "CallStatus": "ringing", "Digits": "1234", "To": "+18005551212", "Caller": "a b"},
        # Of a name that comes again, each value counts once, in order.
        {"MediaUrl": ["https://b", "https://a", "https://b"], "AccountSid": "AC"},
    ]:
        url = PUBLIC_URL + target
        fields = Form((name, value) for name, values in fields.items() for value in ([values] if isinstance(values, str) else values))
        headers = [FORM_TYPE, ("I-Twilio-Idempotency-Token", "0b8a"), ("X-Twilio-Signature", signer.compute_signature(url, fields))]
        body = urlencode(fields, doseq=True)
        holds("twilio", form, headers, body, signature="X-Twilio-Signature", url=url)
        say("twilio", "Twilio", by("twilio", "RequestValidator.compute_signature"), "signs", secret, headers, body,
            url=PUBLIC_URL, target=target, dedup_id="0b8a")

    # Behind a port Twilio signs the URL with it or without; its library takes both.
    fields = Form([("MessageSid", "SM2c"), ("Body", "a port")])
    for given, signed in [(":8443", ""), (":8443", ":8443"), ("", ":443")]:
        url = PUBLIC_URL + given + target
        headers = [FORM_TYPE, ("I-Twilio-Idempotency-Token", "0b8c"),
                   ("X-Twilio-Signature", signer.compute_signature(PUBLIC_URL + signed + target, fields))]
        body = urlencode(fields, doseq=True)
        holds("twilio", form, headers, body, signature="X-Twilio-Signature", url=url)
        say("twilio", "Twilio", by("twilio", "RequestValidator.validate with a port"), "signs", secret, headers, body,
            url=PUBLIC_URL + given, target=target, dedup_id="0b8c")

    # A GET has its parameters in the query, which is a part of the URL.
    got = "/ingest/twilio?MessageSid=SM2d&Body=Zo%C3%AB+%26+co"
    headers = [("I-Twilio-Idempotency-Token", "0b8d"), ("X-Twilio-Signature", signer.compute_signature(PUBLIC_URL + got, {}))]
    say("twilio", "Twilio", by("twilio", "RequestValidator.compute_signature of a GET"), "signs", secret, headers, "",
        url=PUBLIC_URL, method="GET", target=got, dedup_id="0b8d")

    # JSON is not signed itself: the URL, which is, carries its hash.
    body = event(status="completed")
    target = f"/ingest/twilio?bodySHA256={signer.compute_hash(body)}"
    url = PUBLIC_URL + target
    headers = [JSON_TYPE, ("I-Twilio-Idempotency-Token", "0b8b"), ("X-Twilio-Signature", signer.compute_signature(url, {}))]
    holds("twilio", lambda headers, body, url: signer.validate(url, body, headers["x-twilio-signature"]), headers, body,
          signature="X-Twilio-Signature", url=url)
    say("twilio", "Twilio", by("twilio", "RequestValidator.compute_hash and compute_signature"), "signs", secret, headers, body,
        url=PUBLIC_URL, target=target, dedup_id="0b8b")


def square():
    secret = "asdf1234 the signature key"
    for target, space in [("/ingest/square", None), ("/ingest/square?a=%20b", 2)]:
        url = PUBLIC_URL + target
        body = event(space, event_id="6a8f5f28-54a1-4eb0-a98a-3111513fd4fc", type="payment.created")

        def accepts(headers, body, url):
            return verify_signature(request_body=body, signature_header=headers["x-square-hmacsha256-signature"],
                                    signature_key=secret, notification_url=url)

        headers = [JSON_TYPE, ("x-square-hmacsha256-signature", hmac_base64("sha256", secret, url + body))]
        holds("square", accepts, headers, body, signature="x-square-hmacsha256-signature", url=url)
        say("square", "Square", by("squareup", "webhooks_helper.verify_signature"), "verifies", secret, headers, body,
            url=PUBLIC_URL, target=target, dedup_id="6a8f5f28-54a1-4eb0-a98a-3111513fd4fc", event_type="payment.created")


def hubspot():
    secret = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
    # One delivery is a list of events, so that there is no one id or type.
    body = json.dumps([{"eventId": 1, "subscriptionType": "contact.creation", "note": HARD}], ensure_ascii=False)
    whose = by("hubspot-api-client", "Signature.get_signature")
    at = str(NOW * 1000)
    for version_, preset, header in [
        ("v3", "hubspot", "X-HubSpot-Signature-v3"),
        ("v2", "hubspot-v2", "X-HubSpot-Signature"),
        ("v1", "hubspot-v1", "X-HubSpot-Signature"),
    ]:
        target = f"/ingest/{preset}?a=1"
        url = PUBLIC_URL + target

        def accepts(headers, body, url):
            return Signature.is_valid(headers[header.lower()], secret, body, url, "POST", version_,
                                      headers.get("x-hubspot-request-timestamp"))

        timestamp = [("X-HubSpot-Request-Timestamp", at)] if version_ == "v3" else []
        signature = Signature.get_signature(secret, body, version_, url, "POST", at)
        headers = [JSON_TYPE, *timestamp, ("X-HubSpot-Signature-Version", version_), (header, signature)]
        signs_url = version_ != "v1"
        holds(preset, accepts, headers, body, signature=header, url=url if signs_url else None,
              timestamp="X-HubSpot-Request-Timestamp" if timestamp else None)
        say(preset, "HubSpot", whose, "signs", secret, headers, body, url=PUBLIC_URL if signs_url else None, target=target)


def adyen():
    key = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
    item = {
        "pspReference": "7914073381342284", "originalReference": "", "merchantAccountCode": "TestMerchant",
        "merchantReference": "TestPayment-1407325143704 Zoë", "amount": {"currency": "EUR", "value": 1130},
        "eventCode": "AUTHORISATION", "success": "true", "eventDate": "2019-05-06T17:15:34.121+02:00",
    }
    for changes in ({}, {"eventCode": "REFUND", "originalReference": "7914073381342280", "success": "false"}):
        notification = {**item, **changes}
        if not notification["originalReference"]:
            del notification["originalReference"]
        signature = generate_notification_sig(notification, key).decode()
        signed = {**notification, "additionalData": {"hmacSignature": signature}}
        body = json.dumps({"live": "false", "notificationItems": [{"NotificationRequestItem": signed}]}, ensure_ascii=False)
        if not is_valid_hmac_notification(json.loads(body), key):
            raise SystemExit("adyen: the foreign verifier must accept the delivery")
        for member, other in [("pspReference", "8"), ("merchantReference", "x"), ("success", "x"), ("eventCode", "X")]:
            changed = json.loads(body)
            changed["notificationItems"][0]["NotificationRequestItem"][member] += other
            if is_valid_hmac_notification(changed, key):
                raise SystemExit(f"adyen: the foreign verifier must refuse another {member}")
        say("adyen", "Adyen", by("adyen", "util.generate_notification_sig"), "signs", key, [JSON_TYPE], body,
            dedup_id=notification["pspReference"], event_type=notification["eventCode"])

    body = event(type="balancePlatform.accountHolder.created", environment="test")
    headers = [JSON_TYPE, ("HmacSignature", generate_payload_sig(body.encode(), key).decode()), ("Protocol", "HmacSHA256")]
    holds("adyen-platforms", lambda headers, body, _: is_valid_hmac_payload(headers["hmacsignature"], key, body.encode()),
          headers, body, signature="HmacSignature")
    say("adyen-platforms", "Adyen for Platforms", by("adyen", "util.generate_payload_sig"), "signs", key, headers, body,
        event_type="balancePlatform.accountHolder.created")


PROVIDERS = (slack, twilio, square, hubspot, adyen)
