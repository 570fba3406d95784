"""A PostgreSQL server as tests see it: addresses, SQL, databases, replication, and the controls of
its life."""

from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import URL

from repocache.testing.errors import ServerError
from repocache.testing.machine import Machine
from repocache.testing.process import await_condition
from repocache.testing.sql import Login, run_sql

DRIVER = "postgresql+asyncpg"
MAINTENANCE = "postgres"
Role = Literal["app", "postgres"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A role that may log in."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """How servers are spoken to: who plays `app` and `postgres`, the usual database, the `psql` to
    use."""

    app: Credentials
    postgres: Credentials
    database: str
    psql: str


class PostgresServer:
    """One server. Every call blocks; in async code use `await asyncio.to_thread(server.restart)`.

    A server given by its URL raises NotOurs on every control: start, stop, kill, restart, freeze,
    thaw, promote, pause_replay, resume_replay, follow.
    """

    def __init__(self, name: str, machine: Machine, access: ServerAccess) -> None:
        self.name = name
        self._machine = machine
        self._access = access

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} at {self.host}:{self.port}>"

    @property
    def host(self) -> str:
        return self._machine.host

    @property
    def port(self) -> int:
        return self._machine.port

    @property
    def pid(self) -> int:
        """Id of the server's first process. Raises ServerError unless it runs and is ours."""
        return self._machine.pid

    def url(self, driver: str = DRIVER, database: str = "", user: Role = "app") -> str:
        """Address for SQLAlchemy: for the ordinary role `app`, which owns the databases, or the
        superuser."""
        role = self._access.app if user == "app" else self._access.postgres
        database = database or self._access.database
        url = URL.create(driver, role.user, role.password, self.host, self.port, database)
        return url.render_as_string(hide_password=False)

    def sql(self, script: str, database: str = "") -> list[tuple[str, ...]]:
        """Rows of all statements, as the superuser; every value as text, NULL as the empty text.

        Statements are separate transactions unless the script says otherwise. Raises ServerError
        with what the server said.
        """
        role = self._access.postgres
        login = Login(role.user, role.password, self.host, self.port)
        return run_sql(self._access.psql, login, database or self._access.database, script)

    def create_database(self, name: str, template: str = "template1") -> None:
        """A copy of the template, owned by `app`. Nobody may be connected to the template."""
        self.sql(
            f'CREATE DATABASE "{name}" TEMPLATE "{template}" OWNER "{self._access.app.user}"',
            MAINTENANCE,
        )

    def drop_database(self, name: str) -> None:
        """Drop it if it is there; who is connected is thrown out."""
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', MAINTENANCE)

    def start(self) -> None:
        """Returns when it accepts connections."""
        self._machine.start()

    def stop(self) -> None:
        """A fast shutdown: clients are cut, nothing is lost."""
        self._machine.stop()

    def kill(self) -> None:
        """A crash: SIGKILL to all its processes. Returns when they are gone."""
        self._machine.kill()

    def restart(self) -> None:
        """Stop and start, on the same port."""
        self._machine.stop()
        self._machine.start()

    def freeze(self) -> None:
        """Stop all its processes where they are: connections stay open and silent."""
        self._machine.freeze()

    def thaw(self) -> None:
        """Let frozen processes run on."""
        self._machine.thaw()

    @property
    def in_recovery(self) -> bool:
        """Whether it is a replica now."""
        return self.sql("SELECT pg_is_in_recovery()", MAINTENANCE) == [("t",)]

    def position(self) -> int:
        """What a primary has written or a replica has replayed, as a number of bytes in the log."""
        replayed, written = "pg_last_wal_replay_lsn()", "pg_current_wal_lsn()"
        ((position,),) = self.sql(
            f"SELECT CASE WHEN pg_is_in_recovery() THEN {replayed} ELSE {written} END - '0/0'",
            MAINTENANCE,
        )
        return int(position)

    def await_position(self, position: int, seconds: float = 30) -> None:
        """Wait until the position is reached. Raises ServerError after that time."""
        await_condition(lambda: self._is_at(position), f"{self.name} is at {position}", seconds)

    def _is_at(self, position: int) -> bool:
        """A replica ends a question, and with it the wait, that is in the way of its replay, as of
        rows that are removed or a database that is dropped: it is asked again."""
        try:
            return self.position() >= position
        except ServerError as error:
            if "conflict with recovery" not in str(error):
                raise
            return False

    def pause_replay(self) -> None:
        """Let a replica fall behind: it receives the log and replays nothing. Returns when it has
        paused."""
        self._require_ours()
        self.sql("SELECT pg_wal_replay_pause()", MAINTENANCE)
        await_condition(
            lambda: (
                self.sql("SELECT pg_get_wal_replay_pause_state()", MAINTENANCE) == [("paused",)]
            ),
            f"{self.name} pauses replay",
        )

    def resume_replay(self) -> None:
        """Let a replica catch up. Does not wait until it has."""
        self._require_ours()
        self.sql("SELECT pg_wal_replay_resume()", MAINTENANCE)

    def promote(self) -> None:
        """Make a replica a primary, with a history of its own from here. Returns when it takes
        writes."""
        self._require_ours()
        self.sql("SELECT pg_promote(true, 30)", MAINTENANCE)
        await_condition(lambda: not self.in_recovery, f"{self.name} is a primary")

    def follow(self, primary: "PostgresServer") -> None:
        """Make a replica stream from that primary, through a slot of the replica's name. Returns
        when it does."""
        self._require_ours()
        found = f"SELECT FROM pg_replication_slots WHERE slot_name = '{self.name}'"
        primary.sql(
            f"SELECT pg_create_physical_replication_slot('{self.name}') WHERE NOT EXISTS ({found})",
            MAINTENANCE,
        )
        role = self._access.postgres
        source = (
            f"host={primary.host} port={primary.port} user={role.user} password={role.password}"
        )
        self.sql(
            f"ALTER SYSTEM SET primary_conninfo = '{source}';"
            f"ALTER SYSTEM SET primary_slot_name = '{self.name}';"
            "SELECT pg_reload_conf()",
            MAINTENANCE,
        )
        self.await_streaming(primary)

    def drop_slot(self, name: str) -> None:
        """Let go of what is kept for a replica that is gone; nothing if nothing is kept."""
        self._require_ours()
        slot = f"FROM pg_replication_slots WHERE slot_name = '{name}'"
        await_condition(
            lambda: not self.sql(f"SELECT 1 {slot} AND active", MAINTENANCE),
            f"{self.name} notices the end of {name}",
        )
        self.sql(f"SELECT pg_drop_replication_slot(slot_name) {slot}", MAINTENANCE)

    @property
    def source_port(self) -> int:
        """Port of the primary that a replica is told to stream from, 0 if it is told none."""
        ((port,),) = self.sql(
            "SELECT substring(current_setting('primary_conninfo') FROM 'port=(\\d+)')", MAINTENANCE
        )
        return int(port or 0)

    def await_streaming(self, primary: "PostgresServer", seconds: float = 30) -> None:
        """Wait until this replica streams from that primary. Raises ServerError after that time."""
        source = "SELECT sender_port FROM pg_stat_wal_receiver WHERE status = 'streaming'"
        await_condition(
            lambda: self.sql(source, MAINTENANCE) == [(str(primary.port),)],
            f"{self.name} streams from {primary.name}",
            seconds,
        )

    def _require_ours(self) -> None:
        _ = self.pid
