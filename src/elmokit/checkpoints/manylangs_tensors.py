"""The tensors of ELMoForManyLangs ↔ ours; what differs, `manylangs.py` says. No number changes but for its sign.

Shapes: V words, C characters, E character dimension, F filters, P projection, H cell, G = 4H gates.
"""

from collections import OrderedDict

import torch
from torch import Tensor

from elmokit.checkpoints.packed import AnyPath
from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.errors import FormatError

WORD_ROWS, CHARACTER_ROWS = "word_emb_layer.embedding.weight", "char_emb_layer.embedding.weight"


class StateDict:
    """A state dict out of which each tensor is taken once, if it is what it should be.

    Args:
        tensors: The tensors by name.
        path: Their file, for messages.
        architecture: What says which shapes they should have, for messages.
    """

    def __init__(self, tensors: dict[str, Tensor], path: AnyPath, architecture: str) -> None:
        self.tensors = tensors
        self.path = path
        self.architecture = architecture

    def rows(self, name: str) -> int:
        """How many rows a matrix has.

        Raises:
            FormatError: It is not there or no matrix.
        """
        if name not in self.tensors or self.tensors[name].dim() != 2:
            raise FormatError(f"{self.path}: {name} is missing, or is no matrix")
        return len(self.tensors[name])

    def take(self, name: str, *shape: int) -> Tensor:
        """Take a tensor out.

        Raises:
            FormatError: It is not there, of another shape or type, or has numbers that are not finite.
        """
        tensor = self.tensors.pop(name, None)
        expected = f"expected float32 of shape {shape} by {self.architecture}"
        if tensor is None:
            raise FormatError(f"{self.path}: {name} is missing, {expected}")
        if tensor.shape != shape or tensor.dtype != torch.float32 or not tensor.is_contiguous():
            kind = f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}, strides {tensor.stride()}"
            raise FormatError(f"{self.path}: {name} is {kind}, {expected}")
        if not tensor.isfinite().all():
            raise FormatError(f"{self.path}: {name} has numbers that are not finite; is the file damaged?")
        return tensor

    def refuse_rest(self) -> None:
        """Make sure that everything was taken.

        Raises:
            FormatError: Names a tensor for which there is no place.
        """
        if self.tensors:
            raise FormatError(f"{self.path}: {min(self.tensors)} has no place in the network of {self.architecture}")


def from_theirs(config: BiLMConfig, words: StateDict, lstms: StateDict) -> dict[str, Tensor]:
    """Give the tensors of our network.

    Raises:
        FormatError: A tensor is missing, wrong, or has no place.
    """
    cnn, table, width, gates = config.char_cnn, config.word_table, config.output_dim, 4 * config.cell_dim
    ours: dict[str, Tensor] = {}
    if table is not None:
        ours[_table_name(config)] = words.take(WORD_ROWS, table.words, table.dim)
    if cnn is not None:
        ours |= _characters_from_theirs(cnn, _characters_name(config), words)
    inputs = (table.dim if table else 0) + (cnn.features if cnn else 0)
    ours["words.projection.weight"] = words.take("projection.weight", width, inputs)
    ours["words.projection.bias"] = words.take("projection.bias", width)
    for layer in range(config.layers):
        for direction in ("forward", "backward"):
            their, our = f"{direction}_layer_{layer}", f"{direction}_stack.layers.{layer}"
            parts = [lstms.take(f"{their}.{part}_linearity.weight", gates, width) for part in ("input", "state")]
            ours[f"{our}.kernel"] = torch.cat([_swapped(part_GP).T for part_GP in parts])
            ours[f"{our}.bias"] = _swapped(lstms.take(f"{their}.state_linearity.bias", gates))
            ours[f"{our}.projection"] = lstms.take(f"{their}.state_projection.weight", width, config.cell_dim).T.contiguous()
    words.refuse_rest()
    lstms.refuse_rest()
    return ours


