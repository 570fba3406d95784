"""The journal of a transaction."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from repocache.tracking import MOST_KEYS, Changes
from repocache.transactions.changes import MOST_BYTES


def test_nothing() -> None:
    changes = Changes()
    assert changes.empty
    assert changes.keys == {}
    assert changes.whole == frozenset()


def test_keys_and_whole_owners() -> None:
    changes = Changes()
    changes.touch("user", ["user:1", "user:2"])
    changes.touch("user", ["user:2"])
    changes.declare("post", None)
    changes.touch("post", ["post:1"])
    assert not changes.empty
    assert changes.keys == {"user": {"user:1", "user:2"}}
    assert changes.whole == {"post"}


def test_no_keys_are_no_change() -> None:
    changes = Changes()
    changes.touch("user", [])
    assert changes.empty
    assert changes.keys == {}


def test_too_many_keys_are_the_whole_owner() -> None:
    changes = Changes()
    changes.touch("user", map(str, range(MOST_KEYS)))
    assert changes.whole == frozenset()
    changes.touch("user", ["x"])
    assert changes.whole == {"user"}
    assert changes.keys == {}


def test_so_are_keys_of_many_bytes() -> None:
    changes = Changes()
    changes.touch("user", [str(number).zfill(10_000) for number in range(MOST_BYTES // 10_000)])
    assert changes.whole == frozenset()
    changes.touch("user", ["x"])
    assert changes.whole == {"user"}
    assert changes.keys == {}


def test_unseen_statements_count_only_while_nothing_is_declared() -> None:
    changes = Changes()
    changes.push("a")
    changes.unseen("UPDATE x")
    changes.touch("user", ["user:1"])
    seen = [changes.undeclared]
    changes.declare("user", [])
    seen.append(changes.undeclared)
    changes.rollback("a")
    seen.append(changes.undeclared)
    assert seen == [("UPDATE x",), (), ()]
    assert changes.empty


def test_unknown_savepoints_are_tolerated() -> None:
    changes = Changes()
    changes.touch("user", ["user:1"])
    changes.rollback("never made")
    changes.release("never made")
    assert changes.keys == {"user": {"user:1"}}


def test_a_savepoint_stays_after_a_rollback_to_it() -> None:
    changes = Changes()
    changes.push("a")
    for key in ("user:1", "user:2"):
        changes.touch("user", [key])
        changes.push("b")
        changes.touch("user", ["user:3"])
        changes.rollback("a")
    assert changes.empty
    changes.rollback("b")
    changes.touch("user", ["user:4"])
    changes.rollback("b")
    assert changes.keys == {"user": {"user:4"}}


Step = tuple[str, str]
steps = st.lists(
    st.tuples(
        st.sampled_from(["touch", "push", "release", "rollback"]), st.sampled_from(["a", "b", "c"])
    ),
    max_size=40,
)


@given(steps)
def test_it_does_as_sql_does(program: list[Step]) -> None:
    changes = Changes()
    stack: list[tuple[str, set[str]]] = [("", set())]
    for number, (verb, name) in enumerate(program):
        names = [each for each, _ in stack]
        if verb == "touch":
            changes.touch("user", [f"user:{number}"])
            stack[-1][1].add(f"user:{number}")
        elif verb == "push":
            changes.push(name)
            stack.append((name, set()))
        elif name in names:
            at = len(names) - 1 - names[::-1].index(name)
            if verb == "release":
                changes.release(name)
                for _, keys in stack[at:]:
                    stack[at - 1][1].update(keys)
                del stack[at:]
            else:
                changes.rollback(name)
                del stack[at:]
                stack.append((name, set()))
    left = set().union(*(keys for _, keys in stack))
    assert changes.keys == ({"user": left} if left else {})
    assert changes.empty is not bool(left)


def test_what_was_unseen_is_kept_and_told_by_its_shape() -> None:
    changes = Changes()
    for number in range(1_000):
        changes.unseen(f"UPDATE x SET y = '{'secret' * 1_000}' WHERE id = {number}")
    changes.unseen("DELETE FROM x")
    assert changes.undeclared == ("UPDATE x SET y = ? WHERE id = ?", "DELETE FROM x")
    assert "secret" not in repr(changes._journal)
