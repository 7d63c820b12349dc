"""The kernels give the recorded numbers too: float32 within the same tolerance, the others within their own."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.golden.cases import Case, StatefulEngine, load_case
from tests.golden.test_bilm_cases import ALLENNLP_CASES, TINY, check_allennlp_batches

from elmokit.kernels.engine import PREPARE_FROM, Engine
from elmokit.kernels.products import Precision
from elmokit.model.bilm import BiLM
from elmokit.text.batch import word_batch

Models = Callable[[str], BiLM]
Record = Callable[[str, object], None]

ALIKE: dict[Precision, tuple[float, float]] = {"bfloat16": (0.9995, 0.995), "int8": (0.995, 0.97)}
"""Mean and smallest cosine between a token's recorded vector and ours, in each layer. The models are random: their numbers
hang on each other more than those of trained ones, for which `benchmarks/targets.py` asks more."""


FEW = 2 * TINY
"""The kernels' rounding is another than that of the network in `model/`, whose distance is a third of this."""


def engine_of(bilm: BiLM, precision: Precision) -> Engine:
    engine = Engine(bilm, precision)
    engine.expect(PREPARE_FROM)
    return engine


def check_cosines(case: Case, engine: Engine) -> float:
    """Compare directions of vectors, batch by batch; gives the smallest mean cosine of a layer."""
    stateful, cosines = StatefulEngine(engine), []
    for number, sentences in enumerate(case.batches):
        if not case.is_stateful:
            stateful.state = None
        layers, recorded = stateful(word_batch(sentences)), case.tensor(f"b{number}_layers")
        read = recorded[0].any(-1)
        cosines.append(torch.cosine_similarity(layers, recorded, dim=-1)[:, read])
    found_LN = torch.cat(cosines, 1)
    mean, smallest = ALIKE[engine.precision]
    assert found_LN.mean(1).min() >= mean
    assert found_LN.min() >= smallest
    return float(found_LN.mean(1).min())


def test_tiny_in_float32(tiny: BiLM, record_property: Record) -> None:
    stateful = StatefulEngine(engine_of(tiny, "float32"))
    record_property("largest difference", check_allennlp_batches(load_case("tiny_stateful"), stateful, FEW))


@pytest.mark.parametrize("precision", ALIKE)
def test_tiny_in_other_precisions(precision: Precision, tiny: BiLM, record_property: Record) -> None:
    record_property("mean cosine", check_cosines(load_case("tiny_stateful"), engine_of(tiny, precision)))


@pytest.mark.parametrize("name", ALLENNLP_CASES)
def test_float32(name: str, golden: Path, model_of: Models, record_property: Record) -> None:
    case = load_case(name, golden)
    stateful = StatefulEngine(engine_of(model_of(case.facts["model"]), "float32"))
    record_property("largest difference", check_allennlp_batches(case, stateful, ALLENNLP_CASES[name]))


@pytest.mark.parametrize("precision", ALIKE)
@pytest.mark.parametrize("name", ALLENNLP_CASES)
def test_other_precisions(name: str, precision: Precision, golden: Path, model_of: Models, record_property: Record) -> None:
    case = load_case(name, golden)
    record_property("mean cosine", check_cosines(case, engine_of(model_of(case.facts["model"]), precision)))
