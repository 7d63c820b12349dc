"""`Elmo`: what it takes, what it gives, what it refuses."""

import dataclasses
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elmokit.checkpoints.checkpoint import random_checkpoint
from elmokit.checkpoints.folder import load_folder
from elmokit.config import BiLMConfig, CharCnnConfig, ElmoConfig, TextConfig
from elmokit.embedding import elmo as module
from elmokit.embedding.elmo import Elmo
from elmokit.embedding.module import ElmoEmbedding
from elmokit.kernels.products import Precision
from elmokit.text.vocabulary import Vocabulary

BILM = BiLMConfig(char_cnn=CharCnnConfig(embedding_dim=4, filters=((1, 8), (3, 8))), cell_dim=16, projection_dim=6)
LAYERS: list[Any] = ["mean", "top", 0, 2]
TEXTS = ["I sat by the river bank .", "", "Bank!"]


def test_what_it_says_of_itself(elmo: Elmo) -> None:
    assert (elmo.dim, elmo.num_layers, elmo.device) == (16, 3, torch.device("cpu"))
    assert elmo.config.bilm.cell_dim == 24
    assert elmo.to("cpu") is elmo
    assert repr(Elmo.from_config(ElmoConfig(bilm=BILM))) == "Elmo(random values (seed 0), dim 12, 3 layers, cpu, float32)"
    assert repr(elmo).startswith("Elmo(published layout: ")


