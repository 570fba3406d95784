/** An edge cache in front of `env.ORIGIN`, whose answers count until a tag of theirs is purged. */
import { OURS, READS, asking, placeOf } from "./asking.js";
import { bounded, plain } from "./bodies.js";
import { longest, marksOf, purge } from "./marks.js";
import { ageOf, isSame, isSpare, renewed, rulesOf, standingOf } from "./rules.js";

export { Marks } from "./marks.js";

const META = "repocache-stored";
const AWAY = [500, 502, 503, 504];
const NOBODY = "the origin is away";
const JOIN = 10_000; // milliseconds: the one who loads for others may have been ended
const ALONE = 10_000; // milliseconds for which nobody waits for an answer that was not shareable
const BETWEEN = ["range", "if-range", "if-match", "if-unmodified-since", "upgrade"];
const OF_A_COPY = ["if-none-match", "if-modified-since", "accept-encoding", ...BETWEEN];

const flights = new Map(); // of this isolate: place -> promise of what may be shared, or null
const alone = new Map(); // place -> until when each loads for itself

export default {
  async fetch(request, env, ctx) {
    if (!URL.canParse(env.ORIGIN)) return plain(500, "ORIGIN: give the URL of the origin");
    const ask = asking(request, env, ctx);
    const { pathname } = ask.url;
    if (pathname === `${OURS}purge`) return purge(request, env);
    if (pathname.startsWith(OURS)) return plain(404, "not found");
    if (!READS.includes(request.method)) return written(ask);
    // Ranges and preconditions are between the client and the origin.
    if (BETWEEN.some((name) => request.headers.has(name))) return passed(ask, "fwd=bypass");
    return wrote(request) ? behindItsWrite(ask) : cached(ask);
  },
};

/** In two steps: by the key, what its answers vary by; by that, the answer. */
async function lookup(ask) {
  const first = await placeOf(ask);
  const names = await (await caches.default.match(first))?.json();
  const place = names ? await placeOf(ask, names) : first;
  const kept = names ? storedIn(await caches.default.match(place)) : null;
  const stored = kept?.shared || !ask.request.headers.has("authorization") ? kept : null;
  const marks = await marksOf(ask.env, stored?.tags ?? []);
  const standing = standingOf(stored, marks, Date.now());
  return { place, stored, marks, standing, miss: missOf(names, stored) };
}

const missOf = (names, stored) => (stored ? "stale" : names ? "vary-miss" : "uri-miss");
const storedIn = (kept) =>
  kept ? { ...JSON.parse(decodeURIComponent(kept.headers.get(META))), body: kept.body } : null;

async function cached(ask) {
  const found = await lookup(ask);
  const { stored, standing, place, miss } = found;
  if (standing === "fresh") return given(ask, stored, "hit");
  if (standing === "stale" || (standing === "soft" && !flights.has(place))) {
    if (!flights.has(place)) lead(ask, found).then(({ body }) => body?.cancel?.());
    return given(ask, stored, "hit");
  }
  if (ask.request.method === "HEAD") return passed(ask, `fwd=${miss}`);
  const { answer, how } = await loadOrJoin(ask, found);
  // Of now: it may have been purged while the origin was waited for.
  const marks = stored && AWAY.includes(answer.status) && (await marksOf(ask.env, stored.tags));
  if (marks && isSpare(stored, marks, Date.now())) {
    answer.body?.cancel?.();
    return given(ask, stored, `fwd=stale; fwd-status=${answer.status}; detail=stale-if-error`);
  }
  stored?.body?.cancel();
  return given(ask, answer, `fwd=${miss}${how}`);
}

/** A client that wrote, and has to see it. */
function wrote({ headers }) {
  const fresh = /(?:^|;)\s*repocache-fresh=/;
  return headers.has("bookmark") || fresh.test(headers.get("cookie") ?? "");
}

/** It joins no load: that may have begun before the write. */
async function behindItsWrite(ask) {
  if (ask.request.method === "HEAD") return passed(ask, "fwd=bypass");
  const marks = await marksOf(ask.env, []);
  const answer = await load(ask, { marks, stored: null });
  return given(ask, answer, `fwd=bypass${answer.isStored ? "; stored" : ""}`);
}

async function loadOrJoin(ask, found) {
  // Whoever is authorized loads alone: others would wait for what is not for them.
  let isAlone = ask.request.headers.has("authorization") || alone.get(found.place) > Date.now();
  while (!isAlone && flights.has(found.place)) {
    // The wait is one of this request's own: without, the runtime takes it for hung.
    const flight = flights.get(found.place);
    const answer = await Promise.race([flight, scheduler.wait(JOIN)]);
    if (answer === undefined) landed(found.place, flight);
    if (answer?.failed) return { answer, how: "; collapsed" };
    isAlone = answer?.place !== (await placeOf(ask, answer?.vary));
    if (isAlone) break;
    // That load began before this request: a purge may have come between.
    const marks = await marksOf(ask.env, answer.tags);
    if (standingOf(answer, marks, Date.now()) === "fresh") return { answer, how: "; collapsed" };
    found = { ...found, marks };
  }
  const answer = await (isAlone ? load(ask, found) : lead(ask, found));
  return { answer, how: answer.isStored ? "; stored" : "" };
}

