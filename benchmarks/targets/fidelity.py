"""How close lower precisions stay to float32: cosines of the same tokens' vectors, layer by layer, on real text.

L layers, the word vectors (layer 0) counted, N tokens, D width.
"""

import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.targets.fresh import call
from benchmarks.targets.lines import Line
from benchmarks.targets.setting import Setting
from numpy.typing import NDArray

MEAN = {"int8": 0.999, "bfloat16": 0.9995}
FIRST_PERCENTILE = {"int8": 0.99}
PARTS = 10
LARGEST = 5e-5
"""Between our float32 vectors and AllenNLP's: what its recorded outputs are compared with."""
HOW_TO_COMPARE = (
    "give --peers of `benchmarks/peers/run.py allennlp-torch2` and then `elmokit`, or --run-peers allennlp-torch2 elmokit"
)


def fidelity_lines(setting: Setting) -> Iterator[Line]:
    """Give the mean and the first percentile of each precision and layer."""
    threads = max(setting.threads)
    found = call("fidelity", "sentences", threads, model=setting.trained, precisions=list(MEAN), texts=setting.sentences)
    for precision, layers in found["layers"].items():
        for layer, (mean, first) in enumerate(layers):
            what, how = f"trained, {precision}, layer {layer}", f"{found['tokens']:,} tokens"
            yield Line(what, "cosine to float32, mean", MEAN[precision], mean, how=how)
            if precision in FIRST_PERCENTILE:
                yield Line(what, "cosine to float32, 1st percentile", FIRST_PERCENTILE[precision], first, how=how)


def reference_lines(setting: Setting) -> Iterator[Line]:
    """Give what the peers' files say of our vectors beside AllenNLP's: those of all layers' mean, random weights."""
    if not setting.differences:
        yield Line("vectors", "largest difference to AllenNLP", LARGEST, None, at_most=True, how=HOW_TO_COMPARE)
    for found in setting.differences:
        what = f"{found['model']}, {found['precision']}, vectors"
        how = f"{found['sentences']:,} sentences; at most {found['max_abs']:.1e} apart"
        if found["precision"] == "float32":
            yield Line(what, f"largest difference to {found['to']}", LARGEST, found["max_abs"], at_most=True, how=how)
        else:
            yield Line(what, f"cosine to {found['to']}, mean", MEAN[found["precision"]], found["mean_cosine"], how=how)


def drift_lines(setting: Setting) -> Iterator[Line]:
    """Give the mean cosine at the end of a long document, beside that of its beginning."""
    threads = max(setting.threads)
    found = call(
        "fidelity", "document", threads, model=setting.trained, precision="int8", texts=setting.cycle, tokens=setting.document
    )
    for layer, tenths in enumerate(found):
        how = f"first tenth {tenths[0]:.5f}, lowest {min(tenths):.5f}"
        what = f"trained, int8, layer {layer}, last tenth of {setting.document:,} tokens"
        yield Line(what, "cosine to float32, mean", MEAN["int8"], tenths[-1], how=how)


def sentences(model: str, precisions: list[str], texts: list[list[str]]) -> dict[str, Any]:
    """Compare the vectors of sentences, each by itself."""
    from elmokit import Elmo

    def vectors(precision: Any) -> NDArray[np.float32]:
        elmo = Elmo.from_pretrained(model, device="cpu", precision=precision)
        return np.concatenate(elmo.encode_tokens(texts, layers="all"), axis=1)

    exact_LND = vectors("float32")
    layers = {}
    for precision in precisions:
        cosine_LN = cosines(exact_LND, vectors(precision))
        layers[precision] = [[float(c_N.mean()), float(np.percentile(c_N, 1))] for c_N in cosine_LN]
    return {"tokens": exact_LND.shape[1], "layers": layers}


def document(model: str, precision: Any, texts: list[list[str]], tokens: int) -> list[list[float]]:
    """Compare the vectors of a document, the states carried from its first sentence to its last; the means of its tenths."""
    from elmokit import Elmo

    with tempfile.TemporaryDirectory() as folder:
        exact_LND, other_LND = (
            Elmo.from_pretrained(model, device="cpu", precision=each).encode_document(
                cut(texts, tokens), layers="all", out=Path(folder) / f"{each}.npy"
            )
            for each in ("float32", precision)
        )
        bounds = np.linspace(0, tokens, PARTS + 1).astype(int)
        parts_PL = [cosines(exact_LND[:, a:b], other_LND[:, a:b]).mean(1) for a, b in pairwise(bounds)]
        del exact_LND, other_LND  # the files stay mapped as long as these live
    return [[float(mean) for mean in layer_P] for layer_P in np.transpose(parts_PL)]


def cut(texts: list[list[str]], tokens: int) -> list[list[str]]:
    """The first so many tokens."""
    chosen: list[list[str]] = []
    for words in texts:
        if tokens <= 0:
            break
        chosen.append(words[:tokens])
        tokens -= len(words)
    return chosen


def cosines(a_LND: NDArray[np.float32], b_LND: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosines of the same layer and token, (L, N)."""
    a_LND, b_LND = a_LND.astype(np.float64), b_LND.astype(np.float64)
    lengths_LN = np.linalg.norm(a_LND, axis=-1) * np.linalg.norm(b_LND, axis=-1)
    cosines_LN: NDArray[np.float64] = (a_LND * b_LND).sum(-1) / lengths_LN
    return cosines_LN
