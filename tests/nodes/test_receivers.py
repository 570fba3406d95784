"""A WAL receiver is believed once the primary answered after it was seen; not if that was another
primary."""

from dataclasses import replace

from repocache.engines.server import Process, System
from repocache.nodes.receivers import MOST, Receivers
from repocache.nodes.wal import PrimaryIdentity, PrimaryView, ReplicaReading, Trail, WalReceiver

IDENTITY = PrimaryIdentity(System("42", 5), 1, 1000, 10)
LIFE = Process(7, 1)


def seen(pid: int, moment: float) -> ReplicaReading:
    return ReplicaReading(
        in_recovery=True,
        position=100,
        shown=100,
        system=System("42", 5),
        process=LIFE,
        receiver=WalReceiver(LIFE, pid),
        streaming=True,
        timeline=1,
        timeline_seen=True,
        began=moment,
        ended=moment,
    )


def answered(began: float, *, lost: bool = False) -> PrimaryView:
    return PrimaryView(IDENTITY, IDENTITY.history, Trail(), 100, began, lost)


def test_the_primary_must_have_answered_since() -> None:
    receivers = Receivers()
    assert receivers.why_out(seen(1, 5.0), answered(4.0)) == "unconfirmed"
    assert receivers.why_out(seen(1, 6.0), answered(5.5)) == ""
    assert receivers.why_out(seen(1, 7.0), answered(5.5)) == "", "it is the same receiver"
    assert receivers.why_out(seen(2, 7.0), answered(5.5)) == "unconfirmed"


def test_a_lost_primary_confirms_nothing() -> None:
    receivers = Receivers()
    assert receivers.why_out(seen(1, 5.0), answered(6.0, lost=True)) == "unconfirmed"


def test_another_history_has_to_be_seen_anew() -> None:
    receivers = Receivers()
    receivers.why_out(seen(1, 5.0), answered(6.0))
    receivers.forget()
    assert receivers.why_out(seen(1, 8.0), answered(7.0)) == "unconfirmed"
    assert receivers.why_out(seen(1, 8.0), answered(9.0)) == ""


def test_who_followed_another_server_is_not_believed_again() -> None:
    receivers = Receivers()
    receivers.why_out(seen(1, 5.0), answered(6.0))
    receivers.distrust()
    assert receivers.why_out(seen(1, 8.0), answered(9.0)) == "other history"
    assert receivers.why_out(seen(2, 8.0), answered(9.0)) == ""


def test_no_receiver_is_nobodys_follower() -> None:
    assert Receivers().why_out(replace(seen(1, 5.0), receiver=None), answered(4.0)) == ""


def test_not_all_are_remembered_for_ever() -> None:
    receivers = Receivers()
    for pid in range(10 * MOST):
        receivers.why_out(seen(pid, 5.0), answered(6.0))
        assert len(receivers._seen) <= MOST
        assert len(receivers._believed) <= MOST