/** Loads for all who ask meanwhile, also if its own client goes. */
function lead(ask, found) {
  const work = load(ask, found);
  const flight = work.then((answer) => {
    if (answer.place || answer.failed) return answer;
    if (alone.size > 1000) alone.clear();
    if (answer.status < 500) alone.set(found.place, Date.now() + ALONE);
    return null;
  });
  flights.set(found.place, flight);
  ask.ctx.waitUntil(flight.finally(() => landed(found.place, flight)));
  return work;
}

function landed(place, flight) {
  if (flights.get(place) === flight) flights.delete(place);
}

/** From the origin, and stored if that may be. `marks` are from before the origin is asked. */
async function load(ask, { marks, stored }) {
  const { env } = ask;
  const headers = new Headers(ask.headers);
  for (const name of OF_A_COPY) headers.delete(name);
  if (stored?.etag) headers.set("if-none-match", stored.etag);
  const at = Date.now();
  try {
    let answer = await origin(ask, { method: "GET", headers });
    if (stored?.etag && answer.status === 304) {
      const kept = storedIn(await caches.default.match(stored.place));
      if (kept?.etag !== stored.etag) return await load(ask, { marks, stored: null });
      const merged = renewed(kept.headers, answer.headers);
      answer = new Response(kept.body, { status: kept.status, headers: merged });
    }
    const { status } = answer;
    const rules = rulesOf(status, answer.headers, headers.has("authorization"));
    if (!rules || !marks) {
      if (stored && status < 500) await caches.default.delete(stored.place);
      return { status, headers: [...answer.headers], body: answer.body };
    }
    const { bytes, rest } = await bounded(answer.body, Number(env.LARGEST ?? 10 << 20));
    // Its bytes are decoded, and encoded again where it is given: of these the length is another.
    const told = [...answer.headers].filter(([name]) => name !== "content-length");
    if (rest) return { status, headers: told, body: rest };
    const { line, count } = marks;
    const [place, until] = [await placeOf(ask, rules.vary), at + longest(env) * 1000];
    const meta = { ...rules, status, headers: told, line, count, at, until, place };
    const isStored = await store(ask, { ...meta, length: bytes.byteLength }, bytes);
    return { ...meta, body: bytes, isStored };
  } catch (error) {
    console.error(`${ask.target.host} did not answer: ${error}`);
    const headers = { "content-type": "text/plain", "cache-control": "no-store" };
    return { status: 502, headers: Object.entries(headers), body: `${NOBODY}\n`, failed: true };
  }
}

async function store(ask, meta, bytes) {
  // With an ETag it is worth more than its time: the origin can say that it is still so.
  const useful = meta.lifetime + Math.max(meta.meanwhile, meta.ifError);
  const seconds = meta.etag ? longest(ask.env) : Math.min(useful, longest(ask.env));
  const control = { "cache-control": `public, max-age=${seconds}` };
  const headers = { ...control, [META]: encodeURIComponent(JSON.stringify(meta)) };
  try {
    await caches.default.put(meta.place, new Response(bytes, { headers }));
    await caches.default.put(await placeOf(ask), Response.json(meta.vary, { headers: control }));
    return true;
  } catch (error) {
    console.error(`not stored: ${error}`);
    return false;
  }
}

/** Not through another cache, which knows no marks. The time is that until the headers. */
async function origin(ask, init) {
  const away = new AbortController();
  const timer = setTimeout(() => away.abort(), Number(ask.env.ORIGIN_SECONDS ?? 30) * 1000);
  const how = { redirect: "manual", cache: "no-store", signal: away.signal, ...init };
  return fetch(ask.target, how).finally(() => clearTimeout(timer));
}

/** As it came, to the origin and back. */
async function passed(ask, how) {
  const { method, body } = ask.request;
  try {
    const answer = await origin(ask, { method, body, headers: ask.headers });
    return answer.webSocket ? answer : given(ask, answer, how);
  } catch (error) {
    console.error(`${ask.target.host} did not answer: ${error}`);
    return plain(502, NOBODY);
  }
}

/** What succeeded makes what is stored of the URL stale (RFC 9111, 4.4): here, at once. */
async function written(ask) {
  const answer = await passed(ask, "fwd=method");
  const isSafe = ["OPTIONS", "TRACE"].includes(ask.request.method);
  if (!isSafe && answer.status < 400) await caches.default.delete(await placeOf(ask));
  return answer;
}

/** To the client: without what is the edge's own, and without what the client has. */
function given({ request, env }, answer, how) {
  const headers = new Headers(answer.headers);
  if (!env.DEBUG) headers.delete("cache-tag");
  if (answer.place) {
    const age = ageOf(answer, Date.now());
    headers.set("age", age);
    how += `; ttl=${answer.lifetime - age}`;
  }
  headers.append("cache-status", `repocache-worker; ${how}`);
  const isHead = request.method === "HEAD";
  const has = isSame(request.headers.get("if-none-match"), headers.get("etag"));
  if (READS.includes(request.method) && answer.status === 200 && has) {
    answer.body?.cancel?.();
    for (const name of ["content-length", "content-type"]) headers.delete(name);
    return new Response(null, { status: 304, headers });
  }
  if (isHead && answer.place && !headers.has("content-encoding"))
    headers.set("content-length", answer.length);
  if (isHead) answer.body?.cancel?.();
  return new Response(isHead ? null : answer.body, { status: answer.status, headers });
}
