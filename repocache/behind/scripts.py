"""The Lua scripts that alone write a stream and what belongs to it: its state, its lease, and the
marks of who sent what.

The state has the name of the stream's life (`i`), the server that it was begun on (`r`), how many
changes were ever accepted in it (`a`), and how many of these are out again (`f`). A stream that is
found without its state, without itself or on another server begins a new life: what it holds stays,
under the life that it came in.
"""

from __future__ import annotations

from repocache.redis_link.script import Script

# KEYS: stream, state, mark of the process. ARGV: 1 server, identity of this Redis, 2 a nonce, name
# of a life that begins now, 3 number of the call, 4 the life that the call may be in, empty: any,
# 5 changes that may wait, 6 changes that come, 7 these, packed, 8 seconds that the mark lives.
# -> accepted, life, empty where it was already | full, how many wait | unknown
#
# 1. A process sends a call, and its connection is lost; 2. it was accepted, or was not; 3. the
# process sends it again, with the same number: the mark says that it came. In another life nobody
# can say: it may have come, and be in the database, and the mark be gone.
#
# XADD is the first write: a Redis without memory refuses that one, and then nothing has happened.
ACCEPT = Script("""
local found = redis.call('HMGET', KEYS[2], 'i', 'r', 'a', 'f')
local life, accepted, done = found[1], tonumber(found[3] or '0'), tonumber(found[4] or '0')
local function fields(item)
  local named = {}
  for at = 1, #item[2], 2 do named[item[2][at]] = item[2][at + 1] end
  return named
end
if not life or found[2] ~= ARGV[1] or redis.call('EXISTS', KEYS[1]) == 0 then
  life, accepted, done = ARGV[2], 0, 0
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  if first then
    local named = fields(first)
    done = tonumber(named.c) - tonumber(named.n)
    accepted = tonumber(fields(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]).c)
  end
end
if redis.call('GET', KEYS[3]) == ARGV[3] then return {'accepted', ''} end
if ARGV[4] ~= '' and ARGV[4] ~= life then return {'unknown'} end
local waiting, count = accepted - done, tonumber(ARGV[6])
if waiting + count > tonumber(ARGV[5]) then return {'full', waiting} end
redis.call('XADD', KEYS[1], '*', 'i', life, 'n', count, 'c', accepted + count, 'd', ARGV[7])
redis.call('HSET', KEYS[2], 'i', life, 'r', ARGV[1], 'a', accepted + count, 'f', done)
redis.call('SET', KEYS[3], ARGV[3], 'EX', ARGV[8])
return {'accepted', life}
""")

# KEYS: stream, state, lease. ARGV: 1 who asks, empty: nobody, who only looks, 2 milliseconds of the
# lease, 3 milliseconds that the first item has to have waited, 4 changes that are enough without.
# -> 1 if the lease is his now, milliseconds that the first item has waited, changes that wait
TAKE = """
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local found = redis.call('HMGET', KEYS[2], 'a', 'f')
local waiting = tonumber(found[1] or '0') - tonumber(found[2] or '0')
if not first then return {0, 0, 0} end
local now = redis.call('TIME')
local age = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
  - tonumber(string.match(first[1], '^%d+'))
-- Before 0 the clock was set back: nobody knows how long it has waited.
local due = age < 0 or age >= tonumber(ARGV[3]) or waiting >= tonumber(ARGV[4])
age = math.max(age, 0)
local holder = redis.call('GET', KEYS[3])
if holder and holder ~= ARGV[1] then return {0, age, waiting} end
if ARGV[1] == '' or not due then return {0, age, waiting} end
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
return {1, age, waiting}
"""

# KEYS: lease. ARGV: whose
GIVE_BACK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""

# KEYS: stream, state. ARGV: 1 id of the last item that is written, 2 its life, 3 the id behind it.
# -> changes that wait still, -1: it is another stream, nothing was taken out
TRIM = """
local last = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not last then return -1 end
local named = {}
for at = 1, #last[2], 2 do named[last[2][at]] = last[2][at + 1] end
if named.i ~= ARGV[2] then return -1 end
redis.call('XTRIM', KEYS[1], 'MINID', '=', ARGV[3])
redis.call('HSET', KEYS[2], 'f', named.c)
return tonumber(redis.call('HGET', KEYS[2], 'a') or named.c) - tonumber(named.c)
"""

BEHIND_SCRIPTS = (ACCEPT,)
"""Those that the link loads."""
