from __future__ import annotations

import pytest
from pydantic import RedisDsn, SecretStr, TypeAdapter

from repocache.errors import ConfigurationError
from repocache.redis_link import Address, Tls


@pytest.mark.parametrize(
    "url, address",
    [
        ("redis://", Address()),
        ("redis://cache", Address(host="cache")),
        ("redis://cache:7000/3", Address(host="cache", port=7000, db=3)),
        ("redis://cache?db=4", Address(host="cache", db=4)),
        ("redis://:secret@cache", Address(host="cache", password="secret")),
        (
            "redis://ada:p%40ss%2F%3A@cache",
            Address(host="cache", username="ada", password="p@ss/:"),
        ),
        ("redis://[::1]:7000", Address(host="::1", port=7000)),
        ("rediss://cache", Address(host="cache", tls=Tls())),
        (
            "rediss://cache/1?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
            Address(host="cache", db=1, tls=Tls("/ca.pem", "/c.pem", "/k.pem")),
        ),
        (
            "rediss://cache?ssl_check_hostname=False",
            Address(host="cache", tls=Tls(check_hostname=False)),
        ),
        (
            "unix:///run/my%20redis.sock?db=2",
            Address(host="", port=0, path="/run/my redis.sock", db=2),
        ),
        (
            "unix://u:p@/run/r.sock",
            Address(host="", port=0, path="/run/r.sock", username="u", password="p"),
        ),
        (
            "redis+sentinel://cache/main",
            Address(
                host="", port=0, sentinels=(Address(host="cache", port=26379),), service="main"
            ),
        ),
        (
            "redis+sentinel://ada:p%2Cq@a:1,b,[::1]:3/main/4?sentinel_username=eve&sentinel_password=s%26t",
            Address(
                host="",
                port=0,
                db=4,
                username="ada",
                password="p,q",
                sentinels=tuple(
                    Address(host=host, port=port, username="eve", password="s&t")
                    for host, port in (("a", 1), ("b", 26379), ("::1", 3))
                ),
                service="main",
            ),
        ),
        (
            "rediss+sentinel://a,b/main?ssl_ca_certs=/ca.pem",
            Address(
                host="",
                port=0,
                tls=Tls("/ca.pem"),
                sentinels=tuple(
                    Address(host=host, port=26379, tls=Tls("/ca.pem")) for host in "ab"
                ),
                service="main",
            ),
        ),
    ],
)
def test_url_is_read(url: str, address: Address) -> None:
    assert Address.parse(url) == address


def test_an_object_of_pydantics_is_read() -> None:
    url = "redis://ada:s%2Ft@cache:7000/3"
    for given in (TypeAdapter(RedisDsn).validate_python(url), SecretStr(url)):
        assert Address.parse(given) == Address(
            host="cache", port=7000, db=3, username="ada", password="s/t"
        )


@pytest.mark.parametrize("given", [["redis://a", "redis://b"], ("redis://a",), {"host": "a"}])
def test_several_are_refused_with_what_to_do(given: object) -> None:
    with pytest.raises(
        ConfigurationError, match=r"redis: give one URL, not a .*redis\+sentinel://host:26379"
    ):
        Address.parse(given)


@pytest.mark.parametrize(
    "url, remedy",
    [
        ("redis://a:1,b:2/0", "redis+sentinel://host:26379,host2:26379/mymaster/0"),
        ("redis://:***@cache/0", "give the real one"),
        ("http://cache", "redis://user:password@host:6379/0"),
        ("cache:6379", "redis://user:password@host:6379/0"),
        ("redis://cache:66000", "from 1 to 65535"),
        ("redis://cache:x", "from 1 to 65535"),
        ("redis://cache/one", "it has to be a number"),
        ("redis://cache?db=-1", "it has to be a number"),
        ("redis://cache?ssl_ca_certs=/ca.pem", "redis:// URL has no option 'ssl_ca_certs'"),
        ("rediss://cache?ssl_cert_reqs=none", "it has db, ssl_ca_certs"),
        ("rediss://cache?ssl_check_hostname=maybe", "true or false"),
        ("unix://run/redis.sock", "three slashes"),
        ("unix://", "three slashes"),
        ("redis+sentinel://cache", "redis+sentinel://host:26379/mymaster/0"),
        ("redis+sentinel://cache/main/one", "it has to be a number"),
        ("redis+sentinel://a:1,b:x/main", "from 1 to 65535"),
        (
            "redis+sentinel://cache/main?ssl_ca_certs=/ca.pem",
            "it has sentinel_username, sentinel_password",
        ),
    ],
)
def test_bad_url_names_the_remedy_and_not_the_password(url: str, remedy: str) -> None:
    url = url.replace("://", "://ada:secret@") if "://cache" in url else url
    with pytest.raises(ConfigurationError) as caught:
        Address.parse(url)
    assert remedy in str(caught.value)
    assert "secret" not in str(caught.value)


def test_address_shows_no_password() -> None:
    address = Address.parse("redis://ada:secret@[::1]:7000/3")
    assert str(address) == "redis://[::1]:7000/3"
    assert "secret" not in repr(address)
    assert str(Address.parse("unix:///run/r.sock?db=2")) == "unix:///run/r.sock?db=2"
    watched = Address.parse(
        "rediss+sentinel://ada:secret@a,[::1]:2/main/3?sentinel_password=secret"
    )
    assert str(watched) == "rediss+sentinel://a:26379,[::1]:2/main/3"
    assert "secret" not in repr(watched)


def test_missing_tls_file_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"/no/such\.pem"):
        Tls(ca_certs="/no/such.pem").context()
