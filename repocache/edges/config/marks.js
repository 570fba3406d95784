/** Which tags were purged: the marks, in one Durable Object, and the endpoint that sets them. */
import { DurableObject } from "cloudflare:workers";
import { bounded, plain } from "./bodies.js";

const TOLERANCE = 300; // seconds, either way: Standard Webhooks, "Verifying webhook authenticity"
const LARGEST = 1 << 20; // bytes: far more than 10,000 tags
const MOST_SIGNATURES = 10;
const HOUR = 3_600_000; // milliseconds
const TAG = /^[!-+\--~]{1,1024}$/; // as it can stand in a Cache-Tag: no space, no comma

const known = new Map(); // of this isolate: tags -> what the marks said, and when they were asked

/** Seconds for which an answer may count, and marks are kept twice as long. */
export const longest = (env) => Number(env.LONGEST ?? 86_400);

/** One line of purges, which are counted. A count says before and after without a clock; the name
 *  of the line, which is new if the marks are lost, that no count of another line is meant. */
export class Marks extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.sql = ctx.storage.sql;
    this.sql.exec(
      `CREATE TABLE IF NOT EXISTS line (name TEXT NOT NULL, count INTEGER NOT NULL);
       CREATE TABLE IF NOT EXISTS ids (id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
       CREATE TABLE IF NOT EXISTS marks (tag TEXT PRIMARY KEY, hard INTEGER NOT NULL,
         soft INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
       INSERT INTO line SELECT '${crypto.randomUUID()}', 0 WHERE NOT EXISTS (SELECT 1 FROM line)`,
    );
  }

  /** The counts of the last purges of any of the tags, hard and soft, and of the last of all. */
  read(tags) {
    const { line, count } = this.sql.exec("SELECT name AS line, count FROM line").one();
    const { hard, soft } = this.sql.exec(
      `SELECT coalesce(max(hard), 0) AS hard, coalesce(max(soft), 0) AS soft FROM marks
       WHERE tag IN (SELECT value FROM json_each(?))`,
      JSON.stringify([...tags, "*"]),
    ).one();
    return { line, count, hard, soft };
  }

  /** One write for each tag. An id that was here before does nothing: it was done. */
  async purge(id, tags, soft) {
    const now = Date.now();
    this.ctx.storage.transactionSync(() => {
      const ids = this.sql.exec("INSERT OR IGNORE INTO ids VALUES (?, ?) RETURNING id", id, now);
      if (!ids.toArray().length) return;
      const { count } = this.sql.exec("UPDATE line SET count = count + 1 RETURNING count").one();
      const [kind, hard, late] = soft ? ["soft", 0, count] : ["hard", count, 0];
      this.sql.exec(
        `INSERT INTO marks SELECT value, ?, ?, ? FROM json_each(?) WHERE true
         ON CONFLICT (tag) DO UPDATE SET ${kind} = excluded.${kind}, at = excluded.at`,
        hard, late, now, JSON.stringify(tags),
      );
    });
    if ((await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(now + HOUR);
  }

  /** Forgets ids that are refused as too old, and marks older than whatever counts. */
  async alarm() {
    const now = Date.now();
    this.sql.exec("DELETE FROM ids WHERE at < ?", now - 4 * TOLERANCE * 1000);
    this.sql.exec("DELETE FROM marks WHERE at < ?", now - 2 * longest(this.env) * 1000);
    const left = this.sql.exec("SELECT 1 FROM marks LIMIT 1").toArray().length;
    if (left) await this.ctx.storage.setAlarm(now + HOUR);
  }
}

const marksIn = (env) => env.MARKS.get(env.MARKS.idFromName("marks"));

/** What the marks said at most `env.MARKS_SECONDS` ago; null if nothing is known: then nothing
 *  that is stored counts. */
export async function marksOf(env, tags) {
  if (!env.MARKS) return null;
  const [name, at] = [tags.join(), Date.now()];
  const last = known.get(name);
  if (last && at - last.at < Number(env.MARKS_SECONDS ?? 1) * 1000) return last.marks;
  try {
    const marks = await marksIn(env).read(tags);
    if (known.size > 1000) known.clear();
    known.set(name, { at, marks });
    return marks;
  } catch (error) {
    console.error(`the marks did not answer: ${error}`);
    return null;
  }
}

/** The endpoint. Nothing of a body is looked at before its signature is good. */
export async function purge(request, env) {
  if (request.method !== "POST") return plain(405, "purges are posted", { allow: "POST" });
  const keys = await keysOf(env.PURGE_SECRET);
  if (!env.MARKS || !keys.length)
    return plain(503, "bind MARKS, and set PURGE_SECRET to whsec_ and base64");
  // First, since what is left unread breaks the sender's connection.
  const { bytes, rest } = await bounded(request.body, LARGEST);
  if (rest) return plain(413, `at most ${LARGEST} bytes`);
  const [id, stamp, signatures] = ["id", "timestamp", "signature"].map(
    (name) => request.headers.get(`webhook-${name}`) ?? "",
  );
  const isTimely = /^\d{1,12}$/.test(stamp) && Math.abs(Date.now() / 1000 - stamp) <= TOLERANCE;
  if (!/^[!-\-/-~]{1,256}$/.test(id) || !isTimely) return plain(401, "not signed, or not now");
  const signed = new Blob([`${id}.${stamp}.`, bytes]);
  if (!(await isSigned(await signed.arrayBuffer(), signatures, keys)))
    return plain(401, "the signature is not of this secret");
  const told = parsed(new TextDecoder().decode(bytes));
  if (!told) return plain(400, 'give {"tags": ["app.user:7", ...], "soft": false}');
  await marksIn(env).purge(id, told.tags, told.soft);
  known.clear();
  return new Response(null, { status: 204 });
}

/** Tags are names to be compared, no patterns; null for what is no purge. */
function parsed(text) {
  let told = null;
  try {
    told = JSON.parse(text);
  } catch {
    return null;
  }
  const { tags, soft = false } = told ?? {};
  const isTag = (tag) => typeof tag === "string" && TAG.test(tag);
  const isPurge = Array.isArray(tags) && tags.every(isTag) && typeof soft === "boolean";
  return isPurge ? { tags, soft } : null;
}

/** Of all secrets, parted by spaces: while they are changed there are two. */
async function keysOf(secrets) {
  const hmac = { name: "HMAC", hash: "SHA-256" };
  const raw = (secrets ?? "").split(/\s+/).map((each) => decoded(each.replace(/^whsec_/, "")));
  const imported = (key) => crypto.subtle.importKey("raw", key, hmac, false, ["verify"]);
  return Promise.all(raw.filter((bytes) => bytes?.length).map(imported));
}

function decoded(base64) {
  try {
    return Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0));
  } catch {
    return null;
  }
}

/** `verify` takes the same time whatever differs. */
async function isSigned(data, signatures, keys) {
  for (const each of signatures.split(" ").slice(0, MOST_SIGNATURES)) {
    const signature = each.startsWith("v1,") ? decoded(each.slice(3)) : null;
    for (const key of signature ? keys : [])
      if (await crypto.subtle.verify("HMAC", key, signature, data)) return true;
  }
  return false;
}
