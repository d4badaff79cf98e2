import asyncio, json, os
import aiohttp
from aiohttp_sse_client import client as sse_client

headers = {}


async def follow():
    async with sse_client.EventSource(os.environ["HOOKRILL_URL"], headers=headers) as event_source:
        async for event in event_source:
            print("event", event.last_event_id, json.loads(event.data).get("n"), flush=True)
            headers["Last-Event-ID"] = event.last_event_id


async def again():
    while True:
        try:
            await follow()
        except (aiohttp.ClientError, ConnectionError):
            await asyncio.sleep(1)


#+ asyncio.run(again())
asyncio.run(follow())
print("end", flush=True)
