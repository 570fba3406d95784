"""Known secrets are planted wherever there is a place for one; then all that comes out is searched
for them.

Row contents count as secrets in events, logs and reprs. An error that SQLAlchemy hands to its
caller is not ours, and has what the server said.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import IntegrityError

import repocache
from repocache import (
    Database,
    DatabaseUnavailable,
    EngineSettings,
    Replica,
    Settings,
    TopologySettings,
)
from repocache.events import (
    CacheFailed,
    Event,
    Filled,
    HookFailed,
    NodeOut,
    TaskFailed,
    UndeclaredWrite,
    ValueRefused,
)
from repocache.redis_link import Address
from repocache.testing import Endpoints, Servers
from tests.shop import REPOSITORIES, Seen, User, Users, until
from tests.spilled import spilled, told

ROOT = Path(__file__).parents[2]
KEEPER = "keeper"
MARKS = "/p?a#s:w@ r%d&="
SECRETS = {
    "password of the database": f"Zq1Zq1{MARKS}databaseZq1",
    "password of Redis": f"Zq2Zq2{MARKS}redisZq2",
    "a wrong password": f"Zq3Zq3{MARKS}wrongZq3",
    "password of the TLS key": f"Zq4Zq4{MARKS}keyZq4",
    "secret of the bookmarks": f"Zq5Zq5{MARKS}signingZq5",
    "setting of the server": f"Zq6Zq6{MARKS}settingZq6",
    "token": f"Zq7Zq7{MARKS}tokenZq7",
}
ROWS = {
    "name of a user": "Zq8 Ada Zq8",
    "text in a statement": "Zq9 Lovelace Zq9",
    "a hook's row": "Zq0 Byron Zq0",
}
DATABASE, REDIS, WRONG, KEY, SIGNING, SETTING, TOKEN = SECRETS.values()
NAME, LITERAL, HOOKED = ROWS.values()


@pytest.fixture
def guarded_endpoints(
    repocache_servers: Servers, repocache_endpoints: Endpoints
) -> Iterator[Endpoints]:
    """The servers for users of their own, with the passwords planted."""
    primary, redis = repocache_servers.primary, repocache_servers.redis
    primary.sql(f"CREATE ROLE {KEEPER} LOGIN IN ROLE app PASSWORD '{DATABASE}'")
    redis.command("ACL", "SETUSER", KEEPER, "on", f">{REDIS}", "~*", "&*", "+@all")
    repocache_servers.catch_up()
    try:
        yield Endpoints(
            with_login(repocache_endpoints.primary, DATABASE),
            tuple(with_login(url, DATABASE) for url in repocache_endpoints.replicas),
            f"redis://{KEEPER}:{quote(REDIS, safe='')}@{redis.host}:{redis.port}/0",
        )
    finally:
        redis.command("ACL", "DELUSER", KEEPER)
        primary.sql(f"DROP ROLE {KEEPER}")


def with_login(url: str, password: str) -> str:
    asked = make_url(url).set(username=KEEPER, password=password)
    asked = asked.update_query_dict({"sslmode": "disable", "sslpassword": KEY})
    return asked.render_as_string(hide_password=False)


@dataclasses.dataclass
class Said:
    """What came out, by where."""

    log: pytest.LogCaptureFixture
    seen: Seen = dataclasses.field(default_factory=Seen)
    contexts: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    errors: list[str] = dataclasses.field(default_factory=list)
    others: dict[str, str] = dataclasses.field(default_factory=dict)

    @contextmanager
    def failing(self, kind: type[Exception]) -> Iterator[None]:
        """An error of ours, to be searched with all that it hangs on."""
        with pytest.raises(kind) as caught:
            yield
        self.errors.append(told(caught.value))

    def of_rows(self) -> dict[str, str]:
        """Where no row may be."""
        return {
            "log": self.log.text,
            "events": "\n".join(f"{event!r} {event} {event.remedy}" for event in self.seen),
            "asyncio": repr(self.contexts),
            **self.others,
        }

    def everywhere(self) -> dict[str, str]:
        """Where no password may be."""
        return self.of_rows() | {"errors": "\n".join(self.errors)}


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    for name in ("repocache", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    return Said(caplog)


@asynccontextmanager
async def opened(ends: Endpoints, said: Said, **others: Any) -> AsyncIterator[Database]:
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: said.contexts.append(context)
    )
    logged = repocache.LoggingObserver()
    settings = Settings(
        topology=TopologySettings(sample_every=0.05, connect_timeout=1.0),
        secrets=(SIGNING,),
        observe=repocache.Observers([logged, said.seen]),
    )
    engine = EngineSettings(
        server_settings={"app.key": SETTING}, connect_args={"password": lambda: DATABASE}, **others
    )
    database = Database(
        ends.primary,
        replicas=[Replica(url) for url in ends.replicas],
        redis=ends.redis,
        repositories=REPOSITORIES,
        settings=settings,
        engine=engine,
    )
    said.others["reprs before"] = "\n".join(
        reprs(database, settings, engine, Replica(ends.primary))
    )
    async with database as db:
        yield db
        said.others["reprs while it runs"] = "\n".join(reprs(db, settings, engine))


def reprs(*roots: object) -> Iterator[str]:
    """Of whatever of the library can be reached, by attributes and in containers."""
    waiting, seen = list(roots), set[int]()
    kept = []  # an id is an object's only while the object is there
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        kept.append(each)
        if isinstance(each, dict):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple | set | frozenset):
            waiting += each
        elif type(each).__module__.startswith(("repocache", "tests.shop")) and not isinstance(
            each, User | Event
        ):
            yield f"{each!r} {each}"
            slots = [slot for kind in type(each).__mro__ for slot in getattr(kind, "__slots__", ())]
            waiting += [
                *getattr(each, "__dict__", {}).values(),
                *(getattr(each, name, None) for name in slots),
            ]


def processes() -> str:
    """Command lines of everybody, as `ps` shows them."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it has ended
    return "\n".join(lines)