def test_tokens_of_texts_and_of_sentences(elmo: Elmo) -> None:
    of_texts = elmo.encode_tokens(TEXTS)
    assert [x.shape for x in of_texts] == [(7, 16), (0, 16), (2, 16)]
    assert all(type(x) is np.ndarray and x.dtype == np.float32 and x.flags.c_contiguous for x in of_texts)
    of_words = elmo.encode_tokens([text.replace("!", " !").split() for text in TEXTS])
    for ours, theirs in zip(of_texts, of_words, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_one_text_gives_one_answer(elmo: Elmo) -> None:
    np.testing.assert_array_equal(elmo.encode_tokens(TEXTS[0]), elmo.encode_tokens([TEXTS[0]])[0])
    np.testing.assert_array_equal(elmo.encode(TEXTS[0]), elmo.encode([TEXTS[0]])[0])
    assert elmo.encode_tokens("").shape == (0, 16)
    assert elmo.encode_tokens("", layers="all").shape == (3, 0, 16)
    assert elmo.encode("", layers="all").shape == (3, 16)


def test_words_come_back_as_they_stand(elmo: Elmo) -> None:
    vectors, words = elmo.encode_tokens(["Don't!", "x"], return_tokens=True)
    assert words == [["Do", "n't", "!"], ["x"]]
    assert [len(x) for x in vectors] == [3, 1]
    assert elmo.encode_tokens("Don't!", return_tokens=True)[1] == ["Do", "n't", "!"]
    assert elmo.encode_tokens([("A", "b")], return_tokens=True)[1] == [["A", "b"]]


def test_layers(elmo: Elmo) -> None:
    every = elmo.encode_tokens(TEXTS, layers="all")
    for layers in LAYERS:
        for ours, all_layers in zip(elmo.encode_tokens(TEXTS, layers=layers), every, strict=True):
            expected = all_layers.mean(0) if layers == "mean" else all_layers[-1 if layers == "top" else layers]
            np.testing.assert_allclose(ours, expected, atol=1e-6)
    word, half = every[0][0], elmo.dim // 2
    np.testing.assert_array_equal(word[:, :half], word[:, half:])


@pytest.mark.parametrize("layers", ["mean", "top", "all", 1])
def test_encode_is_the_mean_of_the_tokens(elmo: Elmo, layers: Any) -> None:
    pooled = elmo.encode(TEXTS, layers=layers)
    vectors = elmo.encode_tokens(TEXTS, layers=layers)
    assert pooled.shape == ((3, 3, 16) if layers == "all" else (3, 16))
    assert pooled.dtype == np.float32
    assert not pooled[1].any()
    for n in (0, 2):
        np.testing.assert_allclose(pooled[n], vectors[n].mean(-2), atol=1e-6)
        np.testing.assert_allclose(elmo.encode(TEXTS, layers=layers, pooling="max")[n], vectors[n].max(-2), atol=1e-6)


def test_unit_length(elmo: Elmo) -> None:
    pooled = elmo.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(np.linalg.norm(pooled, axis=-1), [1, 0, 1], atol=1e-6)
    tokens = elmo.encode_tokens(TEXTS[0], layers="all", normalize_embeddings=True)
    np.testing.assert_allclose(np.linalg.norm(tokens, axis=-1), np.ones((3, 7)), atol=1e-6)


def test_tensors(elmo: Elmo) -> None:
    tokens = elmo.encode_tokens(TEXTS, convert_to_tensor=True)
    pooled = elmo.encode(TEXTS, convert_to_tensor=True)
    for ours, theirs in zip(tokens, elmo.encode_tokens(TEXTS), strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs)
    np.testing.assert_array_equal(pooled.numpy(), elmo.encode(TEXTS))
    weight = torch.ones(16, requires_grad=True)
    (pooled @ weight).sum().backward()  # would fail for tensors of inference mode
    assert weight.grad is not None


def test_nothing_in_nothing_out(elmo: Elmo) -> None:
    assert elmo.encode_tokens([]) == []
    assert elmo.encode([]).shape == (0, 16)
    assert elmo.encode([], layers="all").shape == (0, 3, 16)
    assert elmo.tokenize([]) == []


def test_tokenize_keeps_the_surface(elmo: Elmo) -> None:
    [tokens] = elmo.tokenize(["It's 你好"])
    assert [token.text for token in tokens] == ["It", "'s", "你好"]
    assert [(token.start, token.end) for token in tokens] == [(0, 2), (2, 4), (5, 7)]
    assert elmo.tokenize("It's 你好") == tokens
    with pytest.raises(ValueError, match="split into words already"):
        elmo.tokenize([["a"]])  # type: ignore[list-item]  # what a user may try


def test_words_are_normalized_but_marks_are_not() -> None:
    lower = Elmo.from_config(ElmoConfig(bilm=BILM, text=TextConfig(lowercase=True, normalization="NFKC")))
    plain = Elmo.from_config(ElmoConfig(bilm=BILM))
    given = [["ＡＢ", "Bank", "<S>", "ﬁ"]]
    vectors, words = lower.encode_tokens(given, return_tokens=True)
    assert words == given
    np.testing.assert_allclose(vectors[0], plain.encode_tokens([["ab", "bank", "<S>", "fi"]])[0], atol=1e-6)
    np.testing.assert_allclose(lower.encode_document(given[0]), vectors[0], atol=1e-6)
    np.testing.assert_allclose(lower.encode("ＡＢ Bank"), plain.encode("ab bank"), atol=1e-6)
    assert lower.collate(given).chars_UW[1].tolist() == plain.collate([["ab"]]).chars_UW[1].tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": -1}, 'layers=-1: a negative layer means different things in different programs; say "mean" or "top"'),
        ({"layers": 3}, "layers=3: this model has the layers 0 to 2"),
        ({"layers": "last"}, "layers must be"),
        ({"layers": True}, "layers must be"),
        ({"batch_tokens": 0}, "batch_tokens must be 1 or more, not 0"),
        ({"batch_size": -2}, "batch_size must be 1 or more, not -2"),
    ],
)
def test_options_that_mean_nothing(elmo: Elmo, options: dict[str, Any], message: str) -> None:
    for call in (elmo.encode_tokens, elmo.encode):
        for inputs in (TEXTS, []):
            with pytest.raises(ValueError, match=message):
                call(inputs, **options)


def test_an_unknown_pooling(elmo: Elmo) -> None:
    with pytest.raises(ValueError, match="pooling must be one of mean, max, not 'cls'"):
        elmo.encode(TEXTS, pooling="cls")  # type: ignore[arg-type]  # what a user may try


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "precision must be one of float32, bfloat16, int8, not 'int4'"),
        ({"revision": "main"}, "revision is for models of the Hub, and en-small is on this machine"),
        ({"device": "warp"}, "device='warp': not there or not known to PyTorch"),
        ({"device": "meta"}, "device='meta': not there or not known to PyTorch"),
    ],
)
def test_options_of_loading_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Elmo.from_pretrained("en-small", **options)


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="no-such-model: no such model, file or folder"):
        Elmo.from_pretrained("no-such-model")


