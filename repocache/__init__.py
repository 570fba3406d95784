"""A data-access layer on async SQLAlchemy whose caches never show a session its own past."""

__all__: list[str] = []
