"""From text files to a model folder: what `elmo pretrain` does.

Beside the model folder `OUT` stands `OUT.training` with all that only training needs: the shards, the log (and a picture of
it, `loss.png`, where matplotlib is there) and the checkpoints. It may be deleted when the model is finished.
"""

import json
import math
import sys
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.checkpoints.folder import check_target, save_folder
from elmokit.config import BiLMConfig, CharCnnConfig, ElmoConfig, TextConfig
from elmokit.errors import FormatError
from elmokit.kernels.training_char_cnn import training_convolution
from elmokit.kernels.training_full_softmax import training_full_softmax
from elmokit.kernels.training_lstm import training_lstm
from elmokit.kernels.training_softmax import training_softmax
from elmokit.lm.language_model import LanguageModel
from elmokit.lm.load import load_language_model
from elmokit.lm.perplexity import Perplexity, stream_perplexity
from elmokit.model.bilm import BiLM
from elmokit.model.softmax import SoftmaxHead
from elmokit.pretraining.card import model_card
from elmokit.pretraining.character_noise import CharacterNoise
from elmokit.pretraining.corpus import RARELY, Corpus, build_corpus
from elmokit.pretraining.inputs import Input, tables_of, tie, with_input, word_rows, word_table
from elmokit.pretraining.loss_plot import draw_log
from elmokit.pretraining.pretrainer import Pretrainer, Way
from elmokit.pretraining.reading import TextSource
from elmokit.pretraining.recipes import Recipe
from elmokit.text.batch import token_budget_batches, word_batch
from elmokit.text.readers import WordReader
from elmokit.text.vocabulary import SPECIAL_WORDS, Vocabulary
from elmokit.training.budget import Budget
from elmokit.training.checkpoints import Checkpoints
from elmokit.training.log import JsonLog, Log, Logs
from elmokit.training.loop import train
from elmokit.training.ranks import ALONE, Ranks, joined_ranks
from elmokit.training.tensorboard import TensorBoardLog

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
    read: Input = "characters"
    """What word vectors are made of."""
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
    keep_checkpoints: int = 2
    """How many of the last checkpoints stay, the best one apart."""
    accumulate: int = 1
    """Parts in which the batch is computed, one after the other: less memory."""
    device: str = "cpu"
    """Where to compute."""
    precision: Precision = "float32"
    """Of the matrix products; weights, sums and optimizer are float32 always."""
    patience: int | None = None
    """Measurements without a gain after which training ends, and the best checkpoint becomes the model; None: never."""
    tensorboard: bool = False
    """Whether the numbers are written for TensorBoard too."""

    def __post_init__(self) -> None:
        """Refuse what cannot train, before anything is read.

        Raises:
            ValueError: Names the option and what it may be.
        """
        if self.vocabulary_size <= len(SPECIAL_WORDS):
            raise ValueError(f"--vocab-size must be above 3 ({' '.join(SPECIAL_WORDS)} are in it), not {self.vocabulary_size}")
        if self.seed < 0:
            raise ValueError(f"--seed must be 0 or more, not {self.seed}")
        for name in ("keep_checkpoints", "accumulate", "patience"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be 1 or more, not {getattr(self, name)}")
        if not self.checkpoint_minutes >= 0:
            raise ValueError(f"--checkpoint-minutes must be 0 or more, not {self.checkpoint_minutes}")
        if self.recipe.character_noise and self.read == "words":
            raise ValueError("--character-noise misspells what is read by its characters; with --input words nothing is")

    @property
    def work(self) -> Path:
        """The folder for shards, log and checkpoint."""
        return self.out.with_name(self.out.name + ".training")


def pretrain(options: PretrainOptions) -> Perplexity:
    """Train a language model and write its folder; under `torchrun`, with the other processes that it started.

    Returns:
        The finished model's held-out perplexity, exact: one stream, every target once.

    Raises:
        ValueError: The options do not fit each other, the text or an earlier run.
        KeyboardInterrupt: Stopped by a signal, after a checkpoint.
        OSError: The last checkpoint or the model could not be written.
    """
    with joined_ranks(options.device) as ranks:
        trainer = prepare(options, ranks)
        log, begun = _log(options, trainer, ranks), trainer.progress.steps
        minutes = options.checkpoint_minutes
        try:
            train(trainer, options.budget, log, checkpoint_minutes=minutes, patience=options.patience, ranks=ranks)
        except KeyboardInterrupt:
            _say("stopped; the same command goes on from the last checkpoint", ranks)
            raise
        _take_best(trainer, options, ranks)
        score = finish(trainer, options, log, begun) if ranks.first else Perplexity(0, 0, 0, 0, 0)
        forward, backward, mean, tokens, oov = ranks.agree([number or 0 for number in astuple(score)])
        return Perplexity(forward, backward if options.bilm.bidirectional else None, mean, int(tokens), oov)


def _log(options: PretrainOptions, trainer: Pretrainer, ranks: Ranks) -> Log:
    """Where the numbers go."""
    json_log = JsonLog(options.work / "log.jsonl")
    if not options.tensorboard or not ranks.first:
        return json_log
    return Logs(json_log, TensorBoardLog(options.work / "tensorboard", trainer.progress.steps))


def _take_best(trainer: Pretrainer, options: PretrainOptions, ranks: Ranks) -> None:
    """Go back to the best checkpoint if --patience asks for it; else say that there is a better one."""
    best = trainer.checkpoints.best() if ranks.first else None
    if best is None or best.steps == trainer.progress.steps:
        return
    if options.patience is None:
        _say(f"step {best.steps:,} was better on the held-out text than the end: --patience would have taken it", ranks)
        return
    _say(f"the model is that of step {best.steps:,}, the best on the held-out text", ranks)
    trainer.take_weights(best.tensors)


def finish(trainer: Pretrainer, options: PretrainOptions, log: Log, begun: int) -> Perplexity:
    """Measure the trained model and write its folder.

    Args:
        trainer: Which has trained.
        options: What was asked for.
        log: Where the final perplexity is noted.
        begun: Steps that were done when this call of the program began.
    """
    corpus, model = trainer.corpus, trainer.model
    config = ElmoConfig(bilm=model.bilm.config, text=options.text, languages=options.languages)
    vocabulary = vocabulary_of(corpus, options.vocabulary_size)
    checkpoint = Checkpoint(
        config=config,
        bilm=model.bilm.state_dict(),
        head=model.head.state_dict(),
        vocabulary=vocabulary,
        input_words=word_table(vocabulary, options.read),
        origin="pretraining",
    )
    _say("measuring the held-out perplexity …")
    model, _ = load_language_model(checkpoint)  # as others will load it: in float32 whatever the training's precision
    score = stream_perplexity(model, corpus.heldout.sentences(), trainer.word_rows)
    if trainer.progress.steps > begun or not options.out.exists():  # else an earlier run has noted the same
        log.write(steps=trainer.progress.steps, final=asdict(score))
    card = model_card(options.out.name, config, options.recipe, corpus, trainer.progress, score)
    means_LD = layer_means(model.bilm, corpus, checkpoint.reader)
    save_folder(replace(checkpoint, layer_means_LD=means_LD, card=card), options.out)
    draw_log(options.work / "log.jsonl", options.work / "loss.png")
    return score


def prepare(options: PretrainOptions, ranks: Ranks = ALONE) -> Pretrainer:
    """Read the corpus, build the model and go on from a checkpoint if there is one.

    Raises:
        ValueError: The options do not fit the text or an earlier run, or OUT is taken.
        FormatError: What is left of an earlier run is damaged.
    """
    check_target(options.out)
    checkpoints = Checkpoints(options.work / "checkpoints", options.keep_checkpoints)
    goes_on = options.resume == "auto" and (options.work / "run.json").exists()
    if goes_on:
        _check_same_run(options)
    if options.train.patterns == ["-"] and (options.work / "corpus").exists():
        _say("standard input was read by an earlier run: its text is used, what comes now is not read", ranks)
    if not ranks.first:
        ranks.wait()  # until the first one has read the text
    max_characters = (options.bilm.char_cnn or CharCnnConfig()).max_characters
    corpus = build_corpus(options.train, options.heldout, options.work / "corpus", options.text, max_characters)
    if ranks.first:
        ranks.wait()
    trainer = _trainer(options, corpus, checkpoints, ranks)
    _say(_describe(corpus, trainer.model, options), ranks)
    changed = trainer.restore() if goes_on else None
    for damaged in checkpoints.passed_over:
        _say(f"passed over a checkpoint that is not whole: {damaged}", ranks)
    if goes_on and changed is None and checkpoints.passed_over:
        raise FormatError(f"{checkpoints.folder}: none of its checkpoints is whole; --resume never begins anew")
    if changed is not None:
        _say(
            f"going on from step {trainer.progress.steps:,}, {trainer.progress.tokens:,} tokens" + (changed and f"; {changed}"),
            ranks,
        )
    elif ranks.first:
        checkpoints.clear()  # else an interruption would leave them beside the note of this run
        (options.work / "run.json").write_text(json.dumps(_identity(options), indent=1), encoding="utf-8")
    return trainer


def _trainer(options: PretrainOptions, corpus: Corpus, checkpoints: Checkpoints, ranks: Ranks) -> Pretrainer:
    """Build a model with its first values, and what trains it."""
    torch.manual_seed(options.seed)  # the same first values in every process …
    dtype = torch.bfloat16 if options.precision == "bfloat16" else torch.float32
    dropout = options.recipe.dropout
    size = len(vocabulary_of(corpus, options.vocabulary_size))
    shape = with_input(options.bilm, options.read, size)
    bilm = BiLM(shape, training_lstm(dtype), dropout, training_convolution(dtype))
    softmax = training_softmax(dtype), training_full_softmax(dtype)
    model = LanguageModel(bilm, SoftmaxHead(size, shape.output_dim), dropout, *softmax)
    tie(model)
    for table in tables_of(bilm):
        table.sparse = True
    model = model.to(options.device)
    if not ranks.first:
        torch.manual_seed(options.seed + ranks.rank)  # … and dropout of its own
    way = Way(product_dtype=dtype, parts=options.accumulate, ranks=ranks)
    rows = word_rows(corpus, options.read, size)
    share = options.recipe.character_noise
    noise = CharacterNoise(share, options.seed, corpus.words) if share else None
    return Pretrainer(model, corpus, options.recipe, options.seed, checkpoints, options.shuffle, way, rows, noise)


def vocabulary_of(corpus: Corpus, size: int) -> Vocabulary:
    """Give the words of the softmax: the most frequent ones of the training text."""
    return Vocabulary(corpus.words.first(min(size, corpus.facts["words_of_training"])))


def layer_means(bilm: BiLM, corpus: Corpus, reader: WordReader) -> Tensor:
    """Give each layer's mean vector (L + 1, D) over held-out words, each sentence by itself, marks left out."""
    tokens, sentences = 0, []
    for ids in corpus.heldout.sentences(LAYER_MEANS_TOKENS):
        sentences.append([corpus.words[i] for i in ids])
        tokens += len(ids)
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
        "bilm": options.bilm.to_dict() | {"bidirectional": options.bilm.bidirectional},
        "read": options.read,
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
    read, cut = corpus.facts["read"], corpus.facts["cut_words"]
    bad = {
        "undecodable lines": read["undecodable"],
        "lines with NULs": read["nul_lines"],
        "cuts of over-long lines": read["cut"],
        "empty files": read["empty_files"],
        "damaged files": read["damaged_files"],
        "repeated lines (estimated)": read["repeated_lines"],
    }
    met = ", ".join(f"{number:,} {name}" for name, number in bad.items() if number) or "nothing wrong with them"
    too_long = f"{cut['share']:.2%} of the words are cut at {options.bilm.byte_cnn.max_characters - 2} bytes"
    advice = (
        f"; --max-characters {cut['max_characters_advised']} would cut less than 1 in {RARELY:,}"
        if cut["share"] >= 1 / RARELY
        else ""
    )
    return (
        f"{corpus.facts['tokens']:,} words in {len(corpus.train):,} sentences, {len(corpus.heldout.tokens):,} words held out\n"
        f"{read['lines']:,} lines: {met}; {too_long}{advice}\n"
        f"vocabulary {size:,} words, {float((ids_N < size).mean()):.1%} of the text; "
        f"{body / 1e6:.1f} M parameters and {head / 1e6:.1f} M of the softmax; "
        f"{math.ceil(corpus.train.targets / options.recipe.batch_size / options.recipe.window):,} steps a pass"
    )


def _say(text: str, ranks: Ranks = ALONE) -> None:
    """Tell the person who watches, once; standard output is for results."""
    if ranks.first:
        print(text, file=sys.stderr, flush=True)
