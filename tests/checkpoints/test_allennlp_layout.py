"""AllenNLP's layout and ours hold the same numbers."""

import torch

from elmokit.checkpoints.allennlp_layout import bilm_from_allennlp, lstm_to_allennlp, part, words_to_allennlp
from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.model.bilm import BiLM

CONFIG = BiLMConfig(
    char_cnn=CharCnnConfig(embedding_dim=3, filters=((1, 2), (2, 4)), highways=2, max_characters=10), cell_dim=5, projection_dim=4
)


def test_there_and_back() -> None:
    torch.manual_seed(0)
    bilm = BiLM(CONFIG).state_dict()
    bilm = {name: torch.randn_like(tensor) for name, tensor in bilm.items()}
    theirs = {f"_token_embedder.{name}": tensor for name, tensor in words_to_allennlp(part(bilm, "words.")).items()}
    for direction in ("forward", "backward"):
        for number in range(2):
            cell = lstm_to_allennlp(part(bilm, f"{direction}_stack.layers.{number}."), 4)
            theirs |= {f"_elmo_lstm.{direction}_layer_{number}.{name}": tensor for name, tensor in cell.items()}
    back = bilm_from_allennlp(theirs)
    assert back.keys() == bilm.keys()
    for name, tensor in bilm.items():
        if name.endswith("layers.0.bias") or name.endswith("layers.1.bias"):
            assert torch.allclose(back[name], tensor, atol=1e-6)  # 1 was added to the forget gate's part, and taken away
        else:
            assert torch.equal(back[name], tensor), name
