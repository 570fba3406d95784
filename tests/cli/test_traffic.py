"""The demo's users: the same for the same seed, and as many of each kind as the mix says."""

from collections import Counter
from itertools import islice

from repocache.demo.airports import COLUMNS, read_airports
from repocache.demo.traffic import Mix, Traffic, Visit

KEYS = [f"K{number:03}" for number in range(200)]
MIX = Mix(writes=0.2, carried=0.5, think=0.01)


def visits(count: int, seed: int = 1, service: str = "service1", caller: int = 0) -> list[Visit]:
    return list(islice(Traffic(KEYS, MIX, seed).visits(service, caller), count))


def test_the_same_seed_brings_the_same_users() -> None:
    assert visits(100) == visits(100)


def test_another_seed_service_or_caller_brings_others() -> None:
    same = visits(100)
    assert same not in (visits(100, seed=2), visits(100, service="service2"), visits(100, caller=1))


def test_the_order_of_the_keys_does_not_matter() -> None:
    assert list(islice(Traffic(KEYS[::-1], MIX, 1).visits("service1", 0), 50)) == visits(50)


def test_the_seed_also_decides_what_is_popular() -> None:
    def favourite(seed: int) -> str:
        return Counter(visit.key for visit in visits(2000, seed)).most_common(1)[0][0]

    assert len({favourite(seed) for seed in range(5)}) > 1


def test_the_mix_is_kept() -> None:
    many = visits(20_000)
    writes = [visit for visit in many if visit.write]
    assert 0.18 < len(writes) / len(many) < 0.22
    assert 0.45 < sum(visit.carried for visit in writes) / len(writes) < 0.55
    assert not any(visit.carried for visit in many if not visit.write)
    assert 0.009 < sum(visit.think for visit in many) / len(many) < 0.011


def test_few_keys_are_popular() -> None:
    ranked = [count for _, count in Counter(visit.key for visit in visits(20_000)).most_common()]
    # Zipf's law over 200 keys: 1/5.88 of the reads for the first, half of that for the second.
    assert 0.15 < ranked[0] / 20_000 < 0.19
    assert 1.7 < ranked[0] / ranked[1] < 2.3


def test_the_data_set_is_there_as_a_whole() -> None:
    rows = read_airports()
    assert len(rows) > 28_000
    assert len({row[0] for row in rows}) == len(rows)
    kennedy = dict(zip(COLUMNS, next(row for row in rows if row[0] == "KJFK"), strict=True))
    assert (kennedy["iata"], kennedy["tz"], kennedy["version"]) == ("JFK", "America/New_York", 1)
