"""Whether something has been invalidated since a moment, as far as a process has heard."""

from __future__ import annotations

import pytest

from repocache.invalidation import recent
from repocache.invalidation.batch import Batch
from repocache.invalidation.recent import RecentChanges
from repocache.keys import bucket_of, owner_bucket
from repocache.records.message import Message


def message(
    key: str = "", *, seq: int, owner: str = "", incarnation: str = "i", **more: object
) -> Message:
    fields: dict[str, object] = {"keys": (key,) if key else (), **more}
    bucket = owner_bucket(owner) if owner else bucket_of(key)
    if owner:
        fields["generations"] = {owner: "g"}
    return Message(
        version=2,
        bucket=bucket,
        incarnation=incarnation,
        seq=seq,
        history="h",
        tip=f"t{seq}",
        before=f"t{seq - 1}",
        **fields,  # type: ignore[arg-type]  # as given
    )


def test_a_key_has_changed_since_its_message() -> None:
    heard = RecentChanges("me", alive=True)
    heard.apply(message("user:1", seq=4))
    before = heard.number
    assert not heard.changed(before, ["user:1", "user:2"])
    heard.apply(message("user:1", seq=5))
    assert heard.changed(before, ["user:2", "user:1"])
    assert not heard.changed(before, ["user:2"])
    assert not heard.changed(heard.number, ["user:1"])


def test_an_owner_as_a_whole_is_all_of_its_keys() -> None:
    heard = RecentChanges("me", alive=True)
    heard.apply(message(owner="user", seq=4))
    before = heard.number
    heard.apply(message(owner="user", seq=5))
    assert heard.changed(before, ["user:9"])
    assert not heard.changed(before, ["users:9"])


def test_a_lost_message_is_all_that_lies_under_its_record() -> None:
    heard = RecentChanges("me", alive=True)
    heard.apply(message("user:1", seq=4))
    before = heard.number
    heard.apply(message("user:1", seq=6))
    same = next(f"x:{n}" for n in range(10_000) if bucket_of(f"x:{n}") == bucket_of("user:1"))
    assert heard.changed(before, [same])


def test_a_record_that_is_made_anew_is_all_that_lies_under_it() -> None:
    heard = RecentChanges("me", alive=True)
    heard.apply(message("user:1", seq=4))
    before = heard.number
    same = next(f"x:{n}" for n in range(10_000) if bucket_of(f"x:{n}") == bucket_of("user:1"))
    heard.apply(message("user:1", seq=0, incarnation="j"))
    assert heard.changed(before, [same])


def test_a_lost_message_of_an_owner_is_told_by_a_key_s() -> None:
    heard = RecentChanges("me", alive=True)
    heard.apply(message(owner="user", seq=4))
    before = heard.number
    heard.apply(message("user:1", seq=1, owners={"user": ("i", 4, "t4")}))
    assert not heard.changed(before, ["user:2"])
    heard.apply(message("user:1", seq=2, owners={"user": ("i", 5, "t5")}))
    assert heard.changed(before, ["user:2"])


@pytest.mark.parametrize("what", ["down", "up", "forget_all", "new_history"])
def test_what_was_not_heard_may_have_been_anything(what: str) -> None:
    heard = RecentChanges("me", alive=True)
    before = heard.number
    getattr(heard, what)()
    assert heard.changed(before, ["user:1"])
    assert heard.changed(heard.number, ["user:1"]) is (what == "down"), "from now on it hears"


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MOST", 10)
    heard = RecentChanges("me", alive=True)
    before = heard.number
    for n in range(20):
        heard.apply(message(f"user:{n}", seq=5))
    assert heard.changed(before, ["user:77"]), "what was forgotten may have been this"
    assert not heard.changed(heard.number, ["user:77"])


def test_a_record_that_this_process_made_for_a_read_is_no_change() -> None:
    heard = RecentChanges("me", alive=True)
    heard.apply(message("user:1", seq=0, incarnation="me1", keys=()))
    assert not heard.changed(0, ["user:1"])
    heard.apply(message("user:2", seq=0, incarnation="other1", keys=()))
    assert heard.changed(0, ["user:2"])


def test_an_own_commit_says_itself_what_it_wrote() -> None:
    heard = RecentChanges("me", alive=True)
    before = heard.number
    heard.committed(Batch({"user": frozenset({"user:1"})}, frozenset({"order"})))
    assert heard.changed(before, ["user:1"])
    assert heard.changed(before, ["order:7"])
    assert not heard.changed(before, ["user:2"])
