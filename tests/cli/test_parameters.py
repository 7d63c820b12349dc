"""Commands as functions: a path is a path, whether it is a `Path` or a string."""

from collections.abc import Callable
from pathlib import Path

import pytest

from elmokit.cli import convert, demo, embed, info, perplexity, pretrain
from elmokit.cli.parameters import patterns

SHAPE = {"preset": "tiny", "cell_dim": 12, "projection_dim": 8, "filters": "1x4,2x4", "vocab_size": 20, "tokenizer": "words"}


@pytest.mark.parametrize("kind", [str, Path])
def test_paths_of_either_kind(tmp_path: Path, kind: Callable[[Path], str | Path], capsys: pytest.CaptureFixture[str]) -> None:
    text, model = kind(tmp_path / "text.txt"), kind(tmp_path / "model")
    (tmp_path / "text.txt").write_text("the river bank\nthe savings bank\n" * 20, encoding="utf-8")
    pretrain(corpus=text, heldout=[text], out=model, steps=1, **SHAPE)
    embed(text, kind(tmp_path / "out.jsonl"), model=model)
    convert(model, kind(tmp_path / "again"))
    perplexity(kind(tmp_path / "again"), text)
    capsys.readouterr()
    info(model, json=True)
    assert f'"model": "{tmp_path / "model"}"' in capsys.readouterr().out.replace("\\\\", "\\")
    demo(model=model, text=text)
    assert len((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()) == 40


def test_a_single_pattern_is_no_list_of_letters() -> None:
    assert patterns("a.txt") == patterns(Path("a.txt")) == patterns(["a.txt"]) == ["a.txt"]


def test_a_misspelt_option_of_a_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="stepz"):
        pretrain(corpus="text.txt", out=tmp_path / "model", stepz=1)
    with pytest.raises(TypeError, match="corpus"):
        pretrain(out=tmp_path / "model", layout="lines")
