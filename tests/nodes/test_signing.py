"""A signed bookmark comes back as it was, from this secret or an older one; anything else does not
come back."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from repocache.errors import ConfigurationError
from repocache.signing.bookmarks import BookmarkSigner

OLD, NEW = "an old secret of ours", b"a newer secret of ours"
SIGNER = BookmarkSigner([NEW, OLD])


@given(st.text(st.sampled_from("abcXYZ019-_"), max_size=60))
def test_it_comes_back(body: str) -> None:
    assert SIGNER.unsign(SIGNER.sign(body)) == body


def test_secrets_rotate() -> None:
    assert SIGNER.unsign(BookmarkSigner([OLD]).sign("body")) == "body"
    assert BookmarkSigner([OLD]).unsign(SIGNER.sign("body")) is None


def test_those_that_are_not_signed_are_taken_while_they_may_be() -> None:
    lenient = BookmarkSigner([NEW], accept_unsigned=True)
    assert (lenient.strict, SIGNER.strict) == (False, True)
    assert lenient.unsign("body") == "body"
    assert lenient.unsign(lenient.sign("body")) == "body"
    assert lenient.unsign(BookmarkSigner([OLD]).sign("body")) is None, (
        "a wrong signature is no missing one"
    )
    assert SIGNER.unsign(lenient.sign("body")) == "body"


def test_it_does_not_grow_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """1. A session writes, and sends its bookmark; 2. a clock is set, or a release signs by another
    one; 3. a signature that had an age would be refused, and the session misses its own write."""
    text = SIGNER.sign("body")
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert SIGNER.unsign(text) == "body"
    assert SIGNER.sign("body") == text, "no moment is part of it"


@given(st.text())
def test_other_texts_are_refused(text: str) -> None:
    assert SIGNER.unsign(text) is None


@given(st.integers(0, 2**16), st.characters())
def test_a_changed_text_is_refused(at: int, letter: str) -> None:
    text = SIGNER.sign("body")
    place = at % len(text)
    assume(letter != text[place])
    changed = text[:place] + letter + text[place + 1 :]
    # The last letter of unpadded base64 carries bits that mean nothing: then it is the same
    # signature.
    assert (
        SIGNER.unsign(changed) in (None, "body")
        if place == len(text) - 1
        else SIGNER.unsign(changed) is None
    )


@pytest.mark.parametrize("secrets", [[], "one text, not a list of them", b"bytes", ["short"]])
def test_weak_settings_are_refused(secrets: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="BookmarkSigner"):
        BookmarkSigner(secrets)
