"""Static word vectors: which, of which words, and as gensim reads them."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.checkpoints.small_models import words_checkpoint

from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.embedding import room as room_module
from elmokit.embedding import static as static_module
from elmokit.embedding.elmo import Elmo
from elmokit.embedding.static import StaticOptions, count_words, write_static
from elmokit.embedding.word2vec import Word2vecFormat, writable_words, write_word2vec
from elmokit.text.vocabulary import Vocabulary

TEXT = [["the", "bank", "of", "the", "river"], ["the", "bank", "closed"], [], ["rivers", "of", "银行"]]
FORMATS: tuple[Word2vecFormat, ...] = ("text", "binary")


def text() -> Iterable[Sequence[str]]:
    return iter(TEXT)


def ours(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Read either kind as its definition says, without gensim."""
    header, rest = path.read_bytes().split(b"\n", 1)
    number, dim = map(int, header.split())
    words, vectors = [], []
    for _ in range(number):
        word, rest = rest.split(b" ", 1)
        words.append(word.decode())
        if path.suffix == ".bin":
            vectors.append(np.frombuffer(rest[: 4 * dim], "<f4"))
            assert rest[4 * dim : 4 * dim + 1] == b"\n"
            rest = rest[4 * dim + 1 :]
        else:
            line, rest = rest.split(b"\n", 1)
            vectors.append(np.array(line.split(b" "), dtype=np.float32))
            assert len(vectors[-1]) == dim
    assert not rest
    return words, np.array(vectors, dtype=np.float32)


def static(path: Path, elmo: Elmo, words: Any, sentences: Any = None, **options: Any) -> dict[str, NDArray[np.float32]]:
    form: Word2vecFormat = "binary" if path.suffix == ".bin" else "text"
    number = write_static(path, elmo, words, sentences, StaticOptions(format=form, **options))
    names, vectors_ND = ours(path)
    assert len(names) == number == len(set(names))
    return dict(zip(names, vectors_ND, strict=True))


def with_vocabulary(elmo: Elmo) -> Elmo:
    vocabulary = Vocabulary(("<S>", "</S>", "<UNK>", "the", "bank", "river", "closed"))
    return Elmo(Checkpoint(**{**vars(elmo.checkpoint), "bilm": elmo.bilm.state_dict(), "vocabulary": vocabulary}))


@pytest.mark.parametrize("name", ["v.txt", "v.bin"])
def test_context_free_vectors_are_layer_0(elmo: Elmo, tmp_path: Path, name: str) -> None:
    words = ["the", "bank", "银行", "é"]
    found = static(tmp_path / name, elmo, words)
    assert list(found) == words
    expected_ND = elmo.encode_tokens([words], layers=0)[0]
    np.testing.assert_allclose(list(found.values()), expected_ND, rtol=0, atol=1e-6)


def test_without_a_list_it_is_the_vocabulary_but_for_its_marks(elmo: Elmo, tmp_path: Path) -> None:
    whole = with_vocabulary(elmo)
    assert list(static(tmp_path / "v.txt", whole, None)) == ["the", "bank", "river", "closed"]
    assert list(static(tmp_path / "v.txt", whole, None, max_words=2)) == ["the", "bank"]
    with pytest.raises(ValueError, match="has no vocabulary; name the words with --words, or a text with --corpus"):
        static(tmp_path / "none.txt", elmo, None)
    assert not (tmp_path / "none.txt").exists()


@pytest.mark.filterwarnings("ignore:.*left out:UserWarning")
def test_without_a_vocabulary_it_is_the_table_that_the_model_reads(tmp_path: Path) -> None:
    checkpoint = words_checkpoint()
    assert checkpoint.input_words is not None
    with pytest.warns(UserWarning, match="white space in them"):  # "a b", and one that no file can hold
        found = static(tmp_path / "v.txt", Elmo(checkpoint), None)
    known = [word for word in checkpoint.input_words.ids if word not in checkpoint.input_words.marks]
    assert list(found) == list(writable_words(known).values())
    assert {"river", "a_b", "银行", "bank"} <= set(found)


