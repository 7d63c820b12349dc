import re
from dataclasses import replace
from pathlib import Path

import pytest

from elmokit.checkpoints.checkpoint import random_checkpoint
from elmokit.checkpoints.folder import save_folder
from elmokit.cli.commands.demo import _clip, demo
from elmokit.config import BiLMConfig, CharCnnConfig, ElmoConfig, TextConfig, WordTableConfig
from elmokit.explore.uses import Use, read_uses
from elmokit.text.tables import WordTable


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    char_cnn = CharCnnConfig(embedding_dim=4, filters=((1, 4), (2, 8), (3, 8)), highways=1, max_characters=20)
    config = ElmoConfig(bilm=BiLMConfig(char_cnn=char_cnn, cell_dim=16, projection_dim=8))
    save_folder(random_checkpoint(config, seed=3), folder)
    return str(folder)


def test_demo_counts_over_the_whole_list(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    demo(model=model)
    shown = capsys.readouterr().out
    assert len(re.findall(r"^\((river|money)\) .*\[bank\]", shown, re.MULTILINE)) == 4
    assert len(re.findall(r"-> \((river|money)\) .*\[bank\]", shown)) == 4
    assert f"of {len(read_uses())})" in shown
    assert re.search(r"this model +\d+\.\d %", shown)
    assert "random weights, mean of 5 seeds" in shown
    assert len(shown.splitlines()) <= 32  # one screen
    assert max(map(len, shown.splitlines()[1:])) <= 120  # the first one names the model's folder


def test_demo_of_a_chinese_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its input is characters and words, as that of the bundled one."""
    char_cnn = CharCnnConfig(embedding_dim=4, filters=((1, 4), (2, 8)), highways=1, max_characters=6)
    table = WordTableConfig(words=4, dim=8, projection=True)
    bilm = BiLMConfig(char_cnn=char_cnn, word_table=table, cell_dim=16, projection_dim=8)
    config = ElmoConfig(bilm=bilm, text=TextConfig(tokenizer="characters"), languages=("zh",))
    words = WordTable({word: row for row, word in enumerate(["<S>", "</S>", "<UNK>", "苹"])})
    save_folder(replace(random_checkpoint(config, seed=3), input_words=words), tmp_path / "chinese")
    demo(model=str(tmp_path / "chinese"))
    shown = capsys.readouterr().out
    assert len(re.findall(r"^\((水果|公司)\) .*\[苹果\]", shown, re.MULTILINE)) == 4
    assert f"of {len(read_uses(language='zh'))})" in shown
    with pytest.raises(ValueError, match="--word bank: .* 下课"):
        demo(model=str(tmp_path / "chinese"), word="bank")


def test_demo_of_another_word_of_the_list(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    demo(model=model, word="spring")
    shown = capsys.readouterr().out
    assert {"(season)", "(coil)", "(water)"} <= set(re.findall(r"^\(\w+\)", shown, re.MULTILINE))


def test_demo_names_the_words_it_knows(model: str) -> None:
    with pytest.raises(ValueError, match=r"--word zebra: .* bank, .*--text"):
        demo(model=model, word="zebra")


def test_demo_of_a_text(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "zoo.txt"
    text.write_text("A zebra ran. The Zebra, striped, sat down.\nNothing here.\nTwo zebras and one zebra.\n", encoding="utf-8")
    demo(model=model, text=text, word="zebra")
    shown = capsys.readouterr().out
    assert "3 uses" in shown
    assert "A [zebra] ran." in shown
    assert "The [Zebra], striped, sat down." in shown
    assert "sense" not in shown


def test_demo_of_a_text_without_the_word(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "zoo.txt"
    text.write_text("A zebra ran.\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"zoo\.txt: .*'zebra' .* 1 "):
        demo(model=model, text=text, word="zebra")
    with pytest.raises(ValueError, match="nowhere.txt"):
        demo(model=model, text=tmp_path / "nowhere.txt")
    assert not capsys.readouterr().out


@pytest.mark.parametrize("before", [0, 5, 300])
@pytest.mark.parametrize("after", [0, 5, 300])
def test_a_long_sentence_is_cut_around_the_word(before: int, after: int) -> None:
    use = Use("bank", None, "x" * before + "bank" + "y" * after, before, before + 4)
    line = _clip(use)
    assert "[bank]" in line
    assert len(line) <= 94
    assert line.startswith("…") == (before > 86)
    assert line.endswith("…") == (after > 86)
