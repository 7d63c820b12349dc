"""One update of a language model, and all that an update depends on, in one checkpoint."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from elmokit.errors import FormatError
from elmokit.lm.language_model import LanguageModel, detach, lm_batch
from elmokit.lm.perplexity import stream_perplexity
from elmokit.model.bilm import BiLMState
from elmokit.model.lstm import LstmState
from elmokit.model.softmax import Candidates, draw_candidates
from elmokit.pretraining.corpus import Corpus
from elmokit.pretraining.recipes import Recipe
from elmokit.pretraining.sentence_order import EndlessSentences
from elmokit.text.streams import SentenceStreams
from elmokit.training.budget import Progress
from elmokit.training.checkpoint import load_state, optimizer_tensors, restore_optimizers, save_state
from elmokit.training.optimizers import clip_global_norm, modern_optimizers, reference_optimizers, set_learning_rates
from elmokit.training.schedule import constant, warmup_cosine

MONITOR_TOKENS, MONITOR_ROWS = 20_000, 16
"""What is scored at each checkpoint: the head of the held-out text, in parallel streams, so that it costs seconds."""


class Pretrainer:
    """Trains a language model on a corpus by truncated back-propagation; see `elmokit.training.loop.Trainee`.

    Args:
        model: The language model, with its dropout.
        corpus: The text.
        recipe: The way of training.
        seed: Of the order of sentences.
        state_path: Where checkpoints go.
        shuffle: Whether sentences are shuffled at every pass.
    """

    def __init__(
        self, model: LanguageModel, corpus: Corpus, recipe: Recipe, seed: int, state_path: Path, shuffle: bool = True
    ) -> None:
        self.model = model
        self.corpus = corpus
        self.recipe = recipe
        self.state_path = state_path
        self.progress = Progress()
        self.sentences = EndlessSentences(corpus.train, seed, shuffle)
        self.streams = SentenceStreams(self.sentences, recipe.batch_size, recipe.window)
        self.lstm_state: BiLMState | None = None
        self.optimizers: list[Optimizer] = _optimizers(model, recipe)
        self.schedule = constant if recipe.optimizer == "reference" else warmup_cosine

    @property
    def vocabulary_size(self) -> int:
        """V of the softmax."""
        return len(self.model.head.bias)

    def step(self, used: float) -> dict[str, float]:
        """Read one window in each direction and update the weights.

        Raises:
            ValueError: The loss or its gradient is not a number any more.
        """
        self.model.train()
        set_learning_rates(self.optimizers, self.schedule(used, self.progress.steps))
        device = self.model.head.bias.device
        batch = lm_batch(next(self.streams), self.corpus.characters, self.vocabulary_size, device)
        losses, state = self.model(batch, self.lstm_state, self._candidates())
        loss = losses.mean()
        # The reference sums over the window, which its clipping and its learning rate are made for.
        (loss * self.recipe.window if self.recipe.optimizer == "reference" else loss).backward()
        norm = clip_global_norm(self.model.parameters(), self.recipe.clip_norm)
        if not torch.isfinite(norm):
            raise ValueError(
                f"step {self.progress.steps}: the loss or its gradient is not finite (loss {loss.item()}); "
                "begin anew with a lower --learning-rate and --resume never"
            )
        # PyTorch warns of sparse gradients unless told to check them or not to.
        with torch.sparse.check_sparse_tensor_invariants(False):  # type: ignore[no-untyped-call]  # PyTorch's own lack of types
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        self.lstm_state = detach(state)
        self.progress = Progress(
            steps=self.progress.steps + 1,
            tokens=self.progress.tokens + len(losses.forward_N),
            passes=self.sentences.passes,
            seconds=self.progress.seconds,
        )
        return {"loss": loss.item(), "gradient_norm": norm.item()}

    def _candidates(self) -> tuple[Candidates, Candidates] | None:
        """Draw the candidates of both directions, or none for the full softmax."""
        if self.recipe.negatives is None or self.recipe.negatives >= self.vocabulary_size:
            return None
        forward, backward = (draw_candidates(self.vocabulary_size, self.recipe.negatives) for _ in range(2))
        return forward, backward

    def evaluate(self) -> dict[str, float]:
        """Score the head of the held-out text."""
        self.model.eval()
        score = stream_perplexity(self.model, self.corpus.heldout.sentences(MONITOR_TOKENS), self.corpus.characters, MONITOR_ROWS)
        return {"heldout_forward": score.forward, "heldout_backward": score.backward, "heldout_mean": score.mean}

    def save(self) -> None:
        """Write weights, optimizers, random state, LSTM states and the place in the text, atomically."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= optimizer_tensors(self.optimizers)
        tensors["random"] = torch.get_rng_state()
        tensors |= _name_state(self.lstm_state)
        tensors |= {
            f"unread.{row}": torch.from_numpy(np.ascontiguousarray(lines)) for row, lines in enumerate(self.streams.unread)
        }
        place = [self.sentences.finished_passes, self.sentences.position]
        save_state(self.state_path, tensors, {"progress": asdict(self.progress), "place": place})

    def restore(self) -> None:
        """Go on from the checkpoint.

        Raises:
            FormatError: It is damaged, or that of another model.
        """
        tensors, numbers = load_state(self.state_path)
        weights = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
        try:
            self.model.load_state_dict(weights)
            restore_optimizers(self.optimizers, tensors)
            torch.set_rng_state(tensors["random"])
            self.lstm_state = _state_of_names(tensors, self.model.head.bias.device)
            self.streams.unread = [tensors[f"unread.{row}"].numpy() for row in range(self.recipe.batch_size)]
            self.sentences.move_to(*numbers["place"])
            self.progress = Progress(**numbers["progress"])
        except (RuntimeError, KeyError, TypeError) as error:
            raise FormatError(
                f"{self.state_path}: is no state of this model, text and recipe; give the same options, another --out, "
                "or --resume never"
            ) from error


def _optimizers(model: LanguageModel, recipe: Recipe) -> list[Optimizer]:
    """The recipe's optimizers."""
    if recipe.optimizer == "reference":
        return reference_optimizers(model.parameters(), recipe.learning_rate)
    rows = [model.head.weight]
    body = [parameter for parameter in model.parameters() if parameter is not model.head.weight]
    return modern_optimizers(body, rows, recipe.learning_rate)


def _name_state(state: BiLMState | None) -> dict[str, Tensor]:
    """Names for the LSTM states in a checkpoint."""
    if state is None:
        return {}
    stacks = {"forward": state.forward, "backward": state.backward}
    return {
        f"state.{way}.{number}.{part}": getattr(s, part)
        for way, stack in stacks.items()
        for number, s in enumerate(stack)
        for part in s._fields
    }


def _state_of_names(tensors: dict[str, Tensor], device: torch.device) -> BiLMState | None:
    """The LSTM states that `_name_state` named."""
    layers = sum(name.startswith("state.forward.") for name in tensors) // len(LstmState._fields)
    if not layers:
        return None
    forward, backward = (
        tuple(
            LstmState(*(tensors[f"state.{way}.{number}.{part}"].to(device) for part in LstmState._fields))
            for number in range(layers)
        )
        for way in ("forward", "backward")
    )
    return BiLMState(forward, backward)
