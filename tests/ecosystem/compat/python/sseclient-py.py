import json, os, time
import requests
from only import module

SSEClient = module("sseclient/__init__.py").SSEClient
headers = {"Accept": "text/event-stream"}


def follow():
    response = requests.get(os.environ["HOOKRILL_URL"], stream=True, headers=headers)
    for event in SSEClient(response).events():
        print("event", event.id, json.loads(event.data).get("n"), flush=True)
        headers["Last-Event-ID"] = event.id


#+ while True:
#+     try: follow()
#+     except requests.RequestException: pass
#+     time.sleep(1)
follow()
print("end", flush=True)
