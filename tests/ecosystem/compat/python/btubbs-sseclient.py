import json, os, time
import requests
from only import module

SSEClient = module("sseclient.py").SSEClient
cursor = None


def follow():
    global cursor
    for message in SSEClient(os.environ["HOOKRILL_URL"], last_id=cursor):
        print("event", message.id, json.loads(message.data).get("n"), flush=True)
        cursor = message.id


#+ while True:
#+     try: follow()
#+     except (requests.RequestException, OSError): time.sleep(1)
follow()
print("end", flush=True)
