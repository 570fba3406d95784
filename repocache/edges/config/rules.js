/** What may be stored, and what of it may be given: decided of values, without waiting. */

const STORABLE = [200, 203, 301, 308];
const DIRECTIVE = /([\w*.-]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s,;"]*))?/g;
const ITEM = /[a-z*][a-z0-9_.*-]*(?:=(?:"[^"]*"|[^\s,;"]+))?(?:;[a-z0-9_.*=-]+)*/.source;
const DICTIONARY = new RegExp(`^\\s*${ITEM}(?:\\s*,\\s*${ITEM})*\\s*$`);

/** Names of a variable, as "utm_*, fbclid". */
export const listed = (text) => (text ?? "").split(",").map((name) => name.trim()).filter(Boolean);

/** Of a Cache-Control. Of a directive that comes twice, the smaller number counts
 *  (RFC 9111, 4.2.1); what is no number is 0. */
export function directives(text) {
  const found = new Map();
  for (const [, name, value = ""] of text.matchAll(DIRECTIVE)) {
    const number = /^"?(\d{1,12})"?$/.exec(value);
    const seconds = number ? Number(number[1]) : 0;
    const before = found.get(name.toLowerCase()) ?? Infinity;
    found.set(name.toLowerCase(), Math.min(before, seconds));
  }
  return found;
}

/** How an answer may be stored, null if it may not. `lifetime`, `meanwhile` (while it is loaded
 *  anew) and `ifError`: seconds; `shared`: also for requests that are authorized. */
export function rulesOf(status, headers, isAuthorized) {
  // The targeted field wins, unless it cannot be parsed (RFC 9213, 2.1 and 2.2).
  const targeted = headers.get("cdn-cache-control") ?? "";
  const control = DICTIONARY.test(targeted) ? targeted : (headers.get("cache-control") ?? "");
  const told = directives(control);
  const shared = ["public", "s-maxage", "must-revalidate"].some((name) => told.has(name));
  const strict = ["must-revalidate", "proxy-revalidate"].some((name) => told.has(name));
  const lifetime = told.get("s-maxage") ?? told.get("max-age") ?? 0;
  const meanwhile = strict ? 0 : (told.get("stale-while-revalidate") ?? 0);
  const ifError = strict ? 0 : (told.get("stale-if-error") ?? 0);
  const age = Number(/^\d{1,12}$/.exec(headers.get("age") ?? "0")?.[0] ?? Infinity);
  // In the caches content is not encoded: it is asked for like that.
  const names = new Set(listed(headers.get("vary")?.toLowerCase()));
  const vary = [...names].filter((name) => name !== "accept-encoding").sort();
  const refused =
    !STORABLE.includes(status) ||
    ["private", "no-store", "no-cache"].some((name) => told.has(name)) ||
    // One client's own, whatever else the answer says.
    ["set-cookie", "bookmark", "content-range"].some((name) => headers.has(name)) ||
    vary.includes("*") ||
    (isAuthorized && !shared) || // RFC 9111, 3.5
    age >= lifetime + Math.max(meanwhile, ifError);
  if (refused) return null;
  const tags = listed(headers.get("cache-tag"));
  const etag = headers.get("etag");
  return { lifetime, meanwhile, ifError, strict, shared, age, vary, tags, etag };
}

export const ageOf = (stored, now) =>
  stored.age + Math.max(0, Math.floor((now - stored.at) / 1000));

/** The fence: a purge that is counted after a load began outlives whatever that load stores. */
const counts = (stored, marks, now) =>
  marks?.line === stored.line && marks.hard <= stored.count && now < stored.until;

/** What is stored may be given as it is ("fresh"), while it is loaded anew ("stale"), to the first
 *  who asks while it is loaded anew ("soft"), or not ("none"). */
export function standingOf(stored, marks, now) {
  if (!stored || !counts(stored, marks, now)) return "none";
  if (marks.soft > stored.count) return stored.strict ? "none" : "soft";
  const late = ageOf(stored, now) - stored.lifetime;
  return late < 0 ? "fresh" : late < stored.meanwhile ? "stale" : "none";
}

/** It may be given because the origin is away. */
export const isSpare = (stored, marks, now) =>
  counts(stored, marks, now) && ageOf(stored, now) < stored.lifetime + stored.ifError;

/** Of what a 304 says anew (RFC 9111, 3.2). */
export function renewed(headers, answer) {
  const merged = new Headers(headers);
  merged.delete("age");
  for (const [name, value] of answer) if (!name.startsWith("content-")) merged.set(name, value);
  return merged;
}

/** The client has it already (RFC 9110, 13.1.2: compared weakly). */
export function isSame(condition, etag) {
  const opaque = (text) => text.trim().replace(/^W\//, "");
  if (!condition || !etag) return false;
  return condition.trim() === "*" || condition.split(",").map(opaque).includes(opaque(etag));
}
