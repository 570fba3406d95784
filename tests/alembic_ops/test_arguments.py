"""What is wrong is said by name: an Alembic that is too old, one text in the place of several
names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from repocache.alembic_ops import CreateInvalidationTrigger, CreateOutbox, declare
from repocache.alembic_ops.alembic_version import require
from repocache.errors import ConfigurationError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("found", ["1.18", "1.18.0", "1.20.1", "2.0", "1.18.0rc1"])
def test_one_that_is_new_enough(found: str) -> None:
    require(found)


@pytest.mark.parametrize("found", ["", "1.13.0", "1.17.2", "0.9"])
def test_one_that_is_too_old_or_not_there(found: str) -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"1\.18 or later is needed: pip install 'sqlalchemy-repocache\[alembic\]'",
    ):
        require(found)


def test_it_is_said_before_anything_of_an_old_one_is_missed(tmp_path: Path) -> None:
    """An Alembic without a single name of those that are wanted."""
    (tmp_path / "alembic").mkdir()
    (tmp_path / "alembic" / "__init__.py").touch()
    described = tmp_path / "alembic-1.13.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: alembic\nVersion: 1.13.0\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    command = [sys.executable, "-c", "import repocache.alembic_ops"]
    ran = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert (
        "ConfigurationError: repocache.alembic_ops: Alembic 1.13.0 is installed, 1.18 or later"
        in ran.stderr
    )


def test_one_text_is_not_taken_for_its_letters() -> None:
    metadata = MetaData()
    Table("users", metadata, Column("id", Integer, primary_key=True))
    for call, remedy in (
        (
            lambda: CreateOutbox(grant_to="app"),
            r"grant_to='app': give a list of names: grant_to=\['app'\]",
        ),
        (lambda: CreateInvalidationTrigger("users", columns="email"), r"columns=\['email'\]"),
        (lambda: declare(metadata, "users"), r"triggers=\['users'\]"),
        (lambda: declare(metadata, {"users": "email"}), "give a list of names"),
        (lambda: declare(metadata, grant_to="app"), r"grant_to=\['app'\]"),
    ):
        with pytest.raises(ConfigurationError, match=remedy):
            call()
