"""Mail providers, by the views that django-anymail receives their webhooks with."""

import base64
import hashlib
import hmac
import json
from urllib.parse import quote, urlencode

from verified import FORM_TYPE, HARD, JSON_TYPE, NOW, PUBLIC_URL, by, event, hmac_base64, holds, other_signature, say


def anymail():
    from django.conf import settings

    settings.configure(ALLOWED_HOSTS=["*"], ANYMAIL={"WEBHOOK_SECRET": "user:pass word"}, USE_TZ=True)
    import django

    django.setup()
    from anymail.webhooks.mailersend import MailerSendTrackingWebhookView
    from anymail.webhooks.mandrill import MandrillCombinedWebhookView
    from anymail.webhooks.postmark import PostmarkTrackingWebhookView
    from anymail.webhooks.mailgun import MailgunInboundWebhookView, MailgunTrackingWebhookView
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
        ("/ingest/mandrill?a=1", {"mandrill_events": "[ ]", "b": "tail", "a": "é"}),
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

    view = MailgunInboundWebhookView
    body = urlencode({"sender": "zoe@example.com", "subject": HARD, "timestamp": str(NOW), "token": token, "signature": signature})
    holds("mailgun-routes", validates(view(webhook_signing_key=key), auth), [FORM_TYPE], body)
    say("mailgun-routes", "Mailgun", whose(view), "verifies", key, [FORM_TYPE], body, dedup_id=token)

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


PROVIDERS = (anymail,)
