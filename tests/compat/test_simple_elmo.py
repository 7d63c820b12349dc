"""simple_elmo's recorded numbers, but for its fault: there the corrected value is stated."""

from pathlib import Path

import numpy as np
import pytest
from tests.checkpoints.small_models import forward_alone
from tests.golden.cases import DATA, load_case, parsed

from elmokit import Elmo
from elmokit.checkpoints.folder import save_folder
from elmokit.checkpoints.load import load_checkpoint
from elmokit.compat.simple_elmo import ElmoModel, Layers

FIXTURE = 5e-6
TINY = DATA / "models/random_tiny"


@pytest.fixture
def model() -> ElmoModel:
    found = ElmoModel()
    found.load(TINY, max_batch_size=2)
    return found


def test_recorded_numbers(shared: Path) -> None:
    case = load_case("simple_elmo_vectors", shared / "golden")
    sentences = parsed(case.facts["sentences"])
    model = ElmoModel()
    model.load(shared / "golden/official/allennlp", max_batch_size=case.facts["batch_size"])
    for warmup, name in ((False, "cold"), (True, "warmup")):
        for layers in ("average", "top", "all"):
            found = model.get_elmo_vectors(sentences, warmup=warmup, layers=layers)
            assert found.dtype == np.float64
            assert np.abs(found - case.arrays[f"{layers}_{name}"]).max() <= FIXTURE


def test_recorded_means_counted_padding(shared: Path) -> None:
    """The longest sentence of each batch has no padding: its mean is the recorded one; those of others are not."""
    case = load_case("simple_elmo_vectors", shared / "golden")
    sentences = parsed(case.facts["sentences"])
    model = ElmoModel()
    model.load(shared / "golden/official/allennlp", max_batch_size=4)
    for warmup, name in ((False, "cold"), (True, "warmup")):
        found, vectors = model.get_elmo_vector_average(sentences, warmup=warmup), model.get_elmo_vectors(sentences, warmup=warmup)
        difference = np.abs(found - case.arrays[f"sentence_average_{name}"]).max(1)
        longest = [2, 5]  # of sentences 0 to 3, and of 4 and 5
        assert difference[longest].max() <= FIXTURE
        assert np.delete(difference, longest).min() > 1e-3
        for sentence, vector, words in zip(sentences, found, vectors, strict=True):
            mean = words[: len(sentence)].mean(0)
            assert np.allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)


def test_a_single_sentence_is_that_of_elmo(model: ElmoModel) -> None:
    words = ["river", "bank"]
    expected = Elmo.from_pretrained(TINY).encode_tokens([words], layers="all")[0]
    found = model.get_elmo_vectors([words], warmup=False, layers="all")
    assert np.abs(found[0] - expected).max() <= 1e-6
    assert (model.n_layers, model.vector_size) == (3, 16)


@pytest.mark.parametrize("layers", ["average", "top", "all"])
def test_empty_sentences_and_none(model: ElmoModel, layers: Layers) -> None:
    assert model.get_elmo_vectors([], layers=layers).shape[0] == 0
    means = model.get_elmo_vector_average([[], ["bank"], []], layers=layers)
    assert not means[[0, 2]].any()
    assert np.allclose(np.linalg.norm(means[1], axis=-1), 1)


def test_wrong_use(model: ElmoModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="call load first"):
        ElmoModel().get_elmo_vectors([["a"]])
    with pytest.raises(ValueError, match="not 'mean'"):
        model.get_elmo_vectors([["a"]], layers="mean")  # type: ignore[arg-type]  # a wrong value on purpose
    with pytest.raises(ValueError, match="max_batch_size must be 1 or more, not 0"):
        model.load(TINY, max_batch_size=0)
    with pytest.raises(ValueError, match="no language model head"):
        model.load(TINY, full=True)
    with pytest.raises(ValueError, match="sentence 0 is a string"):
        model.get_elmo_vectors(["First sentence ."])
    with pytest.raises(ValueError, match="nowhere"):
        model.load(tmp_path / "nowhere")


def test_substitutes_are_what_the_language_model_expects() -> None:
    elmo, words = Elmo.from_pretrained("en-small"), ["The", "dog", "barks", "."]
    model = ElmoModel()
    model.load("en-small", full=True)
    for data in ([words], [" ".join(words)]):
        (found,) = model.get_elmo_substitutes(data, topn=4)
        assert [place["word"] for place in found] == words
        for position, place in enumerate(found):
            fill = elmo.fill(words, position, k=4)
            for direction, expected in (("forward", fill.forward), ("backward", fill.backward)):
                assert place[direction]["candidate_words"] == [candidate.word for candidate in expected]
                assert np.allclose(np.exp(place[direction]["logp"]), [candidate.probability for candidate in expected], atol=1e-6)


def test_substitutes_with_the_whole_vocabulary_sum_to_one() -> None:
    model = ElmoModel()
    model.load("en-small")
    ((place,),) = model.get_elmo_substitutes(["bank"], topn=10**6)
    assert np.exp(place["forward"]["logp"]).sum() == pytest.approx(1, abs=1e-6)
    assert len(set(place["backward"]["candidate_words"])) == 20_000
    assert model.get_elmo_substitutes([[], ""]) == [[], []]
    with pytest.raises(ValueError, match="topn must be 1 or more, not 0"):
        model.get_elmo_substitutes(["bank"], topn=0)


def test_substitutes_need_a_head(model: ElmoModel) -> None:
    with pytest.raises(ValueError, match="no language-model head"):
        model.get_elmo_substitutes(["bank"])


def test_a_model_that_reads_forward_alone_gives_the_left_halves(model: ElmoModel, tmp_path: Path) -> None:
    save_folder(forward_alone(load_checkpoint(TINY)), tmp_path / "forward")
    alone = ElmoModel()
    alone.load(tmp_path / "forward", max_batch_size=2)
    sentences = [["the", "bank"], ["a"], ["river"]]
    kinds: tuple[Layers, ...] = ("average", "top", "all")
    for layers in kinds:
        ours, theirs = (e.get_elmo_vectors(sentences, layers=layers) for e in (alone, model))
        np.testing.assert_allclose(ours, theirs[..., :8], rtol=0, atol=1e-5)
