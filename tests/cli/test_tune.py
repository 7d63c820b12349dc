"""`elmo tune`: from every kind of model that can be tuned, with every choice of words; its report; its errors."""

import json
import re
import shutil
import sys
from dataclasses import replace
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from tests.checkpoints.small_models import full_checkpoint
from tests.checkpoints.tf_bundles import write_training_folder
from tests.golden.cases import DATA, load_case
from tests.pretraining.conftest import BOTH, OLD_WORDS, TINY, WORDS_ALONE, old_model, sentences

from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.checkpoints.folder import load_folder, save_folder
from elmokit.cli import tune
from elmokit.cli.main import main
from elmokit.embedding.elmo import Elmo
from elmokit.text.vocabulary import SPECIAL_WORDS, Vocabulary

SMALL = ["--batch-size", "4", "--window", "6", "--negatives", "12", "--learning-rate", "0.02"]
KNOWN = len(SPECIAL_WORDS) + len(OLD_WORDS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder."""
    save_folder(old_model(), tmp_path / "old-model")
    return tmp_path / "old-model"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "new.txt"
    path.write_text("\n".join(sentences(200)) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def heldout(tmp_path: Path) -> Path:
    path = tmp_path / "heldout.txt"
    path.write_text("\n".join(sentences(40, seed=1)) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.txt"
    path.write_text("w0 gone älter\n银行 w3\n", encoding="utf-8")
    return path


@pytest.fixture
def command(corpus: Path, heldout: Path, old: Path, tmp_path: Path) -> list[str]:
    """All but the model, the choices and the budget."""
    texts = ["--corpus", str(corpus), "--heldout", str(heldout), "--old", str(old)]
    return ["tune", *texts, "--out", str(tmp_path / "tuned"), *SMALL]


Table = dict[tuple[str, str], list[str]]


def table_of(text: str) -> Table:
    """The figures of each line, by text and time."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith(("| new", "| old"))
    ]
    return {(row[0], row[1]): row[2:] for row in rows}


