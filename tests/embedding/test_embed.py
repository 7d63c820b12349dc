"""Files of texts → files of vectors: what stands in them, parts, and what is refused before any work."""

import dataclasses
import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from elmokit.embedding import embed as module
from elmokit.embedding import output, parquet
from elmokit.embedding.elmo import Elmo
from elmokit.embedding.embed import EmbedOptions, embed_file
from elmokit.errors import FormatError, MissingExtraError

TEXTS = ["I sat by the river bank .", "", "Bank of England 银行 , naïve", "x", "I sat by the river bank ."] + [
    " ".join(f"w{k}" for k in range(n % 11)) for n in range(40)
]


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "in.txt"
    path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture(params=["one chunk", "many chunks"])
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Budgets for which all fits into one batch, or little does: files must not differ."""
    if request.param == "one chunk":
        return 8192
    monkeypatch.setattr(output, "TOKENS_AT_ONCE", 4)
    monkeypatch.setattr(parquet, "TOKENS_AT_ONCE", 4)
    monkeypatch.setattr("elmokit.embedding.h5.TOKENS_AT_ONCE", 4)
    return 20


def close(ours: Any, theirs: Any, atol: float = 5e-5) -> None:
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), atol=atol, rtol=1e-6)


def test_h5_is_laid_out_as_allennlp_does(elmo: Elmo, source: str, tmp_path: Path, chunks: int) -> None:
    embed_file(source, tmp_path / "out.h5", elmo, EmbedOptions(batch_tokens=chunks))
    expected = elmo.encode_tokens(TEXTS, layers="all")
    with h5py.File(tmp_path / "out.h5") as file:
        assert set(file) == {*map(str, range(len(TEXTS))), "sentence_to_index"}
        for number, vectors in enumerate(expected):
            assert file[str(number)].dtype == np.float32
            assert file[str(number)].shape == vectors.shape
            close(file[str(number)], vectors)
        assert file["sentence_to_index"].shape == (1,)
        index = json.loads(file["sentence_to_index"][0])
    assert index == {text: str(number) for number, text in enumerate(TEXTS)}
    assert index[TEXTS[0]] == "4"  # the last of equal ones


def test_parquet_has_a_row_for_each_token(elmo: Elmo, source: str, tmp_path: Path, chunks: int) -> None:
    embed_file(source, tmp_path / "out.parquet", elmo, EmbedOptions(batch_tokens=chunks))
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["row", "id", "position", "token", "start", "end", "vector"]
    assert str(table.schema.field("vector").type) == "fixed_size_list<element: float>[48]"
    rows = table.to_pylist()
    tokens = elmo.tokenize(TEXTS)
    assert [(r["row"], r["position"], r["token"], r["start"], r["end"], r["id"]) for r in rows] == [
        (row, position, *token, None) for row, sentence in enumerate(tokens) for position, token in enumerate(sentence)
    ]
    expected = [vectors.swapaxes(0, 1).reshape(-1, 48) for vectors in elmo.encode_tokens(TEXTS, layers="all")]
    close([row["vector"] for row in rows], np.concatenate(expected))


def test_jsonl_has_a_line_for_each_text(elmo: Elmo, source: str, tmp_path: Path, chunks: int) -> None:
    embed_file(source, tmp_path / "out.jsonl", elmo, EmbedOptions(batch_tokens=chunks))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [list(line) for line in lines] == [["tokens", "vectors"]] * len(TEXTS)
    vectors, tokens = elmo.encode_tokens(TEXTS, return_tokens=True)
    assert [line["tokens"] for line in lines] == tokens
    for line, expected in zip(lines, vectors, strict=True):
        close(np.reshape(line["vectors"], (-1, 16)), expected)


def test_jsonl_numbers_read_back_as_the_same_floats(elmo: Elmo, source: str, tmp_path: Path) -> None:
    embed_file(source, tmp_path / "a.jsonl", elmo, EmbedOptions(layers="all"))
    embed_file(source, tmp_path / "b.h5", elmo, EmbedOptions())
    embed_file(source, tmp_path / "c.jsonl", elmo, EmbedOptions(layers="all", dtype="float16"))
    embed_file(source, tmp_path / "d.h5", elmo, EmbedOptions(dtype="float16"))
    for text, binary, dtype in (("a.jsonl", "b.h5", "float32"), ("c.jsonl", "d.h5", "float16")):
        with h5py.File(tmp_path / binary) as file:
            for number, line in enumerate((tmp_path / text).read_text(encoding="utf-8").splitlines()):
                vectors = np.array(json.loads(line)["vectors"], dtype).reshape(file[str(number)].shape)
                assert np.array_equal(vectors, file[str(number)])


@pytest.mark.parametrize("layers", ["mean", "top", 1, "all"])
def test_pooled_each_text_has_one_vector(elmo: Elmo, source: str, tmp_path: Path, layers: Any) -> None:
    options = EmbedOptions(pooling="mean", layers=layers, batch_tokens=30)
    expected = elmo.encode(TEXTS, layers=layers)
    for suffix in ("h5", "parquet", "jsonl"):
        embed_file(source, tmp_path / f"out.{suffix}", elmo, options)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["row", "id", "vector"]
    assert table.column("row").to_pylist() == list(range(len(TEXTS)))
    close(table.column("vector").to_pylist(), expected.reshape(len(TEXTS), -1))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    close([line["vector"] for line in lines], expected)
    with h5py.File(tmp_path / "out.h5") as file:
        close([file[str(number)] for number in range(len(TEXTS))], expected)


def test_float16(elmo: Elmo, source: str, tmp_path: Path) -> None:
    embed_file(source, tmp_path / "out.parquet", elmo, EmbedOptions(dtype="float16", layers="top"))
    table = pq.read_table(tmp_path / "out.parquet")
    assert str(table.schema.field("vector").type) == "fixed_size_list<element: halffloat>[16]"
    close(table.column("vector").to_pylist(), np.concatenate(elmo.encode_tokens(TEXTS, layers="top")), atol=2e-3)


def test_ids_are_kept(elmo: Elmo, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"n": 7, "t": "one text"}\n{"n": 9, "t": ""}\n{"n": 8, "t": "more"}\n{"n": null, "t": "x"}\n')
    options = EmbedOptions(column="t", id_column="n", layers="top")
    for suffix in ("h5", "parquet", "jsonl"):
        embed_file(str(source), tmp_path / f"out.{suffix}", elmo, options)
    assert pq.read_table(tmp_path / "out.parquet").column("id").to_pylist() == [7, 7, 8, None]
    assert [json.loads(line)["id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [7, 9, 8, None]
    with h5py.File(tmp_path / "out.h5") as file:
        assert [file[n].attrs["id"] for n in "012"] == [7, 9, 8]
        assert "id" not in file["3"].attrs


def test_ids_of_mixed_types(elmo: Elmo, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"n": 7, "t": "one text"}\n{"n": "x", "t": "more"}\n')
    with pytest.raises(ValueError, match="--id-column: ids must be of one type, int64 as at first"):
        embed_file(str(source), tmp_path / "out.parquet", elmo, EmbedOptions(column="t", id_column="n"))
    assert list(tmp_path.iterdir()) == [source]


def test_the_tokenizer_can_be_another(elmo: Elmo, tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_text("don't-split me!\n")
    embed_file(str(source), tmp_path / "out.jsonl", elmo, EmbedOptions(tokenizer="whitespace"))
    assert json.loads((tmp_path / "out.jsonl").read_text())["tokens"] == ["don't-split", "me!"]


def test_a_long_line_goes_through_the_disk(elmo: Elmo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elmokit.embedding.room.LARGE", 10_000)
    texts = ["short", " ".join(f"w{n % 50}" for n in range(900)), "also short"]
    (tmp_path / "in.txt").write_text("\n".join(texts))
    for suffix in ("h5", "parquet"):
        embed_file(str(tmp_path / "in.txt"), tmp_path / f"out.{suffix}", elmo, EmbedOptions(batch_tokens=100))
    expected = elmo.encode_tokens(texts, layers="all")
    with h5py.File(tmp_path / "out.h5") as file:
        for number, vectors in enumerate(expected):
            close(file[str(number)], vectors)
    found = np.stack(pq.read_table(tmp_path / "out.parquet").column("vector").to_numpy())
    close(found, np.concatenate([vectors.swapaxes(0, 1).reshape(-1, 48) for vectors in expected]))


PARTS = EmbedOptions(format="jsonl", part_sentences=10, batch_tokens=64)
RESUMED = EmbedOptions(format="jsonl", part_sentences=10, batch_tokens=64, resume=True)


def lines_of(folder: Path) -> list[str]:
    return [line for part in sorted(folder.glob("part-*")) for line in part.read_text(encoding="utf-8").splitlines()]


def test_parts(elmo: Elmo, source: str, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    embed_file(source, folder, elmo, PARTS)
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", *(f"part-0000{n}.jsonl" for n in range(5))]
    assert [len(path.read_text(encoding="utf-8").splitlines()) for path in sorted(folder.glob("part*"))] == [10, 10, 10, 10, 5]
    embed_file(source, tmp_path / "whole.jsonl", elmo, EmbedOptions())
    whole = (tmp_path / "whole.jsonl").read_text(encoding="utf-8").splitlines()
    for ours, theirs in zip(lines_of(folder), whole, strict=True):
        assert json.loads(ours)["tokens"] == json.loads(theirs)["tokens"]
        close(json.loads(ours)["vectors"], json.loads(theirs)["vectors"])


def test_rows_are_numbered_through_all_parts(elmo: Elmo, source: str, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    embed_file(source, folder, elmo, EmbedOptions(format="h5", part_sentences=20))
    with h5py.File(folder / "part-00001.h5") as file:
        assert {name for name in file if name.isdigit()} == set(map(str, range(20, 40)))


def test_resume_does_what_is_left(elmo: Elmo, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, begun = tmp_path / "whole", tmp_path / "begun"
    embed_file(source, whole, elmo, PARTS)
    embed_file(source, begun, elmo, PARTS)
    for number in (2, 3, 4):
        (begun / f"part-0000{number}.jsonl").unlink()
    (begun / "part-00001.jsonl").write_text("finished before\n")
    written: list[str] = []
    write = module._Job.write

    def watch(job: Any, path: Path, rows: Any) -> None:
        written.append(path.name)
        write(job, path, rows)

    monkeypatch.setattr(module._Job, "write", watch)
    embed_file(source, begun, elmo, RESUMED)
    assert [name[-10:] for name in written] == ["0002.jsonl", "0003.jsonl", "0004.jsonl"]
    assert (begun / "part-00001.jsonl").read_text() == "finished before\n"
    assert lines_of(begun)[11:] == lines_of(whole)[20:]
    embed_file(source, begun, elmo, RESUMED)  # nothing is left to do
    assert len(written) == 3


def test_an_interrupted_part_is_not_there(elmo: Elmo, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "parts"
    write = module._Job.write

    def stop_at_the_third(job: Any, path: Path, rows: Any) -> None:
        write(job, path, rows)
        if "00002" in path.name:
            raise KeyboardInterrupt

    monkeypatch.setattr(module._Job, "write", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        embed_file(source, folder, elmo, PARTS)
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "part-00000.jsonl", "part-00001.jsonl"]
    monkeypatch.undo()
    embed_file(source, folder, elmo, RESUMED)
    assert len(lines_of(folder)) == len(TEXTS)


def test_resume_removes_what_a_killed_run_left(elmo: Elmo, source: str, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    embed_file(source, folder, elmo, PARTS)
    (folder / "part-00004.jsonl").rename(folder / ".0123abcd.part-00004.jsonl")
    embed_file(source, folder, elmo, RESUMED)
    assert sorted(path.name for path in folder.iterdir())[:2] == ["manifest.json", "part-00000.jsonl"]
    assert len(lines_of(folder)) == len(TEXTS)


def test_parts_of_an_exact_number_have_no_empty_last_one(elmo: Elmo, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a\nb\nc\nd\n")
    embed_file(str(tmp_path / "in.txt"), tmp_path / "parts", elmo, EmbedOptions(format="jsonl", part_sentences=2))
    assert len(list((tmp_path / "parts").glob("part-*"))) == 2


def test_resume_wants_the_same_work(elmo: Elmo, source: str, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    embed_file(source, folder, elmo, PARTS)
    with pytest.raises(
        ValueError, match="parts: was begun with layers 'mean', not 'top'; --resume with the same input and options"
    ):
        embed_file(source, folder, elmo, EmbedOptions(format="jsonl", part_sentences=10, layers="top", resume=True))
    with pytest.raises(ValueError, match="was begun with part_sentences 10, not 11"):
        embed_file(source, folder, elmo, EmbedOptions(format="jsonl", part_sentences=11, resume=True))
    with pytest.raises(ValueError, match="was begun with model '"):
        embed_file(source, folder, Elmo.from_config(elmo.config), RESUMED)
    with pytest.raises(ValueError, match="was begun with precision 'float32', not 'int8'"):
        embed_file(
            source, folder, Elmo(dataclasses.replace(elmo.checkpoint, bilm=elmo.bilm.state_dict()), precision="int8"), RESUMED
        )
    with open(source, "a") as file:
        file.write("one more\n")
    with pytest.raises(ValueError, match="was begun with input_sha256"):
        embed_file(source, folder, elmo, RESUMED)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(FormatError, match=r"manifest\.json: damaged; name a new folder"):
        embed_file(source, folder, elmo, RESUMED)
    (folder / "manifest.json").unlink()
    with pytest.raises(ValueError, match=r"holds files but no manifest\.json, so it cannot be resumed"):
        embed_file(source, folder, elmo, RESUMED)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (
            "out.bin",
            {},
            r"out\.bin: unknown extension; the output ends in \.h5, \.parquet, \.jsonl, or is a folder with --format",
        ),
        ("out", {}, r"out: unknown extension"),
        ("in.txt", {}, "unknown extension"),
        ("out.h5", {"resume": True}, "--resume goes on with a folder of parts; name the folder, and its format with --format"),
        ("out.h5", {"format": "h5"}, r"out\.h5: a name of a file; with --format the output is a folder"),
        ("in.txt", {"format": "h5"}, r"in\.txt: is a file; with --format the output is a folder"),
        ("out", {"format": "csv"}, "--format must be one of h5, parquet, jsonl, not 'csv'"),
        ("full", {}, "full: is a folder; give a format of h5, parquet, jsonl with --format"),
        ("full", {"format": "h5"}, "full: the folder is not empty; go on in it with --resume, or name a new one"),
        ("in.txt/out.h5", {}, r"in\.txt is a file, not a folder"),
    ],
)
def test_a_target_that_cannot_be(elmo: Elmo, source: str, tmp_path: Path, target: str, options: Any, message: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(ValueError, match=message):
        embed_file(source, tmp_path / target, elmo, EmbedOptions(**options))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "in.txt"]


@pytest.mark.parametrize("locked", ["out.h5", "."])
def test_a_read_only_target_is_found_before_any_work(elmo: Elmo, source: str, tmp_path: Path, locked: str) -> None:
    (tmp_path / "place").mkdir()
    target = tmp_path / "place/out.h5"
    target.write_text("old")
    path = tmp_path / "place" / locked
    path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    try:
        with pytest.raises(ValueError, match=r"out\.h5: cannot be written, .* is read-only; choose another place"):
            embed_file(source, target, elmo, EmbedOptions())
    finally:
        path.chmod(0o755)
    assert target.read_text() == "old"


def test_the_output_is_not_the_input(elmo: Elmo, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a b"}\n')
    os.link(path, tmp_path / "same.jsonl")
    for target in (path, tmp_path / "same.jsonl"):
        with pytest.raises(ValueError, match=r"\.jsonl: is the input; name another file for the output"):
            embed_file(str(path), target, elmo, EmbedOptions(column="text"))
    assert path.read_text() == '{"text": "a b"}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "in.txt: is empty, there is nothing to embed"),
        (b"\n \n", "in.txt: no word in it, there is nothing to embed"),
        (b"good\n" * 50 + b"b\xffd\n", "in.txt, line 51: byte 2 is not UTF-8"),
    ],
)
def test_input_that_is_no_text_is_found_before_any_work(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "in.txt").write_bytes(content)
    (tmp_path / "out.h5").write_text("old")
    with pytest.raises(ValueError, match=message):
        embed_file(str(tmp_path / "in.txt"), tmp_path / "out.h5", "no model is looked for yet", EmbedOptions())
    assert (tmp_path / "out.h5").read_text() == "old"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_tokens": -5}, "--batch-tokens must be 1 or more, not -5"),
        ({"part_sentences": 0}, "--part-sentences must be 1 or more, not 0"),
        ({"word_cache": -1}, "--word-cache must be 0 or more, not -1"),
        ({"pooling": "cls"}, "--pooling must be one of none, mean, not 'cls'"),
        ({"dtype": "int8"}, "--dtype must be one of float32, float16, not 'int8'"),
        ({"tokenizer": "bpe"}, "tokenizer must be one of whitespace, words, characters, not 'bpe'"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EmbedOptions(**options)


def test_without_pyarrow_the_extra_is_named_before_any_work(
    elmo: Elmo, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"writing \.parquet needs an optional library: pip install 'elmokit\[parquet\]'"):
        embed_file(source, tmp_path / "out.parquet", elmo, EmbedOptions())
    (tmp_path / "in.parquet").touch()
    with pytest.raises(MissingExtraError, match=r"reading \.parquet needs an optional library"):
        embed_file(str(tmp_path / "in.parquet"), tmp_path / "out.h5", elmo, EmbedOptions(column="text"))


def test_layers_that_are_not_there(elmo: Elmo, source: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="layers=5: this model has the layers 0 to 2"):
        embed_file(source, tmp_path / "out.h5", elmo, EmbedOptions(layers=5))


def test_standard_input_cannot_be_resumed(elmo: Elmo, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--resume reads the input again from its beginning, which standard input cannot"):
        embed_file("-", tmp_path / "out", elmo, EmbedOptions(format="h5", resume=True))


def test_a_progress_bar_if_asked(elmo: Elmo, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embed_file(source, tmp_path / "a.h5", elmo, EmbedOptions())
    assert capsys.readouterr().err == ""
    embed_file(source, tmp_path / "a.h5", elmo, EmbedOptions(progress=True))
    output = capsys.readouterr()
    assert "45/45" in output.err
    tokens = sum(map(len, elmo.tokenize(TEXTS)))
    assert re.search(
        rf"\nelmo: {tokens} tokens in [0-9.]+ s, [0-9,]+ tokens/s; 0% of the distinct words of each batch were remembered, "
        r"preparing the weights took [0-9.]+ s\n$",
        output.err,
    )
    assert output.out == ""


def test_the_speed_is_of_what_was_done(elmo: Elmo, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for cache in (0, 1000):
        options = EmbedOptions(progress=True, word_cache=cache, batch_tokens=20, format="h5", part_sentences=30)
        embed_file(source, tmp_path / str(cache), elmo, options)
        told.append(capsys.readouterr().err.splitlines()[-1])
    assert "; 0% of the distinct words" in told[0]
    assert int(told[1].split("; ")[1].split("%")[0]) > 40
    embed_file(source, tmp_path / "0", elmo, dataclasses.replace(options, resume=True))
    assert "elmo:" not in capsys.readouterr().err  # nothing was left to do