def test_saving_loses_nothing(tmp_path: Path) -> None:
    vocabulary = Vocabulary(("<S>", "</S>", "<UNK>", "bank"))
    head = {"weight": torch.randn(4, 6), "bias": torch.randn(4)}
    full = dataclasses.replace(
        random_checkpoint(ElmoConfig(bilm=BILM, languages=("en",), license="CC0-1.0"), 1),
        head=head,
        vocabulary=vocabulary,
        layer_means_LD=torch.randn(3, 12),
        card="# A model",
    )
    elmo = Elmo(full)
    elmo.save_pretrained(tmp_path / "model")
    again = load_folder(tmp_path / "model")
    assert again.config == full.config
    assert again.vocabulary == vocabulary
    assert again.card == "# A model"
    for ours, theirs in ((again.head, head), (again.bilm, full.bilm)):
        assert ours is not None
        assert set(ours) == set(theirs)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert again.layer_means_LD is not None
    assert full.layer_means_LD is not None
    assert torch.equal(again.layer_means_LD, full.layer_means_LD)
    loaded = Elmo.from_pretrained(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(loaded.encode(TEXTS), elmo.encode(TEXTS))


def test_random_weights_come_from_the_seed() -> None:
    one, same, other = (Elmo.from_config(ElmoConfig(bilm=BILM), seed).encode(TEXTS[0]) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert abs(one - other).max() > 1e-3


def test_collate_is_light(elmo: Elmo) -> None:
    dumped = pickle.dumps(elmo.collate)
    assert len(dumped) < 2000
    batch = pickle.loads(dumped)([["a", "b"], ["b"]])
    assert batch.lengths_B.tolist() == [4, 3]
    assert batch.index_BT.tolist() == [[0, 1, 2, 3], [0, 2, 3, 0]]


def test_a_progress_bar_if_asked_or_long_on_a_terminal(
    elmo: Elmo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    elmo.encode(TEXTS)
    assert capsys.readouterr().err == ""
    elmo.encode(TEXTS, show_progress_bar=True)
    assert "9.00/9.00" in capsys.readouterr().err
    monkeypatch.setattr(module, "LONG_INPUT", 5)
    elmo.encode(TEXTS)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    elmo.encode(TEXTS)
    assert "9.00/9.00" in capsys.readouterr().err
    elmo.encode(TEXTS, show_progress_bar=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_inside_a_loop_of_mixed_precision(precision: Precision) -> None:
    elmo = Elmo.from_pretrained("en-small", precision=precision)
    sentences = [["the", "river", "bank"], ["a", "savings", "bank"] * 30]
    expected = elmo.encode_tokens(sentences)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = elmo.encode_tokens(sentences)
        mixes = ElmoEmbedding(elmo)(sentences).mixes
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert torch.isfinite(mixes[0]).all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_model_that_reads_forward_alone_gives_the_left_halves(elmo: Elmo, forward_elmo: Elmo, precision: Precision) -> None:
    """In batches, in windows (a sentence above the budget) and as one vector a text."""
    both, alone = (
        Elmo(dataclasses.replace(e.checkpoint, bilm=e.bilm.state_dict()), precision=precision) for e in (elmo, forward_elmo)
    )
    assert (alone.dim, both.dim) == (8, 16)
    tolerance = 1e-5 if precision == "float32" else 0.05
    sentences = [["the", "river", "bank"], [], ["a"], ["word"] * 300]
    which: list[Any] = ["all", "mean", 0]
    for layers in which:
        found = alone.encode_tokens(sentences, layers=layers, batch_tokens=40)
        for ours, theirs in zip(found, both.encode_tokens(sentences, layers=layers, batch_tokens=40), strict=True):
            np.testing.assert_allclose(ours, theirs[..., :8], rtol=0, atol=tolerance)
    assert alone.encode(["the river bank", ""]).shape == (2, 8)
    assert alone.encode_spans("the river bank", [(0, 4, 9)]).shape == (1, 8)
