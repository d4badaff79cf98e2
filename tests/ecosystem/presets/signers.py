"""Prints deliveries, one JSON object a line, signed or checked by packages of PyPI.

The same form as signers.mjs, whose head says what a line holds: a program of
two parts, since each provider publishes its SDK where it likes.

usage: pip install --no-deps -r requirements.txt && python signers.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "signers"))

import mail  # noqa: E402
import others  # noqa: E402
import sdks  # noqa: E402

for module in (sdks, others, mail):
    for provider in module.PROVIDERS:
        provider()
