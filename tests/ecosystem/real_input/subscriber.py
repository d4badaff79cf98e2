"""Subscribes by PyPI `sseclient-py` over `requests`, and prints what it hands
out: one JSON object per line.

The package leaves coming back to its user, so this does it: with the last id
it was given, after the `retry` it was told, and of its own will after every
LEAVE_EVERY messages.

usage: python subscriber.py URL TOKEN LEAVE_EVERY
"""

import json
import sys
import time

import requests
import sseclient

url, token, leave_every = sys.argv[1], sys.argv[2], int(sys.argv[3])
last_id = None
retry_ms = 1000


def say(kind, event_id="", data=""):
    print(json.dumps({"kind": kind, "id": event_id, "data": data}), flush=True)


def once():
    """One connection. Returns whether to come back at once."""
    global last_id, retry_ms
    headers = {"Accept": "text/event-stream"}
    if token:
        headers["Authorization"] = "Bearer " + token
    if last_id:
        headers["Last-Event-ID"] = last_id
    with requests.get(url, headers=headers, stream=True, timeout=60) as response:
        if response.status_code != 200:
            say("refused", data=f"{response.status_code} {response.text}")
            sys.exit(1)
        say("open")
        messages = 0
        for event in sseclient.SSEClient(response).events():
            last_id = event.id or last_id
            retry_ms = int(event.retry or retry_ms)
            say(event.event, event.id or "", event.data)
            messages += event.event == "message"
            if messages == leave_every:
                return True
    return False


while True:
    at_once = False
    try:
        at_once = once()
    except requests.RequestException as error:
        say("interrupted", data=type(error).__name__)
    if not at_once:
        time.sleep(retry_ms / 1000)
