"""From text files to a model folder: what `elmo pretrain` does.

Beside the model folder `OUT` stands `OUT.training` with all that only training needs: the shards, the log (and a picture of
it, `loss.png`, where matplotlib is there) and the checkpoints. It may be deleted when the model is finished.
"""

from collections.abc import Callable
from dataclasses import asdict, replace

import torch
from torch import Tensor

from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.checkpoints.folder import save_folder
from elmokit.config import ElmoConfig
from elmokit.lm.load import load_language_model
from elmokit.lm.perplexity import Perplexity, perplexity
from elmokit.model.bilm import BiLM
from elmokit.pretraining.card import model_card
from elmokit.pretraining.corpus import Corpus
from elmokit.pretraining.inputs import word_table
from elmokit.pretraining.loss_plot import draw_log
from elmokit.pretraining.options import PretrainOptions
from elmokit.pretraining.preparing import prepare, say
from elmokit.pretraining.pretrainer import Pretrainer
from elmokit.text.batch import token_budget_batches, word_batch
from elmokit.text.readers import WordReader
from elmokit.training.budget import Progress
from elmokit.training.log import JsonLog, Log, Logs
from elmokit.training.loop import train
from elmokit.training.memory import peak_bytes
from elmokit.training.ranks import Ranks, joined_ranks
from elmokit.training.schedule import FALLS_FROM
from elmokit.training.tensorboard import TensorBoardLog

LAYER_MEANS_TOKENS = 20_000
"""Held-out words over which each layer's mean is taken."""


def pretrain(options: PretrainOptions, first: Callable[[Corpus], None] | None = None) -> Perplexity:
    """Train a language model and write its folder; under `torchrun`, with the other processes that it started.

    Args:
        options: What is asked for.
        first: What the first process does when all is prepared and nothing trained yet.

    Returns:
        The finished model's held-out perplexity, exact: one stream, every target once.

    Raises:
        ValueError: The options do not fit each other, the text or an earlier run.
        KeyboardInterrupt: Stopped by a signal, after a checkpoint.
        OSError: The last checkpoint or the model could not be written.
    """
    with joined_ranks(options.device) as ranks:
        trainer = prepare(options, ranks)
        if first is not None and ranks.first:
            first(trainer.corpus)
        log, begun = _log(options, trainer, ranks), trainer.progress.steps
        try:
            train(
                trainer,
                options.budget,
                log,
                checkpoint_minutes=options.checkpoint_minutes,
                patience=options.patience,
                patient_until=FALLS_FROM[options.recipe.schedule],
                ranks=ranks,
            )
        except KeyboardInterrupt:
            say("stopped; the same command goes on from the last checkpoint", ranks)
            raise
        seen = _take_best(trainer, options, ranks)
        score = finish(trainer, options, log, begun, seen) if ranks.first else Perplexity(0, 0, 0, 0, 0)
        numbers = [score.forward, score.backward or 0, score.mean, score.tokens, score.oov]
        forward, backward, mean, tokens, oov = ranks.agree(numbers)
        if ranks.first:
            return score
        return Perplexity(forward, backward if options.bilm.bidirectional else None, mean, int(tokens), oov)


def _log(options: PretrainOptions, trainer: Pretrainer, ranks: Ranks) -> Log:
    """Where the numbers go."""
    json_log = JsonLog(options.work / "log.jsonl")
    if not options.tensorboard or not ranks.first:
        return json_log
    return Logs(json_log, TensorBoardLog(options.work / "tensorboard", trainer.progress.steps))


def _take_best(trainer: Pretrainer, options: PretrainOptions, ranks: Ranks) -> Progress:
    """Go back to the best checkpoint if --patience asks for it, else say that it is better; give what the model has seen."""
    best = trainer.checkpoints.best() if ranks.first else None
    for damaged in trainer.checkpoints.passed_over:
        say(f"the best checkpoint cannot be read: {damaged}", ranks)
    if best is None or best.steps == trainer.progress.steps:
        return trainer.progress
    if options.patience is None:
        say(f"step {best.steps:,} was better on the held-out text than the end: --patience would have taken it", ranks)
        return trainer.progress
    say(f"the model is that of step {best.steps:,}, the best on the held-out text", ranks)
    trainer.take_weights(best.tensors)
    return Progress(**best.numbers["progress"])


def finish(trainer: Pretrainer, options: PretrainOptions, log: Log, begun: int, seen: Progress) -> Perplexity:
    """Measure the trained model and write its folder.

    Args:
        trainer: Which has trained.
        options: What was asked for.
        log: Where the final perplexity is noted.
        begun: Steps that were done when this call of the program began.
        seen: What the model has seen: less than all, where an earlier checkpoint was taken.
    """
    corpus, model = trainer.corpus, trainer.model
    config = ElmoConfig(bilm=model.bilm.config, text=options.text, languages=options.languages)
    vocabulary = corpus.vocabulary(options.vocabulary_size)
    checkpoint = Checkpoint(
        config=config,
        bilm=model.bilm.state_dict(),
        head=model.head.state_dict(),
        vocabulary=vocabulary,
        input_words=word_table(vocabulary, options.read),
        origin="pretraining",
    )
    say("measuring the held-out perplexity …")
    model, _ = load_language_model(checkpoint)  # as others will load it: in float32 whatever the training's precision
    score = perplexity(model, vocabulary, corpus.heldout_words(), checkpoint.reader)
    if trainer.progress.steps > begun or not options.out.exists():  # else an earlier run has noted the same
        log.write(steps=trainer.progress.steps, final=asdict(score), peak_memory=peak_bytes())
    start = None if options.start is None else options.start.name
    card = model_card(options.out.name, config, options.recipe, corpus, seen, score, start)
    means_LD = layer_means(model.bilm, corpus, checkpoint.reader)
    save_folder(replace(checkpoint, layer_means_LD=means_LD, card=card), options.out)
    draw_log(options.work / "log.jsonl", options.work / "loss.png")
    return score


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
