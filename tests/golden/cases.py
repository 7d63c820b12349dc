"""The recorded cases, and the bookkeeping that AllenNLP and bilm-tf do round the biLM."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elmokit.compat import stateful
from elmokit.kernels.engine import Engine
from elmokit.text.batch import WordBatch

DATA = Path(__file__).parent / "data"
"""What ships; the larger collection is `shared / "golden"`, laid out alike."""


class Case(NamedTuple):
    """One recorded case."""

    facts: dict[str, Any]
    """What `index.json` says of it."""
    arrays: dict[str, NDArray[Any]]
    """What was recorded."""

    @property
    def batches(self) -> list[list[list[str]]]:
        """The input sentences, batch by batch."""
        batches: list[list[list[str]]] = parsed(self.facts["batches"])
        return batches

    def tensor(self, name: str) -> Tensor:
        """A recorded array."""
        return torch.from_numpy(self.arrays[name])

    @property
    def is_stateful(self) -> bool:
        """Whether a batch begins with what the last one left."""
        return "carried over" in self.facts["initial_state"]


def load_case(name: str, root: Path = DATA) -> Case:
    """Read a case by its name."""
    facts = json.loads((root / "index.json").read_text(encoding="utf-8"))["cases"][name]
    with np.load(root / facts["file"], allow_pickle=False) as file:
        return Case(facts, dict(file))


def parsed(value: Any) -> Any:
    """Undo the second coat of JSON that some entries of the index wear."""
    return json.loads(value) if isinstance(value, str) else value


def distance(ours: Tensor, recorded: Tensor) -> float:
    """The largest absolute difference; shapes must be equal."""
    assert ours.shape == recorded.shape
    return float((ours - recorded).abs().max()) if ours.numel() else 0.0


def ids_of(batch: WordBatch) -> NDArray[np.int64]:
    """Character ids as the references number them at inference: one higher, 0 past a sentence's end."""
    reads_BT = np.arange(batch.index_BT.shape[1]) < batch.lengths_B[:, None]
    ids: NDArray[np.int64] = np.where(reads_BT[..., None], batch.chars_UW[batch.index_BT] + 1, 0)
    return ids


def mask_of(batch: WordBatch) -> Tensor:
    """True at tokens."""
    return torch.arange(batch.index_BT.shape[1]) < torch.from_numpy(batch.lengths_B)[:, None]


def without_marks(x_BTD: Tensor, batch: WordBatch) -> Tensor:
    """Drop `<S>` and `</S>` of each row, as AllenNLP does: zeros follow a row's last word."""
    words_B1 = torch.from_numpy(batch.lengths_B)[:, None] - 2
    is_word_BT = torch.arange(x_BTD.shape[-2] - 2) < words_B1
    return x_BTD[..., 1:-1, :] * is_word_BT[..., None]


class StatefulBiLM(stateful.StatefulBiLM):
    """The biLM with the references' memory, from words."""

    def __call__(self, batch: WordBatch) -> Tensor:
        """Give the layers, and move the state of the rows that were read."""
        x_UP = self.bilm.words(torch.from_numpy(batch.chars_UW))
        return self.layers_of(x_UP[torch.from_numpy(batch.index_BT)], torch.from_numpy(batch.lengths_B))

    def recorded_form(self) -> tuple[Tensor, Tensor]:
        """The state as AllenNLP keeps it: h (L, rows, 2P) and c (L, rows, 2H), [forward | backward]."""
        assert self.state is not None
        pairs = list(zip(self.state.forward, self.state.backward, strict=True))
        h = torch.stack([torch.cat([f.h_BP, b.h_BP], -1) for f, b in pairs])
        c = torch.stack([torch.cat([f.c_BH, b.c_BH], -1) for f, b in pairs])
        return h, c


class StatefulEngine(StatefulBiLM):
    """The same through an engine."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.bilm, engine)
        self.engine = engine

    def __call__(self, batch: WordBatch) -> Tensor:
        """Give the layers, and move the state of the rows that were read."""
        x_UP = self.engine.word_vectors(torch.from_numpy(batch.chars_UW))
        return self.layers_of(x_UP[torch.from_numpy(batch.index_BT)], torch.from_numpy(batch.lengths_B))
