import json, os
from ld_eventsource import SSEClient
from ld_eventsource.config import ErrorStrategy

strategy = ErrorStrategy.always_fail()
#+ strategy = ErrorStrategy.always_continue()
client = SSEClient(os.environ["HOOKRILL_URL"], error_strategy=strategy)
for event in client.events:
    print("event", event.last_event_id, json.loads(event.data).get("n"), flush=True)
print("end", flush=True)
