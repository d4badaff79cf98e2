"""One delivery of signers.py, verified as verified.mjs verifies those of signers.mjs.

Invariant: a line is printed only after its checks held; the first that does not
ends the program.
"""

import base64
import hmac
import importlib.abc
import importlib.util
import json
import re
import sys
import time
import types
from importlib.metadata import version

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


sys.meta_path.insert(0, Absent())
for package in ("Adyen", "buildbot_gitea", "hubspot", "pypaystack2", "quickbooks", "square", "twilio"):
    bare(package)
