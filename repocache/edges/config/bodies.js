/** Bodies of answers and of requests. */

/** A plain text, for nobody to keep. */
export const plain = (status, text, headers = {}) =>
  new Response(`${text}\n`, {
    status,
    headers: { "content-type": "text/plain", "cache-control": "no-store", ...headers },
  });

/** The bytes of a stream; if they are more than `most`, a stream that gives all of them. */
export async function bounded(stream, most) {
  const chunks = [];
  const reader = (stream ?? new Blob([]).stream()).getReader();
  for (let size = 0; size <= most; ) {
    const { done, value } = await reader.read();
    if (done) return { bytes: new Uint8Array(await new Blob(chunks).arrayBuffer()) };
    chunks.push(value);
    size += value.byteLength;
  }
  const rest = new ReadableStream({
    async pull(controller) {
      if (chunks.length) return controller.enqueue(chunks.shift());
      const { done, value } = await reader.read();
      return done ? controller.close() : controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return { rest };
}
