"""A learned share of the input passes unchanged."""

import numpy as np
import torch
from tests.model import equations

from elmokit.model.highway import Highway


def test_the_equation() -> None:
    torch.manual_seed(0)
    module = Highway(6).double()
    x_NF = torch.randn(4, 6, dtype=torch.float64)
    with torch.no_grad():
        ours = module(x_NF).numpy()
    np.testing.assert_allclose(ours, [equations.highway(module, x_F) for x_F in x_NF.numpy()], rtol=1e-12)


def test_the_gate_weighs_the_transformed_part() -> None:
    module = Highway(3)
    x_NF = torch.tensor([[1.0, -2.0, 3.0]])
    with torch.no_grad():
        module.carry.weight.zero_()
        module.carry.bias.fill_(-100)
        assert torch.equal(module(x_NF), x_NF)
        module.carry.bias.fill_(100)
        torch.testing.assert_close(module(x_NF), torch.relu(module.transform(x_NF)))
