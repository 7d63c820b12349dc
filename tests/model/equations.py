"""The model's equations once more, one word and one step at a time, in NumPy: slow, plain, float64."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from elmokit.model.bilm import LstmStack
from elmokit.model.char_cnn import CharCnn
from elmokit.model.highway import Highway
from elmokit.model.lstm import LstmLayer

Array = NDArray[np.float64]
State = tuple[Array, Array]


def array(tensor: Tensor) -> Array:
    return tensor.detach().double().numpy()


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def clip(x: Array, limit: float | None) -> Array:
    return x if limit is None else np.minimum(np.maximum(x, -limit), limit)


def highway(module: Highway, x_F: Array) -> Array:
    gate_F = sigmoid(array(module.carry.weight) @ x_F + array(module.carry.bias))
    transformed_F = np.maximum(array(module.transform.weight) @ x_F + array(module.transform.bias), 0)
    return gate_F * transformed_F + (1 - gate_F) * x_F


def word_vector(module: CharCnn, characters: list[int]) -> Array:
    """All places are convolved, padding too."""
    x_WE = array(module.embedding.weight)[characters]
    features: list[float] = []
    for i, (width, number) in enumerate(module.config.filters):
        parameters = dict(module.convolutions[i].named_parameters())
        weight_NEK, bias_N = array(parameters["weight"]), array(parameters["bias"])
        for n in range(number):
            places = range(len(characters) - width + 1)
            sums = [sum(weight_NEK[n, :, k] @ x_WE[p + k] for k in range(width)) + bias_N[n] for p in places]
            features.append(max(sums))
    x_F = np.array(features)
    x_F = np.maximum(x_F, 0) if module.config.activation == "relu" else np.tanh(x_F)
    for layer in module.highways:
        assert isinstance(layer, Highway)
        x_F = highway(layer, x_F)
    if isinstance(module.projection, nn.Identity):
        return x_F
    return array(module.projection.weight) @ x_F + array(module.projection.bias)


def lstm(layer: LstmLayer, x_TD: Array, state: State | None = None) -> tuple[Array, State]:
    """One row, from its first token to its last."""
    kernel, bias = array(layer.kernel), array(layer.bias)
    cells = len(bias) // 4
    h, c = state if state is not None else (np.zeros(len(kernel) - x_TD.shape[1]), np.zeros(cells))
    outputs = []
    for x_D in x_TD:
        gates = np.concatenate([x_D, h]) @ kernel + bias
        i, g, f, o = (gates[k * cells : (k + 1) * cells] for k in range(4))
        c = clip(sigmoid(f + layer.forget_bias) * c + sigmoid(i) * np.tanh(g), layer.cell_clip)
        h = sigmoid(o) * np.tanh(c)
        if layer.projection is not None:
            h = clip(h @ array(layer.projection), layer.projection_clip)
        outputs.append(h)
    return np.array(outputs), (h, c)


def stack(module: LstmStack, x_TP: Array, masks_LTP: list[Array] | None = None) -> list[Array]:
    """The layers of one direction; each mask multiplies a layer's input, and the skip adds what is left of it."""
    outputs = []
    for number, layer in enumerate(module.layers):
        assert isinstance(layer, LstmLayer)
        read_TP = x_TP if masks_LTP is None else x_TP * masks_LTP[number]
        y_TP, _ = lstm(layer, read_TP)
        x_TP = y_TP + read_TP if module.skip_connections and number > 0 else y_TP
        outputs.append(x_TP)
    return outputs
