"""The Lua scripts that alone may touch the records and what lies under them.

Every rule of the protocol that Redis enforces stands here, once. They run as bare EVALSHA, never in
MULTI (it would swallow the push). `records.redis` calls them; `records.memory` does the same in
Python.
"""

from __future__ import annotations

from repocache.records.names import ASIDE, BESIDE, KEEP
from repocache.records.preamble import OWNERS, RECORD
from repocache.redis_link.parts import PART
from repocache.redis_link.script import Script

LONGEST_LEASE = 3_600_000
"""Milliseconds that a write lease lasts at most."""
MOST = 16
"""Keys of one script: it holds up Redis, and all others there, for a fifth of a millisecond."""
MOST_VALUES = 64 * 1024
"""Bytes of the values of one script."""

# KEYS[1] the bucket's record, KEYS[2] the owner's. ARGV[7] owner, ARGV[8] fingerprint, ARGV[9] key
# text, ARGV[10] a nonce, ARGV[11] the lease's life in milliseconds, ARGV[12] digest of a value that
# could not be read, or empty, ARGV[13] bytes of the largest value, ARGV[14] milliseconds: a
# row that has no longer to live is as good as none, 0: any value is one; then nonces of write
# leases that are over.
# -> {'value'|'beside'|'lease'|'wait'|'written', generation, state of the bucket's record, state of
# the owner's,
#     value | value | nonce | milliseconds | overdue; of a value its milliseconds to live; of one
#     that a lease was left beside the nonce}, or {'history', the bucket's, the owner's}
# state: incarnation, seq, tip, floor or empty, in one text, since many are read. overdue: nonce and
# transaction id of each write lease past its deadline.
# A value of `PART` bytes or more is null: it is fetched apart, so that many answers at once keep to
# what Redis holds for one client. A larger one than any of ours is replaced unread.
#
# A write lease, of the key or of its whole owner, hides whatever is there (protocol, Strict
# write-through). What is written like none, or for longer than `LONGEST_LEASE`, hides nothing; so
# does a lease without an end, or one that lasts ten times as long as the caller's own.
#
# The record remembers which fingerprints (shapes of a row, one for each release that is live) have
# keys here, so that an invalidation by any release reaches the keys of all.
_OPEN = (
    RECORD
    + """
local rec, own = look(KEYS[1], 'p:' .. ARGV[7]), look_at_owner(KEYS[2], ARGV[7])
if rec.history or own.history then return {'history', rec.history or '', own.history or ''} end
local shapes = shapes_in(rec.more)
if not shapes then rec, shapes = renew(KEYS[1], rec.floor or rec.highest), '' end
if not string.find(shapes, ',' .. ARGV[8] .. ',', 1, true) then
  redis.call('HSET', KEYS[1], 'p:' .. ARGV[7], (shapes == '' and ',' or shapes) .. ARGV[8] .. ',')
end
local function state(of)
  return table.concat({of.incarnation, of.seq, of.tip, of.floor or ''}, ' ')
end
local function answer(kind, what, left, nonce)
  return {kind, own.generation, state(rec), state(own), what, left, nonce}
end
local hidden, overdue = false, {}
for _, writes in ipairs({KEYS[1] .. ':W:' .. ARGV[9], KEYS[2] .. ':W:' .. ARGV[7]}) do
  if write_leases(writes) > 0 then
    for at = 15, #ARGV do redis.call('HDEL', writes, ARGV[at]) end
    local clock, leases = redis.call('TIME'), redis.call('HGETALL', writes)
    local milliseconds = clock[1] * 1000 + math.floor(clock[2] / 1000)
    for at = 1, #leases, 2 do
      local xid, deadline = string.match(leases[at + 1], '^(%d+):(%d+)$')
      deadline = tonumber(deadline)
      if not deadline or #xid > 20 or not is_name(leases[at])
          or deadline > milliseconds + LONGEST_LEASE then
        redis.call('HDEL', writes, leases[at])
      else
        hidden = true
        if deadline <= milliseconds then
          overdue[#overdue + 1] = leases[at]
          overdue[#overdue + 1] = xid
        end
      end
    end
  end
end
if hidden then return answer('written', overdue) end
local key, beside = names(
  KEYS[1] .. ':' .. rec.incarnation .. '.' .. own.generation .. ':', ARGV[8], ARGV[9])
local function held(name)
  local left = redis.call('PTTL', name)
  return left >= 0 and left <= 10 * ARGV[11] and left
end
local size = redis.pcall('STRLEN', key)
local ours = type(size) == 'number' and size > 0 and size <= tonumber(ARGV[13])
local now = ours and redis.call('GET', key)
if now and ARGV[12] ~= '' and redis.sha1hex(now) == ARGV[12] then now = false end
if now and string.sub(now, 1, 1) ~= 'L' then
  local left, keep, brief = redis.call('PTTL', key), tonumber(ARGV[14]), size < PART and now
  if keep == 0 or left > keep or string.sub(now, 1, 1) ~= 'V' then
    return answer('value', brief, left)
  end
  local others = held(beside)
  if others then return answer('wait', others) end
  redis.call('SET', beside, 'L' .. ARGV[10], 'PX', ARGV[11])
  return answer('beside', brief, left, ARGV[10])
end
if now then
  local others = held(key)
  if others then return answer('wait', others) end
end
if ARGV[11] ~= '0' then redis.call('SET', key, 'L' .. ARGV[10], 'PX', ARGV[11]) end
return answer('lease', ARGV[10])
""".replace("LONGEST_LEASE", str(LONGEST_LEASE))
)
OPEN = Script(_OPEN.replace("PART", str(PART)))
OPEN_MANY = Script(_OPEN.replace("PART", str(PART // (2 * MOST)))).many()
"""Together their values are half of what a reply may have, and there is room for the rest."""

# KEYS[1] the bucket's record, KEYS[2] the owner's. ARGV: server, history, incarnation, generation,
# owner, fingerprint, key text, nonce, value (empty: give the lease back), life in milliseconds (of
# an empty value 0: with what it was left beside), what the lease is: "beside" a row, "alone" where
# rows are kept aside, or empty. -> 1 if the value landed. The value `KEEP`, beside a row: that row
# gets this life.
#
# A fill lands only if its own lease is still there, in the records under which it was taken
# (protocol, Read path 5).
FILL = Script(
    """
local rec = redis.pcall('HMGET', KEYS[1], 'i', 'r', 'h')
local own = redis.pcall('HMGET', KEYS[2], 'i', 'r', 'h', 'g:' .. ARGV[5])
if rec.err or own.err then return 0 end
if rec[1] ~= ARGV[3] or rec[2] ~= ARGV[1] or rec[3] ~= ARGV[2] then return 0 end
if (own[4] or own[1]) ~= ARGV[4] or own[2] ~= ARGV[1] or own[3] ~= ARGV[2] then return 0 end
local shape = KEYS[1] .. ':' .. ARGV[3] .. '.' .. ARGV[4] .. ':' .. ARGV[6]
local key, beside = shape .. ':' .. ARGV[7], shape .. 'BESIDE:' .. ARGV[7]
local held = ARGV[11] == 'beside' and beside or key
if redis.pcall('STRLEN', held) ~= #ARGV[8] + 1 then return 0 end
if redis.call('GET', held) ~= 'L' .. ARGV[8] then return 0 end
if ARGV[9] == '' then
  redis.call('DEL', held)
  if ARGV[10] == '0' then redis.call('DEL', key) end
  return 0
end
if ARGV[9] == 'KEEP' then
  redis.call('DEL', beside)
  return held == beside and redis.call('PEXPIRE', key, ARGV[10]) or 0
end
redis.call('SET', key, ARGV[9], 'PX', ARGV[10])
if ARGV[11] ~= '' then redis.call('DEL', beside, shape .. 'ASIDE:' .. ARGV[7]) end
return 1
""".replace("BESIDE", BESIDE)
    .replace("ASIDE", ASIDE)
    .replace("'KEEP'", f"'{KEEP.decode()}'")
)
FILL_MANY = FILL.many()

# KEYS[1] the record. ARGV: server, history, incarnation, position. -> 1 if the floor was settled.
#
# Only under the incarnation that was seen before the poll began, and only while the floor is
# unknown (protocol, Read path 4): the higher of the position and the one remembered.
SETTLE = Script(
    """
local rec = redis.pcall('HMGET', KEYS[1], 'i', 'r', 'h', 'f', 'm')
if rec.err then return 0 end
if rec[1] ~= ARGV[3] or rec[2] ~= ARGV[1] or rec[3] ~= ARGV[2] or rec[4] then return 0 end
local floor = ARGV[4]
if rec[5] and rec[5] > floor then floor = rec[5] end
redis.call('HSET', KEYS[1], 'f', floor)
redis.call('HDEL', KEYS[1], 'm')
return 1
"""
)

# KEYS[1] the record, then those of the keys' owners. ARGV[7] position ('?' unknown, '' there are
# none), ARGV[8] message fields (JSON without braces), ARGV[9] order position or empty, ARGV[10]
# nonce of the commit's own write leases or empty, ARGV[11] the change's tip, ARGV[12] number of
# keys, ARGV[13] number of puts; then the owners of the records; then for each key its owner and its
# text; then for each put its owner, text, fingerprint, incarnation, generation, value, life in
# milliseconds, 1 if strict else 0; then for each owner that changed as a whole its name and new
# generation: the record is theirs then.
# -> {'done', incarnation, seq, puts that landed}, or {'history', of one of the records}
#
# Keys go with their values and leases, in every live shape, and the message tells how far the
# owners' records are: one of theirs may have been lost, and who reads by an old name finds what is
# older than what he has just been told. The floor rises; unknown stays unknown and remembers the
# highest position; an unknown position makes a new record (protocol, Write path 5).
#
# A put lands only in the records seen inside its transaction, and if no commit that came after it
# was published before it: its order position is at least the floors, as they were until now
# (protocol, Write-through). Where commits of others are on their way it does not land, and their
# write leases stay; a strict one needs its own, and takes it away.
INVALIDATE = Script(
    RECORD
    + """
local at = 14
"""
    + OWNERS
    + """
local position, order, nonce = ARGV[7], ARGV[9], ARGV[10]
local inorder = order ~= '' and rec.floor and order >= rec.floor
if position == '?' then
  rec = renew(KEYS[1], rec.floor or rec.highest)
elseif position ~= '' then
  if rec.floor then
    if position > rec.floor then
      rec.floor = position
      redis.call('HSET', KEYS[1], 'f', position)
    end
  elseif not rec.highest or position > rec.highest then
    redis.call('HSET', KEYS[1], 'm', position)
  end
end
local first, keys, landed = at, tonumber(ARGV[12]), 0
for _ = 1, keys do
  drop(ARGV[at], ARGV[at + 1])
  at = at + 2
end
for _ = 1, tonumber(ARGV[13]) do
  local owner, text, shape, generation = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 4]
  local own = owners[owner]
  local writes, strict = KEYS[1] .. ':W:' .. text, tonumber(ARGV[at + 7])
  local held = write_leases(writes) + write_leases(own.key .. ':W:' .. owner)
  local mine = redis.call('HEXISTS', writes, nonce)
  local seen = ARGV[at + 3] == rec.incarnation and generation == own.generation
  local last = inorder and own.floor and order >= own.floor
  if last and seen and mine == strict and held == strict then
    local shapes = own.shapes or ''
    if not string.find(shapes, ',' .. shape .. ',', 1, true) then
      own.shapes = (shapes == '' and ',' or shapes) .. shape .. ','
      redis.call('HSET', KEYS[1], 'p:' .. owner, own.shapes)
    end
    local key, _, aside = names(under(own), shape, text)
    redis.call('SET', key, ARGV[at + 5], 'PX', ARGV[at + 6])
    if own.aside > 0 then redis.call('DEL', aside) end
    landed = landed + 1
  end
  at = at + 8
end
if nonce ~= '' then
  for key = 1, keys do redis.pcall('HDEL', KEYS[1] .. ':W:' .. ARGV[first + 2 * key - 1], nonce) end
end
while ARGV[at] do
  redis.call('HSET', KEYS[1], 'g:' .. ARGV[at], ARGV[at + 1])
  if nonce ~= '' then redis.pcall('HDEL', KEYS[1] .. ':W:' .. ARGV[at], nonce) end
  at = at + 2
end
rec.seq = string.format('%d', redis.call('HINCRBY', KEYS[1], 's', 1))
local before = rec.tip
rec.tip = ARGV[11]
redis.call('HSET', KEYS[1], 't', rec.tip)
local told = {}
for owner, own in pairs(owners) do
  told[#told + 1] = '"' .. owner .. '":["' .. own.incarnation .. '",' .. own.seq .. ',"' .. own.tip
      .. '"]'
end
announce(KEYS[1], rec, ARGV[8] .. ',"p":"' .. before .. '","w":{' .. table.concat(told, ',') .. '}'
  .. (rec.floor and ',"f":"' .. rec.floor .. '"' or ''))
return {'done', rec.incarnation, rec.seq, landed}
"""
)

# KEYS[1] the record, then those of the keys' owners and of those of whom the generation is asked.
# ARGV[7] nonce, ARGV[8] transaction id, ARGV[9] life in milliseconds, ARGV[10] number of keys,
# ARGV[11] number of owners that change as a whole: the record is theirs then; then the owners of
# the records; then for each key its owner and its text; then for each owner that changes its name
# and a new generation; then owners of whom the generation is asked.
# -> {'done', incarnation, seq, tip, {of each owner asked about: generation, its record's
# incarnation, seq and tip}}, or {'history', of one of the records}
#
# Before COMMIT: from here on readers find a write lease and go to the primary. What lies under the
# keys goes now, read leases too, in every shape: whoever takes the write lease over finds nothing
# (protocol, Strict write-through). Write leases stand beside each other, since none may end
# another's; and they do not expire, since a COMMIT may take long.
INTEND = Script(
    RECORD
    + """
local at = 12
"""
    + OWNERS
    + """
local clock = redis.call('TIME')
local until_ = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000) + ARGV[9])
local lease = ARGV[8] .. ':' .. until_
local function hide(writes)
  write_leases(writes)
  redis.call('HSET', writes, ARGV[7], lease)
end
for _ = 1, tonumber(ARGV[10]) do
  drop(ARGV[at], ARGV[at + 1])
  hide(KEYS[1] .. ':W:' .. ARGV[at + 1])
  at = at + 2
end
for _ = 1, tonumber(ARGV[11]) do
  redis.call('HSET', KEYS[1], 'g:' .. ARGV[at], ARGV[at + 1])
  hide(KEYS[1] .. ':W:' .. ARGV[at])
  at = at + 2
end
local generations = {}
while ARGV[at] do
  local own = owners[ARGV[at]]
  generations[#generations + 1] = own.generation
  generations[#generations + 1] = own.incarnation
  generations[#generations + 1] = own.seq
  generations[#generations + 1] = own.tip
  at = at + 1
end
return {'done', rec.incarnation, rec.seq, rec.tip, generations}
"""
)

# KEYS[1] the record. ARGV: nonce, then what follows ':W:' in the name of each of its write leases.
RELEASE = Script(
    """
for at = 2, #ARGV do redis.pcall('HDEL', KEYS[1] .. ':W:' .. ARGV[at], ARGV[1]) end
return 1
"""
)

SCRIPTS = (OPEN, OPEN_MANY, FILL, FILL_MANY, SETTLE, INVALIDATE, INTEND, RELEASE)
