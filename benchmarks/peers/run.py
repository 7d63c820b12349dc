"""What a user would otherwise pick, on the same text: one command for each peer, in an environment of its own.

    python benchmarks/peers/run.py PEER TEXT [--size original small] [--threads 1 2] [--sentences N] [--json FILE]

PEER is one of

* allennlp: AllenNLP 2.10.1 as it was released, on Python 3.8 and PyTorch 1.12;
* allennlp-torch2: the ELMo of AllenNLP 2.10.1, on today's Python and PyTorch;
* bert, minilm: transformers, in the shapes of BERT-base and of MiniLM with 6 layers, random weights;
* elmokit: this library, `Elmo.encode_tokens` with the batches that it forms by itself.

The environment and random weights of the published shape are made at the first call and kept in `--cache`. TEXT is a CoNLL-U
file (its FORM column) or a text file, a line a sentence, split at white space; `.gz`, `.xz` and `.zst` are unpacked. Every
measurement is a new process; the time is that of the calls alone, after a first call with a single word, whose time is told
apart (elmokit may pack its weights then). `--repeats` of them are made, and the best one counts. The vectors of elmokit are
compared with those that the same command kept for AllenNLP.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from elmokit.atomic import atomic_path
from elmokit.checkpoints.checkpoint import random_checkpoint
from elmokit.checkpoints.hdf5 import save_hdf5
from elmokit.config import ElmoConfig
from elmokit.pretraining.recipes import PRESETS, PresetName
from elmokit.text.files import read_lines

HERE = Path(__file__).resolve().parent
Sentences = list[list[str]]
ONE_BY_ONE = 200
"""So many sentences are run one at a time."""
ALLENNLP = ("allennlp", "allennlp-torch2")
SHAPES: dict[str, dict[str, int]] = {
    "bert": {},  # the defaults of BertConfig are BERT-base
    "minilm": {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536},
}
PEERS = (*ALLENNLP, *SHAPES, "elmokit")
MODES = ("batch", "single")
LONGEST = 510
"""Word pieces that a BERT takes at once, its two marks not counted."""


class LeftOutError(ValueError):
    """This peer cannot be measured here; the message says why, in one line."""


def read_sentences(path: Path, most: int | None = None) -> Sentences:
    """Read the first sentences of a text as lists of words.

    Raises:
        ValueError: There is no such file, a line of it is not CoNLL-U, or it has no words.
    """
    read = conllu_sentences if ".conllu" in path.suffixes else line_sentences
    sentences: Sentences = []
    for sentence in read(path):
        if len(sentences) == most:
            break
        sentences.append(sentence)
    if not sentences:
        raise ValueError(f"{path}: there are no words in it")
    return sentences


def line_sentences(path: Path) -> Iterator[list[str]]:
    """A line a sentence; lines without words are left out."""
    return (line.split() for line in read_lines(path) if line.split())


def conllu_sentences(path: Path) -> Iterator[list[str]]:
    """The forms of the syntactic words: no ranges (1-2), no empty nodes (8.1)."""
    words: list[str] = []
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split("\t")
        if line.strip() and not line.startswith("#"):
            if len(fields) < 2:
                raise ValueError(f"{path}, line {number}: expected the columns of CoNLL-U, separated by tabs")
            words += [fields[1]] if fields[0].isdigit() else []
        elif not line.strip() and words:
            yield words
            words = []
    if words:
        yield words


def pieces(words: int) -> int:
    """Word pieces of so many words: 1.25 a word, as BERT's vocabulary has on English text, to the nearest (halves upwards).

    Raises:
        LeftOutError: More than BERT has places for.
    """
    count = (5 * words + 2) // 4
    if count > LONGEST:
        raise LeftOutError(f"a sentence of {words} words has more than {LONGEST} word pieces; choose another text")
    return count


def make_batches(peer: str, sentences: Sentences, size: int | None) -> list[list[Any]]:
    """What the peer is called with, one batch after the other: in file order, or by length where that is the habit.

    `size` None leaves it to the peer, that is to elmokit, how many sentences it takes at once.
    """
    if size is None:
        return [sentences]
    items: list[Any] = sorted(pieces(len(sentence)) for sentence in sentences) if peer in SHAPES else sentences
    return [items[start : start + size] for start in range(0, len(items), size)]


def find_python38(given: Path | None) -> str:
    """Find a Python 3.8 that runs.

    Raises:
        LeftOutError: There is none.
    """
    tried = str(given) if given else "python3.8"
    found = shutil.which(tried)
    if found:  # a shim of pyenv may be there for a version that is not
        asked = subprocess.run([found, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True)
        if asked.stdout.strip() == "(3, 8)":
            return found
    raise LeftOutError(f"needs Python 3.8, and {tried!r} is not one that runs; name it with --python38, or take allennlp-torch2")


def environment(peer: str, cache: Path, python38: Path | None) -> tuple[Path, dict[str, Any]]:
    """Make a peer's environment if it is not there yet, and give its Python and what it was made of.

    Raises:
        LeftOutError: It cannot be made here.
    """
    if peer == "elmokit":
        return Path(sys.executable), {}
    base = find_python38(python38) if peer == "allennlp" else sys.executable
    name = "transformers" if peer in SHAPES else peer.replace("-", "_")
    requirements = HERE / f"{name}.txt"
    constraints = HERE.parent.parent / "constraints.txt"
    steps = [["-c", str(constraints), "-r", str(requirements)]]
    if peer == "allennlp":
        steps = [["--no-deps", "-r", str(requirements)]]
    elif peer == "allennlp-torch2":
        steps.append(["--no-deps", "allennlp==2.10.1", "cached-path==1.1.6"])
    key = hashlib.sha256(requirements.read_bytes() + base.encode()).hexdigest()[:12]
    folder = cache / "environments" / f"{name}-{key}"
    ready = folder / "ready.json"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not ready.exists():
        build(base, folder, python, steps)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        ready.write_text(json.dumps({"install": name, "megabytes": round(size / 1e6)}), encoding="utf-8")
    return python, json.loads(ready.read_text(encoding="utf-8"))


def build(base: str, folder: Path, python: Path, steps: list[list[str]]) -> None:
    """Make a virtual environment and install into it."""
    print(f"making the environment {folder} (some minutes, some gigabytes) …", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in [[base, "-m", "venv", str(folder)], *([*pip, *step] for step in steps)]:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            errors = [line for line in said if "error" in line.lower()] or said or ["no message"]
            raise LeftOutError(f"its environment cannot be made: {errors[-1].strip()}")


def model_files(size: PresetName, cache: Path) -> dict[str, str]:
    """Write random weights of a published shape, if they are not there yet: `options.json` and the HDF5 file.

    The LSTMs have twice their initial weights and uniform biases, so that clips act and the layers have the spread of a
    trained model's; with weights much larger than that the differences of rounding would grow from word to word.
    """
    folder = cache / size / "model"
    if not folder.exists():
        made = random_checkpoint(ElmoConfig(bilm=PRESETS[size]), seed=0)
        random = torch.Generator().manual_seed(0)
        for name, tensor in made.bilm.items():
            if name.endswith(".bias") and "_stack." in name:
                tensor.uniform_(-1, 1.5, generator=random)
            elif "_stack." in name:
                tensor.mul_(2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tokenizer, which this layout cannot hold
            save_hdf5(made, folder)
    return {"options": str(folder / "options.json"), "weights": str(folder / "weights.hdf5")}


@dataclass(frozen=True)
class Peer:
    """A peer that is ready to run."""

    name: str
    python: Path
    options: dict[str, Any]
    """What its job says of the model."""

    def run(self, batches: list[list[Any]], threads: int, vectors: Path | None = None) -> dict[str, Any]:
        """Run batches in a new process and give its answer; write all vectors to a file, each batch by itself, if one is named.

        Raises:
            LeftOutError: It failed; with the last line that it said.
        """
        first = [3] if self.name in SHAPES else [["first"]]
        job = {**self.options, "peer": self.name, "threads": threads, "first": first, "batches": batches}
        job |= {"vectors": str(vectors) if vectors else None}
        environ = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        with tempfile.TemporaryDirectory() as scratch:
            job_path, answer_path = Path(scratch, "job.json"), Path(scratch, "answer.json")
            job_path.write_text(json.dumps(job), encoding="utf-8")
            command = [str(self.python), str(HERE / "worker.py"), str(job_path), str(answer_path)]
            done = subprocess.run(command, env=environ, capture_output=True, text=True)
            if done.returncode:
                raise LeftOutError((done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1])
            answer: dict[str, Any] = json.loads(answer_path.read_text(encoding="utf-8"))
        expected = sum(item if isinstance(item, int) else len(item) for batch in batches for item in batch)
        if answer["rows"] != expected:
            raise LeftOutError(f"gave {answer['rows']} vectors where {expected} were to be expected")
        return answer


def measure(peer: Peer, sentences: Sentences, mode: str, threads: int, size: int | None, repeats: int) -> dict[str, Any]:
    """Run a peer some times, and give one row of the table."""
    sentences = sentences[:ONE_BY_ONE] if mode == "single" else sentences
    tokens = sum(map(len, sentences))
    batches = make_batches(peer.name, sentences, 1 if mode == "single" else size)
    answers = [peer.run(batches, threads) for _ in range(repeats)]
    stages = [answer["stages"] for answer in answers]
    best = min(stages, key=lambda stage: float(stage["seconds"]))
    return {
        "mode": mode,
        "threads": threads,
        "batch": 1 if mode == "single" else size or "its own",
        "sentences": len(sentences),
        "tokens": tokens,
        "tokens_per_s": tokens / best["seconds"],
        "slowest_tokens_per_s": tokens / max(stage["seconds"] for stage in stages),
        "stages": best,
        "all_seconds": [stage["seconds"] for stage in stages],
        "versions": answers[0]["versions"],
    }


def keep_vectors(peer: Peer, sentences: Sentences, folder: Path, threads: int, size: int | None) -> list[dict[str, Any]]:
    """Keep AllenNLP's vectors of these sentences, or compare elmokit's with those that are kept."""
    key = hashlib.sha256(json.dumps(sentences).encode()).hexdigest()[:12]
    kept = {name: folder / f"{key}-{name}.npy" for name in ALLENNLP}
    batches = make_batches(peer.name, sentences, size)
    folder.mkdir(exist_ok=True)
    if peer.name in kept:
        if not kept[peer.name].exists():
            with atomic_path(kept[peer.name]) as path:
                peer.run(batches, threads, path)
        return []
    found = {name: np.load(path) for name, path in kept.items() if path.exists()}
    if not found:
        return []
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "vectors.npy")
        peer.run(batches, threads, path)
        ours = np.load(path)
    return [{"to": name, "sentences": len(sentences), **difference(ours, theirs)} for name, theirs in found.items()]


def difference(a_ND: NDArray[np.float32], b_ND: NDArray[np.float32]) -> dict[str, float]:
    """How far vectors of the same tokens are from each other."""
    cosine_N = (a_ND * b_ND).sum(-1) / (np.linalg.norm(a_ND, axis=-1) * np.linalg.norm(b_ND, axis=-1))
    return {"max_abs": float(np.abs(a_ND - b_ND).max()), "mean_cosine": float(cosine_N.mean())}


def run_variant(
    peer: Peer, row: dict[str, Any], options: argparse.Namespace, sentences: Sentences, report: dict[str, Any]
) -> None:
    """Measure one peer in one size and precision, and add what comes out to the report."""
    size = None if peer.name == "elmokit" else options.batch
    if peer.name not in SHAPES and options.compare:
        folder = options.cache / row["model"] / "vectors"
        for found in keep_vectors(peer, sentences[: options.compare], folder, options.threads[0], size):
            report["differences"].append({**row, **found})
            apart = f"{found['max_abs']:.1e} from {found['to']}, cosine {found['mean_cosine']:.6f}"
            print(f"{title(row)}: at most {apart}", flush=True)
    for threads in options.threads:
        for mode in options.mode:
            measured = measure(peer, sentences, mode, threads, size, options.repeats)
            report["rows"].append({**row, **measured})
            best, slowest = measured["tokens_per_s"], measured["slowest_tokens_per_s"]
            print(f"{title(row)}, {threads} thread(s), {mode}: {best:,.0f} words/s (slowest {slowest:,.0f})", flush=True)


def title(row: dict[str, Any]) -> str:
    """Name a peer, its size and its precision."""
    return " ".join(dict.fromkeys([row["peer"], row["model"], row["precision"]]))


def run_peer(options: argparse.Namespace, sentences: Sentences) -> dict[str, Any]:
    """Measure one peer in all sizes and precisions that are asked for; what cannot be done is said and left out."""
    name, cache = options.peer, options.cache
    report: dict[str, Any] = {"machine": machine(), "text": about_text(options.text, sentences)}
    report |= {"rows": [], "differences": [], "left_out": []}
    sizes = [name] if name in SHAPES else options.size
    for model in sizes:
        for precision in options.precision if name == "elmokit" else ["float32"]:
            row = {"peer": name, "model": model, "precision": precision}
            try:
                python, about = environment(name, cache, options.python38)
                job = {"shape": SHAPES[name]} if name in SHAPES else {"precision": precision, **model_files(model, cache)}
                run_variant(Peer(name, python, job), row | about, options, sentences, report)
            except LeftOutError as error:
                report["left_out"].append({**row, "why": str(error)})
                print(f"{title(row)} is left out: {error}", file=sys.stderr)
    return report


def machine() -> dict[str, Any]:
    """What it was measured on."""
    with suppress(OSError):  # Linux alone has this file
        names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        return {"processor": names[0] if names else platform.machine(), "cores": os.cpu_count()}
    return {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}


def about_text(path: Path, sentences: Sentences) -> dict[str, Any]:
    """What it was measured with."""
    digest = hashlib.sha256(json.dumps(sentences).encode()).hexdigest()
    return {"name": path.name, "sentences": len(sentences), "tokens": sum(map(len, sentences)), "sha256": digest}


def positive(text: str) -> int:
    """A number of things of which there is at least one."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("text", type=Path)
    parser.add_argument("--size", nargs="+", choices=get_args(PresetName), default=["original"], help="of an ELMo")
    parser.add_argument("--precision", nargs="+", choices=["float32", "bfloat16", "int8"], default=["float32"], help="of elmokit")
    parser.add_argument("--threads", type=positive, nargs="+", default=[1])
    parser.add_argument("--mode", nargs="+", choices=MODES, default=MODES, help="single: one sentence at a time, the first 200")
    parser.add_argument("--batch", type=positive, default=32, help="sentences in a batch; elmokit forms its own")
    parser.add_argument("--sentences", type=positive, help="only the first so many")
    parser.add_argument("--repeats", type=positive, default=1, help="processes for each figure, of which the best one counts")
    parser.add_argument("--compare", type=int, default=ONE_BY_ONE, help="compare the vectors of so many sentences; 0 for none")
    parser.add_argument("--json", type=Path, help="where to write all figures, for plot.py")
    parser.add_argument("--cache", type=Path, default=home / "elmokit-peers", help="for environments and weights")
    parser.add_argument("--python38", type=Path, help="for allennlp; by default python3.8 of PATH")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 if there are figures, else 2."""
    options = parse(arguments)
    try:
        report = run_peer(options, read_sentences(options.text, options.sentences))
        if options.json:
            with atomic_path(options.json) as path:
                path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if report["rows"] else 2


if __name__ == "__main__":
    sys.exit(main())
