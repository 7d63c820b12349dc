"""A recipe's optimizers, each layer with its share of the learning rate."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from elmokit.lm.language_model import LanguageModel
from elmokit.pretraining.inputs import tables_of
from elmokit.pretraining.recipes import Recipe
from elmokit.training.optimizers import modern_optimizers, reference_optimizers


def optimizers_of(model: LanguageModel, recipe: Recipe) -> list[Optimizer]:
    """Give the recipe's optimizers."""
    if recipe.optimizer == "reference":
        return reference_optimizers(_by_layer(model, recipe, list(model.parameters())), recipe.learning_rate)
    rows = list(dict.fromkeys([model.head.weight, *(table.weight for table in tables_of(model.bilm))]))
    body = [parameter for parameter in model.parameters() if all(parameter is not table for table in rows)]
    return modern_optimizers(_by_layer(model, recipe, body), _by_layer(model, recipe, rows), recipe.learning_rate)


def _by_layer(model: LanguageModel, recipe: Recipe, parameters: Sequence[Tensor]) -> list[dict[str, Any]]:
    """Groups of parameters with their shares of the rate: the top LSTM and the softmax first, the word network last."""
    if recipe.layer_factor == 1:
        return [{"params": parameters}]
    layers = model.bilm.config.layers
    depths = {id(parameter): layers for parameter in model.bilm.words.parameters()}
    depths |= {
        id(parameter): layers - 1 - number
        for stack in model.bilm.stacks
        for number, layer in enumerate(stack.layers)
        for parameter in layer.parameters()
    }
    depths |= {id(parameter): 0 for parameter in model.head.parameters()}  # be its table that of the words too
    groups = [[parameter for parameter in parameters if depths[id(parameter)] == depth] for depth in range(layers + 1)]
    return [{"params": group, "share": recipe.layer_factor**depth} for depth, group in enumerate(groups) if group]
