"""Networks without values: how they are built, and what building them must not load."""

import subprocess
import sys

import torch

from elmokit.config import BiLMConfig
from elmokit.model.bilm import BiLM
from elmokit.model.without_values import without_values


def test_a_network_has_shapes_and_no_values() -> None:
    config = BiLMConfig(cell_dim=8, projection_dim=4)
    with without_values():
        shapes = {name: tensor.shape for name, tensor in BiLM(config).state_dict().items()}
    made = BiLM(config).state_dict()
    assert shapes == {name: tensor.shape for name, tensor in made.items()}
    assert {tensor.device.type for tensor in made.values()} == {"cpu"}, "the block has ended"
    with without_values():
        assert all(parameter.is_meta for parameter in BiLM(config).parameters())


def test_a_model_is_loaded_and_run_without_the_compiler_of_pytorch() -> None:
    """It takes longer to load than all the rest."""
    code = """
import sys
from elmokit import Elmo
assert len(Elmo.from_pretrained("en-small").encode_tokens([["two", "words"]])[0]) == 2
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_nothing_is_drawn_in_the_block() -> None:
    torch.manual_seed(0)
    with without_values():
        BiLM(BiLMConfig(cell_dim=8, projection_dim=4))
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1)), "later draws do not depend on it"
