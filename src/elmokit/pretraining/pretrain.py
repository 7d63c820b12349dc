"""From text files to a model folder: what `elmo pretrain` does.

Beside the model folder `OUT` stands `OUT.training` with all that only training needs: the shards, the log and the
checkpoint. It may be deleted when the model is finished.
"""

import json
import math
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.checkpoints.folder import check_target, save_folder
from elmokit.config import BiLMConfig, ElmoConfig, TextConfig
from elmokit.errors import FormatError
from elmokit.kernels.training_lstm import training_lstm
from elmokit.lm.language_model import LanguageModel
from elmokit.lm.load import load_language_model
from elmokit.lm.perplexity import Perplexity, stream_perplexity
from elmokit.model.bilm import BiLM
from elmokit.model.softmax import SoftmaxHead
from elmokit.pretraining.card import model_card
from elmokit.pretraining.corpus import Corpus, build_corpus
from elmokit.pretraining.pretrainer import Pretrainer
from elmokit.pretraining.reading import TextSource
from elmokit.pretraining.recipes import Recipe
from elmokit.text.batch import token_budget_batches, word_batch
from elmokit.text.readers import word_reader
from elmokit.text.vocabulary import SPECIAL_WORDS, Vocabulary
from elmokit.training.budget import Budget
from elmokit.training.log import JsonLog
from elmokit.training.loop import train

Resume = Literal["auto", "never"]
Precision = Literal["float32", "bfloat16"]
LAYER_MEANS_TOKENS = 20_000
"""Held-out words over which each layer's mean is taken."""


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """What to train, on what, how and for how long."""

    train: TextSource
    """The text to learn from."""
    heldout: TextSource | None
    """The text to measure on; None: a hundredth of the documents."""
    out: Path
    """The model folder."""
    bilm: BiLMConfig
    """The shape."""
    text: TextConfig
    """Tokenizer and normalization."""
    recipe: Recipe
    """The way of training."""
    vocabulary_size: int
    """V at most, the three special words included."""
    budget: Budget
    """When to stop."""
    languages: tuple[str, ...] = ()
    """ISO 639 codes that the model's configuration names."""
    seed: int = 0
    """Of initial values, dropout, candidates and the order of sentences."""
    shuffle: bool = True
    """Whether sentences are shuffled at every pass."""
    checkpoint_minutes: float = 10.0
    """Time between checkpoints."""
    resume: Resume = "auto"
    """"auto": go on from the checkpoint if there is one; "never": begin anew."""
    device: str = "cpu"
    """Where to compute."""
    precision: Precision = "float32"
    """Of the recurrence's matrix products; weights, sums and optimizer are float32 always."""

    def __post_init__(self) -> None:
        """Refuse what cannot train, before anything is read.

        Raises:
            ValueError: Names the option and what it may be.
        """
        if self.vocabulary_size <= len(SPECIAL_WORDS):
            raise ValueError(f"--vocab-size must be above 3 ({' '.join(SPECIAL_WORDS)} are in it), not {self.vocabulary_size}")
        if self.seed < 0:
            raise ValueError(f"--seed must be 0 or more, not {self.seed}")
        if not self.checkpoint_minutes >= 0:
            raise ValueError(f"--checkpoint-minutes must be 0 or more, not {self.checkpoint_minutes}")

    @property
    def work(self) -> Path:
        """The folder for shards, log and checkpoint."""
        return self.out.with_name(self.out.name + ".training")


def pretrain(options: PretrainOptions) -> Perplexity:
    """Train a language model and write its folder.

    Returns:
        The finished model's held-out perplexity, exact: one stream, every target once.

    Raises:
        ValueError: The options do not fit each other, the text or an earlier run.
        KeyboardInterrupt: Stopped by a signal, after a checkpoint.
    """
    trainer = prepare(options)
    log, begun = JsonLog(options.work / "log.jsonl"), trainer.progress.steps
    try:
        train(trainer, options.budget, log, checkpoint_minutes=options.checkpoint_minutes)
    except KeyboardInterrupt:
        _say("stopped; the same command goes on from the last checkpoint")
        raise
    corpus, config = trainer.corpus, ElmoConfig(bilm=options.bilm, text=options.text, languages=options.languages)
    checkpoint = Checkpoint(
        config=config,
        bilm=trainer.model.bilm.state_dict(),
        head=trainer.model.head.state_dict(),
        vocabulary=vocabulary_of(corpus, options.vocabulary_size),
        origin="pretraining",
    )
    _say("measuring the held-out perplexity …")
    model, _ = load_language_model(checkpoint)  # as others will load it: in float32 whatever the training's precision
    score = stream_perplexity(model, corpus.heldout.sentences(), corpus.characters)
    if trainer.progress.steps > begun or not options.out.exists():  # else an earlier run has noted the same
        log.write(steps=trainer.progress.steps, final=asdict(score))
    card = model_card(options.out.name, config, options.recipe, corpus, trainer.progress, score)
    save_folder(replace(checkpoint, layer_means_LD=layer_means(model.bilm, corpus), card=card), options.out)
    return score


