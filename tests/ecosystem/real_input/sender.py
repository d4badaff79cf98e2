"""Sends a set signed by PyPI `slack_sdk`, printed as posted.mjs prints it.

usage: python sender.py URL, with Slack's signing secret in SECRET
"""

import base64
import json
import os
import sys
import time

import requests
from slack_sdk.signature import SignatureVerifier

url = sys.argv[1] + "/ingest/slack"
signer = SignatureVerifier(os.environ["SECRET"])
session = requests.Session()


def say(**line):
    print(json.dumps(line), flush=True)


def signed(text, at=None):
    at = str(int(time.time()) if at is None else at)
    return {
        "Content-Type": "application/json",
        "X-Slack-Request-Timestamp": at,
        "X-Slack-Signature": signer.generate_signature(timestamp=at, body=text),
    }


def deliver(text, event_type):
    answer = session.post(url, data=text.encode(), headers=signed(text))
    say(
        entry="delivered",
        again=False,
        topic="slack",
        type=event_type,
        content_type="application/json",
        body=base64.b64encode(text.encode()).decode(),
        text=text.replace("\r\n", "\n").replace("\r", "\n"),
        status=answer.status_code,
        answer=answer.text,
    )


def probe(what, text, headers):
    answer = session.post(url, data=text.encode(), headers=headers)
    say(entry="probed", what=what, status=answer.status_code, answer=answer.text)


def event(number, event_type, **layout):
    return json.dumps(
        {
            "type": "event_callback",
            "event_id": f"Ev{number:08}",
            "event": {"type": event_type, "text": "héllo <@U1>\r\n"},
        },
        **layout,
    )


for number, event_type in enumerate(["app_mention", "message", "reaction_added"] * 4):
    layout = {"indent": 1, "ensure_ascii": False} if number % 2 else {}
    deliver(event(number, event_type, **layout), event_type)

handshake = json.dumps({"type": "url_verification", "challenge": "3eZbrw1a"})
probe("handshake", handshake, signed(handshake))

text = event(99, "message")
headers = signed(text)
probe("slack: a handshake that is not signed", handshake, {"Content-Type": "application/json"})
probe("slack: a byte of the body changed", text.replace("Ev", "Ew"), headers)
good = headers["X-Slack-Signature"]
bad = good[:-1] + ("0" if good[-1] != "0" else "1")
probe("slack: a byte of the signature changed", text, {**headers, "X-Slack-Signature": bad})
at = int(headers["X-Slack-Request-Timestamp"])
probe("slack: timestamp changed", text, {**headers, "X-Slack-Request-Timestamp": str(at + 1)})
for off in (-302, 302):
    probe(f"slack: signed {off} s off", text, signed(text, at + off))
say(entry="stage", what="end")
