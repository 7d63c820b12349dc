import ast
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.peers import plot, run
from hypothesis import given
from hypothesis import strategies as st

import elmokit
from elmokit import Elmo
from elmokit.report.bars import Panel, draw_bars

CONLLU = """\
# text = I don't see.
1\tI\tI\tPRON
2-3\tdon't\t_\t_
2\tdo\tdo\tAUX
3\tn't\tnot\tPART
3.1\tsee\tsee\tVERB
4\tsee\tsee\tVERB

# text = # 1 000
1\t#\t#\tSYM
2\t1 000\t1000\tNUM
"""
SENTENCES = [["I", "do", "n't", "see"], ["#", "1 000"]]


def test_forms_of_conllu_without_ranges_and_empty_nodes(tmp_path: Path) -> None:
    (tmp_path / "dev.conllu").write_text(CONLLU)
    assert run.read_sentences(tmp_path / "dev.conllu") == SENTENCES
    assert run.read_sentences(tmp_path / "dev.conllu", 1) == SENTENCES[:1]


def test_a_line_of_text_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("A  bank .\n\n# no comment\n")
    assert run.read_sentences(tmp_path / "text.txt") == [["A", "bank", "."], ["#", "no", "comment"]]


def test_what_is_no_conllu_and_what_has_no_words(tmp_path: Path) -> None:
    (tmp_path / "plain.conllu").write_text("# a comment\nA bank .\n")
    with pytest.raises(ValueError, match="plain.conllu, line 2: expected the columns"):
        run.read_sentences(tmp_path / "plain.conllu")
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(ValueError, match="empty.txt: there are no words"):
        run.read_sentences(tmp_path / "empty.txt")


def test_sentences_of_the_shared_text(shared: Path) -> None:
    sentences = run.read_sentences(shared / "data/ud-ewt/en_ewt-ud-dev.conllu.xz")
    assert (len(sentences), sum(map(len, sentences))) == (2001, 25147)  # as its README counts them


@given(st.integers(1, 408))
def test_a_quarter_more_word_pieces_than_words(words: int) -> None:
    assert abs(run.pieces(words) - 1.25 * words) <= 0.5
    assert run.pieces(words) >= words


def test_a_sentence_that_is_too_long_for_bert() -> None:
    with pytest.raises(run.LeftOutError, match="409 words has more than 510 word pieces"):
        run.pieces(409)


def test_batches_in_file_order_by_length_and_of_elmokit() -> None:
    sentences = [["a"] * length for length in (8, 2, 4)]
    assert run.make_batches("allennlp", sentences, 2) == [sentences[:2], sentences[2:]]
    assert run.make_batches("bert", sentences, 2) == [[3, 5], [10]]
    assert run.make_batches("elmokit", sentences, None) == [sentences]
    assert run.make_batches("elmokit", sentences, 1) == [[sentence] for sentence in sentences]


def test_worker_is_written_in_python_3_8() -> None:
    source = (run.HERE / "worker.py").read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    assert "from __future__ import annotations" in source  # so that `list[str]` in signatures is never looked at
    imported = {name.name for node in tree.body if isinstance(node, ast.Import) for name in node.names}
    assert imported <= {"importlib.util", "json", "platform", "sys", "time", "types"}


@pytest.mark.parametrize("given", [None, "no-such-python", sys.executable])
def test_no_python_3_8_is_said_in_one_line(
    given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "text.txt").write_text("A bank .\n")
    python = ["--python38", given] if given else []
    result = tmp_path / "result.json"
    arguments = ["allennlp", str(tmp_path / "text.txt"), "--cache", str(tmp_path / "cache"), "--json", str(result), *python]
    assert run.main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert said.err.startswith(f"allennlp original float32 is left out: needs Python 3.8, and {given or 'python3.8'!r} is not")
    report = json.loads(result.read_text())
    assert report["rows"] == []
    assert [row["peer"] for row in report["left_out"]] == ["allennlp"]


