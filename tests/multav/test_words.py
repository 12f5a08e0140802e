"""Amounts and names in words."""

import pytest

from multav.byte_count import in_bytes
from multav.duration import in_words
from multav.errors import InvalidSpec
from multav.model_upload import ModelUpload
from multav.names import NAME_IN_WORDS
from multav.training.request import TrainingRequest


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (499, "499 bytes"),
        (1_000, "1 kB"),
        (999_400, "999 kB"),
        (999_600, "1 MB"),
        (41_234_567, "41 MB"),
        (999_400_000, "999 MB"),
        (999_600_000, "1.0 GB"),
        (1_250_000_000, "1.2 GB"),
        (78e9, "78.0 GB"),
    ],
)
def test_bytes(count: float, words: str) -> None:
    assert in_bytes(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "less than a second"), (1.4, "1 s"), (119, "119 s"), (120, "2 minutes"), (7200, "2 hours")],
)
def test_seconds(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize("name", ["Mine", "a b", "", "-a", "a" * 101, "ä", "a@2", "a\n"])
def test_a_wrong_name_is_answered_with_what_a_name_may_be(name: str) -> None:
    for request in (TrainingRequest, ModelUpload):
        with pytest.raises(InvalidSpec) as caught:
            request.parse({"name": name})  # type: ignore[attr-defined]
        assert caught.value.errors == ({"pointer": "/name", "detail": f"must be {NAME_IN_WORDS}"},)
        assert "pattern" not in caught.value.detail
