"""Prints deliveries, one JSON object a line, signed by packages of PyPI.

The same form as signers.mjs, whose head says what a line holds: a program of
two parts, since each provider publishes its SDK where it likes. A delivery that
the SDK did not sign was accepted by its verifier, and refused with one byte of
body, signature or timestamp changed; the first check that fails ends the run.

usage: pip install --no-deps -r requirements.txt && python signers.py
"""

import base64
import hashlib
import hmac
import importlib.abc
import importlib.util
import json
import re
import sys
import time
import types
from importlib.metadata import version
from urllib.parse import parse_qsl, quote, urlencode

PUBLIC_URL = "https://hooks.example.com"
HARD = 'Zoë \u2028 </script> "quoted" \\ 🪝 tail'
NOW = int(time.time())


def bare(package):
    """Lets a module of `package` be loaded without all that the package loads."""
    module = types.ModuleType(package)
    module.__path__ = list(importlib.util.find_spec(package).submodule_search_locations)
    sys.modules[package] = module


class InertType(type):
    """Whatever it is asked for, it is itself: nothing can come out of it but nonsense."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Inert

    def __getitem__(cls, _):
        return Inert


class Inert(metaclass=InertType):
    def __init__(self, *_, **__):
        pass


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for what a module asks for when it is loaded and nobody installed."""

    NAMES = ("httpx", "pydantic", "requests_oauthlib", "dateutil", "twisted", "buildbot", "pypaystack2.models",
             "pypaystack2.types", "pypaystack2.exceptions", "pypaystack2.fees_calculation_mixin", "pypaystack2._metadata")

    def find_spec(self, name, path=None, target=None):
        if any(name == absent or name.startswith(absent + ".") for absent in self.NAMES):
            return importlib.util.spec_from_loader(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__getattr__ = lambda name: getattr(Inert, name)


sys.meta_path.insert(0, Absent())
for package in ("Adyen", "buildbot_gitea", "hubspot", "pypaystack2", "quickbooks", "square", "twilio"):
    bare(package)

from Adyen.util import (  # noqa: E402
    generate_notification_sig,
    generate_payload_sig,
    is_valid_hmac_notification,
    is_valid_hmac_payload,
)
from hubspot.utils.signature import Signature  # noqa: E402
from slack_sdk.signature import SignatureVerifier  # noqa: E402
from square.utils.webhooks_helper import verify_signature  # noqa: E402
from twilio.request_validator import RequestValidator  # noqa: E402


def by(package, what):
    return f"PyPI {package} {version(package)}, {what}"


def hmac_base64(hash_name, secret, text):
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hash_name).digest()).decode()


def event(space=None, **members):
    separators = (",", ":") if space is None else (",", ": ")
    return json.dumps({**members, "note": HARD}, ensure_ascii=False, indent=space, separators=separators)


def say(preset, provider, whose, role, secret, headers, body, *, url=None, method="POST", target=None,
        at_ms=None, dedup_id=None, event_type=None, handshake=None):
    line = {
        "preset": preset,
        "provider": provider,
        "by": whose,
        "role": role,
        "secret": secret,
        "public_url": url,
        "method": method,
        "target": target or f"/ingest/{preset}",
        "headers": [list(header) for header in headers],
        "body_base64": base64.b64encode(body.encode()).decode(),
        "at_ms": NOW * 1000 if at_ms is None else at_ms,
        "expect": {"dedup_id": dedup_id, "event_type": event_type},
    }
    if handshake:
        line["handshake"] = handshake
    print(json.dumps(line, ensure_ascii=False), flush=True)


def holds(preset, accepts, headers, body, *, signature=None, timestamp=None, url=None):
    """Asks the foreign verifier `accepts(headers, body, url)` for a yes, and then for each no."""

    def must(yes, what, headers=headers, body=body, url=url):
        try:
            answer = accepts({name.lower(): value for name, value in headers}, body, url) is not False
        except Exception:
            answer = False
        if answer != yes:
            raise SystemExit(f"{preset}: the foreign verifier must {'accept' if yes else 'refuse'} {what}")

    def changed(name, change):
        return [(n, change(v) if n.lower() == name.lower() else v) for n, v in headers]

    must(True, "the delivery")
    must(False, "another body", body=other_body(body))
    if signature:
        must(False, "another signature", headers=changed(signature, other_signature))
    if timestamp:
        must(False, "another timestamp", headers=changed(timestamp, other_digit))
    if url:
        must(False, "another URL", url=url + "x")
    must(True, "the delivery again")


def other_body(body):
    """One letter changed, near the end, where JSON and forms have their last value."""
    at = max(index for index, letter in enumerate(body) if "a" <= letter <= "y")
    return body[:at] + chr(ord(body[at]) + 1) + body[at + 1:]


def other_signature(value):
    at = len(value) // 2
    return value[:at] + ("2" if value[at] == "1" else "1") + value[at + 1:]


def other_digit(text):
    return re.sub(r"\d(?=\D*$)", lambda digit: str((int(digit[0]) + 1) % 10), text)


