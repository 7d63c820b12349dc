"""How fast words become character ids, on one core. The aim is a million words a second.

    python benchmarks/encode_words.py [../shared/data/lm-en/enwiki2014.valid.txt.xz …]

Without files it makes words up: letters at random, lengths as in English.
"""

import argparse
import random
import time
from pathlib import Path

from elmokit.text.bytes import encode_words
from elmokit.text.files import read_lines

WORDS = 1_000_000
REPEATS = 5


def invented_words(number: int) -> list[str]:
    """Words of random letters, seven in a hundred with one beyond ASCII."""
    draw = random.Random(1)
    lengths = draw.choices(range(1, 13), weights=[4, 17, 21, 16, 11, 9, 8, 5, 4, 3, 1, 1], k=number)
    return ["".join(draw.choices("etaoinshrdlu", k=length)) + "é" * (draw.random() < 0.07) for length in lengths]


def words_of(paths: list[Path]) -> list[str]:
    """The first million words of files, from the start again where there are fewer."""
    words = [word for path in paths for line in read_lines(path, errors="skip") for word in line.split()]
    if not words:
        raise SystemExit("the files hold no words")
    return (words * (WORDS // len(words) + 1))[:WORDS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*")
    files = parser.parse_args().files
    words = words_of(files) if files else invented_words(WORDS)
    rates = []  # of processor time, so that a busy machine measures the same
    for _ in range(REPEATS):
        began = time.process_time()
        encode_words(words)
        rates.append(len(words) / (time.process_time() - began))
    print(f"best of {REPEATS}: {max(rates) / 1e6:.2f} M words/s, median {sorted(rates)[REPEATS // 2] / 1e6:.2f}")


if __name__ == "__main__":
    main()