def _characters_from_theirs(cnn: CharCnnConfig, our: str, words: StateDict) -> dict[str, Tensor]:
    """The part that reads characters."""
    features = cnn.features
    ours = {f"{our}.embedding.weight": words.take(CHARACTER_ROWS, cnn.characters, cnn.embedding_dim)}
    for i, (span, n) in enumerate(cnn.filters):
        ours[f"{our}.convolutions.{i}.weight"] = words.take(f"convolutions.{i}.weight", n, cnn.embedding_dim, span)
        ours[f"{our}.convolutions.{i}.bias"] = words.take(f"convolutions.{i}.bias", n)
    for k in range(cnn.highways):
        weight = words.take(f"highways._layers.{k}.weight", 2 * features, features)
        bias = words.take(f"highways._layers.{k}.bias", 2 * features)
        for kind, tensor in (("weight", weight), ("bias", bias)):
            ours[f"{our}.highways.{k}.transform.{kind}"] = tensor[:features].clone()
            ours[f"{our}.highways.{k}.carry.{kind}"] = -tensor[features:]
    return ours


def to_theirs(config: BiLMConfig, ours: dict[str, Tensor]) -> tuple[OrderedDict[str, Tensor], OrderedDict[str, Tensor]]:
    """Give the state dicts of their two files, word vectors first."""
    cnn, width = config.char_cnn, config.output_dim
    words: OrderedDict[str, Tensor] = OrderedDict()
    lstms: OrderedDict[str, Tensor] = OrderedDict()
    if config.word_table is not None:
        words[WORD_ROWS] = ours[_table_name(config)]
    if cnn is not None:
        our = _characters_name(config)
        words[CHARACTER_ROWS] = ours[f"{our}.embedding.weight"]
        for i in range(len(cnn.filters)):
            words |= {f"convolutions.{i}.{kind}": ours[f"{our}.convolutions.{i}.{kind}"] for kind in ("weight", "bias")}
        for k in range(cnn.highways):
            for kind in ("weight", "bias"):
                transform, carry = (ours[f"{our}.highways.{k}.{gate}.{kind}"] for gate in ("transform", "carry"))
                words[f"highways._layers.{k}.{kind}"] = torch.cat([transform, -carry])
    words |= {f"projection.{kind}": ours[f"words.projection.{kind}"] for kind in ("weight", "bias")}
    for layer in range(config.layers):
        for direction in ("forward", "backward"):
            their, our = f"{direction}_layer_{layer}", f"{direction}_stack.layers.{layer}"
            for part, rows in (("input", slice(0, width)), ("state", slice(width, None))):
                lstms[f"{their}.{part}_linearity.weight"] = _swapped(ours[f"{our}.kernel"][rows].T)
            lstms[f"{their}.state_linearity.bias"] = _swapped(ours[f"{our}.bias"])
            lstms[f"{their}.state_projection.weight"] = ours[f"{our}.projection"].T
    return (_stored(words), _stored(lstms))


def _table_name(config: BiLMConfig) -> str:
    """Our name of the table of words."""
    return "words.embedding.weight" if config.char_cnn is None else "words.table.embedding.weight"


def _characters_name(config: BiLMConfig) -> str:
    """Where our part that reads characters stands."""
    return "words" if config.word_table is None else "words.characters"


def _swapped(gates_GX: Tensor) -> Tensor:
    """Exchange the second and the third of four gates: i, f, g, o ↔ i, g, f, o."""
    first, second, third, fourth = gates_GX.chunk(4)
    return torch.cat([first, third, second, fourth])


def _stored(tensors: OrderedDict[str, Tensor]) -> OrderedDict[str, Tensor]:
    """Bring tensors to the form in which they are pickled: float32 on the CPU, in memory of their own."""
    plain = ((name, tensor.detach().float().cpu()) for name, tensor in tensors.items())
    return OrderedDict((name, tensor.clone(memory_format=torch.contiguous_format)) for name, tensor in plain)
