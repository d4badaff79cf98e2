// Reads a stream with the protocol's own client, and prints each item with the offset behind
// it. What an application does that must miss nothing: it keeps the offset of the last batch,
// and goes on from there whatever happens.
//
// usage: reader.mjs URL long-poll|sse

import { stream } from "@durable-streams/client";

const [url, live] = process.argv.slice(2);
let offset = "-1";
for (;;) {
  try {
    const response = await stream({ url, offset, live, json: true, backoffOptions: { initialDelay: 20, maxDelay: 100, multiplier: 2 } });
    response.subscribeJson(async (batch) => {
      for (const item of batch.items) console.log(JSON.stringify({ item, offset: batch.offset }));
      offset = batch.offset;
    });
    await response.closed;
  } catch (error) {
    console.error(`${live}: ${error.message}`);
  }
  await new Promise((resolve) => setTimeout(resolve, 20));
}
