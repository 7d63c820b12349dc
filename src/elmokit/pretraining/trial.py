"""A few steps of a run, tried on this machine: how fast they are, and how much memory they take.

They run in a process of their own, so that its memory is theirs alone, and so that one that memory is too small for ends
nothing else.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from elmokit.embedding.workers import Crew, Handler
from elmokit.errors import is_out_of_memory
from elmokit.lm.perplexity import stream_perplexity
from elmokit.pretraining.options import PretrainOptions
from elmokit.pretraining.preparing import build_trainer, read_corpus
from elmokit.pretraining.pretrainer import MONITOR_ROWS, MONITOR_TOKENS, Pretrainer
from elmokit.training.checkpoints import Checkpoints
from elmokit.training.memory import device_peak_bytes, peak_bytes
from elmokit.training.ranks import ALONE

WARM_UP, STEPS = 3, 20
LEAST_SECONDS, MOST_SECONDS = 2.0, 30.0
"""Fast steps are repeated for so long, and of slow ones fewer are done."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What was found."""

    body: int
    """Parameters of the biLM."""
    head: int
    """Parameters of the softmax; those of a table that is both count here."""
    tokens_per_second: float
    """Of training, in each direction."""
    checkpoint_seconds: float
    """For saving and measuring once."""
    finish_seconds: float
    """For the exact perplexity of the held-out text at the end."""
    memory: int | None
    """Bytes that the process had at most; on a GPU, those there. None where the system does not say."""


def try_out(options: PretrainOptions) -> Trial | None:
    """Do a few steps with a run's options, and throw their result away; the text is read and stays.

    Returns:
        None if memory was too small.

    Raises:
        ValueError: What the run itself would raise.
    """
    options.work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=options.work) as folder, Crew(1, __name__) as crew:
        try:
            crew.begin(_handler)
            return crew.run(lambda ask: _answer(ask((options, Path(folder))))).result()
        except ValueError as error:
            if isinstance(error.__cause__, BrokenPipeError | EOFError):  # the system has ended it
                return None
            raise


def _handler() -> Handler:
    """Make what the process does."""
    return lambda task, note: _tried(*task)


def _answer(found: Trial | None) -> Trial | None:
    """What the process has sent."""
    return found


def _tried(options: PretrainOptions, folder: Path) -> Trial | None:
    """Try, here; the folder is the other process's, which outlives this one."""
    try:
        return _measured(build_trainer(options, read_corpus(options), Checkpoints(folder, 1), ALONE))
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            return None
        raise


def _measured(trainer: Pretrainer) -> Trial:
    """Time steps, a checkpoint and the scoring of held-out text."""
    warm_up = time.perf_counter()
    for _ in range(WARM_UP):
        trainer.step(0.0)
        if time.perf_counter() - warm_up > LEAST_SECONDS:
            break
    tokens, began, steps = trainer.progress.tokens, time.perf_counter(), 0
    while _goes_on(steps, time.perf_counter() - began):
        trainer.step(0.0)
        steps += 1
    seconds = time.perf_counter() - began
    saving = _seconds(trainer.save)
    heldout = trainer.corpus.heldout.targets
    model = trainer.model
    return Trial(
        body=sum(parameter.numel() for parameter in model.bilm.parameters() if parameter is not model.head.weight),
        head=sum(parameter.numel() for parameter in model.head.parameters()),
        tokens_per_second=(trainer.progress.tokens - tokens) / seconds,
        checkpoint_seconds=saving + min(MONITOR_TOKENS, heldout) / _scored_per_second(trainer, MONITOR_ROWS),
        finish_seconds=heldout / _scored_per_second(trainer, 1),
        memory=peak_bytes() if trainer.device.type == "cpu" else device_peak_bytes(trainer.device),
    )


def _goes_on(steps: int, seconds: float) -> bool:
    """Whether another step is worth it."""
    return seconds < MOST_SECONDS and (steps < STEPS or seconds < LEAST_SECONDS)


def _scored_per_second(trainer: Pretrainer, rows: int) -> float:
    """How many held-out words a second are scored, by more and more of them until it takes long enough to tell."""
    trainer.model.eval()
    most, tokens = trainer.corpus.heldout.targets, 16 * rows
    while True:
        sentences = list(trainer.corpus.heldout.sentences(tokens))
        seconds = _seconds(partial(stream_perplexity, trainer.model, iter(sentences), trainer.word_rows, rows))
        scored = sum(len(sentence) + 1 for sentence in sentences)
        if seconds > 0.5 or tokens >= most:
            return scored / seconds
        tokens = math.ceil(tokens * 4)


def _seconds(do: Callable[[], object]) -> float:
    """How long something takes."""
    began = time.perf_counter()
    do()
    return time.perf_counter() - began
