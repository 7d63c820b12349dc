"""One update of a language model, and all that an update depends on, in one checkpoint.

The batch is B streams of text. They may be computed some rows at a time, one part after the other or by several processes
at once: each part has its own rows' states, all gradients are added up, and the update is the same to rounding.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from elmokit.errors import FormatError
from elmokit.kernels.device import brought_to
from elmokit.lm.language_model import Characters, LanguageModel, LmBatch, LmLosses, detach, lm_batch
from elmokit.lm.perplexity import stream_perplexity
from elmokit.model.bilm import BiLMState
from elmokit.model.softmax import Candidates, draw_candidates
from elmokit.pretraining.character_noise import CharacterNoise
from elmokit.pretraining.corpus import Corpus
from elmokit.pretraining.inputs import tables_of
from elmokit.pretraining.layer_rates import optimizers_of
from elmokit.pretraining.ready_window import Place, ReadyWindow, generator_of
from elmokit.pretraining.recipes import Recipe
from elmokit.pretraining.sentence_order import EndlessSentences
from elmokit.pretraining.stream_states import join_states, split_state, state_from_tensors, state_tensors, without_memory
from elmokit.text.readers import WordIds
from elmokit.text.streams import NOTHING, SentenceStreams, StreamWindow
from elmokit.text.vocabulary import BOS_ID, UNK_ID
from elmokit.training.budget import Progress
from elmokit.training.checkpoint import optimizer_tensors, restore_optimizers
from elmokit.training.checkpoints import Checkpoints
from elmokit.training.optimizers import clip_global_norm, set_learning_rates
from elmokit.training.ranks import ALONE, Ranks
from elmokit.training.schedule import SCHEDULES

MONITOR_TOKENS, MONITOR_ROWS = 20_000, 16
"""What is scored at each checkpoint: the head of the held-out text, in parallel streams, so that it costs seconds."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How the batch is computed, which changes its result by rounding and by what is dropped out, and not otherwise."""

    product_dtype: torch.dtype = torch.float32
    """Of the products that PyTorch makes by itself; weights, sums and the rest are float32."""
    parts: int = 1
    """Parts in which a process computes its rows, one after the other: less memory."""
    ranks: Ranks = ALONE
    """The processes that share the rows."""
    read_ahead: bool = False
    """Whether the next window is made ready while the device computes: of use where it computes by itself, as a GPU does."""


