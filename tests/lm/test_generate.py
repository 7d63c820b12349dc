"""Text drawn word by word."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from tests.lm.conftest import Golden

from elmokit.lm.context import Context, Direction
from elmokit.lm.generate import Drawing, generate
from elmokit.text.vocabulary import BOS, EOS, UNK

DIRECTIONS: tuple[Direction, ...] = ("forward", "backward")


def drawn(golden: Golden, prompt: list[str], direction: Direction = "forward", **how: object) -> list[str]:
    drawing = Drawing(**how)  # type: ignore[arg-type]  # tests give right ones
    model, vocabulary, reader = golden.model, golden.vocabulary, golden.reader
    return list(generate(model, vocabulary, reader, prompt, direction=direction, drawing=drawing))


def expected(golden: Golden, read: list[str], direction: Direction) -> dict[str, float]:
    """Probabilities of the next word, after words in the order of reading."""
    context = Context(golden.model, golden.reader, direction)
    context.read(read)
    return dict(zip(golden.vocabulary.words, context.expectation().exp().tolist(), strict=True))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_seed_decides(golden: Golden, direction: Direction) -> None:
    one, again = drawn(golden, ["The"], direction, seed=5), drawn(golden, ["The"], direction, seed=5)
    assert one == again
    assert any(drawn(golden, ["The"], direction, seed=seed) != one for seed in range(5))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_neither_marks_nor_unknown_words_are_drawn(golden: Golden, direction: Direction) -> None:
    """At a high temperature every word comes up."""
    texts = [drawn(golden, [], direction, seed=seed, temperature=100, length=60) for seed in range(6)]
    words = set(itertools.chain.from_iterable(texts))
    assert len(words) > len(golden.vocabulary) / 3
    assert not words & {BOS, EOS, UNK}
    texts_with = (drawn(golden, [], direction, seed=seed, temperature=100, length=60, unknown=True) for seed in range(60))
    assert any(UNK in text for text in texts_with)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_temperature_0_takes_the_likeliest_and_the_marks_end_it(golden: Golden, direction: Direction) -> None:
    prompt = ["The", "cat"]
    text = drawn(golden, prompt, direction, temperature=0, length=40)
    assert text == drawn(golden, prompt, direction, top_k=1, seed=9, length=40)
    end, start = (EOS, BOS) if direction == "forward" else (BOS, EOS)
    read = prompt if direction == "forward" else prompt[::-1]
    for number in range(len(text) + 1):
        chances = expected(golden, [*read, *text[:number]], direction)
        best = max((word for word in chances if word not in (start, UNK)), key=lambda word: chances[word])
        assert best == (text[number] if number < len(text) else end)
        if number == 39:
            break


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_words_come_as_often_as_they_are_likely(golden: Golden, direction: Direction) -> None:
    """Of the five likeliest, whose probabilities a temperature of 2 brings to their square roots."""
    tries = 150
    counts = Counter(
        (drawn(golden, ["The"], direction, seed=seed, length=1, temperature=2, top_k=5) or ["end"])[0] for seed in range(tries)
    )
    end, start = (EOS, BOS) if direction == "forward" else (BOS, EOS)
    chances = expected(golden, ["The"], direction)
    best = sorted((p for word, p in chances.items() if word not in (start, UNK)), reverse=True)[:5]
    roots = {word: math.sqrt(p) / sum(map(math.sqrt, best)) for word, p in chances.items() if p in best and word != start}
    roots = {"end" if word == end else word: p for word, p in roots.items() if word != UNK}
    assert set(counts) <= set(roots)
    for word, p in roots.items():
        assert counts[word] / tries == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / tries) + 1e-9)


def test_the_length_is_a_limit(golden: Golden) -> None:
    assert [len(drawn(golden, [], seed=seed, temperature=50, length=3)) for seed in range(30)].count(3) > 20
    assert all(len(drawn(golden, [], seed=seed, length=3)) <= 3 for seed in range(5))


def test_the_prompt_is_read_from_the_side_of_its_direction(golden: Golden) -> None:
    """Backward, the prompt's first word stands next to what is drawn."""
    first = drawn(golden, ["cat", "sat", "."], "backward", temperature=0, length=1)
    chances = expected(golden, [".", "sat", "cat"], "backward")
    best = max((word for word in chances if word not in (EOS, UNK)), key=lambda word: chances[word])
    assert first == ([] if best == BOS else [best])


def test_expectations_are_probabilities(golden: Golden) -> None:
    for direction in DIRECTIONS:
        assert np.sum(list(expected(golden, ["The"], direction).values())) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"temperature": -0.1}, "temperature must be 0 or more"),
        ({"temperature": math.nan}, "temperature must be 0 or more"),
        ({"top_k": 0}, "top_k must be 1 or more"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"length": 0}, "length must be 1 or more"),
    ],
)
def test_a_wrong_drawing_is_an_error(how: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Drawing(**how)  # type: ignore[arg-type]  # that is the point


def test_a_model_that_reads_forward_alone_writes_forward_alone(golden: Golden, forward_golden: Golden) -> None:
    drawn = [list(generate(model.model, model.vocabulary, model.reader, ["The"])) for model in (golden, forward_golden)]
    assert drawn[0] == drawn[1]
    with pytest.raises(ValueError, match="this language model reads forward alone"):
        list(generate(forward_golden.model, forward_golden.vocabulary, forward_golden.reader, direction="backward"))