def prepare(options: PretrainOptions) -> Pretrainer:
    """Read the corpus, build the model and go on from a checkpoint if there is one.

    Raises:
        ValueError: The options do not fit the text or an earlier run, or OUT is taken.
        FormatError: What is left of an earlier run is damaged.
    """
    check_target(options.out)
    state_path = options.work / "state.safetensors"
    goes_on = options.resume == "auto" and state_path.exists()
    if goes_on:
        _check_same_run(options)
    max_characters = options.bilm.byte_cnn.max_characters
    corpus = build_corpus(options.train, options.heldout, options.work / "corpus", options.text, max_characters)
    vocabulary_size = len(vocabulary_of(corpus, options.vocabulary_size))
    torch.manual_seed(options.seed)
    bilm = BiLM(options.bilm, training_lstm(getattr(torch, options.precision)), options.recipe.dropout)
    model = LanguageModel(bilm, SoftmaxHead(vocabulary_size, options.bilm.output_dim), options.recipe.dropout).to(options.device)
    trainer = Pretrainer(model, corpus, options.recipe, options.seed, state_path, options.shuffle)
    _say(_describe(corpus, model, options))
    if goes_on:
        trainer.restore()
        _say(f"going on from step {trainer.progress.steps:,}, {trainer.progress.tokens:,} tokens")
    else:
        state_path.unlink(missing_ok=True)  # else an interruption would leave it beside the note of this run
        (options.work / "run.json").write_text(json.dumps(_identity(options), indent=1), encoding="utf-8")
    return trainer


def vocabulary_of(corpus: Corpus, size: int) -> Vocabulary:
    """Give the words of the softmax: the most frequent ones of the training text."""
    return Vocabulary(corpus.words.words[: min(size, corpus.facts["words_of_training"])])


def layer_means(bilm: BiLM, corpus: Corpus) -> Tensor:
    """Give each layer's mean vector (L + 1, D) over held-out words, each sentence by itself, marks left out."""
    words = corpus.words.words
    tokens, sentences = 0, []
    for ids in corpus.heldout.sentences(LAYER_MEANS_TOKENS):
        sentences.append([words[i] for i in ids])
        tokens += len(ids)
    reader = word_reader(bilm.config)
    total_LD = torch.zeros(bilm.config.layers + 1, bilm.config.dim, dtype=torch.float64)
    with torch.no_grad():
        for batch in token_budget_batches([len(s) + 2 for s in sentences], 4096):
            layers_LBTD, _ = bilm(word_batch([sentences[i] for i in batch], reader))
            for layers_LTD, i in zip(layers_LBTD.unbind(1), batch, strict=True):
                total_LD += layers_LTD[:, 1 : len(sentences[i]) + 1].double().sum(1).cpu()
    return (total_LD / tokens).float()


def _identity(options: PretrainOptions) -> dict[str, Any]:
    """What must be the same for a run to go on."""
    return {
        "bilm": options.bilm.to_dict(),
        "text": asdict(options.text),
        "recipe": asdict(options.recipe),
        "vocabulary_size": options.vocabulary_size,
        "seed": options.seed,
        "shuffle": options.shuffle,
        "train": options.train.fingerprint(),
        "heldout": options.heldout and options.heldout.fingerprint(),
    }


def _check_same_run(options: PretrainOptions) -> None:
    """Refuse to go on from the checkpoint of another run.

    Raises:
        ValueError: Names what differs.
        FormatError: The note of the earlier run is damaged.
    """
    path = options.work / "run.json"
    try:
        before = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise FormatError(f"{path}: the note of the earlier run cannot be read ({error}); --resume never begins anew") from error
    changed = _differences(before, json.loads(json.dumps(_identity(options))))
    if changed:
        raise ValueError(
            f"{options.work} holds a run with other settings ({', '.join(changed)}): give the same, another --out, "
            "or --resume never"
        )


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    """Name what differs between two notes, with the values where they are short; what the older one lacks is not compared."""
    if isinstance(before, dict) and isinstance(now, dict):
        shared = [key for key in now if key in before]
        return [line for key in shared for line in _differences(before[key], now[key], f"{name}.{key}" if name else key)]
    if before == now:
        return []
    values = f"{name} was {before}, is {now}"
    return [values if len(values) <= 60 else name]


def _describe(corpus: Corpus, model: LanguageModel, options: PretrainOptions) -> str:
    """Say what will be trained on what."""
    size = len(model.head.bias)
    ids_N = corpus.train.tokens[: 10**6]
    body = sum(parameter.numel() for parameter in model.bilm.parameters())
    head = sum(parameter.numel() for parameter in model.head.parameters())
    bad = {name: corpus.facts["read"][name] for name in ("undecodable", "empty_files", "damaged_files")}
    return (
        f"{corpus.facts['tokens']:,} words in {len(corpus.train):,} sentences "
        f"({bad['undecodable']:,} undecodable lines, {bad['empty_files']:,} empty and {bad['damaged_files']:,} damaged files), "
        f"{len(corpus.heldout.tokens):,} words held out\n"
        f"vocabulary {size:,} words, {float((ids_N < size).mean()):.1%} of the text; "
        f"{body / 1e6:.1f} M parameters and {head / 1e6:.1f} M of the softmax; "
        f"{math.ceil(corpus.train.targets / options.recipe.batch_size / options.recipe.window):,} steps a pass"
    )


def _say(text: str) -> None:
    """Tell the person who watches; standard output is for results."""
    print(text, file=sys.stderr, flush=True)
