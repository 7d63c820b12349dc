"""Models of a few hundred numbers, of every shape that a configuration allows."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray

from elmokit.checkpoints.checkpoint import Checkpoint, LayerMix, random_checkpoint
from elmokit.checkpoints.folder import CONFIG_NAME
from elmokit.config import BiLMConfig, CharCnnConfig, ElmoConfig, TextConfig, WordTableConfig
from elmokit.text.tables import WordTable
from elmokit.text.vocabulary import Vocabulary

SMALL = BiLMConfig(
    char_cnn=CharCnnConfig(embedding_dim=3, filters=((1, 4), (3, 5)), highways=1), cell_dim=6, projection_dim=4, layers=2
)


WORDS = BiLMConfig(char_cnn=None, word_table=WordTableConfig(words=9, dim=4), cell_dim=6, projection_dim=4)
"""It reads whole words."""
WORD_TABLE = WordTable({"river": 0, "</S>": 1, "a b": 2, "银行": 3, "<UNK>": 4, "\x00": 5, "<S>": 6, "\ud800": 7, "bank": 8})


@st.composite
def small_configs(draw: st.DrawFn) -> BiLMConfig:
    """Any configuration, small."""
    size = st.integers(1, 5)
    cell_dim, projection_dim = draw(size), draw(st.none() | size)
    width = projection_dim or cell_dim
    filters = draw(st.lists(st.tuples(st.integers(1, 4), size), min_size=1, max_size=3) | st.just([(2, width)]))
    projection = draw(st.booleans()) or sum(n for _, n in filters) != width
    clip = st.sampled_from([None, 3.0, 0.5])
    return BiLMConfig(
        char_cnn=CharCnnConfig(
            embedding_dim=draw(size),
            filters=tuple(filters),
            activation=draw(st.sampled_from(["relu", "tanh"])),
            highways=draw(st.integers(0, 2)),
            projection=projection,
            max_characters=draw(st.integers(4, 50)),
        ),
        cell_dim=cell_dim,
        projection_dim=projection_dim,
        layers=draw(st.integers(1, 3)),
        cell_clip=draw(clip),
        projection_clip=draw(clip),
        skip_connections=draw(st.booleans()),
    )


def forward_alone(checkpoint: Checkpoint) -> Checkpoint:
    """The same model without its backward direction."""
    config = checkpoint.config
    means = checkpoint.layer_means_LD
    return dataclasses.replace(
        checkpoint,
        config=dataclasses.replace(config, bilm=dataclasses.replace(config.bilm, bidirectional=False)),
        bilm={name: tensor for name, tensor in checkpoint.bilm.items() if not name.startswith("backward_stack.")},
        layer_means_LD=None if means is None else means[:, : config.bilm.output_dim],
    )


def full_checkpoint(bilm: BiLMConfig = SMALL) -> Checkpoint:
    """A model with everything that a model folder can hold."""
    config = ElmoConfig(
        bilm=bilm,
        text=TextConfig(tokenizer="characters", normalization="NFKC", lowercase=True),
        languages=("en", "zh"),
        license="CC0",
    )
    checkpoint = random_checkpoint(config, seed=5)
    vocabulary = Vocabulary.from_counts({"river": 3, "bank": 2, "银行": 1})
    random = torch.Generator().manual_seed(1)
    return Checkpoint(
        config=config,
        bilm=checkpoint.bilm,
        head={
            "weight": torch.randn(len(vocabulary), bilm.output_dim, generator=random),
            "bias": torch.randn(len(vocabulary), generator=random),
        },
        vocabulary=vocabulary,
        layer_means_LD=torch.randn(bilm.layers + 1, bilm.dim, generator=random),
        mixes=(LayerMix((0.25,) * (bilm.layers + 1), 1.5), LayerMix((-1.0,) * (bilm.layers + 1), 0.1, layer_norm=True)),
        card="# A card\n\nwith 汉字\n",
        origin="test",
    )


def words_checkpoint() -> Checkpoint:
    """A model that reads whole words, with its table of them."""
    return dataclasses.replace(random_checkpoint(ElmoConfig(bilm=WORDS), seed=6), input_words=WORD_TABLE, origin="test")


def same_tensors(a: dict[str, torch.Tensor] | None, b: dict[str, torch.Tensor] | None) -> bool:
    """Whether two sets of tensors have the same names and, bit for bit, the same numbers."""
    if a is None or b is None:
        return a is b
    return a.keys() == b.keys() and all(a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]) for name in a)


def datasets(path: Path) -> dict[str, NDArray[Any]]:
    """Everything in an HDF5 file."""
    found: dict[str, NDArray[Any]] = {}

    def add(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[...]

    with h5py.File(path, "r") as file:
        file.visititems(add)
    return found


def different_datasets(a: Path, b: Path) -> list[str]:
    """Names of the datasets that stand in one file only, or differ in type, shape or any bit."""
    ours, theirs = datasets(a), datasets(b)

    def same(name: str) -> bool:
        if name not in ours or name not in theirs:
            return False
        x, y = ours[name], theirs[name]
        return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()

    return sorted(name for name in ours.keys() | theirs.keys() if not same(name))


def write_datasets(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write an HDF5 file."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = np.asarray(array)


def change_json(path: Path, key: str, value: Any) -> None:
    """Set (or with `...` remove) what stands at a dotted key."""
    data = json.loads(path.read_text(encoding="utf-8"))
    *parents, last = key.split(".")
    place = data
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    path.write_text(json.dumps(data), encoding="utf-8")


def seal(folder: Path, name: str) -> None:
    """Put the SHA-256 that a file has now into `config.json`, as whoever made the folder would."""
    config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    config["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / CONFIG_NAME).write_text(json.dumps(config), encoding="utf-8")
