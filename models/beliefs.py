"""What a process makes of the messages and answers of one record, purely: the decisions of
`repocache/cache/belief.py`, with each of their rules to be switched off. `generations.py` lives by
them.

Anybody may publish a message. So messages only take away: what is believed of a record is what it
answered when it was asked, and a message that does not follow on what is believed ends that, until
the record is asked anew.
"""

from typing import NamedTuple

FORGED = -1
"""The tip of a message that is not the record's."""
BELIEFS = {
    "gap": "a message that does not follow on the last one drops all that is known of the record",
    "gap told": "and so does an answer that knows of more",
    "tips": (
        "it follows only on the tip of the last change: a forged one may be in the place of one "
        "that was lost"
    ),
    "tip told": (
        "an answer with the number of the last message has its tip too, or that message was a "
        "forged one"
    ),
    "ahead": (
        "an answer that knows of less than what was heard before it was asked for says that this "
        "was forged"
    ),
    "answers alone": "what a message says of its record is not believed, nor is a new incarnation",
    "since": (
        "an answer from before the view began is not believed: a message that was lost may have "
        "contradicted it"
    ),
    "newest": "an answer that is older than the view does not put its generation back",
    "record": (
        "an answer that was asked for before a doubt does not end it, unless it is what the doubt"
        " has heard"
    ),
    "one doubt": "and nothing else was heard: what was published once may be published again",
}


class Said(NamedTuple):
    """What a message or an answer says of a record's state. `before`: the tip before this one, in a
    message."""

    inc: int
    seq: int
    tip: object
    before: object


class View(NamedTuple):
    """`told`: how far it is by its own answers; `heard`: by the messages that followed. `gen`: the
    owner's, None: to be asked."""

    inc: int = 0
    told: int = 0
    heard: int = 0
    since: int = 0
    tip: object = (0, 0)
    gen: object = None


class Doubt(NamedTuple):
    """Nothing is believed of the record. `at`: what was heard of it; empty: nothing."""

    at: tuple = ()


def begun(said):
    return View(said.inc, said.seq, said.seq, said.seq, said.tip)


def is_at(view, said):
    """Whether the last that was heard is this."""
    return (view.inc, view.heard, view.tip) == said[:3]


def hear(view, said, off):
    """A message. -> "follows", "again", "doubt", or "more" (the doubt has heard the one before);
    and the belief."""
    if isinstance(view, Doubt):
        inc, seq, tip = view.at or (None, 0, None)
        return "more" if (inc, seq + 1, tip) == (
            said.inc,
            said.seq,
            said.before,
        ) else "doubt", Doubt(said[:3])
    if is_at(view, said):
        return "again", view
    if (
        view.inc == said.inc
        and said.seq == view.heard + 1
        and (said.before == view.tip or "tips" in off)
    ):
        return "follows", view._replace(heard=said.seq, tip=said.tip)
    if "gap" in off and view.inc == said.inc and said.seq > view.heard:
        return "follows", view._replace(heard=said.seq, tip=said.tip)
    if "answers alone" in off:
        return "begins", begun(said)._replace(gen=view.gen)
    return "doubt", Doubt(said[:3])


def take(view, said, same, noted, off):
    """An answer. `same`: nothing ended what was believed since it was asked for, or "once", by what
    the doubt heard; `noted`: the number that was heard by then. -> "told", "older", "replaced" or
    "refused", and the view."""
    if isinstance(view, Doubt) and same == "once" and view.at == said[:3]:
        return "replaced", begun(said)
    same = same is True
    if isinstance(view, Doubt) or view.inc != said.inc:
        return ("replaced", begun(said)) if same or "record" in off else ("refused", view)
    if said.seq < view.since and "since" not in off:
        return "refused", view
    if said.seq > view.heard:
        if "gap told" in off:
            return "told", view._replace(told=said.seq, heard=said.seq, tip=said.tip)
        return "replaced", begun(said)
    if said.seq == view.heard:
        if said.tip != view.tip and "tip told" not in off:
            return "replaced", begun(said)
        return "told", view._replace(told=said.seq)
    if same and said.seq < noted and "ahead" not in off:
        return "replaced", begun(said)
    return "older", view
