"""The measurement of training on a GPU says that there is none, or measures; a tiny model on the CPU shows that it can."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.invented_corpus import SHORT, invented_corpus
from torch import Tensor

from benchmarks import gpu_pretrain
from elmokit.kernels.train_steps import PLAIN_STEPS


def test_without_a_gpu_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_pretrain"])
    with pytest.raises(SystemExit, match="gpu_pretrain: there is no CUDA device here, so there is nothing to measure"):
        gpu_pretrain.main()


def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--device", "cpu", "--tiny", "--streams", "2", "--tokens", "20000", "--json", str(folder / "found.json")]
    monkeypatch.setattr(sys, "argv", ["gpu_pretrain", *options])
    for name, value in {"WARM_UP": 1, "STEPS": 2}.items():
        monkeypatch.setattr(gpu_pretrain, name, value)
    gpu_pretrain.main()


def test_all_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, monkeypatch)
    said = capsys.readouterr().out
    assert said.startswith("agreement, float32: loss ")
    assert "WRONG" not in said
    found = json.loads((tmp_path / "found.json").read_text())
    (speed,) = found["speed"]
    assert (speed["streams"], speed["kernels_used"]) == (2, True)
    assert all(value > 0 for value in speed["parts_ms"].values())
    assert sum(row["times"] for row in found["products"]) > 100
    assert found["floor_ms"] < speed["step_ms"]


def test_wrong_numbers_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def half_the_cells(gates: Tensor, h: Tensor, bias: Tensor, before: Tensor, c: Tensor, m: Tensor, clip: float | None) -> None:
        PLAIN_STEPS.gates(gates, h, bias, before, c, m, clip)
        c.mul_(0.5)

    monkeypatch.setattr(gpu_pretrain, "PLAIN_STEPS", PLAIN_STEPS._replace(gates=half_the_cells))
    with pytest.raises(SystemExit, match="the device's numbers are not those of the CPU"):
        run(tmp_path, monkeypatch)
    assert "WRONG: float32 loss" in capsys.readouterr().out


def test_an_invented_corpus_is_like_a_text() -> None:
    corpus, again = (invented_corpus(50_000, 200_000) for _ in range(2))
    assert np.array_equal(corpus.train.tokens, again.train.tokens)
    words = corpus.vocabulary(50_000).words
    assert words[:4] == ("<S>", "</S>", "<UNK>", "e")
    assert len(set(words)) == 50_000
    assert {len(word) for word in words[3 : 3 + SHORT]} == {1, 2, 3}
    assert 8 < np.mean([len(word) for word in words[3 + SHORT :]]) < 9
    counts = np.bincount(corpus.train.tokens, minlength=50_000) / len(corpus.train.tokens)
    assert counts[:3].sum() == 0
    assert counts[3] == pytest.approx(np.log(2) / np.log(50_000), rel=0.05)
    assert 20 < len(corpus.train.tokens) / len(corpus.train) < 28
