"""A stopwatch changes nothing but what is known of the time."""

import numpy as np
import pytest

from elmokit import Elmo
from elmokit.deploy.measure import _with_engine
from elmokit.deploy.shares import TimedEngine
from elmokit.kernels.engine import PREPARE_FROM

SENTENCES = [["I", "sat", "by", "the", "river"], ["Hello"]] * 8
MODEL = "tests/golden/data/models/random_tiny"


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_same_vectors_and_three_shares(precision: str) -> None:
    elmo = Elmo.from_pretrained(MODEL, device="cpu", precision=precision)  # type: ignore[arg-type]  # one of three
    engine = TimedEngine(elmo.bilm, elmo.engine.precision)
    assert engine.shares(1) is None  # nothing has run
    elmo.engine.expect(PREPARE_FROM)
    engine.expect(PREPARE_FROM)
    for ours, theirs in zip(_with_engine(elmo, engine).encode_tokens(SENTENCES), elmo.encode_tokens(SENTENCES), strict=True):
        assert np.array_equal(ours, theirs)
    assert 0 < engine.words.seconds < 10
    assert 0 < engine.recurrence.seconds < 10
    total = engine.words.seconds + engine.recurrence.seconds
    shares = engine.shares(2 * total)
    assert shares is not None
    assert shares["rest"] == pytest.approx(0.5)
    assert sum(shares.values()) == pytest.approx(1)
    engine.reset()
    assert engine.shares(1) is None