async def test_nothing_comes_out_of_work(guarded_endpoints: Endpoints, said: Said) -> None:
    async def lost() -> None:
        raise RuntimeError(HOOKED)

    async with opened(guarded_endpoints, said) as db:
        async with db.unit_of_work() as work:
            user = await work[Users].require(7)
            user.name = NAME
            work.after_commit(lost)
            await work.commit()
        async with db.causal_session() as session:
            assert (await db[Users].require(7)).name == NAME
            said.others["session"] = f"{session!r} {session.bookmark!r} {session.encode()}"
        async with db.unit_of_work() as work:
            await work.session.execute(
                text(f"UPDATE users SET name = '{LITERAL}' WHERE id = 8 -- {LITERAL}")
            )
            await work.commit()
        async with db.unit_of_work() as work:
            work.add(User(id=7, name=NAME, age=1))
            with pytest.raises(IntegrityError) as caught:
                await work.session.flush()
            said.others["a refused insert"] = told(caught.value)
            await work.rollback()
        await until(lambda: bool(said.seen.of(Filled)), "a fill has landed")
        said.others["processes"] = processes()
    assert said.seen.of(HookFailed)
    [text_told] = said.seen.of(UndeclaredWrite)
    assert text_told.statement == "UPDATE users SET name = ? WHERE id = ?"
    assert not said.seen.of(TaskFailed)
    assert spilled(SECRETS, said.everywhere()) == []
    assert spilled(ROWS, said.of_rows()) == []


async def test_nothing_comes_out_of_a_value_that_is_refused(
    guarded_endpoints: Endpoints, said: Said, repocache_servers: Servers
) -> None:
    """Somebody else's bytes, with a row in them, lie where a value of ours was."""
    async with opened(guarded_endpoints, said) as db:
        await db[Users].get(7)
        await until(lambda: bool(said.seen.of(Filled)), "the fill has landed")
    key = said.seen.of(Filled)[0].key
    keys = repocache_servers.redis.command("KEYS", f"*{key}")
    assert isinstance(keys, list)
    [name] = keys
    for value in (NAME, f"\x97\x07{NAME}"):
        repocache_servers.redis.command("SET", str(name), value)
        async with opened(guarded_endpoints, said) as db:
            await db[Users].get(7)
    assert said.seen.of(ValueRefused)
    assert spilled(SECRETS | ROWS, said.everywhere()) == []


async def test_nothing_comes_out_of_servers_that_let_nobody_in(
    guarded_endpoints: Endpoints, said: Said
) -> None:
    ends = guarded_endpoints
    place = Address.parse(ends.redis)
    wrong = f"redis://{KEEPER}:{quote(WRONG, safe='')}@{place.place}/0"
    async with opened(dataclasses.replace(ends, redis=wrong), said) as db:
        assert await db[Users].get(7)
        async with db.unit_of_work() as work:
            (await work[Users].require(7)).name = NAME
            await work.commit()
    nowhere = tuple(
        make_url(url).set(port=1).render_as_string(hide_password=False) for url in ends.replicas[:1]
    )
    async with opened(dataclasses.replace(ends, replicas=nowhere), said) as db:
        assert await db[Users].get(7)
    assert said.seen.of(CacheFailed)
    assert said.seen.of(NodeOut)

    primary = make_url(ends.primary)
    for changed in (
        primary.set(port=1),
        primary.set(host="nowhere.invalid"),
        primary.set(database="nowhere"),
    ):
        url = changed.render_as_string(hide_password=False)
        with said.failing(DatabaseUnavailable):
            async with opened(dataclasses.replace(ends, primary=url), said):
                pass
    # A password in the place of the planted function.
    for password in (WRONG, lambda: WRONG):
        engine = EngineSettings(connect_args={"password": password})
        with said.failing(DatabaseUnavailable):
            async with Database(ends.primary, repositories=REPOSITORIES, engine=engine):
                pass
    assert spilled(SECRETS, said.everywhere()) == []
    assert spilled(ROWS, said.of_rows()) == []


