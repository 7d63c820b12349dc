"""`elmo pretrain`: options, errors, and signals in a real process."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
import torch

from elmokit.checkpoints.folder import load_folder
from elmokit.cli.commands.pretrain import parse_filters
from elmokit.cli.main import main
from elmokit.embedding.elmo import Elmo
from elmokit.pretraining.recipes import PRESETS

SHAPE = ["--preset", "tiny", "--cell-dim", "12", "--projection-dim", "8", "--filters", "1x4,2x4", "--tokenizer", "whitespace"]
SMALL = [*SHAPE, "--vocab-size", "40", "--batch-size", "8", "--window", "10", "--negatives", "15"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = random.Random(0)
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    lines = (" ".join(f"w{int(60 * generator.random() ** 2)}" for _ in range(generator.randint(1, 9))) for _ in range(300))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def words(corpus: Path, tmp_path: Path) -> list[str]:
    """A command that trains in a moment but for its budget."""
    files = ["--corpus", str(corpus), "--heldout", str(corpus), "--out", str(tmp_path / "model")]
    return ["pretrain", *files, *SMALL]


def with_options(words: list[str], options: list[str]) -> list[str]:
    """Put options in, in place of those of the same name: the program takes each once."""
    for name in options:
        if name.startswith("--") and name in words:
            place = words.index(name)
            words = words[:place] + words[place + 2 :]
    return [*words, *options]


def the_one_line(capsys: pytest.CaptureFixture[str]) -> str:
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("elmo: ")
    assert output.err.count("\n") == 1
    return output.err


def test_the_figure_printed_is_that_of_elmo_perplexity(
    words: list[str], corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--steps", "10"]) == 0
    printed = capsys.readouterr().out
    assert main(["perplexity", str(tmp_path / "model"), str(corpus), "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    figures = f"forward {score['forward']:.2f}, backward {score['backward']:.2f}, mean {score['mean']:.2f}"
    assert printed == f"{tmp_path / 'model'}: held-out perplexity {figures}\n"


def test_a_model_that_reads_forward_alone(
    words: list[str], corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From its training to its vectors; what needs the other direction says so in one line."""
    model = str(tmp_path / "model")
    alone = [*words, "--no-bidirectional"]
    assert main([*alone, "--steps", "10", "--dry-run"]) == 0
    assert "projection 8, forward alone" in capsys.readouterr().out
    assert main([*alone, "--steps", "10"]) == 0
    assert main([*alone, "--steps", "14"]) == 0
    printed = capsys.readouterr()
    assert "going on from step 10" in printed.err
    assert main(["perplexity", model, str(corpus), "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    assert (score["backward"], score["mean"]) == (None, score["forward"])
    said = f"{model}: held-out perplexity forward {score['forward']:.2f} (there is no backward direction)"
    assert printed.out.splitlines()[-1] == said
    assert main(["perplexity", model, str(corpus)]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["forward", "bits", "targets", "unknown"]
    assert main(["info", model, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["bidirectional"], facts["dimension"]) == (False, 8)
    assert Elmo.from_pretrained(model, device="cpu").encode("w1 w2 w3").shape == (8,)

    assert main(["score", str(corpus), "-", "--model", model]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()[1:]]
    assert {row[-1] for row in rows} == {""}
    assert all(float(row[-2]) > 0 for row in rows if row[2] != "<S>")
    assert main(["generate", "--model", model, "--length", "3"]) == 0
    capsys.readouterr()
    for command in (["fill", "w1 [MASK]"], ["generate", "--direction", "backward"]):
        assert main([*command, "--model", model]) == 2
        assert "this language model reads forward alone" in the_one_line(capsys)
    assert main(["convert", model, str(tmp_path / "other"), "--to", "allennlp"]) == 2
    assert "reads forward alone, and the published layout always holds both directions" in the_one_line(capsys)
    assert main([*words, "--steps", "20"]) == 2
    assert "bilm.bidirectional was False, is True" in the_one_line(capsys).splitlines()[-1]


def test_options_reach_the_model(words: list[str], tmp_path: Path) -> None:
    more = ["--highways", "2", "--layers", "1", "--normalization", "NFKC", "--lowercase", "--recipe", "reference"]
    assert main([*words, "--tokens", "200", "--no-shuffle", "--seed", "5", "--dropout", "0.2", *more]) == 0
    config = load_folder(tmp_path / "model").config
    assert config.text.tokenizer == "whitespace"
    assert config.text.normalization == "NFKC"
    assert config.text.lowercase
    bilm = config.bilm
    assert (bilm.cell_dim, bilm.projection_dim, bilm.layers, bilm.byte_cnn.highways) == (12, 8, 1, 2)
    assert bilm.byte_cnn.filters == ((1, 4), (2, 4))
    run = json.loads((tmp_path / "model.training" / "run.json").read_text(encoding="utf-8"))
    assert (run["seed"], run["shuffle"], run["vocabulary_size"]) == (5, False, 40)
    recipe = {"optimizer": "reference", "batch_size": 8, "window": 10, "negatives": 15, "dropout": 0.2, "learning_rate": 0.2}
    assert recipe.items() <= run["recipe"].items()


@pytest.mark.parametrize(
    ("options", "there", "used"),
    [
        ([], True, "bfloat16"),
        ([], False, "float32"),
        (["--recipe", "reference", "--negatives", "15"], True, "float32"),
        (["--precision", "float32"], True, "float32"),
        (["--precision", "bfloat16"], False, "bfloat16"),
    ],
)
def test_the_precision_is_that_which_the_processor_is_made_for(
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    there: bool,
    used: str,
) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: there)
    assert main(with_options(words, [*options, "--device", "cpu", "--steps", "1"])) == 0
    assert f"; products in {used}\n" in capsys.readouterr().err


def test_0_negatives_are_the_full_softmax(words: list[str], tmp_path: Path) -> None:
    assert main(with_options(words, ["--negatives", "0", "--steps", "2"])) == 0
    run = json.loads((tmp_path / "model.training" / "run.json").read_text(encoding="utf-8"))
    assert run["recipe"]["negatives"] is None


def test_several_files_after_one_option(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a shell writes them for a pattern; and a pattern that the shell did not touch."""
    texts = [tmp_path / "one.txt", tmp_path / "two.txt"]
    for number, text in enumerate(texts, 1):
        text.write_text("a b\n" * number, encoding="utf-8")
    start = [
        "pretrain",
        "--out",
        str(tmp_path / "model"),
        *SMALL,
        "--steps",
        "1",
        "--dry-run",
        "--heldout",
        str(corpus),
        "--corpus",
    ]
    assert main([*start, *map(str, texts)]) == 0
    assert capsys.readouterr().out.startswith("6 words in 3 sentences")
    assert main([*start, str(tmp_path / "t*.txt")]) == 0
    assert capsys.readouterr().out.startswith("4 words in 2 sentences")


def test_standard_input_is_a_corpus(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"a b\nc\n")))
    assert main([*with_options(words, ["--corpus", "-"]), "--steps", "1"]) == 0
    assert capsys.readouterr().err.startswith("3 words in 2 sentences")


def test_a_dry_run_says_what_a_run_takes_and_keeps_only_the_text(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--steps", "10", "--dry-run"]) == 0
    plan = capsys.readouterr().out
    for part in ("in 300 sentences", "LSTM 2 × 12, projection 8", "batch 8 × 10", "negatives 15", "tokens/s", ": 800 words in"):
        assert part in plan
    assert [path.name for path in tmp_path.iterdir()] == ["model.training"]
    assert [path.name for path in (tmp_path / "model.training").iterdir()] == ["corpus"]


def test_a_run_that_blew_up_goes_on_with_a_lower_rate(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The week before is not lost, and the text, the seed and the rest are compared as ever."""
    steep = [*words, "--steps", "30", "--learning-rate", "1e30"]
    assert main(steep) == 2
    assert capsys.readouterr().err.endswith("; begin anew with a lower --learning-rate and --resume never\n")

    assert main([*words, "--steps", "10", "--resume", "never"]) == 0
    capsys.readouterr()
    assert main(steep) == 2
    said = capsys.readouterr().err
    assert re.search(r"^going on from step 10, .* tokens; learning_rate was 0.005, is 1e\+30$", said, re.MULTILINE)
    assert "the loss or its gradient is not finite" in said
    assert said.endswith("the same command with a lower --learning-rate goes on from the last whole checkpoint, step 10\n")
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    assert main([*words, "--steps", "30", "--seed", "1"]) == 2
    assert "other settings (seed was 0, is 1): " in capsys.readouterr().err

    gentle = [*words, "--steps", "30", "--learning-rate", "1e-3"]
    for told in ("; learning_rate was 1e+30, is 0.001", ""):  # once: it is the run's own then
        assert main(gentle) == 0
        assert re.findall(r"going on from .* tokens(.*)\n", capsys.readouterr().err) == [told]
    assert (tmp_path / "model" / "model.safetensors").read_bytes() != before


def test_a_checkpoint_with_spoilt_weights_is_named(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From it the loss would be no number whatever the rate: the one before is gone on from."""
    assert main([*words, "--steps", "10"]) == 0
    spoilt = [*words, "--steps", "30", "--learning-rate", "1e30", "--checkpoint-minutes", "0"]
    assert main(spoilt) == 2
    assert main([*words, "--steps", "30"]) == 2
    (note,) = re.findall(r"; delete (\S+), whose weights are spoilt; then .* step 10$", capsys.readouterr().err.strip())
    Path(note).unlink()
    assert main([*words, "--steps", "30"]) == 0
    assert "going on from step 10," in capsys.readouterr().err


def test_words_from_a_file(words: list[str], corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the file's order, those among them that the text has not; what is printed is what others measure."""
    file = tmp_path / "vocab.txt"
    file.write_text("<S>\n</S>\n<UNK>\nw50\nnowhere\nw3\nw0\n", encoding="utf-8")
    place = words.index("--vocab-size")
    chosen = with_options([*words[:place], *words[place + 2 :]], ["--negatives", "5", "--vocab-file", str(file)])
    assert main([*chosen, "--steps", "6"]) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "model" / "vocab.txt").read_bytes() == file.read_bytes()
    assert main(["perplexity", str(tmp_path / "model"), str(corpus), "--json", "--tokenizer", "whitespace"]) == 0
    score = json.loads(capsys.readouterr().out)
    assert f"mean {score['mean']:.2f}" in printed
    assert score["oov"] > 0.5
    assert main([*chosen, "--steps", "9"]) == 0
    assert "going on from step 6" in capsys.readouterr().err
    file.write_text("<S>\n</S>\n<UNK>\nw3\nw0\n", encoding="utf-8")
    assert main([*chosen, "--steps", "12"]) == 2
    assert "other settings (vocabulary_size was 7, is 5, vocabulary" in capsys.readouterr().err
    assert main([*chosen, "--steps", "12", "--vocab-size", "9"]) == 2
    assert "--vocab-size chooses words by the text, and --vocab-file names them" in capsys.readouterr().err


def test_a_run_that_was_planned(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Seconds allow no more than the smallest size; what goes on is the same run."""
    files = ["--corpus", str(corpus), "--heldout", str(corpus), "--out", str(tmp_path / "model"), "--tokenizer", "whitespace"]
    planned = ["pretrain", *files, "--preset", "auto", "--batch-size", "8", "--hours", "0.0005"]
    assert main([*planned, "--dry-run"]) == 0
    plan = capsys.readouterr().out
    assert "size tiny: in 2 s it meets" in plan
    assert main(planned) == 0
    said = capsys.readouterr().err
    assert plan in said, "it was planned already"
    assert load_folder(tmp_path / "model").config.bilm == PRESETS["tiny"]
    assert main([*planned[:-1], "0.0007"]) == 0
    assert "going on from step" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--hours", "1", "--cell-dim", "64"], "--cell-dim changes a preset, and --preset auto chooses one"),
        (["--steps", "9"], "--preset auto plans for a time: give --hours"),
    ],
)
def test_what_does_not_go_with_a_plan(
    corpus: Path, tmp_path: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pretrain", "--corpus", str(corpus), "--out", str(tmp_path / "model"), "--preset", "auto", *options]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "asks"), [(["--preset", "tiny", "--dry-run"], "--dry-run"), (["--preset", "auto"], "--preset auto")]
)
def test_a_plan_is_made_by_one_process(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    asks: str,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["pretrain", "--corpus", str(corpus), "--out", str(tmp_path / "model"), "--hours", "1", *options]) == 2
    said = the_one_line(capsys)
    assert f"{asks} tries steps in one process: first `elmo pretrain … --dry-run`, without torchrun; then `torchrun …" in said
    assert f"without {asks}, with the size, vocabulary and dropout that were printed" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--steps", "9", "--batch-size", "-4"], "--batch-size must be above 0, not -4"),
        (["--steps", "9", "--window", "0"], "--window must be above 0"),
        (["--steps", "9", "--negatives", "-1"], "--negatives must be above 0"),
        (["--steps", "9", "--dropout", "1"], "--dropout must be at least 0 and below 1"),
        (["--steps", "9", "--learning-rate", "0"], "--learning-rate must be above 0"),
        (["--steps", "9", "--preset", "huge"], "huge"),
        (["--steps", "9", "--recipe", "secret"], "secret"),
        (["--steps", "9", "--layout", "pages"], "pages"),
        (["--steps", "9", "--vocab-size", "2"], "--vocab-size must be above 3"),
        (["--steps", "9", "--filters", "garbage"], "--filters must be WIDTHxNUMBER"),
        (["--steps", "9", "--filters", "1x2x3"], "--filters must be WIDTHxNUMBER"),
        (["--steps", "9", "--filters", "0x2"], "--filters must be pairs"),
        (["--steps", "9", "--cell-dim", "-1"], "--cell-dim must be above 0"),
        (["--steps", "9", "--layers", "0"], "--layers must be above 0"),
        (["--steps", "9", "--highways", "-1"], "--highways must be 0 or more"),
        (["--steps", "9", "--language", "english"], "--language takes ISO 639 codes, such as en, zh or zh-Hant, not 'english'"),
        (["--steps", "9", "--tokenizer", "magic"], "magic"),
        (["--steps", "9", "--device", "tpu"], "--device 'tpu': not there or not known to PyTorch"),
        (["--steps", "9", "--seed", "-1"], "--seed must be 0 or more"),
        (["--steps", "9", "--checkpoint-minutes", "-1"], "--checkpoint-minutes must be 0 or more"),
        (["--steps", "9", "--hours", "1"], "exactly one of --tokens, --steps, --epochs and --hours"),
        ([], "exactly one of --tokens, --steps, --epochs and --hours"),
        (["--steps", "0"], "above 0"),
        (["--steps", "many"], "many"),
        (["--steps", "9", "--resume", "maybe"], "maybe"),
        (["--steps", "9", "--corpus", "no-such-file"], "no-such-file"),
        (["--steps", "9", "--heldout", "no-such-file"], "no-such-file"),
        (["--steps", "9", "--corpsu", "x"], "--corpsu"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_option_is_one_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main(with_options(words, options)) == 2
    assert said in the_one_line(capsys)
    assert list(tmp_path.iterdir()) == [], "nothing is written"


def test_no_text_is_one_line(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.txt").write_bytes(b"\n\xff\n")
    words[2] = str(tmp_path / "empty.txt")
    assert main([*words, "--steps", "2"]) == 2
    assert "no text is left to learn from" in the_one_line(capsys)


def test_a_taken_out_is_one_line(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").write_text("a file", encoding="utf-8")
    assert main([*words, "--steps", "2"]) == 2
    assert "model" in the_one_line(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("text", "filters"), [("1x32", ((1, 32),)), ("1x32,2x32, 7x1024", ((1, 32), (2, 32), (7, 1024))), ("3 x 4", ((3, 4),))]
)
def test_filters(text: str, filters: tuple[tuple[int, int], ...]) -> None:
    assert parse_filters(text) == filters


ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def newest_checkpoint(work: Path) -> str:
    """The name of its note; empty without one."""
    return max((path.name for path in work.glob("checkpoints/step-*.json")), default="")


def test_a_process_that_is_stopped_again_and_again_ends_with_the_weights_of_one_that_is_not(corpus: Path, tmp_path: Path) -> None:
    heldout = tmp_path / "heldout.txt"
    heldout.write_text("w1 w2 w3\n" * 10, encoding="utf-8")
    options = ["--corpus", str(corpus), "--heldout", str(heldout), "--steps", "160", "--checkpoint-minutes", "0.0005"]
    code = "import sys; from elmokit.cli.main import main; sys.exit(main())"
    start = [
        sys.executable,
        "-c",
        code,
        *with_options(["pretrain", *SMALL], [*options, "--batch-size", "4", "--window", "2", "--layers", "1"]),
    ]

    def stopped_by(number: signal.Signals) -> tuple[int, str]:
        """Start, send a signal after the first checkpoint, give the exit status and what was said."""
        before = newest_checkpoint(tmp_path / "stopped.training")
        command = [*start, "--out", str(tmp_path / "stopped")]
        with subprocess.Popen(command, env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            while newest_checkpoint(tmp_path / "stopped.training") == before:
                assert process.poll() is None, "it ended too early"
                time.sleep(0.005)
            process.send_signal(number)
            output, errors = process.communicate(timeout=100)
        assert output == ""
        assert not (tmp_path / "stopped").exists()
        assert "Traceback" not in errors
        assert ("going on from step" in errors) == bool(before)
        return process.returncode, errors

    assert stopped_by(signal.SIGKILL)[0] == -signal.SIGKILL
    for number in (signal.SIGTERM, signal.SIGINT):
        status, errors = stopped_by(number)
        assert status == 130
        assert errors.endswith("stopped; the same command goes on from the last checkpoint\nelmo: interrupted\n")
    for name in ("stopped", "whole"):
        command = [*start, "--out", str(tmp_path / name)]
        result = subprocess.run(command, env=ONE_THREAD, capture_output=True, text=True, timeout=200)
        assert result.returncode == 0, result.stderr
    for file in ("model.safetensors", "lm_head.safetensors", "vocab.txt"):
        assert (tmp_path / "stopped" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
