"""The Lua scripts of shapes: what cached queries ask of a table, which an owner's record lists so
that whoever writes the table knows what to tell (protocol, Tags; `models/queries.py`)."""

from __future__ import annotations

from repocache.records.preamble import RECORD
from repocache.redis_link.script import Script

MOST_REGISTERED = 128
"""Shapes of cached queries of one owner."""
LONGEST_LIST = 32_768
"""Bytes of the list of these shapes."""

# KEYS[1] a record. ARGV: server, history, owner. -> incarnation, floor or empty, the shapes that
# the owner has registered there, or nil: there is no record that counts, or its list is none of
# ours. It changes nothing.
LOOK = Script(
    """
local rec = redis.pcall('HMGET', KEYS[1], 'i', 'r', 'h', 'f', 'q:' .. ARGV[3])
if rec.err or not rec[1] or rec[2] ~= ARGV[1] or rec[3] ~= ARGV[2] then return false end
if rec[5] and #rec[5] > LONGEST_LIST then return false end
return {rec[1], rec[4] or '', rec[5] or ''}
""".replace("LONGEST_LIST", str(LONGEST_LIST))
)

# KEYS[1] the owner's record. ARGV[7] owner, then shapes, none of which has a line feed.
# -> {'done', incarnation, all shapes that are registered}, or {'history', the record's}
#
# A shape that is new makes the record anew: 1. somebody writes, and finds no shape to tell; 2. the
# shape is registered; 3. a reader fills from a replica that has not replayed the write. So the
# floor is unknown from then on; and a poll that was begun to settle the old one settles nothing,
# since it names the old incarnation. Where there is no room for one more the list begins anew:
# those that are in use come back, and those of releases that are gone do not.
REGISTER = Script(
    RECORD
    + """
local field = 'q:' .. ARGV[7]
local rec = look(KEYS[1], field)
if rec.history then return {'history', rec.history} end
local listed, known, count, new, asked = rec.more or '', {}, 0, '', ''
for shape in string.gmatch(listed, '[^\\n]+') do
  known[shape] = true
  count = count + 1
end
for at = 8, #ARGV do
  asked = asked .. ARGV[at] .. '\\n'
  if not known[ARGV[at]] then
    known[ARGV[at]] = true
    new = new .. ARGV[at] .. '\\n'
    count = count + 1
  end
end
if new == '' then return {'done', rec.incarnation, listed} end
if count > MOST_SHAPES or #listed + #new > LONGEST_LIST then listed, new = '', asked end
rec = renew(KEYS[1], rec.floor or rec.highest)
redis.call('HSET', KEYS[1], field, listed .. new)
return {'done', rec.incarnation, listed .. new}
""".replace("MOST_SHAPES", str(MOST_REGISTERED)).replace("LONGEST_LIST", str(LONGEST_LIST))
)

REGISTERING = (LOOK, REGISTER)
