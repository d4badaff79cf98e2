"""Programs as they stand behind `hookrill forward`, by SDKs on PyPI; see receivers.mjs.

python receivers.py '{"slack":"…","twilio":"…"}'. Twilio's URL is that of the request, or
what stands in the query behind `at=`.
"""

import http.server
import json
import os
import sys
from urllib.parse import parse_qsl, unquote

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "signers"))

import verified  # noqa: E402, F401 - lets the SDKs be loaded without all that they load

from slack_sdk.signature import SignatureVerifier  # noqa: E402
from twilio.request_validator import RequestValidator  # noqa: E402

SECRETS = json.loads(sys.argv[1])


class Form(dict):
    """What frameworks hand to Twilio's validator: each name with all its values."""

    def __init__(self, pairs):
        super().__init__()
        for name, value in pairs:
            self.setdefault(name, []).append(value)

    def getlist(self, name):
        return self[name]


def slack(body, headers, path):
    signature = headers["X-Slack-Signature"]
    return SignatureVerifier(SECRETS["slack"]).is_valid(body, headers["X-Slack-Request-Timestamp"], signature)


def twilio(body, headers, path):
    path, _, given = path.partition("?at=")
    # The query of the delivery follows that of the target.
    url = unquote(given.partition("&")[0]) if given else f"http://{headers['Host']}{path}"
    form = Form(parse_qsl(body.decode(), keep_blank_values=True))
    return RequestValidator(SECRETS["twilio"]).validate(url, form, headers["X-Twilio-Signature"])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        program = {"slack": slack, "twilio": twilio}[self.path.strip("/").partition("?")[0]]
        taken = program(body, self.headers, self.path)
        self.send_response(200 if taken else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