def scored(model: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What `elmo perplexity` says, as the table writes it."""
    assert main(["perplexity", str(model), str(text), "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    backward = "–" if score["backward"] is None else f"{score['backward']:.1f}"
    shares = [f"{score['oov']:.1%}", f"{score['bits_per_character']:.3f}"]
    return [f"{score['forward']:.1f}", backward, f"{score['mean']:.1f}", *shares]


def the_one_line(capsys: pytest.CaptureFixture[str]) -> str:
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("elmo: ")
    assert output.err.count("\n") == 1
    return output.err


@pytest.mark.parametrize(("words", "size"), [("keep", KNOWN), ("extend", 20), ("renew", 20)])
def test_from_a_folder(
    command: list[str],
    folder: Path,
    heldout: Path,
    old: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: str,
    size: int,
) -> None:
    """What is printed is what `elmo perplexity` says of both models, and stands in the model card."""
    assert main([*command, str(folder), "--vocabulary", words, "--vocab-size", "20", "--steps", "60"]) == 0
    printed = capsys.readouterr().out
    tuned = tmp_path / "tuned"
    assert printed.startswith(f"{tuned}\n\n| text | model | forward | backward | mean | unknown words | bits per character |\n")
    assert table_of(printed) == {
        ("new", "before"): scored(folder, heldout, capsys),
        ("new", "after"): scored(tuned, heldout, capsys),
        ("old", "before"): scored(folder, old, capsys),
        ("old", "after"): scored(tuned, old, capsys),
    }
    before, after = (float(table_of(printed)["new", when][-1]) for when in ("before", "after"))
    assert after < before, "the only figure that compares, if the words are others"
    checkpoint = load_folder(tuned)
    assert checkpoint.vocabulary is not None
    assert len(checkpoint.vocabulary) == size
    assert checkpoint.config.languages == ("de",)
    assert checkpoint.config.text == old_model().config.text
    card = checkpoint.card or ""
    assert "| tuned from | `old-model` |" in card, "by its name, and not where it was on this machine"
    assert table_of(card) == table_of(printed)
    noted = json.loads((tmp_path / "tuned.training" / "tuning.json").read_text(encoding="utf-8"))
    assert [(change["text"], f"{change['after']['mean']:.1f}") for change in noted] == [
        (text, table_of(printed)[text, "after"][2]) for text in ("new", "old")
    ]
    assert Elmo.from_pretrained(tuned, device="cpu").encode("w1 älter 新词").shape == (2 * TINY.output_dim,)


@pytest.mark.parametrize("bilm", [WORDS_ALONE, BOTH, replace(TINY, bidirectional=False)], ids=["words", "both", "forward"])
def test_from_a_folder_of_another_kind(
    command: list[str], tmp_path: Path, heldout: Path, capsys: pytest.CaptureFixture[str], bilm: object
) -> None:
    checkpoint = old_model(bilm)  # type: ignore[arg-type]  # one of the shapes
    save_folder(checkpoint, tmp_path / "old")
    assert main([*command, str(tmp_path / "old"), "--steps", "60"]) == 0
    figures = table_of(capsys.readouterr().out)
    assert figures["new", "after"] == scored(tmp_path / "tuned", heldout, capsys)
    assert float(figures["new", "after"][2]) < float(figures["new", "before"][2])
    tuned = load_folder(tmp_path / "tuned")
    assert tuned.config.bilm == bilm
    assert (tuned.vocabulary, tuned.input_words) == (checkpoint.vocabulary, checkpoint.input_words)


@pytest.mark.filterwarnings("ignore:.*published layout cannot hold")
def test_from_hdf5_alone(
    command: list[str], folder: Path, heldout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The body is kept while the new softmax is learned; before, nothing can be measured."""
    published = tmp_path / "published"
    assert main(["convert", str(folder), str(published), "--to", "allennlp"]) == 0
    capsys.readouterr()
    words = [*command, str(published), "--tokenizer", "whitespace", "--language", "de"]
    assert main([*words, "--steps", "9"]) == 2
    assert "with --vocabulary renew a new one is learned from the text" in the_one_line(capsys)
    assert not (tmp_path / "tuned.training").exists()

    assert main([*words, "--vocabulary", "renew", "--vocab-size", "25", "--steps", "60"]) == 0
    figures = table_of(capsys.readouterr().out)
    assert figures["new", "before"] == figures["old", "before"] == ["–"] * 5
    assert figures["new", "after"] == scored(tmp_path / "tuned", heldout, capsys)
    assert float(figures["new", "after"][2]) < 22, "who guesses has 25"
    run = json.loads((tmp_path / "tuned.training" / "run.json").read_text(encoding="utf-8"))
    assert run["recipe"]["head_first"] == 0.1
    config = load_folder(tmp_path / "tuned").config
    assert (config.languages, config.text.tokenizer) == (("de",), "whitespace")


def written(checkpoint: Checkpoint, folder: Path) -> Path:
    """As bilm-tf's training leaves a model."""
    folder.mkdir()
    return write_training_folder(folder, checkpoint)


@pytest.mark.parametrize("words", ["keep", "extend", "renew"])
def test_from_bilm_tfs_training_folder(
    command: list[str], heldout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    trained = written(replace(full_checkpoint(), vocabulary=Vocabulary((*SPECIAL_WORDS, "w1", "w2", "w3"))), tmp_path / "trained")
    assert main([*command, str(trained), "--vocabulary", words, "--vocab-size", "12", "--steps", "60"]) == 0
    figures = table_of(capsys.readouterr().out)
    assert figures["new", "before"] == scored(trained, heldout, capsys)
    assert figures["new", "after"] == scored(tmp_path / "tuned", heldout, capsys)
    assert float(figures["new", "after"][-1]) < float(figures["new", "before"][-1])
    run = json.loads((tmp_path / "tuned.training" / "run.json").read_text(encoding="utf-8"))
    assert run["recipe"]["head_first"] == 0, "its softmax is known"


def test_from_what_bilm_tf_itself_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own text, on which it was trained for a few steps only."""
    trained = tmp_path / "recorded"
    shutil.copytree(DATA / "training/checkpoint", trained)
    arrays = load_case("checkpoint").arrays
    names = sorted((name for name in arrays if name.startswith("ckpt/")), key=str.encode)
    (trained / "model.ckpt-80.data-00000-of-00001").write_bytes(b"".join(arrays[name].tobytes() for name in names))
    shutil.copy(DATA / "training/vocab.txt", trained)
    texts = ["--corpus", str(DATA / "training/train.txt"), "--heldout", str(DATA / "training/heldout.txt")]
    small = ["--out", str(tmp_path / "tuned"), "--batch-size", "4", "--recipe", "reference", "--steps", "40"]
    assert main(["tune", str(trained), *texts, *small]) == 0
    figures = table_of(capsys.readouterr().out)
    assert figures["new", "before"] == scored(trained, DATA / "training/heldout.txt", capsys)
    assert float(figures["new", "after"][2]) < float(figures["new", "before"][2])


def test_options_reach_the_run(command: list[str], folder: Path, tmp_path: Path) -> None:
    more = ["--recipe", "reference", "--layer-factor", "0.5", "--head-first", "0.25", "--schedule", "cosine", "--dropout", "0.2"]
    more += ["--character-noise", "0.1", "--negatives", "0", "--seed", "5", "--tokens", "100"]
    assert main([*command[: -len(SMALL)], "--batch-size", "8", "--window", "5", str(folder), *more]) == 0
    run = json.loads((tmp_path / "tuned.training" / "run.json").read_text(encoding="utf-8"))
    recipe = {"optimizer": "reference", "layer_factor": 0.5, "head_first": 0.25, "schedule": "cosine", "dropout": 0.2}
    recipe |= {"character_noise": 0.1, "negatives": None, "batch_size": 8, "window": 5, "learning_rate": 0.1}
    assert recipe.items() <= run["recipe"].items()
    assert (run["seed"], run["start"]["vocabulary"]) == (5, "keep")


def test_as_a_function(folder: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a text to measure on a part of the new one is kept back; without an old one there are two lines."""
    corpus.write_text("\n".join(sentences(3000)), encoding="utf-8")
    tune(folder, corpus=[str(corpus)], out=tmp_path / "tuned", steps=2, batch_size=4, language="fr")
    printed = capsys.readouterr().out
    assert list(table_of(printed)) == [("new", "before"), ("new", "after")]
    assert load_folder(tmp_path / "tuned").config.languages == ("fr",)


def test_standard_input_is_read_once(
    command: list[str], folder: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["-" if word == str(corpus) else word for word in command]
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(corpus.read_bytes())))
    assert main([*given, str(folder), "--steps", "2"]) == 0
    assert "standard input has been read" not in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"")))
    assert main([*given, str(folder), "--steps", "4"]) == 0
    said = capsys.readouterr().err
    assert "standard input has been read already: that text is used" in said
    assert "going on from step 2," in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--steps", "9", "--layer-factor", "2"], "--layer-factor must be above 0, and 1 at most, not 2.0"),
        (["--steps", "9", "--layer-factor", "0"], "--layer-factor must be above 0"),
        (["--steps", "9", "--head-first", "1"], "--head-first must be at least 0 and below 1, not 1.0"),
        (["--steps", "9", "--vocabulary", "none"], "none"),
        (
            ["--steps", "9", "--vocabulary", "extend", "--vocab-size", "11"],
            "--vocab-size must be above the 11 words of the model",
        ),
        (["--steps", "9", "--vocabulary", "renew", "--vocab-size", "3"], "--vocab-size must be above 3"),
        (["--steps", "9", "--tokenizer", "magic"], "magic"),
        (["--steps", "9", "--language", "german"], "--language takes ISO 639 codes"),
        (["--steps", "9", "--device", "tpu"], "--device 'tpu'"),
        (["--steps", "9", "--hours", "1"], "exactly one of --tokens, --steps, --epochs and --hours"),
        ([], "exactly one of --tokens, --steps, --epochs and --hours"),
        (["--steps", "9", "--cell-dim", "64"], "--cell-dim"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_option_is_one_line(
    command: list[str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main([*command, str(folder), *options]) == 2
    assert said in the_one_line(capsys)
    assert not (tmp_path / "tuned.training").exists(), "nothing is written"


@pytest.mark.parametrize("name", ["new.txt", "heldout.txt", "old.txt", "old-model"])
def test_what_is_missing_is_one_line(
    command: list[str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    moved = [re.sub(f"{name}$", "nowhere", word) for word in [*command, str(folder)]]
    assert main([*moved, "--steps", "9"]) == 2
    assert "nowhere" in the_one_line(capsys)
    assert not (tmp_path / "tuned.training").exists()


def test_a_taken_out_is_one_line(command: list[str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "thesis.txt").write_text("years of work", encoding="utf-8")
    assert main([*command, str(folder), "--steps", "9"]) == 2
    assert "thesis.txt" in the_one_line(capsys)


def test_a_model_that_cannot_be_tuned_is_one_line(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, str(DATA / "models/manylangs_word_char"), "--steps", "9"]) == 2
    assert "reads code points of its own table" in the_one_line(capsys)
