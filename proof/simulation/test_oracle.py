"""What a process is held to by what it heard, and by what it wrote itself."""

from __future__ import annotations

from proof.simulation.oracle import Heard

KEY = ("item", 1)


def test_l1_is_held_to_the_newer_of_what_was_heard_and_written() -> None:
    heard = Heard()
    heard.note({KEY: 3})
    heard.wrote({KEY: 5}, now=10.0)
    assert heard.need(KEY) == 5
    heard.note({KEY: 7})
    assert heard.need(KEY) == 7


def test_a_load_is_held_to_an_own_commit_after_it_began_and_not_to_one_before() -> None:
    heard = Heard()
    heard.note({KEY: 3})
    heard.wrote({KEY: 5}, now=10.0)
    assert heard.need_of_load(KEY, began=9.0) == 5
    assert heard.need_of_load(KEY, began=10.0) == 3


def test_what_was_heard_binds_every_load() -> None:
    heard = Heard()
    heard.note({KEY: 3})
    assert heard.need_of_load(KEY, began=0.0) == heard.need_of_load(KEY, began=99.0) == 3


def test_a_load_that_began_after_an_own_commit_ends_its_hold_on_l1() -> None:
    heard = Heard()
    heard.wrote({KEY: 5}, now=10.0)
    heard.loaded(KEY, began=9.0)
    assert heard.need(KEY) == 5
    heard.loaded(KEY, began=10.0)
    assert heard.need(KEY) == 0
