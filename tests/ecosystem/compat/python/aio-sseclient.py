import asyncio, json, os
import aiohttp
from aiosseclient import aiosseclient

cursor = None


async def follow():
    global cursor
    async for event in aiosseclient(os.environ["HOOKRILL_URL"], last_id=cursor):
        print("event", event.id, json.loads(event.data).get("n"), flush=True)
        cursor = event.id


async def again():
    while True:
        try:
            await follow()
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(1)


#+ asyncio.run(again())
asyncio.run(follow())
print("end", flush=True)
