"""The measurement of a GPU says that there is none, or measures; a tiny model on the CPU shows that it can."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import gpu_speed


def test_without_a_gpu_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_speed.py"])
    with pytest.raises(SystemExit, match="gpu_speed: there is no CUDA device here, so there is nothing to measure"):
        gpu_speed.main()


def test_all_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.txt").write_text("I sat by the river bank .\nThe savings bank was shut .\n" * 20)
    options = ["--device", "cpu", "--tiny", "--processes", "0", "--batch-tokens", "64", "--repeats", "1"]
    options += ["--rows", "4", "9", "--precisions", "float32"]
    monkeypatch.setattr(sys, "argv", ["gpu_speed.py", str(tmp_path / "text.txt"), *options])
    gpu_speed.main()
    line, *table = capsys.readouterr().out.strip().splitlines()
    assert "260 tokens)" in line
    found = re.search(
        r"words [\d.]+ \((\d+) computed\), .* \((\d+) batches\), .* error of a layer ([\d.e-]+), mean cosine ([\d.]+)", line
    )
    assert found
    words, batches, error, cosine = map(float, found.groups())
    assert words == 13  # with the two marks; "bank" and "." once
    assert batches == 6
    assert error < 1e-5
    assert cosine > 0.999
    assert [row.split()[0] for row in table[1:]] == ["float32:", "rows", "4", "9"]


def test_made_up_text_is_always_the_same() -> None:
    texts = gpu_speed.texts_of([], 1000)
    assert texts == gpu_speed.texts_of([], 1000)
    assert 1000 <= sum(len(text.split()) for text in texts) < 1040
    lengths = [len(text.split()) for text in texts]
    assert min(lengths) >= 1
    assert np.mean(lengths) > 10


def test_pieces_hold_all_texts_in_order() -> None:
    texts = gpu_speed.texts_of([], 500)
    pieces = gpu_speed.pieces_of(texts, 100)
    assert [text for piece in pieces for text in piece] == texts
    assert len(pieces) > 3
