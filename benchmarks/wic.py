"""Word in Context (Pilehvar and Camacho-Collados 2019): is a word used in the same sense in two sentences?

Yes, if the cosine of its two vectors is above a threshold, fitted on the train part; the accuracy is that on the dev part.

    python benchmarks/wic.py FOLDER --model en-small

N pairs, L layers (with layer 0 there are L+1), D features.
"""

import argparse
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elmokit import Elmo

CHUNK = 256  # pairs encoded at once


@dataclass(frozen=True)
class Part:
    """The N pairs of one file."""

    sentences: list[tuple[list[str], list[str]]]
    places: list[tuple[int, int]]
    same_N: NDArray[np.bool_]


@dataclass(frozen=True)
class Vectors:
    """All layers of the word in the first and in the second sentence of each pair, and each layer's mean over all tokens."""

    first_NLD: NDArray[np.float32]
    second_NLD: NDArray[np.float32]
    mean_LD: NDArray[np.float32]


def read_part(folder: Path, name: str) -> Part:
    """Read `name.data.txt` (word, N or V, "i-j", two tokenized sentences) and `name.gold.txt` (T or F)."""
    rows = [line.split("\t") for line in (folder / f"{name}.data.txt").read_text(encoding="utf-8").splitlines()]
    gold = (folder / f"{name}.gold.txt").read_text(encoding="utf-8").split()
    if len(rows) != len(gold):
        raise ValueError(f"{folder}: {len(rows)} pairs in {name}.data.txt, {len(gold)} labels in {name}.gold.txt")
    places = [(int(i), int(j)) for i, j in (row[2].split("-") for row in rows)]
    return Part([(row[3].split(), row[4].split()) for row in rows], places, np.array([label == "T" for label in gold]))


def encode(elmo: Elmo, part: Part) -> Vectors:
    first, second, sums, count = [], [], [], 0
    for begin in range(0, len(part.sentences), CHUNK):
        pairs, places = part.sentences[begin : begin + CHUNK], part.places[begin : begin + CHUNK]
        layers = elmo.encode_tokens(list(chain.from_iterable(pairs)), layers="all")
        first += [layers[2 * n][:, i] for n, (i, _) in enumerate(places)]
        second += [layers[2 * n + 1][:, j] for n, (_, j) in enumerate(places)]
        sums.append(np.sum([x_LTD.sum(axis=1, dtype=np.float64) for x_LTD in layers], axis=0))
        count += sum(x_LTD.shape[1] for x_LTD in layers)
    return Vectors(np.stack(first), np.stack(second), (np.sum(sums, axis=0) / count).astype(np.float32))


def cosines(vectors: Vectors, layer: int | None, mean_LD: NDArray[np.float32] | None) -> NDArray[np.float64]:
    """Compare the two uses of each pair, (N,), by one layer or by the mean of all; `mean_LD` is subtracted if given."""
    chosen = []
    for x_NLD in (vectors.first_NLD, vectors.second_NLD):
        centered_NLD = x_NLD - (0 if mean_LD is None else mean_LD)
        chosen.append(np.asarray(centered_NLD.mean(axis=1) if layer is None else centered_NLD[:, layer], np.float64))
    a_ND, b_ND = chosen
    norms_N = np.linalg.norm(a_ND, axis=1) * np.linalg.norm(b_ND, axis=1)
    return np.asarray((a_ND * b_ND).sum(axis=1) / np.where(norms_N > 0, norms_N, 1), np.float64)


def fit_threshold(cosines_N: NDArray[np.float64], same_N: NDArray[np.bool_]) -> float:
    """Find the threshold that is right most often; it lies halfway between two cosines, or beyond them all."""
    order = np.argsort(cosines_N)
    values, same = cosines_N[order], same_N[order]
    below = np.concatenate([[0], np.cumsum(~same)])  # different ones among the lowest k
    above = same.sum() - np.concatenate([[0], np.cumsum(same)])  # same ones among the others
    cuts = np.concatenate([[values[0] - 1], (values[:-1] + values[1:]) / 2, [values[-1] + 1]])
    possible = np.concatenate([[True], values[:-1] < values[1:], [True]])  # no cut between equal cosines
    return float(cuts[np.argmax(np.where(possible, below + above, -1))])


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy on WiC dev of a cosine threshold fitted on WiC train.")
    parser.add_argument("folder", type=Path, help="where train.data.txt, train.gold.txt, dev.data.txt and dev.gold.txt are")
    parser.add_argument("--model", default="en-small", help="a bundled name or a model folder")
    options = parser.parse_args()
    elmo = Elmo.from_pretrained(options.model)
    train, dev = read_part(options.folder, "train"), read_part(options.folder, "dev")
    train_vectors, dev_vectors = encode(elmo, train), encode(elmo, dev)
    print(f"{options.model} on WiC: {len(train.same_N)} pairs to fit a threshold, accuracy on {len(dev.same_N)} others")
    print(f"{'':18}raw      centered")
    for layer in (None, *range(train_vectors.mean_LD.shape[0])):
        line = f"{'mean of all layers' if layer is None else f'layer {layer}':18}"
        for mean_LD in (None, train_vectors.mean_LD):
            threshold = fit_threshold(cosines(train_vectors, layer, mean_LD), train.same_N)
            accuracy = ((cosines(dev_vectors, layer, mean_LD) > threshold) == dev.same_N).mean()
            line += f"  {100 * accuracy:4.1f} %"
        print(line)


if __name__ == "__main__":
    main()
