"""A Redis master, its replicas and the sentinels that watch over them: what fails over by
itself."""

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from repocache.testing.binaries import find_redis, place_redis
from repocache.testing.errors import ServerError
from repocache.testing.folder import RunFolder
from repocache.testing.local_machine import HOST, LocalMachine
from repocache.testing.process import Account, Command, await_condition
from repocache.testing.redis import RedisLogin, RedisServer, Reply
from repocache.testing.redis_folder import RedisFolder, RedisSite

NAME = "shop"
"""By which the sentinels know the group."""


@dataclass(frozen=True, slots=True)
class Watch:
    """How the sentinels watch: seconds of silence after which a master is down, and which server
    they begin with."""

    master_port: int
    down_after: float
    quorum: int


class SentinelFolder:
    """The folder of one sentinel. It keeps what it knows in its configuration, so that is written
    once."""

    stop_signal = signal.SIGTERM

    def __init__(self, site: RedisSite, name: str, watch: Watch) -> None:
        self._plain = RedisFolder(site, name)
        self._site = site
        self._name = name
        self._watch = watch
        self._port = 0

    def command(self, port: int) -> Command:
        folder, account, password = (
            self._site.folder / self._name,
            self._site.account,
            self._site.password,
        )
        configuration = folder / "sentinel.conf"
        if port != self._port:
            if not folder.exists():
                account.make_folder(folder)
            account.write(configuration, "\n".join([*self._lines(port, password), ""]))
            self._port = port
        log = self._site.folder / f"{self._name}.log"
        return Command((str(self._site.program), str(configuration), "--sentinel"), folder, log)

    def accepts(self, port: int, pid: int) -> bool:
        return self._plain.accepts(port, pid)

    def _lines(self, port: int, password: str) -> list[str]:
        watch = self._watch
        return [
            f"bind {HOST}",
            f"port {port}",
            f"requirepass {password}",
            f"sentinel sentinel-pass {password}",
            f"sentinel monitor {NAME} {HOST} {watch.master_port} {watch.quorum}",
            f"sentinel auth-pass {NAME} {password}",
            f"sentinel down-after-milliseconds {NAME} {int(1000 * watch.down_after)}",
            f"sentinel failover-timeout {NAME} 6000",
        ]


class RedisGroup:
    """`servers`: the first one began as the master. `sentinels` answer `command` like servers.
    Every call blocks."""

    def __init__(
        self, servers: tuple[RedisServer, ...], sentinels: tuple[RedisServer, ...], password: str
    ) -> None:
        self.servers = servers
        self.sentinels = sentinels
        self._password = password

    @property
    def url(self) -> str:
        """Address that asks the sentinels."""
        places = ",".join(f"{sentinel.host}:{sentinel.port}" for sentinel in self.sentinels)
        word = self._password
        return f"redis+sentinel://:{word}@{places}/{NAME}/0?sentinel_password={word}"

    @property
    def master(self) -> RedisServer:
        """The one that the first sentinel names."""
        named = self.sentinels[0].command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
        assert isinstance(named, list)
        return next(server for server in self.servers if str(server.port) == named[1])

    def await_failover(self, old: RedisServer) -> RedisServer:
        """Wait until every sentinel names the same new master, and it is one; which."""

        def named() -> set[str]:
            answers = [
                each.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME) for each in self.sentinels
            ]
            return {str(answer) for answer in answers} - {str([old.host, str(old.port)])}

        await_condition(
            lambda: len(named()) == 1 and self._leads(self.master, old), f"{old.name} is replaced"
        )
        return self.master

    def _leads(self, server: RedisServer, old: RedisServer) -> bool:
        return server is not old and "role:master" in str(server.command("INFO", "replication"))

    def await_watch(self) -> None:
        """Wait until the sentinels know each other and all replicas, so that they can fail over."""
        for sentinel in self.sentinels:
            await_condition(partial(self._watches, sentinel), f"{sentinel.name} knows the group")

    def _watches(self, sentinel: RedisServer) -> bool:
        try:
            replicas = _listed(sentinel.command("SENTINEL", "REPLICAS", NAME))
            others = _listed(sentinel.command("SENTINEL", "SENTINELS", NAME))
        except ServerError:
            return False
        ready = [
            each
            for each in replicas
            if each["flags"] == "slave" and each["master-link-status"] == "ok"
        ]
        return len(ready) == len(self.servers) - 1 and len(others) == len(self.sentinels) - 1


def _listed(reply: Reply) -> list[dict[str, str]]:
    assert isinstance(reply, list)
    words = [[str(word) for word in each] for each in reply if isinstance(each, list)]
    return [dict(zip(each[::2], each[1::2], strict=True)) for each in words]


@contextmanager
def redis_group(
    replicas: int = 1,
    sentinels: int = 1,
    *,
    down_after: float = 1.5,
    settings: tuple[str, ...] = (),
) -> Iterator[RedisGroup]:
    """Start a master, so many replicas in step with it, and sentinels; stop all at the end.

    `down_after`: seconds of silence after which a sentinel takes a server for down. `settings`:
    lines for each server's configuration. Several sentinels take some two seconds to meet. Raises
    ServerError.
    """
    account, password = Account.unprivileged(), secrets.token_urlsafe(18)
    login = RedisLogin(password)
    with ExitStack() as stack:
        folder = stack.enter_context(RunFolder(account))
        site = RedisSite(
            place_redis(find_redis(os.environ), folder, account),
            folder,
            account,
            password,
            settings,
        )

        def run(name: str, program: RedisFolder | SentinelFolder) -> RedisServer:
            machine = LocalMachine(name, program, account)
            stack.callback(machine.kill)
            machine.start()
            return RedisServer(name, machine, login)

        servers = [
            run(name, RedisFolder(site, name))
            for name in (f"redis{n}" for n in range(1, replicas + 2))
        ]
        for replica in servers[1:]:
            replica.replica_of(servers[0])
        watch = Watch(servers[0].port, down_after, sentinels // 2 + 1)
        watching = [
            run(name, SentinelFolder(site, name, watch))
            for name in (f"sentinel{n}" for n in range(1, sentinels + 1))
        ]
        group = RedisGroup(tuple(servers), tuple(watching), password)
        group.await_watch()
        yield group
