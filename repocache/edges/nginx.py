"""nginx, which knows no tags: by the URLs of pages, or by its files. An extra."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from repocache.edges.address import checked_url, is_absolute, place
from repocache.edges.cache_file import FIRST, NAME, may_have
from repocache.edges.edge import EdgeLimits
from repocache.edges.exchange import AsyncClient, EdgeAnswer, ask, verdict
from repocache.edges.header import XKEY, TagHeader
from repocache.edges.names import tag_of
from repocache.errors import ConfigurationError, EdgeUnavailable
from repocache.redaction.foreign import in_brief

Urls = Callable[[str], Iterable[str]]
NOT_THERE = frozenset({404, 412})
"""What nginx's modules answer for a page that they do not have."""


@dataclass(frozen=True, slots=True)
class NginxPurge:
    """Sends `PURGE` for each URL of a page: for nginx with `proxy_cache_purge`, and for what knows
    URLs alone.

    `url`: of the edge, as `http://nginx:80`. `urls`: pure; the paths, as `/users/7`, of all pages
    that have a tag (`user:7`, `user`, `user:*`, `*`), or their whole URLs. It is given a digest
    (`shop.~...`) where the tag is called by one. What it forgets stays until it expires.
    `requests_a_second`: calls, of up to 20 tags each.

    Raises ConfigurationError.
    """

    url: str
    urls: Urls
    header: TagHeader = field(default=XKEY, kw_only=True)
    requests_a_second: float = field(default=50.0, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", checked_url("NginxPurge(url=...)", self.url))
        if not callable(self.urls):
            raise ConfigurationError(
                "NginxPurge(urls=...): give a function of a tag that returns paths"
            )
        _ = self.limits

    @property
    def name(self) -> str:
        return f"nginx {place(self.url)}"

    @property
    def limits(self) -> EdgeLimits:
        return EdgeLimits(20, self.requests_a_second)

    async def purge(self, client: AsyncClient, names: Sequence[str]) -> None:
        """As `Edge.purge`."""
        found = (url for name in names for url in self.urls(tag_of(name) or name))
        for path in dict.fromkeys(found):
            headers = {"host": urlsplit(path).netloc} if "://" in path else {}
            answer = await ask(client, "PURGE", f"{self.url}{_path(path)}", headers)
            _check(answer)


def _path(url: str) -> str:
    parts = urlsplit(url)
    path = f"/{parts.path.lstrip('/')}"
    return f"{path}?{parts.query}" if parts.query else path


def _check(answer: EdgeAnswer) -> None:
    if answer.status not in NOT_THERE:
        verdict(answer, time.time())


@dataclass(frozen=True, slots=True)
class NginxFiles:
    """Unlinks nginx's own files of pages that have a tag, for nginx without any module.

    Its cost: each purge opens every file of the cache and reads up to 32 KiB of it, whatever it
    finds. Ten thousand pages take some tenths of a second of one core while the system has them in
    memory, and longer from a disk; with more take Varnish. So it looks once a second at the most,
    for all tags that have come meanwhile, in a thread.

    `folder`: of `proxy_cache_path`, which this process may read and write; nginx must not keep
    files open (`open_file_cache`). `header`: where pages have their tags; nginx stores it though
    `proxy_hide_header` hides it. `seconds`: that a look may take, after which the edge is
    unavailable and the look begins anew.

    Raises ConfigurationError.
    """

    folder: str
    header: TagHeader = field(default=XKEY, kw_only=True)
    seconds: float = field(default=30.0, kw_only=True)

    def __post_init__(self) -> None:
        if not is_absolute(self.folder):
            raise ConfigurationError(
                f"NginxFiles(folder={self.folder!r}): give the absolute path of proxy_cache_path"
            )
        _ = self.limits

    @property
    def name(self) -> str:
        return f"nginx {self.folder}"

    @property
    def limits(self) -> EdgeLimits:
        return EdgeLimits(10_000, 1.0, self.seconds)

    async def purge(self, client: AsyncClient, names: Sequence[str]) -> None:
        """As `Edge.purge`. A thread that nobody waits for any more ends at the next file."""
        left = threading.Event()
        try:
            await asyncio.to_thread(self._unlink, frozenset(names), left)
        except OSError as error:
            raise EdgeUnavailable(f"{self.name}: {in_brief(error)}") from error
        finally:
            left.set()

    def _unlink(self, names: frozenset[str], left: threading.Event) -> None:
        for path in _files(Path(self.folder)):
            if left.is_set():
                return
            try:
                with path.open("rb") as file:
                    first = file.read(FIRST)
                if may_have(first, self.header, names):
                    path.unlink()
            except FileNotFoundError:
                # nginx has dropped it, or written it anew.
                continue


def _files(folder: Path) -> Iterator[Path]:
    """Raises OSError if the folder cannot be read; one below it may vanish."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            try:
                yield from _files(entry)
            except FileNotFoundError:
                continue
        elif NAME.fullmatch(entry.name):
            yield entry
