"""A signed bookmark comes back as it was, from this secret or an older one; anything else does not come back."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from repocache.db.signing import BookmarkSigner
from repocache.errors import ConfigurationError

OLD, NEW = "an old secret of ours", b"a newer secret of ours"
SIGNER = BookmarkSigner([NEW, OLD], 60.0)


@given(st.text(st.sampled_from("abcXYZ019-_"), max_size=60))
def test_it_comes_back(body: str) -> None:
    assert SIGNER.unsign(SIGNER.sign(body)) == body


def test_secrets_rotate() -> None:
    assert SIGNER.unsign(BookmarkSigner([OLD], 60.0).sign("body")) == "body"
    assert BookmarkSigner([OLD], 60.0).unsign(SIGNER.sign("body")) is None


def test_it_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    text = SIGNER.sign("body")
    signed_at = SIGNER._signer.get_timestamp()
    monkeypatch.setattr(SIGNER._signer, "get_timestamp", lambda: signed_at + 62)
    assert SIGNER.unsign(text) is None


@given(st.text())
def test_other_texts_are_refused(text: str) -> None:
    assert SIGNER.unsign(text) is None


@given(st.integers(0, 2**16), st.characters())
def test_a_changed_text_is_refused(at: int, letter: str) -> None:
    text = SIGNER.sign("body")
    place = at % len(text)
    assume(letter != text[place])
    changed = text[:place] + letter + text[place + 1 :]
    # The last letter of unpadded base64 carries bits that mean nothing: then it is the same signature.
    assert SIGNER.unsign(changed) in (None, "body") if place == len(text) - 1 else SIGNER.unsign(changed) is None


@pytest.mark.parametrize(
    "secrets, age", [([], 60.0), ("one text, not a list of them", 60.0), (["short"], 60.0), ([OLD], 0)]
)
def test_weak_settings_are_refused(secrets: list[str], age: float) -> None:
    with pytest.raises(ConfigurationError, match="BookmarkSigner"):
        BookmarkSigner(secrets, age)
