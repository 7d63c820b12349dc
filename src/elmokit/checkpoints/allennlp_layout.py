"""AllenNLP's names and layouts of a biLM's parameters ↔ ours, tensor by tensor and differentiable.

    AllenNLP (of `_ElmoBiLm`)                              ours (of `BiLM`)
    _token_embedder._char_embedding_weights (262, E)       words.embedding.weight (261, E): row 0, the zero mask, left out
    _token_embedder.char_conv_i.{weight, bias}             words.convolutions.i.{weight, bias}
    _token_embedder._highways._layers.k.{weight, bias}     words.highways.k.{transform, carry}: rows [transform; −carry]
    _token_embedder._projection.{weight, bias}             words.projection.{weight, bias}
    _elmo_lstm.D_layer_l.input_linearity.weight (4H, in)   D_stack.layers.l.kernel (in + P, 4H): [input; state] transposed
    _elmo_lstm.D_layer_l.state_linearity.weight (4H, P)
    _elmo_lstm.D_layer_l.state_linearity.bias (4H)         D_stack.layers.l.bias: the f part without the 1 that we add later
    _elmo_lstm.D_layer_l.state_projection.weight (P, H)    D_stack.layers.l.projection (H, P)

D is forward or backward. AllenNLP's gates stand in the order i, f, g, o, ours in the order i, g, f, o.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]


def lstm_from_allennlp(cell: Tensors) -> dict[str, Tensor]:
    """Turn the parameters of one `LstmCellWithProjection` into those of one `LstmLayer`.

    Args:
        cell: "input_linearity.weight", "state_linearity.weight", "state_linearity.bias", "state_projection.weight".

    Returns:
        "kernel", "bias" and "projection".
    """
    rows_GX = torch.cat([cell["input_linearity.weight"], cell["state_linearity.weight"]], 1)
    bias_G = cell["state_linearity.bias"]
    i_H, f_H, g_H, o_H = bias_G.chunk(4)
    return {
        "kernel": _swap_f_and_g(rows_GX).T,
        "bias": torch.cat([i_H, g_H, f_H - 1, o_H]),
        "projection": cell["state_projection.weight"].T,
    }


def lstm_to_allennlp(layer: Tensors, inputs: int) -> dict[str, Tensor]:
    """Turn the parameters of one `LstmLayer` into those of one `LstmCellWithProjection`.

    Args:
        layer: "kernel", "bias" and "projection".
        inputs: Width of the layer's input: so many rows of the kernel belong to it, the others to the state.
    """
    rows_GX = _swap_f_and_g(layer["kernel"].T)
    i_H, g_H, f_H, o_H = layer["bias"].chunk(4)
    return {
        "input_linearity.weight": rows_GX[:, :inputs],
        "state_linearity.weight": rows_GX[:, inputs:],
        "state_linearity.bias": torch.cat([i_H, f_H + 1, g_H, o_H]),
        "state_projection.weight": layer["projection"].T,
    }


def words_from_allennlp(encoder: Tensors) -> dict[str, Tensor]:
    """Turn the parameters of a `_ElmoCharacterEncoder` into those of a `CharCnn`."""
    ours: dict[str, Tensor] = {}
    for name, tensor in encoder.items():
        if name == "_char_embedding_weights":
            ours["embedding.weight"] = tensor[1:]
        elif name.startswith("char_conv_"):
            ours[name.replace("char_conv_", "convolutions.")] = tensor
        elif name.startswith("_highways._layers."):
            number, kind = name.removeprefix("_highways._layers.").split(".")
            transform, carry = tensor.chunk(2)
            ours |= {f"highways.{number}.transform.{kind}": transform, f"highways.{number}.carry.{kind}": -carry}
        elif name.startswith("_projection."):
            ours[name.removeprefix("_")] = tensor
    return ours


def words_to_allennlp(words: Tensors) -> dict[str, Tensor]:
    """Turn the parameters of a `CharCnn` into those of a `_ElmoCharacterEncoder`."""
    theirs: dict[str, Tensor] = {}
    for name, tensor in words.items():
        if name == "embedding.weight":
            theirs["_char_embedding_weights"] = torch.cat([tensor.new_zeros(1, tensor.shape[1]), tensor])
        elif name.startswith("convolutions."):
            theirs[name.replace("convolutions.", "char_conv_")] = tensor
        elif ".transform." in name:
            layer, kind = name.removeprefix("highways.").split(".transform.")
            theirs[f"_highways._layers.{layer}.{kind}"] = torch.cat([tensor, -words[name.replace("transform", "carry")]])
        elif name.startswith("projection."):
            theirs[f"_{name}"] = tensor
    return theirs


def bilm_from_allennlp(tensors: Tensors) -> dict[str, Tensor]:
    """Turn the parameters of a `_ElmoBiLm` into those of a `BiLM`.

    Raises:
        KeyError: A part of an LSTM cell is missing.
    """
    ours = _prefixed("words.", words_from_allennlp(part(tensors, "_token_embedder.")))
    cells = sorted({name.split(".")[1] for name in tensors if name.startswith("_elmo_lstm.") and "_layer_" in name})
    for cell in cells:
        direction, number = cell.split("_layer_")
        ours |= _prefixed(f"{direction}_stack.layers.{number}.", lstm_from_allennlp(part(tensors, f"_elmo_lstm.{cell}.")))
    return ours


def part(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    """Give the tensors whose names begin with `prefix`, named without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _prefixed(prefix: str, tensors: Tensors) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _swap_f_and_g(rows_GX: Tensor) -> Tensor:
    """Exchange the second and the third quarter of the rows: i, f, g, o ↔ i, g, f, o."""
    first, second, third, fourth = rows_GX.chunk(4)
    return torch.cat([first, third, second, fourth])