async def test_nothing_comes_out_of_a_driver_of_the_applications_own(
    guarded_endpoints: Endpoints, said: Said
) -> None:
    async def refused(**told: Any) -> Any:
        raise ValueError(f"{TOKEN} is too old, {told['password']!r}")

    with said.failing(DatabaseUnavailable):
        async with opened(guarded_endpoints, said, async_creator=refused):
            pass
    ours, _, _ = said.errors[0].partition("ValueError(")
    assert spilled(SECRETS, said.of_rows() | {"our words": ours}) == []


async def test_nothing_comes_out_of_the_commands(
    guarded_endpoints: Endpoints, said: Said, tmp_path: Path
) -> None:
    ends = guarded_endpoints
    wrong = ends.redis.replace(quote(REDIS, safe=""), quote(WRONG, safe=""))
    raw, asking = f"redis://{KEEPER}:{WRONG}@cache/0", f"redis://:?{WRONG}@cache/0"
    urls = {
        "right": (ends.primary, ends.redis),
        "redis_wrong": (ends.primary, wrong),
        "redis_raw": (ends.primary, raw),
        "redis_asking": (ends.primary, asking),
        "primary_wrong": (with_login(ends.primary, WRONG), ends.redis),
        "primary_raw": (f"postgresql://{KEEPER}:x@{WRONG}@nowhere/shop", ends.redis),
        "primary_option": (f"{ends.primary}&sslmode={quote(WRONG)}", ends.redis),
        "primary_password": (
            f"postgresql://{KEEPER}@nowhere/shop?password={quote(WRONG)}",
            ends.redis,
        ),
    }
    makers = [
        f"def {name}():\n    return Database({primary!r}, redis={redis!r}, "
        "repositories=REPOSITORIES)\n"
        for name, (primary, redis) in urls.items()
    ]
    head = "from repocache import Database\nfrom tests.shop import REPOSITORIES\n"
    (tmp_path / "shop_data.py").write_text("\n".join([head, *makers]))
    for name in urls:
        command = [
            sys.executable,
            "-m",
            "repocache",
            "verify",
            f"shop_data:{name}",
            "--samples",
            "1",
        ]
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": os.defpath},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode == 0) is (name == "right"), done.stderr
        said.others[name] = done.stdout + done.stderr
    assert spilled(SECRETS, said.everywhere()) == []


def test_nothing_public_shows_what_it_was_given() -> None:
    given: list[object] = [
        Settings(secrets=(SIGNING,)),
        EngineSettings(connect_args={"password": TOKEN}, server_settings={"app.key": SETTING}),
        Replica(f"postgresql://{KEEPER}:{quote(DATABASE, safe='')}@db1/shop"),
        Address.parse(f"redis://{KEEPER}:{quote(REDIS, safe='')}@cache/0"),
        Endpoints(
            f"postgresql://{KEEPER}:{DATABASE}@a/b",
            (f"postgresql://{KEEPER}:{DATABASE}@b/b",),
            REDIS,
        ),
        *(getattr(repocache, name) for name in repocache.__all__),
    ]
    assert spilled(SECRETS, {repr(type(each)): f"{each!r} {each}" for each in given}) == []


@pytest.mark.usefixtures("repocache_controls")  # of given servers the processes are not known
async def test_the_servers_of_the_kit_show_no_password(repocache_servers: Servers) -> None:
    """Neither in the list of processes nor in what they have for their environment."""
    passwords = {
        "PostgreSQL": str(make_url(repocache_servers.primary.url()).password),
        "Redis": Address.parse(repocache_servers.redis.url).password,
    }
    postgres, redis = (
        (repocache_servers.primary, *repocache_servers.replicas),
        repocache_servers.redis,
    )
    pids = {each.name: each.pid for each in postgres} | {redis.name: redis.pid}
    environments = {
        f"environment of {name}": Path(f"/proc/{pid}/environ").read_text()
        for name, pid in pids.items()
    }
    assert all(environments.values())
    assert spilled(passwords, {"processes": processes()} | environments) == []


def test_the_search_finds_what_is_there() -> None:
    secret = {"password": DATABASE}
    found = [repr(DATABASE), quote(DATABASE, safe=""), f"redis://:{DATABASE}@cache"]
    assert len(spilled(secret, {str(number): each for number, each in enumerate(found)})) == len(
        found
    )
    assert not spilled(secret, {"log": "postgresql+asyncpg://keeper:***@db1"})
