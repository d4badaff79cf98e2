// The writing half of Durable Streams in front of a gateway, which has the reading half.
//
// A stream that is created becomes a subtopic of `ds`, and what is appended to it a signed
// webhook. GET, HEAD and OPTIONS go to the gateway, and its status, headers and offsets come
// back as they are. Its answers are JSON; the protocol's tests mostly write text and bytes.
// So for a stream of those, and for nothing else, the body is put into another shape: the
// strings of the array one after the other, the bytes out of `data_base64`. JSON streams are
// passed through byte for byte.

import { createHmac, randomUUID } from "node:crypto";
import { createServer, request as httpRequest } from "node:http";
import { once } from "node:events";
import { buffer } from "node:stream/consumers";

const HOP_BY_HOP = new Set(["connection", "keep-alive", "transfer-encoding", "host"]);
const isJson = (type) => type.split(";")[0].trim().toLowerCase() === "application/json";
const isText = (type) => type.toLowerCase().startsWith("text/");
const same = (a, b) => a.split(";")[0].trim().toLowerCase() === b.split(";")[0].trim().toLowerCase();

export async function startWriter(gateway, secret) {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const streams = new Map();
  let count = 0;

  // Each message is a webhook of its own, signed as Standard Webhooks are.
  async function ingest(stream, message) {
    const id = `msg_${randomUUID()}`;
    const time = Math.floor(Date.now() / 1000).toString();
    const signed = createHmac("sha256", key).update(`${id}.${time}.`).update(message).digest("base64");
    const answer = await fetch(`${gateway}/ingest/${stream.topic}`, {
      method: "POST",
      body: message,
      headers: {
        "content-type": stream.type,
        "webhook-id": id,
        "webhook-timestamp": time,
        "webhook-signature": `v1,${signed}`,
      },
    });
    await answer.arrayBuffer();
    return answer.status;
  }

  // One level of an array is so many messages.
  function messages(stream, body) {
    if (!isJson(stream.type)) return body.length > 0 ? [body] : [];
    const parsed = JSON.parse(body.toString());
    const all = Array.isArray(parsed) ? parsed : [parsed];
    return all.map((message) => Buffer.from(JSON.stringify(message)));
  }

  async function append(stream, body) {
    for (const message of messages(stream, body)) {
      const status = await ingest(stream, message);
      if (status !== 200) return status;
    }
    return 204;
  }

  async function next(stream) {
    const head = await fetch(`${gateway}/streams/${stream.topic}`, { method: "HEAD" });
    return { "stream-next-offset": head.headers.get("stream-next-offset") };
  }

  async function write(path, request, response) {
    const nosniff = { "x-content-type-options": "nosniff" };
    const body = await buffer(request);
    const type = request.headers["content-type"] ?? "application/octet-stream";
    const existing = streams.get(path);
    if (request.method === "PUT") {
      if (existing) return response.writeHead(same(existing.type, type) ? 200 : 409, nosniff).end();
      const stream = { topic: `ds.s${count++}`, type };
      streams.set(path, stream);
      const status = body.length > 0 ? await append(stream, body) : 204;
      const location = { location: `http://${request.headers.host}${path}`, "content-type": type };
      return response.writeHead(status === 204 ? 201 : status, { ...location, ...nosniff, ...(await next(stream)) }).end();
    }
    if (!existing) return response.writeHead(404, nosniff).end();
    const status = await append(existing, body);
    response.writeHead(status, { ...nosniff, ...(await next(existing)) }).end();
  }

  function read(url, request, response) {
    const stream = streams.get(url.pathname);
    const type = stream?.type ?? "application/json";
    const format = isJson(type) || isText(type) ? "raw" : "cloudevents";
    const topic = stream?.topic ?? "no.such.stream";
    // The query stays as it was written; what is added to it comes last.
    const query = `${url.search ? `${url.search}&` : "?"}format=${format}`;
    const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !HOP_BY_HOP.has(name)));
    const upstream = httpRequest(`${gateway}/streams/${topic}${query}`, { method: request.method, headers });
    response.on("close", () => upstream.destroy());
    upstream.on("error", () => response.destroy());
    upstream.on("response", (answer) => pass(answer, stream, response));
    upstream.end();
  }

  function pass(answer, stream, response) {
    const headers = Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !HOP_BY_HOP.has(name)));
    const type = answer.headers["content-type"] ?? "";
    if (!stream || isJson(stream.type) || answer.statusCode !== 200) {
      response.writeHead(answer.statusCode, headers);
      return answer.pipe(response);
    }
    if (type === "text/event-stream") {
      if (!isText(stream.type)) headers["stream-sse-data-encoding"] = "base64";
      response.writeHead(200, headers);
      return reshapeEvents(answer, stream, response);
    }
    headers["content-type"] = stream.type;
    delete headers["content-length"];
    if (response.req.method === "HEAD") return response.writeHead(200, headers).end();
    buffer(answer).then((body) => response.writeHead(200, headers).end(joined(body.toString(), stream)));
  }

  async function reshapeEvents(answer, stream, response) {
    let waiting = "";
    answer.setEncoding("utf8");
    for await (const piece of answer) {
      const blocks = (waiting + piece).split("\n\n");
      waiting = blocks.pop();
      for (const block of blocks) response.write(reshaped(block, stream));
    }
    response.end();
  }

  function reshaped(block, stream) {
    const data = block.startsWith("event: data\ndata:") && block.slice("event: data\ndata:".length);
    if (!data) return `${block}\n\n`;
    const bytes = joined(data, stream);
    const lines = isText(stream.type) ? bytes.toString().split(/\r\n|\r|\n/) : [bytes.toString("base64")];
    return `event: data\n${lines.map((line) => `data:${line}\n`).join("")}\n`;
  }

  function joined(array, stream) {
    const bytes = (event) => (isText(stream.type) ? Buffer.from(event) : Buffer.from(event.data_base64 ?? event.data, event.data_base64 ? "base64" : "utf8"));
    return Buffer.concat(JSON.parse(array).map(bytes));
  }

  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://writer");
    if (["GET", "HEAD", "OPTIONS"].includes(request.method)) return read(url, request, response);
    write(url.pathname, request, response).catch(() => response.writeHead(400).end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => (server.closeAllConnections(), server.close()),
  };
}
