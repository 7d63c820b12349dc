import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elmokit import Elmo
from elmokit.explore.senses import (
    Interval,
    chance_hits,
    cosines,
    nearest_sense_accuracy,
    nearest_sense_hits,
    neighbors,
    paired_bootstrap,
    probe,
)
from elmokit.explore.uses import Use, read_uses

SENSES = ["deep", "deep", "rich", "rich"]
BANKS = ["bank"] * 4


def angles(*degrees: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def use(text: str, sense: str | None) -> Use:
    return Use("bank", sense, text, text.index("bank"), text.index("bank") + 4)


def test_hits_of_known_angles() -> None:
    hits = nearest_sense_hits(angles(0, 50, 60, 75), BANKS, SENSES)
    assert hits.tolist() == [1, 0, 0, 1]  # 50 and 60 degrees are each other's nearest
    assert nearest_sense_accuracy(angles(0, 50, 60, 75), BANKS, SENSES) == 0.5


def test_length_of_a_vector_does_not_matter() -> None:
    vectors = angles(0, 50, 60, 75) * np.array([[1], [100], [0.01], [7]], np.float32)
    assert nearest_sense_hits(vectors, BANKS, SENSES).tolist() == [1, 0, 0, 1]


def test_only_uses_of_the_same_word_compete() -> None:
    vectors = angles(0, 20, 90, 110, 1, 91)
    words, senses = [*BANKS, "bat", "bat"], [*SENSES, "club", "club"]
    assert nearest_sense_hits(vectors, words, senses).tolist() == [1] * 6


def test_centering_takes_the_cone_away() -> None:
    cone = np.array([0, 10], np.float32)
    vectors = cone + np.array([[5, 1], [1, -0.2], [-0.5, 0.3], [-4, -1]], np.float32)
    assert nearest_sense_hits(vectors, BANKS, SENSES).tolist() == [1, 0, 0, 1]  # the short ones both point along the cone
    assert nearest_sense_hits(vectors, BANKS, SENSES, cone).tolist() == [1, 1, 1, 1]


def test_centered_cosines() -> None:
    vectors, offset = angles(0, 10, 90, 100), np.array([1000, 1000], np.float32)
    assert cosines(vectors + offset).min() > 0.999
    assert np.allclose(cosines(vectors + offset, offset), cosines(vectors), atol=1e-3)
    assert cosines(np.zeros((2, 3), np.float32)).tolist() == [[0, 0], [0, 0]]


def test_the_same_vector_everywhere_is_chance() -> None:
    words, senses = ["a"] * 3 + ["b"] * 5, list("xxy" + "xxxyy")
    expected = [1 / 2, 1 / 2, 0, 2 / 4, 2 / 4, 2 / 4, 1 / 4, 1 / 4]
    assert chance_hits(words, senses) == pytest.approx(expected)
    assert nearest_sense_hits(np.ones((8, 4), np.float32), words, senses) == pytest.approx(expected)


@given(st.lists(st.sampled_from("xyz"), min_size=2, max_size=8), st.integers(0, 9))
def test_chance_is_the_mean_over_all_others(senses: list[str], seed: int) -> None:
    draws = [np.mean([senses[i] == senses[j] for j in range(len(senses)) if j != i]) for i in range(len(senses))]
    assert chance_hits(["w"] * len(senses), senses) == pytest.approx(draws)
    random = np.random.default_rng(seed).normal(size=(len(senses), 5)).astype(np.float32)
    assert set(nearest_sense_hits(random, ["w"] * len(senses), senses)) <= {0.0, 1.0}


def test_a_single_use_is_refused() -> None:
    with pytest.raises(ValueError, match="'bat' has one use only"):
        nearest_sense_hits(angles(0, 1, 2), ["bank", "bank", "bat"], ["a", "a", "b"])


def test_chance_on_the_list() -> None:
    uses = read_uses()
    chance = chance_hits([u.word for u in uses], [u.sense for u in uses]).mean()
    assert 0.35 < chance < 0.45  # 3 of 7 for words of two senses, 3 of 11 for words of three


def test_bootstrap_of_sure_differences() -> None:
    ones, zeros = np.ones(20), np.zeros(20)
    assert paired_bootstrap(ones, zeros) == Interval(1, 1, 1)
    assert paired_bootstrap(ones, ones) == Interval(0, 0, 0)


def test_bootstrap_is_paired_repeatable_and_as_wide_as_theory_says() -> None:
    rng = np.random.default_rng(1)
    base = rng.integers(2, size=300).astype(float)
    better = np.maximum(base, rng.random(300) < 0.3)
    found = paired_bootstrap(better, base)
    assert found == paired_bootstrap(better, base)
    assert found.low < found.value < found.high
    half = 1.96 * (better - base).std() / np.sqrt(300)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    assert found.value == pytest.approx(better.mean() - base.mean())


USES = [
    use("a bank deep .", "deep"),
    use("the rich bank deep", "deep"),
    use("the bank rich .", "rich"),
    use("a bank rich , deep", "rich"),
]


def test_probe_finds_what_the_model_knows(elmo_of_words: Elmo) -> None:
    report = probe(elmo_of_words, [elmo_of_words] * 2, USES)
    assert (report.uses, report.words) == (4, 1)
    assert report.accuracy.raw == report.accuracy.centered == 1
    assert report.layers[0].raw == pytest.approx(1 / 3)  # layer 0 knows no context
    assert report.layers[1].raw == 1
    assert report.mean == report.accuracy
    chance, context, random = report.baselines
    assert chance.accuracy.raw == pytest.approx(1 / 3)
    assert chance.raw_gain.value == pytest.approx(2 / 3)
    assert context.accuracy.raw < 1
    assert random.accuracy == report.accuracy  # the "random" ones are the model itself
    assert random.centered_gain == Interval(0, 0, 0)


def test_probe_by_one_layer(elmo_of_words: Elmo) -> None:
    assert probe(elmo_of_words, [], USES, layer=0).accuracy.raw == pytest.approx(1 / 3)
    assert probe(elmo_of_words, [], USES, layer=1).accuracy.raw == 1
    by_word = probe(elmo_of_words, [], USES, layer=0)
    assert (by_word.mean.raw, by_word.layers[0]) == (1, by_word.accuracy)  # what is judged changes no other figure


def test_report_as_text(elmo_of_words: Elmo) -> None:
    lines = probe(elmo_of_words, [elmo_of_words], USES).text().splitlines()
    assert " ".join(lines[1].split()) == "this model 100.0 % (4 of 4) 100.0 % (4 of 4)"
    assert lines[2].startswith("chance")
    assert "33.3 %  +66.7 (+66.7 to +66.7)" in lines[2]
    assert "1 seed" in lines[4]
    assert lines[5] == "raw / centered by layer: mean of all 100.0 / 100.0, 0 33.3 / 33.3, 1 100.0 / 100.0"
    assert max(len(line) for line in lines) <= 100


def test_probe_needs_senses(elmo_of_words: Elmo) -> None:
    with pytest.raises(ValueError, match="without a sense"):
        probe(elmo_of_words, [], [*USES, use("the bank .", None)])


def test_neighbors(elmo_of_words: Elmo) -> None:
    others = [Use("rich", None, "rich , rich .", 0, 4), Use("rich", None, "rich , rich .", 7, 11)]
    found = neighbors(elmo_of_words, [*others, *USES], "bank")
    assert [USES.index(n.nearest) for n in found] == [1, 0, 3, 2]
    assert all(n.raw == pytest.approx(1) and n.centered == pytest.approx(1) for n in found)
    assert [n.use for n in neighbors(elmo_of_words, others, "rich")] == others
    with pytest.raises(ValueError, match="'bat' has 0 uses"):
        neighbors(elmo_of_words, USES, "bat")
