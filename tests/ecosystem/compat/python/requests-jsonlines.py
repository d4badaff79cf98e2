import os, time
import jsonlines, requests

headers = {"Accept": "application/x-ndjson"}


def follow():
    response = requests.get(os.environ["HOOKRILL_URL"], stream=True, headers=headers)
    response.raise_for_status()
    lines = response.iter_lines(chunk_size=1)
    for event in jsonlines.Reader(lines):
        print("event", event["id"], event.get("data", {}).get("n"), flush=True)
        headers["Last-Event-ID"] = event["id"]


#+ while True:
#+     try: follow()
#+     except (requests.RequestException, jsonlines.Error): pass
#+     time.sleep(1)
follow()
print("end", flush=True)