class Pretrainer:
    """Trains a language model on a corpus by truncated back-propagation; see `elmokit.training.loop.Trainee`.

    Args:
        model: The language model, with its dropout.
        corpus: The text.
        recipe: The way of training.
        seed: Of the order of sentences, and of the words drawn.
        checkpoints: Where checkpoints go.
        shuffle: Whether sentences are shuffled at every pass.
        way: How a batch is computed.
        word_rows: What turns word ids into the rows that the model reads; None: their characters.
        noise: What misspells some words that training reads; None: nothing.

    Raises:
        ValueError: The rows of the batch cannot be divided evenly.
    """

    def __init__(
        self,
        model: LanguageModel,
        corpus: Corpus,
        recipe: Recipe,
        seed: int,
        checkpoints: Checkpoints,
        shuffle: bool = True,
        way: Way | None = None,
        word_rows: Characters | None = None,
        noise: CharacterNoise | None = None,
    ) -> None:
        self.model = model
        self.corpus = corpus
        self.recipe = recipe
        self.seed = seed
        self.checkpoints = checkpoints
        self.way = way or Way()
        self.word_rows = word_rows or corpus.characters
        self.noise = noise
        self.progress = Progress()
        self.sentences = EndlessSentences(corpus.train, seed, shuffle)
        self.streams = SentenceStreams(self.sentences, recipe.batch_size, recipe.window)
        self.consumed = ""
        """Hash of all word ids read so far, in order: that of an uninterrupted run if none was skipped or repeated."""
        self.rows = _parts(self.way.ranks.share(recipe.batch_size), self.way.parts)
        self.lstm_states: list[BiLMState | None] = [None] * len(self.rows)
        """What the streams of each part remember."""
        self._ahead: tuple[Place, ReadyWindow] | None = None
        """What was read ahead, and where reading stood before it."""
        self.optimizers: list[Optimizer] = optimizers_of(model, recipe)
        self.schedule = SCHEDULES[recipe.schedule]

    @property
    def vocabulary_size(self) -> int:
        """V of the softmax."""
        return len(self.model.head.bias)

    @property
    def directions(self) -> int:
        """In how many directions the model reads."""
        return self.model.bilm.config.directions

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.head.bias.device

    def step(self, used: float) -> dict[str, float]:
        """Read one window in each direction of the model and update the weights.

        Raises:
            ValueError: The loss or its gradient is not a number any more.
        """
        self.model.train()
        self._hold_body(used < self.recipe.head_first)
        set_learning_rates(self.optimizers, self.schedule(used, self.progress.steps))
        ready = self._ready(0) if self._ahead is None else self._ahead[1]
        self._ahead = None
        window, candidates = ready.window, ready.candidates
        targets = int((window.forward_targets_BT != NOTHING).sum())
        total = torch.zeros((), device=self.device)
        for number, (batch, begins_B) in enumerate(zip(ready.batches, ready.begins, strict=True)):
            losses, state = self.forward(batch, self._state_before(begins_B, number), candidates)
            loss = (losses.forward_N.sum() + losses.backward_N.sum()) / (self.directions * targets)
            # The reference sums over the window, which its clipping and its learning rate are made for.
            torch.autograd.backward(loss * self.recipe.window if self.recipe.optimizer == "reference" else loss)
            self.lstm_states[number] = detach(state)
            total += loss.detach()
        if self.way.read_ahead:
            self._ahead = self._place(), self._ready(1)
        self._add_up(window, candidates, total)
        mean_loss, norm = torch.stack([total, clip_global_norm(self.model.parameters(), self.recipe.clip_norm)]).tolist()
        if not math.isfinite(norm):
            raise ValueError(
                f"step {self.progress.steps}: the loss or its gradient is not finite (loss {mean_loss}), on what was read "
                f"between {ready.began:.6f} and {ready.ended:.6f} passes over the text; "
                f"{self.checkpoints.way_back(self.progress.steps)}"
            )
        # PyTorch warns of sparse gradients unless told to check them or not to.
        with torch.sparse.check_sparse_tensor_invariants(False):  # type: ignore[no-untyped-call]  # PyTorch's own lack of types
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        self.consumed = _chained(self.consumed, window)
        before = self.progress
        self.progress = replace(before, steps=before.steps + 1, tokens=before.tokens + targets, passes=ready.ended)
        return {"loss": mean_loss, "gradient_norm": norm}

    def _ready(self, ahead: int) -> ReadyWindow:
        """Read the next window, for so many steps from now, with all that depends on nothing else."""
        began = self.sentences.passes
        window = next(self.streams)
        parts = [StreamWindow(*(ids_BT[rows] for ids_BT in window)) for rows in self.rows]
        return ReadyWindow(
            window,
            [self.batch(part, ahead) for part in parts],
            [brought_to(self.device, torch.from_numpy(part.forward_BT[:, 0] == BOS_ID)) for part in parts],
            self.candidates(ahead),
            began,
            self.sentences.passes,
        )

    def _place(self) -> Place:
        """Where reading stands."""
        return Place(list(self.streams.unread), self.sentences.finished_passes, self.sentences.position)

    def batch(self, window: StreamWindow, ahead: int = 0) -> LmBatch:
        """Make tensors of a window, of the directions that the model reads, for so many steps from now."""
        both = self.model.bilm.config.bidirectional
        rows = partial(self._training_rows, step=self.progress.steps + ahead)
        return lm_batch(window, rows, self.vocabulary_size, self.device, bidirectional=both)

    def _training_rows(self, ids_U: NDArray[np.int64], step: int) -> WordIds:
        """What the model reads of some words in training: the characters stand last in each row."""
        rows_UW = self.word_rows(ids_U)
        if self.noise is not None:
            self.noise.add_(ids_U, rows_UW[:, -self.corpus.words.max_characters :], step)
        return rows_UW

    def _state_before(self, begins_B: Tensor, number: int) -> BiLMState | None:
        """What the streams of a part remember, those with a new sentence nothing if the recipe says so."""
        state = self.lstm_states[number]
        if state is None or not self.recipe.fresh_sentences:
            return state
        return without_memory(state, begins_B)

    def _hold_body(self, held: bool) -> None:
        """Let the softmax alone learn, or everything; a table that is both is the softmax's."""
        for parameter in self.model.bilm.parameters():
            parameter.requires_grad_(not held or parameter is self.model.head.weight)

    def forward(
        self, batch: LmBatch, state: BiLMState | None, candidates: tuple[Candidates, ...] | None
    ) -> tuple[LmLosses, BiLMState]:
        """Score some rows of a window in the precision asked for."""
        with torch.autocast(self.device.type, torch.bfloat16, self.way.product_dtype == torch.bfloat16):
            losses, state = self.model(batch, state, candidates)
        return losses, state

    def candidates(self, ahead: int = 0) -> tuple[Candidates, ...] | None:
        """Draw the candidates for so many steps from now, the same in every process; none for the full softmax."""
        if self.recipe.negatives is None or self.recipe.negatives >= self.vocabulary_size:
            return None
        random = [generator_of(self.seed, self.progress.steps + ahead, direction) for direction in range(self.directions)]
        drawn = [draw_candidates(self.vocabulary_size, self.recipe.negatives, generator) for generator in random]
        return tuple(Candidates(brought_to(self.device, ids_S), tries) for ids_S, tries in drawn)

    def _add_up(self, window: StreamWindow, candidates: tuple[Candidates, ...] | None, total: Tensor) -> None:
        """Add up the loss and the gradients of all processes.

        Of the table of the softmax the rows that any of them touched go as one dense block: each process has read the
        whole window, so all know which they are.
        """
        if self.way.ranks.count == 1:
            return
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        sums = [parameter.grad for parameter in parameters if parameter.grad is not None and not parameter.grad.is_sparse]
        tables = [parameter for parameter in parameters if parameter.grad is not None and parameter.grad.is_sparse]
        touched_R = self._touched(window, candidates) if tables else torch.empty(0)
        blocks = [_dense_block(table, touched_R) for table in tables]
        self.way.ranks.add_([*sums, *blocks, total])
        for table, block_RP in zip(tables, blocks, strict=True):
            table.grad = torch.sparse_coo_tensor(
                touched_R.unsqueeze(0), block_RP, table.shape, is_coalesced=True, check_invariants=False
            )

    def _touched(self, window: StreamWindow, candidates: tuple[Candidates, ...] | None) -> Tensor:
        """The words of the vocabulary that any process read, was asked for or drew, sorted."""
        ids = np.unique(np.stack(window[: 2 * self.directions]))
        known = torch.from_numpy(np.where((ids >= 0) & (ids < self.vocabulary_size), ids, UNK_ID))
        touched: Tensor = torch.unique(torch.cat([known, *(drawn.ids_S.cpu() for drawn in candidates or ())]))
        return touched.to(self.device)

    def evaluate(self) -> dict[str, float]:
        """Score the head of the held-out text."""
        ways = ("forward", "backward", "mean") if self.directions == 2 else ("forward", "mean")
        scores = [0.0] * len(ways)
        if self.way.ranks.first:
            self.model.eval()
            sentences = self.corpus.heldout.sentences(MONITOR_TOKENS)
            score = stream_perplexity(self.model, sentences, self.word_rows, MONITOR_ROWS)
            scores = [getattr(score, way) for way in ways]
        return {f"heldout_{way}": agreed for way, agreed in zip(ways, self.way.ranks.agree(scores), strict=True)}

    def save(self) -> None:
        """Write weights, optimizers, random states, LSTM states and the place in the text, atomically.

        Raises:
            OSError: The checkpoint could not be written; all processes are told.
        """
        ranks = self.way.ranks
        state = join_states([state for state in self.lstm_states if state is not None])
        states = {name: torch.cat(ranks.gather(tensor)) for name, tensor in state_tensors(state).items()}
        place = self._place() if self._ahead is None else self._ahead[0]
        random = {
            f"{name}.{rank}": tensor
            for name, own in _random_states(self.device).items()
            for rank, tensor in enumerate(ranks.gather(own))
        }
        error = None
        if ranks.first:
            tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
            if any(tensor is self.model.head.weight for tensor in _tables(self.model)):
                del tensors["model.head.weight"]  # it is the table of words, which no file holds twice
            tensors |= optimizer_tensors(self.optimizers) | states | random
            tensors |= {f"unread.{row}": torch.from_numpy(np.ascontiguousarray(lines)) for row, lines in enumerate(place.unread)}
            try:
                self.checkpoints.save(self.progress.steps, tensors, self._numbers(place))
                if self.progress.best_loss is not None and self.progress.without_gain == 0:
                    self.checkpoints.judge(self.progress.steps, self.progress.best_loss)
            except OSError as failed:
                error = failed
        (number,) = ranks.agree([0 if error is None else error.errno or -1])
        if number:
            raise error or OSError(int(number), "the first process could not write the checkpoint")

    def _numbers(self, place: Place) -> dict[str, Any]:
        """What of a checkpoint is no tensor."""
        return {
            "progress": asdict(self.progress),
            "place": [place.finished_passes, place.position],
            "consumed": self.consumed,
            "processes": self.way.ranks.count,
        }

    def restore(self) -> str | None:
        """Go on from the newest whole checkpoint.

        Returns:
            What is not as it was; None if there is no checkpoint, "" if all is.

        Raises:
            FormatError: It is that of another model.
        """
        state = self.checkpoints.newest()
        if state is None:
            return None
        tensors, numbers = state.tensors, state.numbers
        try:
            self.take_weights(tensors)
            restore_optimizers(self.optimizers, tensors)
            self.streams.unread = [tensors[f"unread.{row}"].numpy() for row in range(self.recipe.batch_size)]
            whole = state_from_tensors(tensors, self.device)
            self.lstm_states = [None if whole is None else split_state(whole, rows) for rows in self.rows]
            self.sentences.move_to(*numbers["place"])
            self._ahead = None
            self.progress = Progress(**numbers["progress"])
            self.consumed = numbers["consumed"]
            return self._restore_random(tensors, numbers["processes"])
        except (RuntimeError, KeyError, TypeError) as error:
            raise FormatError(
                f"{state.path}: is no state of this model, text and recipe; give the same options, another --out, "
                "or --resume never"
            ) from error

    def take_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the weights of a checkpoint, and nothing else of it.

        Raises:
            RuntimeError: They have other shapes.
            KeyError: They are of another model.
        """
        weights = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
        missing = self.model.load_state_dict(weights, strict=False)
        if missing.unexpected_keys or missing.missing_keys not in ([], ["head.weight"]):
            raise KeyError(*missing)

    def _restore_random(self, tensors: dict[str, Tensor], processes: int) -> str:
        """Let dropout go on as it would have; by another number of processes it cannot."""
        ranks = self.way.ranks
        if processes == ranks.count:
            torch.set_rng_state(tensors[f"random.{ranks.rank}"])
            if self.device.type == "cuda" and f"random_device.{ranks.rank}" in tensors:
                torch.cuda.set_rng_state(tensors[f"random_device.{ranks.rank}"], self.device)
            return ""
        torch.manual_seed(int(generator_of(self.seed, self.progress.steps, 2 + ranks.rank).initial_seed()))
        return (
            f"{processes} process(es) before, {ranks.count} now: the text, its order and the batch stay the same, "
            "what is dropped out is drawn anew"
        )


def _tables(model: LanguageModel) -> list[Tensor]:
    """The biLM's tables of words."""
    return [table.weight for table in tables_of(model.bilm)]


