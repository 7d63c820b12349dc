"""What tuning is worth: a trained model tuned on a domain beside a new one trained on it alone, for the same time.

Both have the same shape, vocabulary, tokenizer, text and held-out documents (every hundredth), so their perplexities compare;
each runs on one thread. What the tuned model forgets is measured on text of its old domain.

    python -m benchmarks.tuning FOLDER --medquad medquad.jsonl.xz --reuters reut2.sgm.xz --old enwiki2014.valid.txt.xz

FOLDER keeps texts and runs: what is finished is not done again, what was interrupted goes on.
"""

import argparse
import html
import json
import lzma
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.long_runs import one_line_errors, start

from elmokit.checkpoints.load import load_checkpoint, resolve_path

BODY = re.compile(r"<BODY>(.*?)</BODY>", re.DOTALL)
SIGNATURE = re.compile(r"\s*(reuter)?\s*\x03?\s*\Z", re.IGNORECASE)
PARAGRAPH = re.compile(r"\n {2,}")


def medquad(path: Path) -> Iterator[list[str]]:
    """Give the documents of MedQuAD: questions and answers, a paragraph each."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        pairs = map(json.loads, file)
        for _, group in groupby(pairs, key=lambda pair: (pair["source"], pair["doc"])):
            yield [" ".join(text.split()) for pair in group for text in (pair["question"], pair["answer"])]


def reuters(path: Path) -> Iterator[list[str]]:
    """Give the bodies of Reuters-21578's SGML, their lines joined to paragraphs."""
    with lzma.open(path, "rt", encoding="latin-1") as file:
        bodies = BODY.findall(file.read())
    for body in bodies:
        text = SIGNATURE.sub("", html.unescape(body))
        yield [" ".join(part.split()) for part in PARAGRAPH.split(text) if part.strip()]


DOMAINS: dict[str, Callable[[Path], Iterator[list[str]]]] = {"medquad": medquad, "reuters": reuters}


def write_text(documents: Iterator[list[str]], path: Path) -> None:
    """Write documents as running text, a paragraph a line, an empty line after each; what is there stays."""
    if not path.exists():
        temporary = path.with_suffix(".part")
        temporary.write_text("\n".join("".join(f"{line}\n" for line in lines) for lines in documents if lines), encoding="utf-8")
        temporary.rename(path)


def elmo(*words: str) -> None:
    """Run a command of elmokit on one thread."""
    subprocess.run([sys.executable, "-m", "elmokit", *words], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def compare(name: str, text: Path, model: str, old: str, minutes: float, seed: int) -> dict[str, Any]:
    """Tune a model on a domain and train another of its shape from scratch; give all perplexities."""
    config = load_checkpoint(model).config
    bilm = config.bilm
    filters = ",".join(f"{width}x{number}" for width, number in bilm.byte_cnn.filters)
    shape = {
        "--cell-dim": bilm.cell_dim,
        "--projection-dim": bilm.output_dim,
        "--layers": bilm.layers,
        "--filters": filters,
        "--highways": bilm.byte_cnn.highways,
        "--vocab-file": resolve_path(model) / "vocab.txt",
        "--tokenizer": config.text.tokenizer,
        "--normalization": config.text.normalization,
        **({"--lowercase": "true"} if config.text.lowercase else {}),
    }
    asked = f"{name}-{Path(model).name}-{minutes:g}-{seed}"
    tuned, scratch = text.with_name(f"{asked}-tuned"), text.with_name(f"{asked}-scratch")
    changed = tuned.with_name(tuned.name + ".training") / "tuning.json"
    shared = ["--corpus", str(text), "--layout", "running", "--language", "en", "--hours", str(minutes / 60)]
    shared += ["--precision", "bfloat16", "--seed", str(seed)]
    if not changed.exists():
        elmo("tune", model, "--out", str(tuned), "--old", old, *shared)
    if not scratch.exists():
        elmo("pretrain", "--out", str(scratch), *shared, *(str(word) for pair in shape.items() for word in pair))
    changes = json.loads(changed.read_text(encoding="utf-8"))
    log = (scratch.with_name(scratch.name + ".training") / "log.jsonl").read_text(encoding="utf-8").splitlines()
    (final,) = [record["final"] for record in map(json.loads, log[-1:])]
    facts = json.loads((tuned.with_name(tuned.name + ".training") / "corpus" / "corpus.json").read_text(encoding="utf-8"))
    return {"domain": name, "words": facts["tokens"], "changes": changes, "scratch": final}


def table(rows: list[dict[str, Any]]) -> str:
    """Write the results in Markdown."""
    lines = [
        "| domain | words | held out | model as it was | tuned | from scratch | old domain before | after |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        new, old = row["changes"]
        numbers = [new["before"], new["after"], row["scratch"], old["before"], old["after"]]
        cells = [f"{row['words']:,}", f"{new['after']['tokens']:,}", *(f"{score['mean']:.1f}" for score in numbers)]
        lines.append(f"| {row['domain']} | {' | '.join(cells)} |")
    return "\n".join(lines)


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name in DOMAINS:
        parser.add_argument(f"--{name}", type=Path, help="the data set's file, .xz")
    parser.add_argument("--old", required=True, help="running text of the model's old domain")
    parser.add_argument("--model", default="en-small")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, for each of the two")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, documents in DOMAINS.items():
        source = getattr(options, name)
        if source is not None:
            text = options.folder / f"{name}.txt"
            write_text(documents(source), text)
            rows.append(compare(name, text, options.model, options.old, options.minutes, options.seed))
    (options.folder / "tuning.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    start(main)