JSON_TYPE = ("Content-Type", "application/json")
FORM_TYPE = ("Content-Type", "application/x-www-form-urlencoded")


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


def twilio():
    secret = "12345678901234567890123456789012"
    signer = RequestValidator(secret)
    target = "/ingest/twilio?foo=1&bar=2"

    def form(headers, body, url):
        return signer.validate(url, dict(parse_qsl(body, keep_blank_values=True)), headers["x-twilio-signature"])

    for fields in [
        {"MessageSid": "SM2b", "SmsStatus": "delivered", "From": "+14158675309", "Body": "Zoë & co", "a": "", "Zed": "z"},
        {"CallSid": "CA1234567890ABCDE", "CallStatus": "ringing", "Digits": "1234", "To": "+18005551212", "Caller": "a b"},
    ]:
        url = PUBLIC_URL + target
        headers = [FORM_TYPE, ("I-Twilio-Idempotency-Token", "0b8a"), ("X-Twilio-Signature", signer.compute_signature(url, fields))]
        body = urlencode(fields)
        holds("twilio", form, headers, body, signature="X-Twilio-Signature", url=url)
        say("twilio", "Twilio", by("twilio", "RequestValidator.compute_signature"), "signs", secret, headers, body,
            url=PUBLIC_URL, target=target, dedup_id="0b8a")

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


def paystack():
    import pypaystack2.fees_calculation_mixin

    # A base of the client, which has to be a class of the ordinary kind.
    pypaystack2.fees_calculation_mixin.FeesCalculationMixin = type("FeesCalculationMixin", (), {})
    from pypaystack2.base_clients import AbstractAPIClient

    key = "sk_live_a-secret-key"
    client = types.SimpleNamespace(_secret_key=key)
    for space in (None, 2):
        body = event(space, event="charge.success", data={"id": 302961, "reference": "qTPrJoy9Bx"})

        def accepts(headers, body, _):
            return AbstractAPIClient.is_verified_webhook_payload(client, body.encode(), headers["x-paystack-signature"])

        headers = [JSON_TYPE, ("x-paystack-signature", hmac.new(key.encode(), body.encode(), hashlib.sha512).hexdigest())]
        holds("paystack", accepts, headers, body, signature="x-paystack-signature")
        say("paystack", "Paystack", by("pypaystack2", "is_verified_webhook_payload"), "verifies", key, headers, body,
            event_type="charge.success")


def quickbooks():
    from quickbooks.client import QuickBooks

    token = "a-verifier-token"
    client = types.SimpleNamespace(verifier_token=token)
    body = event(eventNotifications=[{"realmId": "1185883450", "dataChangeEvent": {"entities": []}}])

    def accepts(headers, body, _):
        return QuickBooks.validate_webhook_signature(client, body, headers["intuit-signature"])

    headers = [JSON_TYPE, ("intuit-signature", hmac_base64("sha256", token, body))]
    holds("quickbooks", accepts, headers, body, signature="intuit-signature")
    say("quickbooks", "QuickBooks", by("python-quickbooks", "validate_webhook_signature"), "verifies", token, headers, body)


def gitea():
    """Gitea and its fork Forgejo, which sends both names; by Buildbot's plugin for Gitea."""

    class Properties:
        async def rendered(self, secret):
            return secret

        render = rendered

    def at_once(generator):
        """Buildbot's handler waits for one thing, its secret, which is known here."""

        def run(self, request):
            steps = generator(self, request)
            next(steps).close()
            try:
                steps.send(self.options["secret"])
            except StopIteration as done:
                return done.value
            raise RuntimeError("the handler waits for something else")
        return run

    import buildbot.process.properties
    import buildbot.util
    import buildbot.www.hooks.base
    import twisted.internet
    import twisted.python

    buildbot.process.properties.Properties = Properties
    buildbot.util.bytes2unicode = lambda value: value.decode() if isinstance(value, bytes) else value
    buildbot.util.unicode2bytes = lambda value: value.encode() if isinstance(value, str) else value
    buildbot.www.hooks.base.BaseHookHandler = type("BaseHookHandler", (), {})
    twisted.internet.defer = types.SimpleNamespace(inlineCallbacks=at_once)
    twisted.python.log = types.SimpleNamespace(msg=lambda _: None)
    from buildbot_gitea.webhook import GiteaHandler

    secret = "a secret of the repository"
    handler = GiteaHandler()
    handler.options, handler.master = {"secret": secret}, None

    def accepts(headers, body, _):
        request = types.SimpleNamespace(
            content=types.SimpleNamespace(read=body.encode), args={}, getHeader=lambda name: headers.get(name.lower()))
        handler.getChanges(request)

    body = event(2, ref="refs/heads/main", action="opened")
    signature = hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()
    delivery = "f6266f16-1bf3-46a5-9ea4-602e06ead473"

    def names(forge):
        return [(f"X-{forge}-Delivery", delivery), (f"X-{forge}-Event", "release"), (f"X-{forge}-Signature", signature)]

    github = [("X-GitHub-Delivery", delivery), ("X-GitHub-Event", "release"), ("X-Hub-Signature-256", f"sha256={signature}")]
    whose = by("buildbot-gitea", "GiteaHandler.getChanges")
    for preset, provider, forges in [("gitea", "Gitea", ["Gitea"]), ("forgejo", "Forgejo", ["Forgejo", "Gitea"])]:
        headers = [JSON_TYPE, *(header for forge in forges for header in names(forge)), *github]
        holds(preset, accepts, headers, body, signature="X-Gitea-Signature")
        say(preset, provider, whose if preset == "gitea" else f"{whose}, which reads Gitea's name of the header", "verifies",
            secret, headers, body, dedup_id=delivery, event_type="release")