def _parts(rows: slice, number: int) -> list[slice]:
    """Cut a process's rows into equal parts.

    Raises:
        ValueError: They cannot be cut evenly.
    """
    if number < 1 or (rows.stop - rows.start) % number:
        raise ValueError(f"--accumulate ({number}) must divide the {rows.stop - rows.start} streams of a process evenly")
    each = (rows.stop - rows.start) // number
    return [slice(start, start + each) for start in range(rows.start, rows.stop, each)]


def _dense_block(table: torch.nn.Parameter, touched_R: Tensor) -> Tensor:
    """The gradient of a table's touched rows, zero where this process did not touch them."""
    assert table.grad is not None
    own = table.grad.coalesce()
    block_RP = own.values().new_zeros(len(touched_R), table.shape[1])
    block_RP[torch.searchsorted(touched_R, own.indices()[0])] = own.values()
    return block_RP


def _random_states(device: torch.device) -> dict[str, Tensor]:
    """The states that dropout draws from."""
    states = {"random": torch.get_rng_state()}
    return states | ({"random_device": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _chained(before: str, window: Sequence[Any]) -> str:
    """The hash of what was read before and of a window."""
    return blake2b(
        before.encode() + b"".join(np.ascontiguousarray(ids_BT).tobytes() for ids_BT in window), digest_size=16
    ).hexdigest()
