"""What elle-cli gets to read: every write by a value of its own, every outcome by its right
name."""

from __future__ import annotations

from proof.faults.edn import as_edn
from proof.faults.records import Begun, Ended, Entry, Initial, Read, Staged

HISTORY: list[Entry] = [
    ("conductor", Initial(1, 5, "")),
    ("conductor", Initial(2, 5, "")),
    ("w1", Begun("a", "orm", "x", "", 10)),
    ("w1", Staged("a", {1: 6}, 11)),
    ("w1", Ended("a", "rolled back", False, {}, "", 12)),
    ("w1", Begun("b", "orm", "x", "", 20)),
    ("w1", Staged("b", {1: 6, 2: 6}, 21)),
    ("w1", Ended("b", "unknown", False, {}, "cancelled", 22)),
    ("w1", Begun("c", "orm", "x", "", 30)),
    ("w1", Staged("c", {1: 7}, 31)),
    ("w1", Ended("c", "committed", True, {}, "", 32)),
    ("w2", Read("y", "", "get_many", 1, 7, "c", "l1", "", 40, 41)),
    ("w2", Read("y", "", "get_many", 2, 5, "", "l1", "", 40, 41)),
    ("w2", Begun("d", "orm", "y", "", 50)),
    ("w2", Staged("d", {2: 7}, 51)),
]
LINES = """\
{:index 0, :time 0, :process 0, :type :invoke, :f :txn, :value [[:w 1 5000] [:w 2 5000]]}
{:index 1, :time 1, :process 0, :type :ok, :f :txn, :value [[:w 1 5000] [:w 2 5000]]}
{:index 2, :time 10, :process 1, :type :invoke, :f :txn, :value [[:r 1 nil] [:w 1 6000]]}
{:index 3, :time 12, :process 1, :type :fail, :f :txn, :value [[:r 1 5000] [:w 1 6000]]}
{:index 4, :time 20, :process 1, :type :invoke, :f :txn, :value \
[[:r 1 nil] [:w 1 6001] [:r 2 nil] [:w 2 6000]]}
{:index 5, :time 22, :process 1, :type :info, :f :txn, :value \
[[:r 1 5000] [:w 1 6001] [:r 2 5000] [:w 2 6000]]}
{:index 6, :time 30, :process 2, :type :invoke, :f :txn, :value [[:r 1 nil] [:w 1 7000]]}
{:index 7, :time 32, :process 2, :type :ok, :f :txn, :value [[:r 1 6001] [:w 1 7000]]}
{:index 8, :time 40, :process 3, :type :invoke, :f :txn, :value [[:r 1 nil] [:r 2 nil]]}
{:index 9, :time 41, :process 3, :type :ok, :f :txn, :value [[:r 1 7000] [:r 2 5000]]}
{:index 10, :time 50, :process 3, :type :invoke, :f :txn, :value [[:r 2 nil] [:w 2 7000]]}
"""


def test_a_history_in_edn() -> None:
    assert as_edn(HISTORY) == LINES
