"""Providers by other people's packages on PyPI."""

import hashlib
import hmac
import types
from urllib.parse import urlencode

from verified import FORM_TYPE, JSON_TYPE, by, event, hmac_base64, holds, say


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
        # The same signature, with the same JSON in a form: Gitea's services/webhook/deliver.go.
        say(preset, provider, f"{whose}, over the JSON in the form", "verifies", secret, [FORM_TYPE, *headers[1:]],
            urlencode({"payload": body}), dedup_id=delivery, event_type="release")


PROVIDERS = (paystack, quickbooks, gitea)
