"""Peak memory of `elmo embed` at 100 thousand and at a million tokens: it should not grow.

    python benchmarks/embed_memory.py [--model …] [--formats h5 parquet jsonl] [--tokens 100000 1000000] [--layers all]

Each run is a process of its own; its peak is what the system says of it when it has ended (maximum resident set). The text
is the same sentences with a number in each, so that no two are equal and `.h5` has a full table of them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from elmokit import Elmo, ElmoConfig
from elmokit.config import BiLMConfig, CharCnnConfig

SMALL = ElmoConfig(
    bilm=BiLMConfig(char_cnn=CharCnnConfig(filters=((1, 32), (2, 32), (3, 64)), highways=1), cell_dim=64, projection_dim=32)
)
"""Quick to run: what grows, grows with any model."""
WORDS = ["the", "river", "bank", "was", "steep", "and", "muddy", "where", "we", "sat", "fished", "until", "it", "grew", "dark"]


def write_text(path: Path, tokens: int) -> None:
    """Lines of 20 words on average, each with a word of its own."""
    with path.open("w") as file:
        line = 0
        while tokens > 0:
            length = min(tokens, 1 + line * 7 % 39)
            file.write(" ".join([f"line{line}", *(WORDS[(line + n) % len(WORDS)] for n in range(length - 1))]) + "\n")
            tokens -= length
            line += 1


def peak_of(arguments: list[str]) -> float:
    """Run `elmo`; give its peak memory in MB."""
    code = "import sys; from elmokit.cli.main import main; sys.exit(main())"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"elmo {' '.join(arguments)} failed")
    return usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024 * 1024)  # kB on Linux, bytes on macOS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a bundled name or a path; by default a small one with random weights")
    parser.add_argument("--formats", nargs="+", default=["h5", "parquet", "jsonl"])
    parser.add_argument("--tokens", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--layers", default="all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = options.model or str(folder / "model")
        if not options.model:
            Elmo.from_config(SMALL).save_pretrained(model)
        for format in options.formats:
            peaks = []
            for tokens in options.tokens:
                write_text(folder / "in.txt", tokens)
                target = folder / f"out.{format}"
                command = [
                    "embed",
                    str(folder / "in.txt"),
                    str(target),
                    "--model",
                    model,
                    "--layers",
                    options.layers,
                    "--device",
                    "cpu",
                ]
                peaks.append(peak_of(command))
                print(
                    f"{format:8} {tokens:10,} tokens: peak {peaks[-1]:7.1f} MB, file {target.stat().st_size / 1e6:8.1f} MB",
                    flush=True,
                )
                target.unlink()
            print(f"{format:8} {peaks[-1] / peaks[0] - 1:+.1%}", flush=True)


if __name__ == "__main__":
    main()
