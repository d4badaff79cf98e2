"""Reads a stream with the protocol's own client, and prints each item with the offset behind
it. What an application does that must miss nothing: it keeps the offset of the last batch, and
goes on from there whatever happens.

usage: reader.py URL long-poll|sse
"""

import json
import sys
import time

import httpx
from durable_streams import DurableStreamError, stream

url, live = sys.argv[1:]
offset = "-1"
while True:
    try:
        with stream(url, offset=offset, live=live) as response:
            for batch in response.iter_events(mode="json_batches"):
                for item in batch.data:
                    print(json.dumps({"item": item, "offset": batch.next_offset}), flush=True)
                offset = batch.next_offset
    except (DurableStreamError, httpx.HTTPError) as error:
        print(f"{live}: {error}", file=sys.stderr)
    time.sleep(0.02)
