/** Runs the Worker in workerd until its standard input ends. The first line of that is what to run,
 *  as JSON: miniflare's options, and in `folder` the Worker. */
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const { Miniflare } = createRequire(`${process.env.PACKAGES}/`)("miniflare");
const lines = createInterface({ input: process.stdin });
let worker = null;
lines.once("line", async (line) => {
  try {
    worker = new Miniflare(JSON.parse(line));
    console.log(JSON.stringify({ address: (await worker.ready).origin }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
    process.exitCode = 1;
    lines.close();
  }
});
lines.once("close", async () => {
  await worker?.dispose().catch(() => {});
  process.exit();
});
