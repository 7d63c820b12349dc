"""`elmo augment`."""

import csv
import gzip
import io
import json
import sys
from pathlib import Path

import pytest
import torch

from elmokit.checkpoints.checkpoint import random_checkpoint
from elmokit.checkpoints.folder import save_folder
from elmokit.cli import augment
from elmokit.cli.main import main
from elmokit.config import BiLMConfig, CharCnnConfig, ElmoConfig, TextConfig
from elmokit.model.softmax import SoftmaxHead
from elmokit.text.vocabulary import Vocabulary

WORDS = ("<S>", "</S>", "<UNK>", ".", "the", "bank", "river", "sat", "lives", "in", "Paris", "dog", "n't", "银行", "在", "工作")
CONLL = "# id = 1\nAnna\tB-PER\nlives\tO\nin\tO\nNew\tB-LOC\nYork\tI-LOC\n.\tO\n\nThe\tO\ndog\tO\nsat\tO\n\n42\tO\n"


def saved(folder: Path, tokenizer: str = "words", head: bool = True) -> Path:
    """A model with random weights."""
    char_cnn = CharCnnConfig(embedding_dim=4, filters=((1, 4), (2, 6)), highways=1)
    bilm = BiLMConfig(char_cnn=char_cnn, cell_dim=8, projection_dim=3, layers=2)
    checkpoint = random_checkpoint(ElmoConfig(bilm=bilm, text=TextConfig(tokenizer=tokenizer)), seed=1)
    torch.manual_seed(0)
    if head:
        softmax = SoftmaxHead(len(WORDS), 3).state_dict()
        checkpoint = type(checkpoint)(**{**vars(checkpoint), "head": softmax, "vocabulary": Vocabulary(WORDS)})
    save_folder(checkpoint, folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "model")


def run(*words: object) -> None:
    assert main(["augment", *map(str, words)]) == 0


def augmented(path: Path, content: str, model: Path, *options: object) -> str:
    """What the command makes of a file."""
    path.write_text(content, encoding="utf-8")
    target = path.with_name(f"out{path.suffix}")
    run(path, target, "--model", model, *options)
    return target.read_text(encoding="utf-8")


def sentences(content: str) -> list[list[list[str]]]:
    """The columns of a CoNLL file, without comments."""
    blocks = content.removesuffix("\n\n").split("\n\n")
    return [[line.split("\t") for line in block.split("\n") if not line.startswith("#")] for block in blocks]


def test_copies_behind_their_originals_with_the_same_labels(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = augmented(tmp_path / "train.conll", CONLL, folder, "--copies", 2, "--rate", 0.5)
    assert out.startswith(CONLL.split("\n\n")[0])
    assert out.count("# id = 1\n") == 3
    anna, copy, other, dog, *dogs, number = sentences(out)
    assert number == [["42", "O"]]
    for original, copies in ((anna, [copy, other]), (dog, dogs)):
        assert len(copies) == 2
        for made in copies:
            assert [row[1:] for row in made] == [row[1:] for row in original]
            changed = [row for row, before in zip(made, original, strict=True) if row != before]
            assert changed
            assert {row[1] for row in changed} == {"O"}
    assert all(made[0][0][0].isupper() or made[0][0] == "银行" for made in dogs)
    said = capsys.readouterr().err
    assert said.startswith("elmo: sentences read: 3; copies written: 4; words replaced in them: ")
    assert "; sentences without a word to replace, and so without a copy: 1; words kept for their labels: 3, see --repl" in said


def test_the_counts_are_those_of_the_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = augmented(tmp_path / "train.bio", (CONLL + "\n") * 20, folder, "--rate", 0.4, "--no-keep-original", "--seed", 3)
    originals = sentences(CONLL)[:2] * 20
    replaced = sum(
        row != before for made, old in zip(sentences(out), originals, strict=True) for row, before in zip(made, old, strict=True)
    )
    assert f"sentences read: 60; copies written: 40; words replaced in them: {replaced} of 100 (" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    def out(*options: object) -> str:
        return augmented(tmp_path / "train.conll", CONLL, folder, "--copies", 5, *options)

    assert out() == out() == out("--seed", 0) == out("--batch-tokens", 1)
    assert out() != out("--seed", 1)
    assert out() in augmented(tmp_path / "train.conll", f"a\tO\n\n{CONLL}", folder, "--copies", 5)


def test_labelled_words_where_asked_for(folder: Path, tmp_path: Path) -> None:
    out = augmented(tmp_path / "train.conll", CONLL, folder, "--rate", 1, "--replace-labelled")
    old, made = sentences(out)[:2]
    assert [before[0] != row[0] for before, row in zip(old, made, strict=True)] == [True] * 5 + [False]
    assert [row[1] for row in made] == [row[1] for row in old]


def test_other_columns(folder: Path, tmp_path: Path) -> None:
    lines = "1 dog NOUN B-X _\n2 sat VERB O _\n"
    out = augmented(tmp_path / "a.conll", lines, folder, "--rate", 1, "--token-column", 1, "--label-column", -2)
    original, copy = out.removesuffix("\n\n").split("\n\n")
    assert original + "\n" == lines
    assert copy.startswith("1 dog NOUN B-X _\n2 ")
    assert copy.endswith(" VERB O _")
    assert " sat " not in copy


def test_a_column_of_texts(folder: Path, tmp_path: Path) -> None:
    content = 'id,text,label\n1,"The  dog, don\'t!",good\n2,"42",bad\n'
    out = augmented(tmp_path / "a.csv", content, folder, "--column", "text", "--rate", 1)
    header, original, copy, number = csv.reader(io.StringIO(out))
    assert (header, original) == (["id", "text", "label"], ["1", "The  dog, don't!", "good"])
    assert number == ["2", "42", "bad"]
    first, second = copy[1].removesuffix(", don't!").split("  ")
    assert (copy[0], copy[2]) == ("1", "good")
    assert first != "The"
    assert first[0] == first[0].upper()
    assert second != "dog"
    assert augmented(tmp_path / "b.tsv", "dog\tx\n", folder, "--column", 0, "--no-header").count("\tx\n") == 2


def test_json_lines(folder: Path, tmp_path: Path) -> None:
    content = '{"words": ["the", "dog"], "tags": [0, 1]}\n{"words": "the dog ."}\n'
    out = augmented(tmp_path / "a.jsonl", content, folder, "--column", "words", "--rate", 1)
    listed, copy, text, other = map(json.loads, out.splitlines())
    assert [listed, text] == [json.loads(line) for line in content.splitlines()]
    assert copy["tags"] == [0, 1]
    assert [new != old for new, old in zip(copy["words"], ["the", "dog"], strict=True)] == [True, True]
    assert other["words"].endswith(" .")


def test_lines_of_text_packed_and_without_the_originals(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"the dog\n\n42\nthe bank\n"))
    run(tmp_path / "a.txt.gz", tmp_path / "out.txt", "--model", folder, "--no-keep-original")
    first, empty, second = (tmp_path / "out.txt").read_text(encoding="utf-8").splitlines()
    assert first != "the dog"
    assert empty == ""
    assert second != "the bank"


