"""Alembic's version, looked at before anything of it is imported: an older one has not the names
that are wanted."""

from importlib.metadata import PackageNotFoundError, version

from repocache.errors import ConfigurationError

NEEDED = (1, 18)


def installed() -> str:
    """The version that is there, empty if none is."""
    try:
        return version("alembic")
    except PackageNotFoundError:
        return ""


def require(found: str) -> None:
    """Raises ConfigurationError unless this version is new enough."""
    if tuple(int(part) for part in found.split(".")[:2] if part.isdigit()) < NEEDED:
        raise ConfigurationError(
            f"repocache.alembic_ops: Alembic {found or '(none)'} is installed, "
            f"{'.'.join(map(str, NEEDED))} or later is needed: pip install "
            "'sqlalchemy-repocache[alembic]'"
        )


require(installed())
