// The conformance tests of the Durable Streams protocol, against the gateway at
// HOOKRILL_URL behind writer.mjs.

import { runConformanceTests } from "@durable-streams/server-conformance-tests";
import { afterAll, beforeAll } from "vitest";
import { startWriter } from "./writer.mjs";

const options = { baseUrl: "", longPollTimeoutMs: 3_000 };
let writer;

beforeAll(async () => {
  writer = await startWriter(process.env.HOOKRILL_URL, process.env.HOOKRILL_SECRET);
  options.baseUrl = writer.url;
});
afterAll(() => writer.close());

runConformanceTests(options);
