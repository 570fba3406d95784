"""Runs SQL from tests without a driver, by the `psql` that comes with the server."""

import csv
import io
import os
import subprocess
from dataclasses import dataclass, field

from repocache.testing.errors import ServerError


@dataclass(frozen=True, slots=True)
class Login:
    """A role, its password, and where it goes."""

    user: str
    password: str = field(repr=False)
    host: str
    port: int

    def hidden(self, text: str) -> str:
        """The text without the password, which a script may give to a role or a replica."""
        return text.replace(self.password, "***") if self.password else text


def run_sql(
    psql: str, login: Login, database: str, script: str, seconds: float = 30
) -> list[tuple[str, ...]]:
    """Rows of all statements of the script, every value as text, NULL as the empty text.

    Statements are separate transactions unless the script says otherwise. Raises ServerError with
    what the server said.
    """
    command = [psql, "-X", "-q", "-t", "-w", "--csv", "-v", "ON_ERROR_STOP=1", "-f", "-"]
    command += ["-h", login.host, "-p", str(login.port), "-U", login.user, "-d", database]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    try:
        done = subprocess.run(  # noqa: S603 - the arguments are ours
            command,
            input=script,
            env=kept | {"PGPASSWORD": login.password, "PGCONNECT_TIMEOUT": "10", "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerError(
            f"{login.host}:{login.port} has not answered within {seconds} s: {login.hidden(script)}"
        ) from error
    if done.returncode:
        raise ServerError(
            f"{login.host}:{login.port} refused "
            f"{login.hidden(script)!r}:\n{login.hidden(done.stderr)}"
        )
    return [tuple(row) or ("",) for row in csv.reader(io.StringIO(done.stdout, newline=""))]
