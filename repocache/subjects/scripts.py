"""The Lua scripts that alone may touch the drawers of subjects' bookmarks.

A drawer is one hash for many subjects, which says by itself since when it has been there. So a
bookmark is never lost alone: whatever takes it away (FLUSHALL, a restart with or without an old
snapshot, a failover, eviction) takes away its drawer's birth, too, or shows another server.
"""

from __future__ import annotations

from repocache.redis_link.script import Script

LONGEST = 8_192
"""Bytes of one subject's value; whatever is longer is none of ours."""
UNSWEPT = 32
"""Values that a drawer may hold before any of them is looked at for its end."""

# KEYS[1] the drawer. ARGV[1] server: identity of this Redis, as the caller's connection learned it.
# ARGV[2] a nonce, the name of a drawer that is made now. ARGV[3] now, milliseconds by the primary's
# clock. ARGV[4] field of the subject.
#
# A drawer that is missing, was made by another server or is none of ours is born now, and empty.
_DRAWER = """
local function is_name(text) return #text <= 64 and string.match(text, '^%w+$') ~= nil end
local function is_time(text) return #text <= 15 and string.match(text, '^%d+$') ~= nil end
local function renew()
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'i', ARGV[2], 'r', ARGV[1], 'b', ARGV[3])
  return ARGV[2], ARGV[3], ''
end
local function look()
  local found = redis.pcall('HMGET', KEYS[1], 'i', 'r', 'b', ARGV[4])
  if found.err or not found[1] or not found[3] or found[2] ~= ARGV[1]
    or not is_name(found[1]) or not is_time(found[3])
    or (found[4] and #found[4] > LONGEST)
  then
    return renew()
  end
  return found[1], found[3], found[4] or ''
end
local name, born, value = look()
""".replace("LONGEST", str(LONGEST))

# -> name and birth of the drawer, and the subject's value, empty if there is none
LOOK = Script(
    _DRAWER
    + """
return {name, born, value}
"""
)

# ARGV[5] and ARGV[6]: name of the drawer and value that the caller has seen; ARGV[7] the value to
# take its place: when it ends in milliseconds, a colon, a bookmark; ARGV[8] what ended by then may
# go.
# -> 1 and so on if it did, else 0 and as LOOK
#
# Values that ended go when there are twice as many as the last sweep has left: each is looked at
# a fixed number of times.
SWAP = Script(
    _DRAWER
    + """
if name ~= ARGV[5] or value ~= ARGV[6] then return {0, name, born, value} end
redis.call('HSET', KEYS[1], ARGV[4], ARGV[7])
local left = tonumber(redis.call('HGET', KEYS[1], 'k') or '0') or 0
if redis.call('HLEN', KEYS[1]) > 2 * left + UNSWEPT then
  left = 0
  local all = redis.call('HGETALL', KEYS[1])
  for at = 1, #all, 2 do
    if string.sub(all[at], 1, 2) == 's:' then
      local ends = tonumber(string.match(all[at + 1], '^(%d+):') or '0')
      if ends > tonumber(ARGV[8]) then
        left = left + 1
      else
        redis.call('HDEL', KEYS[1], all[at])
      end
    end
  end
  redis.call('HSET', KEYS[1], 'k', left)
end
return {1, name, born, ARGV[7]}
""".replace("UNSWEPT", str(UNSWEPT))
)

SUBJECT_SCRIPTS = (LOOK, SWAP)
