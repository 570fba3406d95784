"""What the scripts that look at records begin with: how a record is read, made and announced, and
how the names under it are built."""

from __future__ import annotations

from repocache.records.message import WIRE_VERSION
from repocache.records.names import ASIDE, BESIDE

LONGEST_SHAPES = 4_096
"""Bytes of a record's list of fingerprints; beyond it the record is made anew."""
MOST_LEASES = 10_000
"""Commits of one key that are under way at most."""

# ARGV[1] server: identity of this Redis, as the caller's connection learned it (`wire.Identity`).
# ARGV[2] history: the caller's. ARGV[3] "1" if the caller has polled the primary after it met
# another history here. ARGV[4] a nonce, the incarnation of records made now, and their first tip.
# ARGV[5] channel. ARGV[6] what signs the message that a record was made, or empty.
#
# A missing record, one made by another server and one of another history count as missing
# (protocol, State in Redis): old values, leases and floors are then out of reach, whatever brought
# them back. So does what these scripts would not have written: it heals by being made anew.
RECORD = (
    """
local function is_name(text) return #text <= 64 and string.match(text, '^%w+$') ~= nil end
local function is_count(text)
  return text == '0' or (#text <= 18 and string.match(text, '^[1-9]%d*$') ~= nil)
end
local function is_position(text)
  return #text == 16 and string.match(text, '^[0-7][0-9a-f]+$') ~= nil
end
local function is_history(text) return #text <= 256 and string.match(text, '^[%w%p]*$') ~= nil end
local function is_record(found)
  return found[1] and found[3] and found[4] and found[5] and is_history(found[3])
    and is_name(found[1]) and is_count(found[4]) and is_name(found[5])
    and (not found[6] or is_position(found[6])) and (not found[7] or is_position(found[7]))
end
local function announce(key, rec, more)
  redis.call('PUBLISH', ARGV[5], '{"v":VERSION,"b":' .. string.match(key, '{b(%d+)}$') .. ',"i":"'
    .. rec.incarnation .. '","s":' .. rec.seq .. ',"t":"' .. rec.tip .. '","h":"' .. ARGV[2]
    .. '"' .. more .. '}')
end
local function renew(key, highest)
  local rec = {incarnation = ARGV[4], seq = '0', tip = ARGV[4], floor = false}
  redis.call('DEL', key)
  redis.call('HSET', key, 'i', rec.incarnation, 'r', ARGV[1], 'h', ARGV[2], 's', rec.seq,
    't', rec.tip)
  if highest then redis.call('HSET', key, 'm', highest) end
  announce(key, rec, ARGV[6] == '' and '' or ',"a":"' .. ARGV[6] .. '"')
  return rec
end
local function look(key, more)
  local found = redis.pcall('HMGET', key, 'i', 'r', 'h', 's', 't', 'f', 'm', more or 'i')
  if found.err or found[2] ~= ARGV[1] or not is_record(found) then return renew(key, false) end
  if found[3] == ARGV[2] then
    return {incarnation = found[1], seq = found[4], tip = found[5], floor = found[6],
        highest = found[7], more = found[8]}
  end
  if ARGV[3] == '1' then return renew(key, false) end
  return {history = found[3]}
end
local function look_at_owner(key, owner)
  local own = look(key, 'g:' .. owner)
  if own.history then return own end
  local generation = own.more
  if generation and not is_name(generation) then own, generation = renew(key, false), false end
  own.key, own.generation = key, generation or own.incarnation
  return own
end
local function names(under, shape, text)
  return under .. shape .. ':' .. text, under .. shape .. 'BESIDE:' .. text,
    under .. shape .. 'ASIDE:' .. text
end
local function shapes_in(shapes)
  shapes = shapes or ''
  if #shapes <= LONGEST and not string.find(shapes, '[^%w,]') then return shapes end
end
local function write_leases(key)
  local number = redis.pcall('HLEN', key)
  if type(number) == 'number' and number <= MOST_LEASES then return number end
  redis.call('DEL', key)
  return 0
end
""".replace("VERSION", str(WIRE_VERSION))
    .replace("BESIDE", BESIDE)
    .replace("ASIDE", ASIDE)
    .replace("LONGEST", str(LONGEST_SHAPES))
    .replace("MOST_LEASES", str(MOST_LEASES))
)

# KEYS[1] the record, the others those of owners, who are named from ARGV[at] on, each with the
# milliseconds for which a row that is taken away is kept aside: but no longer than it would have
# been there, for who heard of no publication of his write trusts no cache for just so long.
# A generation that was never moved is called as its record's incarnation is: no name is used twice.
OWNERS = """
local rec, owners = look(KEYS[1]), {}
local foreign = rec.history
for n = 2, #KEYS do
  local owner = ARGV[at]
  local own = look_at_owner(KEYS[n], owner)
  own.aside = tonumber(ARGV[at + 1])
  foreign = foreign or own.history
  owners[owner] = own
  if not rec.history then
    own.shapes = shapes_in(redis.call('HGET', KEYS[1], 'p:' .. owner))
    if not own.shapes then rec = renew(KEYS[1], rec.floor or rec.highest) end
  end
  at = at + 2
end
if foreign then return {'history', foreign} end
local function under(own)
  return KEYS[1] .. ':' .. rec.incarnation .. '.' .. own.generation .. ':'
end
local function drop(owner, text)
  local own = owners[owner]
  for shape in string.gmatch(own.shapes or '', '[^,]+') do
    local key, beside, aside = names(under(own), shape, text)
    local is = own.aside > 0 and redis.pcall('GETRANGE', key, 0, 0)
    local left = is == 'V' and math.min(redis.call('PTTL', key), own.aside)
    if left and left > 0 then redis.call('SET', aside, redis.call('GET', key), 'PX', left) end
    redis.call('DEL', key, beside)
  end
end
"""
