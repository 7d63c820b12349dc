import pytest
from hypothesis import given
from hypothesis import strategies as st

from elmokit.config import Normalization, TextConfig
from elmokit.text.normalize import normalize


@pytest.mark.parametrize(
    ("normalization", "lowercase", "expected"),
    [
        ("none", False, "Cafe\u0301ﬁÀ"),
        ("none", True, "cafe\u0301ﬁà"),
        ("NFC", False, "CaféﬁÀ"),
        ("NFKC", True, "caféfià"),
    ],
)
def test_each_setting(normalization: Normalization, lowercase: bool, expected: str) -> None:
    assert normalize("Cafe\u0301ﬁÀ", TextConfig(normalization=normalization, lowercase=lowercase)) == expected


@given(st.text(st.characters()), st.sampled_from(["none", "NFC", "NFKC"]))
def test_by_default_nothing_changes_and_twice_is_once(text: str, normalization: Normalization) -> None:
    assert normalize(text, TextConfig()) == text
    config = TextConfig(normalization=normalization)
    assert normalize(normalize(text, config), config) == normalize(text, config)
