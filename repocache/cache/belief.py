"""What a process makes of the messages and answers of one record. Pure; `models/beliefs.py` has the
same decisions, and `models/generations.py` shows that each is needed.

Anybody may publish a message. So messages only take away: what is believed of a record is what it
answered when it was asked, and a message that does not follow on what is believed ends that, until
the record is asked anew.

1. A process hears a forged message with the next number of a record; 2. a session writes elsewhere,
and the record has that number now; 3. the session reads here, before the message of its own write
has come. What was heard would vouch for the old value in L1; what was told does not.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class At(NamedTuple):
    """Where a record is: its incarnation, how many changes it has counted, and the tip, a random
    name that the last of them was given. Whoever knows all that was published cannot know the next
    tip."""

    incarnation: str
    seq: int
    tip: str


class BucketView:
    """A record as believed, a bucket's or an owner's. It is of the line of WAL that this process
    lives in: the scripts answer for no other, and all views go with the line."""

    __slots__ = (
        "generations",
        "heard",
        "incarnation",
        "invalidations",
        "prefixes",
        "since",
        "tip",
        "told",
    )

    def __init__(self, at: At) -> None:
        #: How far it is by the messages that followed on its own answers.
        self.incarnation, self.heard, self.tip = at
        #: How far it is by its own answers, and where the view began.
        self.since = self.told = at.seq
        #: How often anything under it was invalidated.
        self.invalidations = 0
        #: Of an owner's record, as answered, by owner: several may share one.
        self.generations: dict[str, str] = {}
        #: Of a bucket's record: the beginning of the names of an owner's keys, by owner.
        self.prefixes: dict[str, str] = {}

    @property
    def at(self) -> At:
        """The last that was heard."""
        return At(self.incarnation, self.heard, self.tip)


class Doubt:
    """Nothing is believed of a record. Each is another one: an answer that was asked for before it
    does not end it, unless it is what the doubt has heard (`at`), and nothing else was since
    (`prior`: what was believed until then).

    The script that makes a record announces it before it answers.
    """

    __slots__ = ("at", "prior")

    def __init__(self, at: At | None = None, prior: Belief | None = None) -> None:
        self.at = at
        self.prior = prior


Belief = BucketView | Doubt


class Before(NamedTuple):
    """What was believed of a record, and how far it was heard, when it was asked."""

    belief: Belief
    heard: int = 0


class Heard(Enum):
    """Of a message: it is the last one `AGAIN`, or it `FOLLOWS` on it, or there is `DOUBT`."""

    AGAIN = "again"
    FOLLOWS = "follows"
    DOUBT = "doubt"


def hear(belief: Belief, at: At, tip_before: str) -> Heard:
    """Whether a message follows on what is believed. `tip_before`: the tip that its change found.

    Not by its number alone: 1. a message is lost; 2. a forged one takes its place; 3. the one after
    it comes.
    """
    if isinstance(belief, Doubt):
        return Heard.DOUBT
    if _is_next(belief.at, at, tip_before):
        return Heard.FOLLOWS
    return Heard.AGAIN if at == belief.at else Heard.DOUBT


def doubt(belief: Belief, at: At, tip_before: str) -> Doubt:
    """What a message leaves that does not follow on what is believed.

    1. A record is asked, and answers; 2. it is made anew, and announced; 3. somebody publishes once
    more where it was when it answered; 4. the caller of the script runs. Two things were heard, so
    his answer is not believed.
    """
    if isinstance(belief, Doubt):
        if belief.at is not None and _is_next(belief.at, at, tip_before):
            return Doubt(at, belief.prior)
        belief.prior = None  # of no weight any more, and no chain
    return Doubt(at, belief)


def _is_next(last: At, at: At, tip_before: str) -> bool:
    return at.incarnation == last.incarnation and at.seq == last.seq + 1 and tip_before == last.tip


class Taken(Enum):
    """Of an answer: what was heard is so (`TOLD`); it is `OLDER` than what was heard, which nothing
    contradicts; `LOST`, `FORGED` or `NEW`: the view has to give way to one that begins here, since
    messages were lost, or one was forged, or the record is another or was not known; or it is
    `REFUSED`, since it is from before what is known."""

    TOLD = "told"
    OLDER = "older"
    LOST = "lost"
    FORGED = "forged"
    NEW = "new"
    REFUSED = "refused"


def take(belief: Belief, asked: Before, at: At) -> Taken:
    """What an answer does to what is believed of its record.

    1. A record is asked; 2. it answers; 3. a message comes behind the answer, in the same read, and
    is handled at once;
    4. the caller of the script runs, with an answer from before the message.
    """
    if isinstance(belief, Doubt):
        heard = belief.at == at and belief.prior is asked.belief
        return Taken.NEW if heard or belief is asked.belief else Taken.REFUSED
    if belief.incarnation != at.incarnation:
        return Taken.NEW if belief is asked.belief else Taken.REFUSED
    if at.seq < belief.since:
        # 1. It answers; 2. a message is lost; 3. another answer shows more: the view begins there;
        # 4. the caller runs.
        return Taken.REFUSED
    if at.seq > belief.heard:
        return Taken.LOST
    if at.seq == belief.heard:
        return Taken.TOLD if at.tip == belief.tip else Taken.FORGED
    if belief is asked.belief and at.seq < asked.heard:
        return Taken.FORGED
    return Taken.OLDER
