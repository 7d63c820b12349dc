"""A network of ours that computes with the parameters of one of AllenNLP's modules."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


class Borrowed:
    """A network without numbers of its own; it is no part of any module's parameters or state dict.

    Args:
        network: The network, on the device "meta".
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self, weights: Mapping[str, Tensor], *arguments: Any) -> Any:
        """Compute with these weights, named as in the network's state dict; gradients flow back to them."""
        # The weights stand in the network as long as it computes: each call has its own, so that several threads may call.
        return functional_call(copy.deepcopy(self.network), dict(weights), arguments)
