"""The table of targets: for each what is to be reached, what was measured here, and their ratio.

    python -m benchmarks.targets TEXT [--rows original small …] [--threads 2 1] [--repeats 3] [--peers FILE.json …] [--json FILE]

Run it in the checkout's folder, on a machine that does nothing else. TEXT is a CoNLL-U file (its FORM column) or a text file, a
line a sentence, split at white space; `.gz`, `.xz` and `.zst` are unpacked. The issue's own figures are those of all sentences
of UD English EWT's dev part, 200 of them one at a time. Models of the published sizes are made with random weights; what
depends on weights is measured on `en-small`.

Every measurement is a fresh process; of `--repeats` of them the best one counts, and the range is told. A speed is stated in
multiples of the float32 floor (the matrix products that a float32 run performs, performed again alone, in the same process)
and, where `--peers` has files of `benchmarks/peers/run.py --json` or `--run-peers` makes them, in multiples of AllenNLP's.

ROWS are
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from benchmarks.peers.run import PEERS, SHAPES, about_text, model_files, read_sentences
from benchmarks.targets.documents import linear_lines, memory_lines
from benchmarks.targets.fidelity import drift_lines, fidelity_lines, reference_lines
from benchmarks.targets.fresh import run_script
from benchmarks.targets.lines import Line, as_table
from benchmarks.targets.machine import gpu_lines, start_lines, workers_lines
from benchmarks.targets.setting import Setting, read_peers
from benchmarks.targets.speed import ORIGINAL, SMALL, Speeds

from elmokit.atomic import atomic_path
from elmokit.deploy.bench import machine
from elmokit.kernels.products import Precision
from elmokit.pretraining.recipes import PresetName

ROWS = {
    "original": "the original size, float32, bfloat16 and int8, in batches and one sentence at a time",
    "preparing": "how long the weights of the original size take to prepare",
    "small": "the small size, float32 and int8, in batches",
    "usual": "words a second beside BERT-base and a 6-layer MiniLM",
    "reference": "vectors beside AllenNLP's, where the peers' files compare them",
    "fidelity": "cosines of int8 and bfloat16 to float32",
    "drift": "the same at the end of a long document",
    "gpu": "the original size on a GPU, tokenizing included",
    "workers": "two processes of `elmo embed` beside one",
    "documents": "time per token from short documents to long ones",
    "memory": "peak memory of a document of a million tokens",
    "start": "importing elmokit, and `elmo --help`",
}


SIZES: dict[PresetName, set[str]] = {
    "original": {"original", "preparing", "usual", "documents"},
    "small": {"small", "usual"},
}
"""Models of random weights, and the rows that need them."""


def measure(setting: Setting, rows: Sequence[str]) -> Iterator[Line]:
    """Measure rows, in the table's order."""
    speeds = Speeds(setting)
    ways: dict[str, Callable[[], Iterator[Line]]] = {
        "original": lambda: speeds.against_floor(ORIGINAL),
        "preparing": speeds.preparing,
        "small": lambda: speeds.against_floor(SMALL),
        "usual": speeds.against_usual,
        "reference": lambda: reference_lines(setting),
        "fidelity": lambda: fidelity_lines(setting),
        "drift": lambda: drift_lines(setting),
        "gpu": lambda: gpu_lines(setting),
        "workers": lambda: workers_lines(setting),
        "documents": lambda: linear_lines(setting),
        "memory": lambda: memory_lines(setting),
        "start": lambda: start_lines(setting),
    }
    for row, way in ways.items():
        if row in rows:
            for line in way():
                print(f"{line.what}: {line.unit}: {line.measured} (target {line.target})", file=sys.stderr, flush=True)
                yield line


def model_of(size: PresetName, options: argparse.Namespace, folder: Path) -> str:
    """Give the path of a model of that size; random weights are written only if a row needs them."""
    given: str | None = vars(options)[size]
    if given or not SIZES[size] & set(options.rows):
        return given or ""
    return model_files(size, folder)["weights"]


def run_peers(options: argparse.Namespace, folder: Path) -> list[Path]:
    """Measure the peers that are asked for; give their files."""
    paths = []
    for peer in options.run_peers:
        paths.append(folder / f"{peer}.json")
        size = [] if peer in SHAPES else ["--size", "original", "small"]
        size += ["--precision", *get_args(Precision)] if peer == "elmokit" else []
        numbers = ["--threads", *map(str, options.threads), "--repeats", str(options.repeats), "--json", str(paths[-1])]
        cut = ["--sentences", str(options.sentences)] if options.sentences else []
        run_script("peers/run.py", peer, str(options.text.resolve()), *size, *numbers, *cut)
    return paths


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    rows = "\n".join(f"    {name:10}  {what}" for name, what in ROWS.items())
    parser = argparse.ArgumentParser(
        "python -m benchmarks.targets", description=f"{__doc__}{rows}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sentences", type=int, help="only the first so many")
    parser.add_argument(
        "--peers", type=Path, nargs="+", default=[], help="what benchmarks/peers/run.py --json wrote of the same text"
    )
    parser.add_argument("--run-peers", nargs="+", choices=PEERS, default=[], help="measure these peers too")
    parser.add_argument("--original", help="a model in place of the random one of that size")
    parser.add_argument("--small", help="the same")
    parser.add_argument("--trained", default="en-small", help="a model for what depends on weights")
    parser.add_argument("--lengths", type=int, nargs="+", default=Setting.lengths, help="of documents, for time per token")
    parser.add_argument("--seconds", type=float, default=Setting.seconds, help="for which each of these is read again")
    parser.add_argument("--document", type=int, default=Setting.document, help="tokens of the one in which int8 may drift")
    parser.add_argument("--memory", type=int, nargs="+", default=Setting.memory, help="of documents whose memory is compared")
    parser.add_argument("--embedded", type=int, default=Setting.embedded, help="tokens that one process and two embed")
    parser.add_argument("--gpu-text", type=Path, nargs="+", default=[], help="files for the GPU; words are made up without")
    parser.add_argument("--gpu-tokens", type=int, default=Setting.gpu_tokens)
    parser.add_argument("--json", type=Path, help="where to write all lines")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0 whether targets are reached or not, 2 if something could not be read."""
    options = parse(arguments)
    try:
        sentences = read_sentences(options.text, options.sentences)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            peers, differences = read_peers([*options.peers, *run_peers(options, folder)], options.text, sentences)
            setting = Setting(
                options.text,
                sentences,
                model_of("original", options, folder),
                model_of("small", options, folder),
                options.trained,
                options.threads,
                options.repeats,
                peers,
                options.lengths,
                options.seconds,
                options.document,
                options.memory,
                options.embedded,
                options.gpu_text,
                options.gpu_tokens,
                differences,
            )
            lines = list(measure(setting, options.rows))
        about = {"machine": machine(), "text": about_text(options.text, sentences)}
        print(f"{about['machine']['processor']}, {options.text.name}, {len(sentences):,} sentences\n")
        print(f"{as_table(lines)}\n\nTargets against AllenNLP and BERT are stated for 2 threads, those against the floor for 1.")
        if options.json:
            report = {**about, "lines": [asdict(line) | {"ratio": line.ratio, "reached": line.reached} for line in lines]}
            with atomic_path(options.json) as path:
                path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
