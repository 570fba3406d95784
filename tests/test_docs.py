"""Runs the Python snippets of README.md and docs/ that are marked for it.

A fenced block of `python` runs if the line above it is `<!-- run -->`. The blocks of one file are
one program: they share a namespace and an event loop, and may `await` at the top level. A traceback
names the line in the Markdown file. They find the mapped classes `User`, `Account` and `Order`, the
repository `Users` and a `db` that reads them; addresses of servers are replaced by those of real
ones.
"""

import ast
import inspect
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import UniqueConstraint, insert
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import Database, KeyOwner, Repository, errors
from repocache.testing import Endpoints

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TUTORIAL = ROOT / "docs" / "tutorial.md"
"""It makes its own tables."""
MARKED = re.compile(r"^<!-- run -->\n+```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


NAMED_TEST = re.compile(r"`((?:tests|docs|repocache|benchmarks|examples)/[\w/.*]+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    missing = [name for name in NAMED_TEST.findall(page.read_text()) if not list(ROOT.glob(name))]
    assert missing == []


LINK = re.compile(r"\]\((?!https?:)([\w./-]*)(?:#([\w-]+))?\)")


def anchors(page: Path) -> set[str]:
    """As they are made of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for file, anchor in LINK.findall(page.read_text()):
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name} links to {file}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {file}#{anchor}"


def test_every_error_is_on_its_page() -> None:
    """With its cause and its remedy."""
    page = (ROOT / "docs" / "errors.md").read_text()
    told = re.findall(r"^\| `(\w+)` \| [^|]{10,} \| [^|]{10,} \|$", page, re.MULTILINE)
    tree = {name for name, each in vars(errors).items() if isinstance(each, type)}
    assert set(told) == tree - {"RepocacheError"}
    assert len(told) == len(set(told))


def test_an_error_s_own_words_are_one_line() -> None:
    for each in vars(errors).values():
        if isinstance(each, type):
            assert re.fullmatch(r"\S.*\S", str(each())), each


def snippets(text: str) -> Iterator[str]:
    """The marked blocks, each moved down to its own line numbers."""
    for block in MARKED.finditer(text):
        yield "\n" * text.count("\n", 0, block.start(1)) + block[1]


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    age: Mapped[int]


class Account(Base):
    __tablename__ = "accounts"
    __table_args__ = (UniqueConstraint("tenant", "slug"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str] = mapped_column(unique=True)
    tenant: Mapped[int]
    slug: Mapped[str]


class Order(Base):
    __tablename__ = "orders"
    tenant: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Users(Repository[User, int]):
    owner = KeyOwner("user")


@pytest.fixture
async def shop(repocache_endpoints: Endpoints) -> Endpoints:
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(
            insert(User), [{"id": n, "name": f"n{n}", "age": 15 + n} for n in range(1, 10)]
        )
        ada = {"id": 1, "name": "Ada", "email": "ada@x.org", "tenant": 1, "slug": "ada"}
        await connection.execute(insert(Account), ada)
    await engine.dispose()
    return repocache_endpoints


async def run(
    page: Path, namespace: dict[str, object], addresses: Mapping[str, str] | None = None
) -> None:
    text = page.read_text()
    for shown, real in (addresses or {}).items():
        text = text.replace(shown, real)
    for source in snippets(text):
        code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, namespace)
        if inspect.iscoroutine(result):
            await result


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A framework that a page starts may set up logging for the whole process."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def namespace(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The globals of a real module: annotations of mapped classes are looked up by their module's
    name."""
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return vars(module)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if MARKED.search(page.read_text()) and page != TUTORIAL],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
async def test_the_snippets_run(page: Path, namespace: dict[str, object], shop: Endpoints) -> None:
    db = Database(shop.primary, replicas=shop.replicas, redis=shop.redis, repositories=[Users])
    namespace |= {"User": User, "Account": Account, "Order": Order, "Users": Users, "db": db}
    first, second = shop.replicas
    await run(
        page,
        namespace,
        {
            "postgresql+asyncpg://app@db1/shop": shop.primary,
            "postgresql+asyncpg://app@db2/shop": first,
            "postgresql+asyncpg://app@db3/shop": second,
            "redis://cache:6379/0": shop.redis,
        },
    )


async def test_the_tutorial_runs(
    namespace: dict[str, object], repocache_endpoints: Endpoints
) -> None:
    first, second = repocache_endpoints.replicas
    await run(
        TUTORIAL,
        namespace,
        {
            "postgresql+asyncpg://app@db1/conduit": repocache_endpoints.primary,
            "postgresql+asyncpg://app@db2/conduit": first,
            "postgresql+asyncpg://app@db3/conduit": second,
            "redis://cache:6379/0": repocache_endpoints.redis,
        },
    )


async def test_only_marked_blocks_run_in_order_and_may_await(
    tmp_path: Path, namespace: dict[str, object]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- run -->\n```python\nimport asyncio\nseen = [1]\n```\n\n"
        "```python\nseen.append('not marked')\n```\n\n"
        "<!-- run -->\n\n```python\nawait asyncio.sleep(0)\nseen.append(2)\n```\n"
    )
    await run(page, namespace)
    assert namespace["seen"] == [1, 2]


async def test_a_failure_names_its_line_in_the_page(
    tmp_path: Path, namespace: dict[str, object]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n<!-- run -->\n```python\nfine = 1\nassert not fine\n```\n")
    with pytest.raises(AssertionError) as failure:
        await run(page, namespace)
    last = failure.traceback[-1]
    assert (str(last.path), last.lineno + 1) == (str(page), 6)


def test_the_tests_are_run_as_the_readme_says() -> None:
    told = [
        line
        for block in SHELL.findall((ROOT / "README.md").read_text())
        for line in block.splitlines()
        if line.startswith("python3 dev.py test")
    ]
    assert told
    for command in told:
        assert command in (ROOT / ".ci" / "run").read_text().splitlines()
