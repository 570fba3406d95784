/** What a request asks of the origin, and by what its answer is kept. */
import { listed } from "./rules.js";

/** Paths that are the Worker's own. */
export const OURS = "/__repocache/";
export const READS = ["GET", "HEAD"];

/** What is asked of the origin. What the origin sees and the key has not can poison the cache:
 *  parameters and headers that nobody knows are in both or in neither. */
export function asking(request, env, ctx) {
  const url = new URL(request.url);
  const target = new URL(env.ORIGIN); // its parts are set: joined, "//evil/" was another host
  const ignored = listed(env.IGNORED_PARAMETERS);
  const fits = (name, each) =>
    each.endsWith("*") ? name.startsWith(each.slice(0, -1)) : name === each;
  const isKept = (part) => !ignored.some((each) => fits(part.split("=")[0], each));
  target.pathname = url.pathname;
  target.search = url.search.slice(1).split("&").filter(isKept).join("&");
  const keyed = listed(env.FORWARDED).map((name) => name.toLowerCase());
  const unkeyed = READS.includes(request.method)
    ? /^(x-|forwarded$)/
    : /^(x-(forwarded|original|rewrite)-|x-host$|forwarded$)/;
  const headers = new Headers(request.headers);
  for (const name of [...headers.keys()])
    if (unkeyed.test(name) && !keyed.includes(name)) headers.delete(name);
  const own = { "x-forwarded-host": url.host, "x-forwarded-proto": url.protocol.slice(0, -1) };
  for (const name in own) if (!keyed.includes(name)) headers.set(name, own[name]);
  const values = keyed.map((name) => headers.get(name));
  const key = [url.protocol, url.host, target.pathname, target.search, ...values];
  return { request, env, ctx, url, target, headers, key };
}

/** Where the answer of a key lies, or what it varies by if `names` are not known. */
export async function placeOf(ask, names) {
  const variant = names?.map((name) => [name, ask.headers.get(name)]);
  const text = new TextEncoder().encode(JSON.stringify([ask.key, variant ?? null]));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", text));
  const hex = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${ask.url.origin}${OURS}stored/${hex}`;
}