def test_chinese_words_and_characters(folder: Path, tmp_path: Path) -> None:
    text = "我在银行工作。\n"
    words = augmented(tmp_path / "a.txt", text, folder, "--rate", 1, "--no-keep-original", "--top-k", 1)
    characters = augmented(
        tmp_path / "a.txt", text, saved(tmp_path / "zh", "characters"), "--rate", 1, "--no-keep-original", "--top-k", 1
    )
    assert words.endswith("。\n")
    assert characters.endswith("。\n")
    counts = [sum(out.count(word) for word in WORDS[4:]) for out in (words, characters)]
    assert counts == [4, 6], "the tokenizer of the model says what a word is"


def test_standard_input_and_output(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"dog O\n")))
    run("-", "-", "--model", folder, "--format", "conll")
    original, copy = capsys.readouterr().out.removesuffix("\n\n").split("\n\n")
    assert original == "dog O"
    assert copy.endswith(" O")


def test_the_bundled_model_expects_english(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("I sat by the river bank .\n", encoding="utf-8")
    augment(tmp_path / "a.txt", tmp_path / "b.txt", rate=1e-9, top_k=1, copies=40, keep_original=False, device="cpu")
    assert "I sat by a river bank ." in (tmp_path / "b.txt").read_text(encoding="utf-8").splitlines()


def failure(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["augment", *map(str, words)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    return output.err


@pytest.mark.parametrize(
    ("source", "target", "options", "said"),
    [
        ("a.conll", "b.conll", ["--rate", 0], "--rate must be above 0 and 1 at the most, not 0"),
        ("a.conll", "b.conll", ["--rate", 1.5], "--rate must be"),
        ("a.conll", "b.conll", ["--top-k", 0], "--top-k must be 1 or more, not 0"),
        ("a.conll", "b.conll", ["--copies", 0], "--copies must be 1 or more, not 0"),
        ("a.conll", "b.conll", ["--batch-tokens", 0], "--batch-tokens must be 1 or more, not 0"),
        ("a.conll", "b.conll", ["--tokenizer", "magic"], "tokenizer must be one of"),
        ("a.conll", "b.conll", ["--format", "xml"], "xml"),
        ("a.conll", "b.conll", ["--token-column", 2], "a.conll, line 2: no column 2, there are 2"),
        ("a.conll", "b.txt", [], "b.txt: must be of the same kind as"),
        ("a.conll", "b.conll.gz", [], "b.conll.gz: the output is not packed; leave .gz out of its name"),
        ("a.conll", "a.conll", [], "a.conll: is the input"),
        ("a.conll", "b.xml", [], "b.xml: its name does not tell what it is"),
        ("a.xml", "b.xml", [], "a.xml: its name does not tell what it is"),
        ("b.conll", "c.conll", [], "b.conll: no such file"),
        ("a.tsv", "b.tsv", [], "a.tsv: say with --column which column holds the texts"),
        ("a.tsv", "b.tsv", ["--column", "words"], "a.tsv: no column 'words'; there are text, label"),
        ("a.txt", "b.txt", [], "a.txt: no sentence in it, there is nothing to augment"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    source: str,
    target: str,
    options: list[object],
    said: str,
) -> None:
    for name, content in (("a.conll", CONLL), ("a.tsv", "text\tlabel\n"), ("a.txt", " \n")):
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert said in failure(capsys, tmp_path / source, tmp_path / target, "--model", folder, *options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.conll", "a.tsv", "a.txt"]


def test_a_model_without_a_head_says_which_have_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("the dog\n", encoding="utf-8")
    model = saved(tmp_path / "headless", head=False)
    said = failure(capsys, tmp_path / "a.txt", tmp_path / "b.txt", "--model", model)
    assert "has no language-model head" in said
    assert "en-small" in said