def anymail():
    """Mail providers, by the views that django-anymail receives their webhooks with."""
    from django.conf import settings

    settings.configure(ALLOWED_HOSTS=["*"], ANYMAIL={"WEBHOOK_SECRET": "user:pass word"}, USE_TZ=True)
    import django

    django.setup()
    from anymail.webhooks.mailersend import MailerSendTrackingWebhookView
    from anymail.webhooks.mandrill import MandrillCombinedWebhookView
    from anymail.webhooks.postmark import PostmarkTrackingWebhookView
    from anymail.webhooks.mailgun import MailgunTrackingWebhookView
    from django.test import RequestFactory

    def validates(view, auth):
        def accepts(headers, body, url):
            path = (url or PUBLIC_URL + "/ingest/mail").removeprefix(PUBLIC_URL)
            given = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items() if name != "content-type"}
            request = RequestFactory(SERVER_NAME="hooks.example.com").post(
                path, data=body.encode(), content_type=headers["content-type"], secure=True, **{**auth, **given})
            view.validate_request(request)
        return accepts

    basic = "Basic " + base64.b64encode(b"user:pass word").decode()
    auth = {"HTTP_AUTHORIZATION": basic}
    whose = lambda view: by("django-anymail", view.__name__)  # noqa: E731

    key = "signing-key-of-the-account"
    view = MandrillCombinedWebhookView
    for target, fields in [
        ("/ingest/mandrill", {"mandrill_events": json.dumps([{"event": "send", "_id": "a", "note": HARD}])}),
        ("/ingest/mandrill?a=1", {"mandrill_events": "[]", "b": "tail", "a": "é"}),
    ]:
        url = PUBLIC_URL + target
        signed = url + "".join(name + fields[name] for name in sorted(fields))
        headers = [FORM_TYPE, ("X-Mandrill-Signature", hmac_base64("sha1", key, signed))]
        body = urlencode(fields, quote_via=quote)
        # With basic auth, the user and password would be part of the URL that is signed.
        holds("mandrill", validates(view(webhook_key=key), {}), headers, body, signature="X-Mandrill-Signature", url=url)
        say("mandrill", "Mandrill", whose(view), "verifies", key, headers, body, url=PUBLIC_URL, target=target)

    view = MailerSendTrackingWebhookView
    body = event(type="activity.sent", webhook_id="w", data={"id": "62f1", "object": "activity"})
    headers = [JSON_TYPE, ("Signature", hmac.new(key.encode(), body.encode(), hashlib.sha256).hexdigest())]
    holds("mailersend", validates(view(signing_secret=key), auth), headers, body, signature="Signature")
    say("mailersend", "MailerSend", whose(view), "verifies", key, headers, body, event_type="activity.sent")

    view = MailgunTrackingWebhookView
    token = "50ab" * 12 + "ab"
    signature = hmac.new(key.encode(), f"{NOW}{token}".encode(), hashlib.sha256).hexdigest()
    body = json.dumps({
        "event-data": {"event": "delivered", "id": "CPgfbmQMTCKtHW6uIWtuVe", "note": HARD},
        "signature": {"timestamp": str(NOW), "token": token, "signature": signature},
    })
    holds("mailgun", validates(view(webhook_signing_key=key), auth), [JSON_TYPE], body)
    say("mailgun", "Mailgun", whose(view), "verifies", key, [JSON_TYPE], body, dedup_id="CPgfbmQMTCKtHW6uIWtuVe", event_type="delivered")

    view = PostmarkTrackingWebhookView
    body = event(RecordType="Delivery", MessageID="883953f4-6105-42a2-a16a-77a8eac79483")
    headers = [JSON_TYPE, ("Authorization", basic)]
    accepts = validates(view(), {})
    for given, yes in [(headers, True), ([JSON_TYPE, ("Authorization", other_signature(basic))], False), ([JSON_TYPE], False)]:
        try:
            accepts({name.lower(): value for name, value in given}, body, None)
            answer = True
        except Exception:
            answer = False
        if answer != yes:
            raise SystemExit("postmark: the foreign verifier must accept the delivery, and that alone")
    say("postmark", "Postmark", whose(view), "token", "user:pass word", headers, body, event_type="Delivery")


for provider in (slack, twilio, square, hubspot, adyen, paystack, quickbooks, gitea, anymail):
    provider()