def test_a_bad_text_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["elmokit", str(tmp_path / "none.txt"), "--cache", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_elmokit_from_end_to_end_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, result = tmp_path / "dev.conllu", tmp_path / "result.json"
    text.write_text(CONLLU)
    files = run.model_files("tiny", tmp_path)
    elmo = Elmo.from_pretrained(Path(files["weights"]).parent)
    kept = np.concatenate([elmo.encode_tokens([sentence])[0] for sentence in SENTENCES])
    kept[3, 7] += 0.25
    about = run.about_text(text, SENTENCES)
    (tmp_path / "tiny/vectors").mkdir()
    np.save(tmp_path / f"tiny/vectors/{about['sha256'][:12]}-allennlp.npy", kept)
    arguments = ["--size", "tiny", "--mode", "single", "--cache", str(tmp_path), "--json", str(result)]
    assert run.main(["elmokit", str(text), *arguments]) == 0
    report = json.loads(result.read_text())
    assert report["text"] == {"name": "dev.conllu", "sentences": 2, "tokens": 6, "sha256": about["sha256"]}
    [figures] = report["rows"]
    assert (figures["mode"], figures["tokens"], figures["threads"], figures["batch"]) == ("single", 6, 1, 1)
    assert figures["tokens_per_s"] == pytest.approx(6 / figures["stages"]["seconds"])
    assert figures["versions"]["elmokit"] == elmokit.__version__
    assert min(figures["stages"].values()) > 0
    [found] = report["differences"]
    assert (found["to"], found["sentences"]) == ("allennlp", 2)
    assert found["max_abs"] == pytest.approx(0.25, abs=1e-4)
    assert "elmokit tiny float32, 1 thread(s), single" in capsys.readouterr().out


def test_a_peer_that_fails_is_left_out_with_its_last_line(tmp_path: Path) -> None:
    peer = run.Peer("elmokit", Path(sys.executable), {"weights": str(tmp_path / "weights.hdf5"), "precision": "float1"})
    with pytest.raises(run.LeftOutError, match="ValueError: .*float1"):
        peer.run([[["a"]]], 1)


def test_difference_of_vectors() -> None:
    a_ND = np.array([[1, 0], [2, 2]], np.float32)
    b_ND = np.array([[0, 1], [5, 5]], np.float32)
    assert run.difference(a_ND, b_ND) == pytest.approx({"max_abs": 3, "mean_cosine": 0.5})


def row(peer: str, model: str, mode: str, speed: float, slowest: float | None = None) -> dict[str, Any]:
    return {
        "peer": peer,
        "model": model,
        "precision": "float32",
        "threads": 1,
        "mode": mode,
        "tokens_per_s": speed,
        "slowest_tokens_per_s": slowest or speed,
        "all_seconds": [1, 2] if slowest else [1],
        "stages": {"load_s": 1.5, "first_s": 0.2},
        "versions": {"python": "3.8.1"},
    }


def report_of(*rows: dict[str, Any], text: str = "a", **more: Any) -> dict[str, Any]:
    about = {"name": "dev.conllu", "sentences": 2, "tokens": 6, "sha256": text}
    machine = {"processor": "a CPU", "cores": 2}
    return {"machine": machine, "text": about, "rows": list(rows), "differences": [], "left_out": [], **more}


def test_table_of_merged_reports() -> None:
    left_out = [
        {"peer": name, "model": "original", "precision": "float32", "why": "no Python"}
        for name in ("allennlp", "allennlp-torch2")
    ]
    apart = [{**row("elmokit", "original", "batch", 1), "to": "allennlp", "sentences": 2, "max_abs": 2e-6, "mean_cosine": 1.0}]
    merged = plot.merge(
        [
            report_of(row("allennlp", "original", "batch", 100)),
            report_of(row("allennlp", "original", "batch", 120), row("bert", "bert", "single", 50), left_out=left_out),
            report_of(
                row("elmokit", "original", "batch", 1200, 900), row("elmokit", "original", "single", 20), differences=apart
            ),
        ]
    )
    lines = plot.table(merged).splitlines()
    assert lines[0] == "dev.conllu: 2 sentences, 6 words; a CPU, 2 cores."
    assert "| allennlp original | 1 | 120 | – | 1.5 | 0.2 | python 3.8.1 |" in lines  # the later one of two
    assert "| elmokit original float32 | 1 | 1,200 (900) | 20 | 1.5 | 0.2 | python 3.8.1 |" in lines
    assert {line.count("|") for line in lines[3:7]} == {8}  # the header, the rule below it and the rows have 7 cells each
    assert "| times as fast as | threads | | allennlp original | bert |" in lines
    assert "| elmokit original float32 | 1 | in batches | 10.00 | – |" in lines
    assert "| elmokit original float32 | 1 | one sentence at a time | – | 0.40 |" in lines
    assert "elmokit original float32 and allennlp, 2 sentences: at most 2.0e-06 apart, cosine 1.000000." in lines
    assert [line for line in lines if "left out" in line] == ["allennlp-torch2 original is left out: no Python"]


def test_figures_on_different_texts_are_not_put_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in paths:
        path.write_text(json.dumps(report_of(row("bert", "bert", "batch", 1), text=path.name)))
    assert plot.main([str(path) for path in paths]) == 2
    assert "the files are on different texts: dev.conllu (2 sentences)" in capsys.readouterr().err


def test_no_figures_at_all() -> None:
    with pytest.raises(ValueError, match="no figure"):
        plot.merge([report_of()])


def test_plot_of_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    panels: list[Panel] = []

    def keep(path: Path, title: str, given: list[Panel]) -> None:
        panels.extend(given)
        draw_bars(path, title, given)

    monkeypatch.setattr(plot, "draw_bars", keep)
    result, picture = tmp_path / "result.json", tmp_path / "speed.svg"
    two = {**row("elmokit", "original", "single", 5678), "threads": 2}
    result.write_text(json.dumps(report_of(two, row("bert", "bert", "batch", 1234), row("elmokit", "small", "batch", 99))))
    assert plot.main([str(result), "--plot", str(picture)]) == 0
    assert picture.read_text().count("<svg") == 1
    assert [(panel.title, [(bar.label, dict(bar.parts)) for bar in panel.bars]) for panel in panels] == [
        ("words/s, in batches, 1 thread", [("bert", {"others": 1234}), ("elmokit small float32", {"elmokit": 99})]),
        ("words/s, one sentence at a time, 2 threads", [("elmokit original float32", {"elmokit": 5678})]),
    ]


def test_plot_without_matplotlib_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = tmp_path / "result.json"
    result.write_text(json.dumps(report_of(row("bert", "bert", "batch", 1))))
    assert plot.main([str(result), "--plot", str(tmp_path / "speed.svg")]) == 2
    assert "elmokit[report]" in capsys.readouterr().err
