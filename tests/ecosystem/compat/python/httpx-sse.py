import json, os, time
import httpx
from httpx_sse import connect_sse

headers = {}


def follow():
    with httpx.Client(timeout=60) as client:
        with connect_sse(client, "GET", os.environ["HOOKRILL_URL"], headers=headers) as source:
            for event in source.iter_sse():
                print("event", event.id, event.json().get("n"), flush=True)
                headers["Last-Event-ID"] = event.id


#+ while True:
#+     try: follow()
#+     except httpx.HTTPError: pass
#+     time.sleep(1)
follow()
print("end", flush=True)
