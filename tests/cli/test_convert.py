"""`elmo convert`: from the shell's side."""

import shutil
from pathlib import Path

import pytest
from tests.checkpoints.small_models import different_datasets

from elmokit.checkpoints.load import load_checkpoint
from elmokit.cli.main import main

FOLDER, PUBLISHED = ("config.json", "model.safetensors"), ("options.json", "weights.hdf5")
TRAINING = Path(__file__).parent.parent / "golden/data/training"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model in the published layout, written by bilm-tf."""
    (tmp_path / "source").mkdir()
    shutil.copy(TRAINING / "inference_options.json", tmp_path / "source/options.json")
    shutil.copy(TRAINING / "dumped_weights.hdf5", tmp_path / "source/weights.hdf5")
    return tmp_path / "source"


@pytest.mark.filterwarnings("default:.*the published layout cannot hold:UserWarning")
def test_there_and_back(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, again = tmp_path / "folder", tmp_path / "again"
    assert main(["convert", str(source), str(folder)]) == 0
    output = capsys.readouterr()
    assert [line.split("  ")[0] for line in output.out.splitlines()] == [f"{folder / name}" for name in FOLDER]
    assert output.err == ""
    assert main(["convert", str(folder), str(again), "--to", "allennlp"]) == 0
    output = capsys.readouterr()
    assert [line.split("  ")[0] for line in output.out.splitlines()] == [f"{again / name}" for name in PUBLISHED]
    assert output.err == f"elmo: warning: {again}: the published layout cannot hold the tokenizer and normalization: left out\n"
    assert different_datasets(source / "weights.hdf5", again / "weights.hdf5") == []


def test_what_the_user_knows_is_kept(source: Path, tmp_path: Path) -> None:
    words = ["--tokenizer", "whitespace", "--normalization", "NFC", "--lowercase", "--languages", "en", "--license", "CC0"]
    assert main(["convert", str(source), str(tmp_path / "a"), *words]) == 0
    words = ["--dtype", "float16", "--no-lowercase", "--languages", "de", "--languages", "zh-Hant"]
    assert main(["convert", str(tmp_path / "a"), str(tmp_path / "b"), *words]) == 0
    first, second = load_checkpoint(tmp_path / "a").config, load_checkpoint(tmp_path / "b").config
    assert (first.text.tokenizer, first.text.normalization, first.text.lowercase) == ("whitespace", "NFC", True)
    assert (first.languages, first.license) == (("en",), "CC0")
    assert (second.text.tokenizer, second.text.normalization, second.text.lowercase) == ("whitespace", "NFC", False)
    assert (second.languages, second.license) == (("de", "zh-Hant"), "CC0")
    assert (tmp_path / "b/model.safetensors").stat().st_size < 0.6 * (tmp_path / "a/model.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tokenizer", "spaces"], "tokenizer must be one of whitespace, words, characters, not 'spaces'"),
        (["--to", "allennlp", "--lowercase"], "--lowercase: the published layout"),
        (["--to", "allennlp", "--dtype", "float16"], "--dtype: the published layout"),
        (["--languages", "english"], "--languages takes ISO 639 codes, such as en, zh or zh-Hant, not 'english'"),
        (["--languages", "en", "--languages", "EN"], "not 'EN'"),
        (["--to", "keras"], '"keras"'),
        (["--dtpye", "float16"], "--dtpye"),
    ],
)
def test_bad_options(words: list[str], message: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(source), str(tmp_path / "target"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "target").exists()


def test_bad_source_or_target(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/mine.txt").write_text("mine", encoding="utf-8")
    (source / "weights.hdf5").write_bytes((source / "weights.hdf5").read_bytes()[:9999])
    for words, culprit in [
        ((tmp_path / "none", tmp_path / "target"), "none: no such model"),
        ((source, tmp_path / "target"), "weights.hdf5: not an HDF5 file, or damaged or cut short"),
        ((TRAINING, tmp_path / "notes"), "notes: holds other things (mine.txt)"),
        ((TRAINING, TRAINING / "vocab.txt"), "vocab.txt: is a file"),
    ]:
        assert main(["convert", *map(str, words)]) == 2
        error = capsys.readouterr().err
        assert culprit in error
        assert len(error.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes", "source"]