@pytest.mark.parametrize("layers", ["mean", "top", 0, 1])
@pytest.mark.parametrize("budget", [1, 8192])
def test_corpus_averages(elmo: Elmo, tmp_path: Path, layers: Any, budget: int) -> None:
    """Of a word's vectors at all its places, each sentence read by itself."""
    found = static(tmp_path / "v.bin", elmo, None, text, layers=layers, batch_tokens=budget)
    places: dict[str, list[NDArray[np.float32]]] = {}
    for sentence, vectors in zip(TEXT, elmo.encode_tokens(TEXT, layers=layers), strict=True):
        for word, vector in zip(sentence, vectors, strict=True):
            places.setdefault(word, []).append(vector)
    assert set(found) == set(places)
    assert list(found)[:2] == ["the", "bank"], "from frequent to rare, of equals the one met first"
    for word, vectors in places.items():
        np.testing.assert_allclose(found[word], np.mean(vectors, axis=0, dtype=np.float64), rtol=0, atol=1e-5)


def test_rare_words_and_too_many(elmo: Elmo, tmp_path: Path) -> None:
    everything = static(tmp_path / "v.bin", elmo, None, text)
    assert set(static(tmp_path / "v.bin", elmo, None, text, min_count=2)) == {"the", "bank", "of"}
    few = static(tmp_path / "v.bin", elmo, None, text, max_words=2)
    assert list(few) == ["the", "bank"]
    np.testing.assert_array_equal(few["bank"], everything["bank"])
    with pytest.raises(ValueError, match="there is no word to write"):
        static(tmp_path / "none.bin", elmo, None, text, min_count=9)
    assert not (tmp_path / "none.bin").exists()


def test_sums_on_disk_and_long_sentences_in_parts_change_no_number(
    elmo: Elmo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = [[word for sentence in TEXT for word in sentence] * 100]
    found = static(tmp_path / "a.bin", elmo, None, lambda: long)
    monkeypatch.setattr(room_module, "LARGE", 1)
    monkeypatch.setattr(static_module, "WORDS_AT_ONCE", 3)
    other = static(tmp_path / "b.bin", elmo, None, lambda: long, batch_tokens=1)
    assert list(found) == list(other)
    for word, vector in found.items():
        np.testing.assert_allclose(other[word], vector, rtol=0, atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "b.bin"], "nothing else is left"


def test_means_do_not_drift_where_many_are_summed(elmo: Elmo, tmp_path: Path) -> None:
    """Sums in float64: a word that is the same everywhere keeps its vector to the last bit."""
    found = static(tmp_path / "v.bin", elmo, None, lambda: [["bank"]] * 5000, layers=0)
    np.testing.assert_array_equal(found["bank"], elmo.encode_tokens([["bank"]], layers=0)[0][0])


def test_counting_forgets_the_rarest_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_module, "COUNTED", 10)
    sentences = [["often", "often", "<S>", f"once{i}"] for i in range(100)]
    counts = count_words(sentences)
    assert counts["often"] == 200
    assert len(counts) <= 10
    assert "<S>" not in counts


