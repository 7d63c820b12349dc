"""AllenNLP's scalar mix: the parameters have its names and shapes, `model/scalar_mix.py` computes."""

import torch
from torch import Tensor, nn

from elmokit.compat.allennlp.network import Borrowed
from elmokit.model import scalar_mix
from elmokit.model.without_values import without_values


class ScalarMix(nn.Module):
    """γ · Σ_j softmax(w)_j · tensor_j.

    Args:
        mixture_size: How many tensors there are to mix.
        do_layer_norm: Whether each is normalized first, by one mean and variance over the places that the mask has.
        initial_scalar_parameters: w at first; None for zeros.
        trainable: Whether w and γ learn.

    Raises:
        ValueError: `initial_scalar_parameters` of another length than `mixture_size`.
    """

    def __init__(
        self,
        mixture_size: int,
        do_layer_norm: bool = False,
        initial_scalar_parameters: list[float] | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__()
        self.mixture_size = mixture_size
        self.do_layer_norm = do_layer_norm
        initial = [0.0] * mixture_size if initial_scalar_parameters is None else initial_scalar_parameters
        if len(initial) != mixture_size:
            raise ValueError(f"initial_scalar_parameters must be {mixture_size} numbers, not {len(initial)}")
        with without_values():
            self._mix = Borrowed(scalar_mix.ScalarMix(mixture_size, do_layer_norm))
        self.scalar_parameters = nn.ParameterList(
            nn.Parameter(torch.tensor([float(value)]), requires_grad=trainable) for value in initial
        )
        self.gamma = nn.Parameter(torch.ones(1), requires_grad=trainable)

    def forward(self, tensors: list[Tensor], mask: Tensor | None = None) -> Tensor:
        """Mix.

        Args:
            tensors: Of equal shapes, (B, T, D).
            mask: (B, T); only layer norm needs it.

        Raises:
            ValueError: Another number of tensors, or layer norm without a mask.
        """
        if len(tensors) != self.mixture_size:
            raise ValueError(
                f"{len(tensors)} tensors were passed, but the module was initialized to mix {self.mixture_size} tensors"
            )
        if mask is None:
            if self.do_layer_norm:
                raise ValueError("do_layer_norm=True needs the mask of the tensors")
            mask = tensors[0].new_ones(tensors[0].shape[:-1], dtype=torch.bool)
        weights = {"weights": torch.cat(list(self.scalar_parameters)), "gamma": self.gamma.squeeze()}
        mixed: Tensor = self._mix(weights, torch.stack(tensors), mask)
        return mixed
