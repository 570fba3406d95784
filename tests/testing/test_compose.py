"""docker-compose.yml as far as it can be judged without Docker, beside what docs/testing.md says of
it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from examples.shop.policies import COOKIES_GO
from repocache.testing.given import (
    PRIMARY_VARIABLE,
    REDIS_VARIABLE,
    REPLICAS_VARIABLE,
    SUPERUSER_VARIABLE,
)
from repocache.testing.ports import BEYOND
from tests.edges.servers import VARNISH, needs_varnish

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
PAGE = (ROOT / "docs" / "testing.md").read_text()
SERVERS = ("primary", "replica1", "replica2", "valkey")
EDGE = "varnish"


def services() -> dict[str, str]:
    """The text of each service."""
    (body,) = re.findall(r"^services:\n(.*?)^(?=\w)", COMPOSE, re.MULTILINE | re.DOTALL)
    _, *parts = re.split(r"^  (\w+):\n", body, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def published(service: str) -> str:
    """What a service shows outside, such as `127.0.0.1:15432`."""
    ports = r"^    ports:\n      - \"(.*):\d+\"\n(?!      -)"
    found: list[str] = re.findall(ports, service, re.MULTILINE)
    (only,) = found
    return only


def told() -> dict[str, str]:
    """The variables that the page has set."""
    found = re.findall(r'^export (\w+)=(?:"([^"]*)"|(\S+))$', PAGE, re.MULTILINE)
    return {name: quoted or bare for name, quoted, bare in found}


def test_it_has_a_primary_two_replicas_and_a_valkey() -> None:
    assert tuple(services()) == (*SERVERS, EDGE)


def test_the_edge_is_there_by_its_profile_alone() -> None:
    for name, service in services().items():
        assert ("    profiles: [edge]\n" in service) is (name == EDGE)


def test_the_edge_listens_on_this_machine_alone_where_the_page_says() -> None:
    assert "    network_mode: host\n" in services()[EDGE]
    (place,) = re.findall(r" -a (127\.0\.0\.1:\d+) ", COMPOSE)
    assert int(place.rpartition(":")[2]) < BEYOND
    assert told()["SHOP_VARNISH"] == f"http://{place}"
    (secret,) = re.findall(r"^      EDGE_SECRET: (.*)$", COMPOSE, re.MULTILINE)
    assert told()["SHOP_VARNISH_SECRET"] == secret


@needs_varnish
def test_the_edge_s_vcl_is_the_shipped_one_and_compiles(tmp_path: Path) -> None:
    (script,) = re.findall(r"^x-start-varnish: .*?\|\n(.*?)^\n", COMPOSE, re.MULTILINE | re.DOTALL)
    shipped = ROOT / "repocache" / "edges" / "config" / "varnish.vcl"
    for old, new in (
        ("$$", "$"),
        ("/tmp/", f"{tmp_path}/"),
        ("/shipped/varnish.vcl", str(shipped)),
        ("exec varnishd -F", f"exec {VARNISH} -C"),
    ):
        assert old in script
        script = script.replace(old, new)
    environment = {"PATH": os.environ["PATH"], "EDGE_SECRET": "secret"}
    done = subprocess.run(
        ["sh", "-ec", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made = (tmp_path / "edge.vcl").read_text()
    assert f"    {COOKIES_GO}{{ unset req.http.Cookie; }}" in made
    assert made.count(str(tmp_path / "secret")) == 1
    assert (tmp_path / "secret").read_text() == "secret\n"


@pytest.mark.parametrize("name", SERVERS)
def test_a_port_is_open_to_this_machine_alone_and_free_of_outgoing_connections(name: str) -> None:
    host, _, port = published(services()[name]).rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) < BEYOND


@pytest.mark.parametrize("name", [*SERVERS, EDGE])
def test_a_service_says_when_it_is_ready(name: str) -> None:
    assert re.search(r"^    healthcheck:", services()[name], re.MULTILINE)


@pytest.mark.parametrize("name", ["replica1", "replica2"])
def test_a_replica_waits_for_the_primary(name: str) -> None:
    waiting = "    depends_on:\n      primary:\n        condition: service_healthy\n"
    assert waiting in services()[name]


def test_the_images_are_those_of_the_path_of_containers() -> None:
    source = (ROOT / "repocache" / "testing" / "containers.py").read_text()
    postgres, valkey = re.findall(r'^(?:POSTGRES|REDIS)_IMAGE = "(.*)"$', source, re.MULTILINE)
    found = [
        image
        for service in services().values()
        for image in re.findall(r"^    image: (.*)$", service, re.MULTILINE)
    ]
    assert found == [postgres, postgres, postgres, valkey, "varnish:7.7"]


def test_the_page_names_its_ports_and_passwords() -> None:
    (role, password) = re.findall(r"CREATE ROLE (\w+) .*PASSWORD '(.*)'", COMPOSE)[0]
    (database,) = re.findall(rf"CREATE DATABASE (\w+) OWNER {role}", COMPOSE)
    (secret,) = re.findall(r"--requirepass, ([\w-]+)", COMPOSE)
    place = {name: published(services()[name]) for name in SERVERS}
    login = f"{role}:{password}"
    urls = told()
    primary = urlsplit(urls[PRIMARY_VARIABLE])
    replicas = [urlsplit(url) for url in urls[REPLICAS_VARIABLE].split()]
    assert primary.netloc == f"{login}@{place['primary']}"
    assert [url.netloc for url in replicas] == [
        f"{login}@{place['replica1']}",
        f"{login}@{place['replica2']}",
    ]
    assert {url.path for url in (primary, *replicas)} == {f"/{database}"}
    (superuser,) = re.findall(r"^  PGPASSWORD: (.*)$", COMPOSE, re.MULTILINE)
    assert urls[SUPERUSER_VARIABLE] == f"postgres:{superuser}"
    assert urls[REDIS_VARIABLE] == f"redis://:{secret}@{place['valkey']}/0"