def test_what_a_file_cannot_hold(elmo: Elmo, tmp_path: Path) -> None:
    words = ["New York", "New_York", "a\u00a0b", "half \ud800", "bank", "bank", "tab\tbed"]
    assert writable_words(words) == {"New York": "New_York", "a\u00a0b": "a_b", "bank": "bank", "tab\tbed": "tab_bed"}
    with pytest.warns(UserWarning, match="word") as caught:
        found = static(tmp_path / "v.txt", elmo, words)
    assert [str(warning.message).split(" word")[0] for warning in caught] == ["2", "3"]
    np.testing.assert_allclose(found["New_York"], elmo.encode_tokens([["New York"]], layers=0)[0][0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_count": 0}, "--min-count must be 1 or more"),
        ({"max_words": 0}, "--max-words must be 1 or more"),
        ({"batch_tokens": 0}, "--batch-tokens must be 1 or more"),
        ({"layers": "all"}, "--layers all gives several vectors a token"),
        ({"layers": 3}, "layers=3: this model has the layers 0 to 2"),
    ],
)
def test_wrong_options(elmo: Elmo, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        static(tmp_path / "v.txt", elmo, None, text, **options)


@pytest.fixture(scope="module")
def keyed_vectors() -> Any:
    """The reader of gensim."""
    return pytest.importorskip("gensim.models", reason="gensim has no wheels for this Python").KeyedVectors


@pytest.mark.parametrize("form", FORMATS)
def test_gensim_reads_it(keyed_vectors: Any, elmo: Elmo, tmp_path: Path, form: Word2vecFormat) -> None:
    """The same words and numbers; words with spaces, with "_"."""
    path = tmp_path / ("v.bin" if form == "binary" else "v.txt")
    words = ["bank", "New York", "银行", "\u2028", "_", "#"]
    with pytest.warns(UserWarning, match="white space|left out"):
        write_static(path, elmo, words, None, StaticOptions(format=form))
    read = keyed_vectors.load_word2vec_format(str(path), binary=form == "binary")
    assert read.index_to_key == ["bank", "New_York", "银行", "_", "#"], '"\\u2028" is white space: it had the name "_" first'
    np.testing.assert_array_equal(read.vectors, ours(path)[1])
    expected_ND = elmo.encode_tokens([["bank", "New York", "银行", "\u2028", "#"]], layers=0)[0]
    np.testing.assert_allclose(read.vectors, expected_ND, rtol=0, atol=1e-6)
    assert read.similarity("bank", "银行") == pytest.approx(elmo.similarity(expected_ND[0], expected_ND[2], center=False).item())


@pytest.mark.parametrize("form", FORMATS)
def test_gensim_reads_averages(keyed_vectors: Any, elmo: Elmo, tmp_path: Path, form: Word2vecFormat) -> None:
    write_static(tmp_path / "v", elmo, None, text, StaticOptions(format=form))
    read = keyed_vectors.load_word2vec_format(str(tmp_path / "v"), binary=form == "binary")
    assert read.index_to_key[:2] == ["the", "bank"]
    (first,), (second,) = (elmo.encode_tokens([sentence])[0][1:2] for sentence in TEXT[:2])
    np.testing.assert_allclose(read["bank"], (first + second) / 2, rtol=0, atol=1e-6)


@given(names=st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4), data=st.data())
def test_gensim_reads_any_words_and_numbers(
    keyed_vectors: Any, tmp_path_factory: pytest.TempPathFactory, names: list[str], data: st.DataObject
) -> None:
    written = list(writable_words(names).values())
    floats = st.floats(width=32, allow_nan=False)
    numbers = data.draw(st.lists(st.lists(floats, min_size=2, max_size=2), min_size=len(written), max_size=len(written)))
    vectors_ND = np.array(numbers, dtype=np.float32).reshape(-1, 2)
    path = tmp_path_factory.mktemp("any") / "v"
    for form in FORMATS if written else ():
        write_word2vec(path, written, 2, [vectors_ND[:1], vectors_ND[1:]], form)
        read = keyed_vectors.load_word2vec_format(str(path), binary=form == "binary")
        assert read.index_to_key == written
        np.testing.assert_array_equal(read.vectors, vectors_ND)


def test_numbers_of_a_model_on_another_dtype_are_float32(elmo: Elmo, tmp_path: Path) -> None:
    double = Elmo(Checkpoint(**{**vars(elmo.checkpoint), "bilm": {k: v.double() for k, v in elmo.bilm.state_dict().items()}}))
    assert double.bilm.words(torch.from_numpy(elmo.collate([["a"]]).chars_UW)).dtype == torch.float64
    found = static(tmp_path / "v.bin", double, ["bank"])
    assert math.isfinite(found["bank"].sum())
    np.testing.assert_allclose(found["bank"], elmo.encode_tokens([["bank"]], layers=0)[0][0], rtol=0, atol=1e-5)


def test_a_text_that_changes_between_its_two_readings(elmo: Elmo, tmp_path: Path) -> None:
    readings = iter([[["river", "bank"]], [["river"]]])
    with pytest.raises(ValueError, match="the text changed while it was read: 'bank' stood there"):
        write_static(tmp_path / "words.txt", elmo, None, lambda: next(readings), StaticOptions(format="text"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("averaged", [False, True])
def test_of_a_model_that_reads_forward_alone(elmo: Elmo, forward_elmo: Elmo, tmp_path: Path, averaged: bool) -> None:
    for name, model in (("both", elmo), ("alone", forward_elmo)):
        words, sentences = (None, text) if averaged else (["the", "bank"], None)
        write_static(tmp_path / f"{name}.txt", model, words, sentences, StaticOptions())
    (both_words, both), (written, vectors) = (ours(tmp_path / f"{name}.txt") for name in ("both", "alone"))
    assert written == both_words
    assert len(written) == (7 if averaged else 2)
    np.testing.assert_allclose(vectors, both[:, :8], rtol=0, atol=1e-5)
