"""One measurement of one peer, in that peer's environment: a fresh process that `run.py` starts.

    PYTHON worker.py JOB.json ANSWER.json

It runs under Python 3.8 too, so nothing of a newer Python is used; `run.py` decides all that can be decided outside.
A peer becomes a function: a batch of sentences → their vectors, an array each.
N tokens (or word pieces) of a sentence, T of the longest of a batch, B sentences, D width of a vector.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import sys
import time
import types
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any


class Stages:
    """Seconds of wall-clock time between one mark and the next."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def mark(self, name: str) -> None:
        """Say what has come to its end."""
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now


def enter_allennlp_without_packages() -> None:
    """Let `allennlp.modules.elmo` be imported on today's libraries, though the whole of AllenNLP cannot be.

    The `__init__` files of these packages import all of AllenNLP, down to parts for images (torchvision) and for a call of
    huggingface_hub that no longer exists. The files with the model itself are run unchanged.
    """
    spec = importlib.util.find_spec("allennlp")
    if spec is None or spec.origin is None:
        raise ImportError("allennlp is not installed")
    root = Path(spec.origin).parent
    for name in ("allennlp", "allennlp.modules", "allennlp.data", "allennlp.data.token_indexers"):
        package = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    hub: Any = types.ModuleType("allennlp.common.push_to_hf")
    hub.push_to_hf = None
    sys.modules[hub.__name__] = hub


def start_allennlp(job: dict[str, Any], stages: Stages) -> Callable[[list[Any]], list[Any]]:
    """AllenNLP's `Elmo` with one mix of the layers: with its untrained weights that is their mean."""
    if job["peer"] == "allennlp-torch2":
        enter_allennlp_without_packages()
    import torch
    from allennlp.modules.elmo import Elmo, batch_to_ids

    stages.mark("import_s")
    elmo = Elmo(job["options"], job["weights"], 1, dropout=0).eval()

    def run(batch: list[Any]) -> list[Any]:
        if job["vectors"]:  # each batch by itself; by default it carries the LSTMs' states from each batch to the next
            elmo._elmo_lstm._elmo_lstm.reset_states()
        with torch.no_grad():
            x_BTD = elmo(batch_to_ids(batch))["elmo_representations"][0]
        return [x_BTD[row, : len(sentence)].numpy() for row, sentence in enumerate(batch)]

    return run


def start_elmokit(job: dict[str, Any], stages: Stages) -> Callable[[list[Any]], list[Any]]:
    """One call of `Elmo.encode_tokens`, which forms batches of its own."""
    from elmokit import Elmo

    stages.mark("import_s")
    elmo = Elmo.from_pretrained(str(Path(job["weights"]).parent), device="cpu", precision=job["precision"])
    return lambda batch: list(elmo.encode_tokens(batch))


def start_transformers(job: dict[str, Any], stages: Stages) -> Callable[[list[Any]], list[Any]]:
    """A BERT of random weights; a sentence is the number of its word pieces, to which [CLS] and [SEP] are added."""
    import torch
    from transformers import BertConfig, BertModel

    stages.mark("import_s")
    torch.manual_seed(0)
    config = BertConfig(**job["shape"])
    bert = BertModel(config, add_pooling_layer=False).eval()
    ids_N = torch.randint(1000, config.vocab_size, (config.max_position_embeddings,))

    def run(batch: list[Any]) -> list[Any]:
        length_B = torch.tensor(batch) + 2
        mask_BT = torch.arange(int(length_B.max())) < length_B[:, None]
        ids_BT = ids_N[: mask_BT.shape[1]] * mask_BT
        with torch.no_grad():
            x_BTD = bert(input_ids=ids_BT, attention_mask=mask_BT.long()).last_hidden_state
        return [x_BTD[row, 1 : 1 + pieces].numpy() for row, pieces in enumerate(batch)]

    return run


START = {
    "allennlp": start_allennlp,
    "allennlp-torch2": start_allennlp,
    "bert": start_transformers,
    "minilm": start_transformers,
    "elmokit": start_elmokit,
}
LIBRARIES = ("torch", "numpy", "allennlp", "transformers", "elmokit")


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Load the peer, run all batches, write the vectors if they are wanted; tell how long each took."""
    stages = Stages()
    import numpy
    import torch

    torch.set_num_threads(job["threads"])
    run = START[job["peer"]](job, stages)
    stages.mark("load_s")
    run(job["first"])  # what is only imported or set up at the first call
    stages.mark("first_s")
    cpu = time.process_time()
    vectors = [x_ND for batch in job["batches"] for x_ND in run(batch)]
    stages.mark("seconds")
    stages.seconds["cpu_seconds"] = time.process_time() - cpu
    if job["vectors"]:
        numpy.save(job["vectors"], numpy.concatenate(vectors).astype(numpy.float32))
    return {"stages": stages.seconds, "versions": versions(), "rows": sum(map(len, vectors))}


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that this process has imported."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        if name in sys.modules:
            found[name] = metadata.version(name)
    return found


if __name__ == "__main__":
    job_path, answer_path = map(Path, sys.argv[1:])
    answer = measure(json.loads(job_path.read_text(encoding="utf-8")))
    answer_path.write_text(json.dumps(answer), encoding="utf-8")
