"""From options to what trains: the corpus is read, the model built, and an earlier run of the same gone on with."""

import math
import sys

import torch

from elmokit.checkpoints.folder import check_target
from elmokit.errors import FormatError
from elmokit.kernels.gpu_training_lstm import GpuTrainingLstm
from elmokit.kernels.training_char_cnn import training_convolution
from elmokit.kernels.training_full_softmax import training_full_softmax
from elmokit.kernels.training_lstm import training_lstm
from elmokit.kernels.training_softmax import training_softmax
from elmokit.lm.language_model import LanguageModel
from elmokit.model.bilm import BiLM, one_by_one
from elmokit.model.softmax import SoftmaxHead
from elmokit.pretraining.character_noise import CharacterNoise
from elmokit.pretraining.corpus import RARELY, Corpus, build_corpus
from elmokit.pretraining.inputs import tables_of, tie, with_input, word_rows
from elmokit.pretraining.new_order import with_vocabulary
from elmokit.pretraining.options import PretrainOptions
from elmokit.pretraining.pretrainer import Pretrainer, Way
from elmokit.pretraining.run_note import check_same_run, has_begun, note_run
from elmokit.training.checkpoints import Checkpoints
from elmokit.training.ranks import ALONE, Ranks


def prepare(options: PretrainOptions, ranks: Ranks = ALONE) -> Pretrainer:
    """Read the corpus, build the model and go on from a checkpoint if there is one.

    Raises:
        ValueError: The options do not fit the text or an earlier run, or OUT is taken.
        FormatError: What is left of an earlier run is damaged.
    """
    check_target(options.out)
    checkpoints = Checkpoints(options.work / "checkpoints", options.keep_checkpoints)
    goes_on = has_begun(options)
    rate = check_same_run(options) if goes_on else ""
    if options.train.patterns == ["-"] and (options.work / "corpus" / "corpus.json").exists():
        say("standard input has been read already: that text is used if tokenizer and held-out text are the same", ranks)
    corpus = read_corpus(options, ranks)
    trainer = build_trainer(options, corpus, checkpoints, ranks)
    say(f"{describe_reading(corpus, options)}\n{describe_model(corpus, trainer.model, options)}", ranks)
    changed = trainer.restore() if goes_on else None
    for damaged in checkpoints.passed_over:
        say(f"passed over a checkpoint that is not whole: {damaged}", ranks)
    if goes_on and changed is None and checkpoints.passed_over:
        raise FormatError(f"{checkpoints.folder}: none of its checkpoints is whole; --resume never begins anew")
    if changed is not None:
        reached = f"going on from step {trainer.progress.steps:,}, {trainer.progress.tokens:,} tokens"
        say("; ".join(filter(None, [reached, rate, changed])), ranks)
        if rate and ranks.first:
            note_run(options)
    elif ranks.first:
        checkpoints.clear()  # else an interruption would leave them beside the note of this run
        note_run(options)
    return trainer


def read_corpus(options: PretrainOptions, ranks: Ranks = ALONE) -> Corpus:
    """Read the text, or take what an earlier run has read.

    Raises:
        ValueError: No text is left to learn from, or none to measure on.
    """
    if not ranks.first:
        ranks.wait()  # until the first one has read the text
    corpus = build_corpus(options.train, options.heldout, options.work / "corpus", options.text, options.max_characters)
    if ranks.first:
        ranks.wait()
    vocabulary = options.vocabulary
    if options.start is not None:
        vocabulary = options.start.vocabulary(corpus, options.vocabulary_size)
    return corpus if vocabulary is None else with_vocabulary(corpus, vocabulary)


def build_trainer(options: PretrainOptions, corpus: Corpus, checkpoints: Checkpoints, ranks: Ranks) -> Pretrainer:
    """Build a model with its first values, and what trains it."""
    torch.manual_seed(options.seed)  # the same first values in every process …
    dtype = torch.bfloat16 if options.precision == "bfloat16" else torch.float32
    dropout = options.recipe.dropout
    vocabulary = corpus.vocabulary(options.vocabulary_size)
    size = len(vocabulary)
    shape = options.bilm if options.start is not None else with_input(options.bilm, options.read, size)
    on_a_gpu = torch.device(options.device).type == "cuda"
    read_stacks = GpuTrainingLstm(dtype) if on_a_gpu else one_by_one
    bilm = BiLM(shape, training_lstm(dtype), dropout, training_convolution(dtype), read_stacks)
    softmax = training_softmax(dtype), training_full_softmax(dtype)
    model = LanguageModel(bilm, SoftmaxHead(size, shape.output_dim), dropout, *softmax)
    if options.start is None or options.start.checkpoint.tied:
        tie(model)
    if options.start is not None:
        options.start.take_over(model, vocabulary)
    for table in tables_of(bilm):
        table.sparse = True
    model = model.to(options.device)
    if not ranks.first:
        torch.manual_seed(options.seed + ranks.rank)  # … and dropout of its own
    way = Way(product_dtype=dtype, parts=options.accumulate, ranks=ranks, read_ahead=on_a_gpu)
    rows = word_rows(corpus, options.read, size)
    share = options.recipe.character_noise
    noise = CharacterNoise(share, options.seed, corpus.words) if share else None
    return Pretrainer(model, corpus, options.recipe, options.seed, checkpoints, options.shuffle, way, rows, noise)


def describe_reading(corpus: Corpus, options: PretrainOptions) -> str:
    """Say what the text is and what was met in it."""
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
    too_long = f"{cut['share']:.2%} of the words are cut at {options.max_characters - 2} bytes"
    advice = (
        f"; --max-characters {cut['max_characters_advised']} would cut less than 1 in {RARELY:,}"
        if cut["share"] >= 1 / RARELY and options.start is None  # whose places are as they are
        else ""
    )
    return (
        f"{corpus.facts['tokens']:,} words in {len(corpus.train):,} sentences, {len(corpus.heldout.tokens):,} words held out\n"
        f"{read['lines']:,} lines: {met}; {too_long}{advice}"
    )


def describe_model(corpus: Corpus, model: LanguageModel, options: PretrainOptions) -> str:
    """Say what is trained."""
    size = len(model.head.bias)
    ids_N = corpus.train.ids(0, 10**6)
    body = sum(parameter.numel() for parameter in model.bilm.parameters() if parameter is not model.head.weight)
    head = sum(parameter.numel() for parameter in model.head.parameters())
    steps = math.ceil(corpus.train.targets / options.recipe.batch_size / options.recipe.window)
    return (
        f"vocabulary {size:,} words, {float((ids_N < size).mean()):.1%} of the text; "
        f"{body / 1e6:.1f} M parameters and {head / 1e6:.1f} M of the softmax; {steps:,} steps a pass; "
        f"products in {options.precision}"
    )


def say(text: str, ranks: Ranks = ALONE) -> None:
    """Tell the person who watches, once; standard output is for results."""
    if ranks.first:
        print(text, file=sys.stderr, flush=True)
