"""An idle primary is asked for the rest of a record that its flushed WAL ends amid (`cut_record`).

Owns what was asked for. Which replica waits for it is the replica's to say.
"""

from __future__ import annotations

from repocache.events import Degraded, Observer
from repocache.nodes.probe import Probe, refuses_positions
from repocache.redaction.foreign import in_brief

REFUSED = (
    "replicas that wait for the rest of a WAL record seem to lag until something is committed, or "
    "for 15 seconds; let the role execute pg_current_xact_id()"
)


class RecordCompletion:
    """Of one primary, on its probe's connection."""

    def __init__(self, probe: Probe, observe: Observer) -> None:
        self._probe = probe
        self._observe = observe
        #: Where the WAL ends that is to be completed, 0: none; and that was, bytes.
        self._wanted = self._asked = 0
        self._refused = False

    def begin(self) -> None:
        """The role may have been given the right since."""
        self._wanted = self._asked = 0
        self._refused = False

    def want(self, end: int) -> bool:
        """Whether there is something to be asked for now: once for each end."""
        if self._refused or end == self._asked:
            return False
        self._wanted = self._asked = end
        return True

    async def run(self) -> None:
        """Ask, if it is wanted. A role that may not is told of once; what else goes wrong the next
        poll meets too, and the next reading of a replica that still waits asks again."""
        if not self._wanted:
            return
        self._wanted = 0
        try:
            await self._probe.complete()
        except Exception as error:  # noqa: BLE001 - whatever it is, the primary's position is known
            self._asked = 0
            if refuses_positions(error):
                self._refused = True
                self._observe(Degraded("idle primary", f"{REFUSED}: {in_brief(error)}"))
