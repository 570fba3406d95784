"""A Lua script as a value. The link loads it at each handshake and runs it by its digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

MANY = """
local function one(KEYS, ARGV)
BODY
end
local replies, key, at = {}, 1, 1
while ARGV[at] do
  local keys, values, first = {}, {}, at + 1
  for n = 1, tonumber(ARGV[at]) do
    keys[n] = KEYS[key]
    key = key + 1
  end
  for n = 1, tonumber(ARGV[first]) do values[n] = ARGV[first + n] end
  at = first + #values + 1
  replies[#replies + 1] = one(keys, values)
end
return replies
"""
"""For each run how many keys and how many values it has, and these."""


@dataclass(frozen=True, slots=True)
class Script:
    """Lua source text and the SHA-1 by which Redis knows it."""

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)

    def many(self) -> Script:
        """Runs it again and again, each with keys and values of its own, and answers with the list
        of what each answers."""
        return Script(MANY.replace("BODY", self.source))
