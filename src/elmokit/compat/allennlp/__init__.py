"""A drop-in for AllenNLP's ELMo (2.10.1, and `ElmoEmbedder` of 0.9): change the import, keep the code.

    from allennlp.modules.elmo import Elmo, batch_to_ids        →  from elmokit.compat.allennlp import Elmo, batch_to_ids

Arguments, defaults, shapes, dtypes and state-dict keys are AllenNLP's, and so is the state: it is kept for each row of a batch
and carried to the next call, in evaluation too. A sentence's vectors therefore depend on what was run before it;
`elmokit.Elmo` has no such memory. Where AllenNLP raises its `ConfigurationError`, this raises `ValueError`.
"""

from elmokit.compat.allennlp.bilm import _ElmoBiLm, _ElmoCharacterEncoder
from elmokit.compat.allennlp.boundaries import add_sentence_boundary_token_ids, remove_sentence_boundaries
from elmokit.compat.allennlp.characters import ELMoCharacterMapper, ELMoTokenCharactersIndexer, batch_to_ids
from elmokit.compat.allennlp.elmo import Elmo, ElmoTokenEmbedder
from elmokit.compat.allennlp.embedder import ElmoEmbedder
from elmokit.compat.allennlp.highway import Highway
from elmokit.compat.allennlp.lstm import ElmoLstm, LstmCellWithProjection
from elmokit.compat.allennlp.scalar_mix import ScalarMix

__all__ = [
    "ELMoCharacterMapper",
    "ELMoTokenCharactersIndexer",
    "Elmo",
    "ElmoEmbedder",
    "ElmoLstm",
    "ElmoTokenEmbedder",
    "Highway",
    "LstmCellWithProjection",
    "ScalarMix",
    "_ElmoBiLm",
    "_ElmoCharacterEncoder",
    "add_sentence_boundary_token_ids",
    "batch_to_ids",
    "remove_sentence_boundaries",
]
