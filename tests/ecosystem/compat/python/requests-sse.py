import json, os, time
import requests
from requests_sse import EventSource

cursor = ""


def follow():
    global cursor
    url, headers = os.environ["HOOKRILL_URL"], {"Last-Event-ID": cursor}
    with EventSource(url, timeout=30, headers=headers) as event_source:
        for event in event_source:
            print("event", event.last_event_id, json.loads(event.data).get("n"), flush=True)
            cursor = event.last_event_id


#+ while True:
#+     try: follow()
#+     except requests.RequestException: time.sleep(1)
follow()
print("end", flush=True)
