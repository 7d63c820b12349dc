"""Find learning rate, dropout, size and batch size for a text of your own, with Optuna, in the time that you have.

    pip install elmokit 'optuna>=4.0'
    python examples/tune_hyperparameters.py --corpus 'text/*.txt' --heldout heldout.txt --hours 1 --trial-minutes 5 --out search
    elmo pretrain --config search/best.yaml --corpus 'text/*.txt' --out my-elmo --hours 10

A trial is a short pretraining of `--trial-minutes`; what counts is its perplexity on the held-out text at the end. All trials
have the text, its vocabulary and the time in common, so that their perplexities can be compared. The first trial takes the
library's defaults and the middle one of `--sizes`, the next four are drawn at random, the others where Optuna's sampler (TPE)
expects something better; these are ended early if they are worse than the median of those before them.

What is best for a short time need not be best for a long one, which reads the text more often and so wants more dropout, and
has the time for a larger size: give a trial as much of the final time as you can.

In OUT stand `study.db` (Optuna's), `trials.md` (the table), `best.yaml` (options for `elmo pretrain --config`) and the
text as it was read. The search may be killed at any moment: the same command goes on, and loses the trial it was at.
With more `--hours` it goes on after its end.
"""

import argparse
import math
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from elmokit.config import TextConfig
from elmokit.errors import is_out_of_memory
from elmokit.kernels.device import choose_device
from elmokit.pretraining.corpus import Corpus
from elmokit.pretraining.options import Precision, PretrainOptions
from elmokit.pretraining.planner import vocabulary_size
from elmokit.pretraining.preparing import prepare, read_corpus
from elmokit.pretraining.pretrainer import Pretrainer
from elmokit.pretraining.reading import DEFAULT_LANGUAGE, Layout, TextSource
from elmokit.pretraining.recipes import PRESETS, RECIPES
from elmokit.text.tokenizers import TOKENIZERS
from elmokit.training.budget import Budget
from elmokit.training.loop import train

try:
    import optuna
    from optuna.trial import TrialState
except ImportError:
    sys.exit("tune_hyperparameters needs Optuna: pip install 'optuna>=4.0'")

RANDOM_TRIALS = 5
"""So many trials are drawn at random before the sampler learns from them, and none of them is ended early."""
MEASURED_EVERY = 0.3
"""Share of a trial's time after which it is measured, and may be ended early; that is after 30, 60 and 90 percent."""
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
"""Trials that came to their end or were ended early; others were interrupted, and do not count."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options and search.

    Raises:
        ValueError: An option is wrong, the text is, or OUT holds another search.
        KeyboardInterrupt: Stopped by a signal.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", nargs="+", required=True, help="files, folders or globs")
    parser.add_argument(
        "--heldout", nargs="+", help="text to measure on; by default a hundredth of the corpus, which may be too little"
    )
    parser.add_argument("--layout", choices=get_args(Layout), default="lines")
    parser.add_argument("--language", help="ISO 639 code of the text")
    parser.add_argument("--tokenizer", choices=list(TOKENIZERS), default="words")
    parser.add_argument("--vocab-size", type=int, help="by default the words that occur five times or more")
    parser.add_argument("--sizes", nargs="+", choices=list(PRESETS), default=["tiny", "mini", "small"])
    parser.add_argument("--hours", type=float, default=1.0, help="for all trials together")
    parser.add_argument("--trial-minutes", type=float, default=5.0, help="of training, for each")
    parser.add_argument("--trials", type=int, help="stop after so many, if the hours have not ended by then")
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", choices=["auto", "never"], default="auto", help="never: forget what OUT holds and begin anew")
    parser.add_argument("--out", type=Path, required=True, help="folder of the search")
    given = parser.parse_args(arguments)
    if not 0 < given.trial_minutes <= 60 * given.hours:
        raise ValueError(f"--hours {given.hours:g} has no room for a trial of --trial-minutes {given.trial_minutes:g}")

    options = common_options(given)
    corpus = read_corpus(options)  # the trials find it in the folder that they share, and do not read it again
    options = replace(options, vocabulary_size=given.vocab_size or vocabulary_size(corpus.train)[0])
    storage = optuna.storages.RDBStorage(f"sqlite:///{given.out / 'study.db'}")
    try:
        search(open_study(storage, given, corpus), options, given)
    finally:
        storage.remove_session()
        storage.engine.dispose()
    shutil.rmtree(options.work / "checkpoints", ignore_errors=True)
    print((given.out / "trials.md").read_text(encoding="utf-8"), end="")


def common_options(given: argparse.Namespace) -> PretrainOptions:
    """Give what all trials share; each changes size and recipe."""
    language = given.language or DEFAULT_LANGUAGE
    if given.resume == "never":
        (given.out / "study.db").unlink(missing_ok=True)
    return PretrainOptions(
        train=TextSource(given.corpus, given.layout, language),
        heldout=TextSource(given.heldout, given.layout, language) if given.heldout else None,
        out=given.out / "trial",  # one folder for all trials, one after the other: each begins anew on the same shards
        resume="never",
        bilm=PRESETS[given.sizes[0]],
        text=TextConfig(tokenizer=given.tokenizer),
        recipe=RECIPES["modern"],
        vocabulary_size=given.vocab_size or 50_000,
        budget=Budget(hours=given.trial_minutes / 60),
        checkpoint_minutes=given.trial_minutes * MEASURED_EVERY,
        keep_checkpoints=1,
        seed=given.seed,
        device=str(choose_device(given.device, "--device ")),
        precision=given.precision,
    )


def open_study(storage: optuna.storages.RDBStorage, given: argparse.Namespace, corpus: Corpus) -> optuna.Study:
    """Begin a study, or go on with the one in OUT.

    Raises:
        ValueError: The one in OUT has other settings: its perplexities would not compare with the new ones.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=RANDOM_TRIALS, n_warmup_steps=2)
    study = optuna.create_study(storage=storage, study_name="elmokit", pruner=pruner, direction="minimize", load_if_exists=True)
    free = ("out", "hours", "trials", "resume", "heldout")
    settings = {name: value for name, value in vars(given).items() if name not in free} | {"corpus": corpus.facts["key"]}
    before = study.user_attrs.get("settings", settings)
    if before != settings:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in settings if before.get(name) != settings[name])
        raise ValueError(f"{given.out} holds a search with other {names}: give the same, another --out, or --resume never")
    study.set_user_attr("settings", settings)
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)  # it was running when an earlier call was killed
    if not study.trials:
        usual = {name: getattr(RECIPES["modern"], name) for name in ("learning_rate", "dropout", "batch_size")}
        study.enqueue_trial({"preset": given.sizes[len(given.sizes) // 2], **usual})
    return study


def search(study: optuna.Study, options: PretrainOptions, given: argparse.Namespace) -> None:
    """Try until the time of all calls together is used up; keep table and best options up to date."""
    while True:
        (given.out / "trials.md").write_text(table(study), encoding="utf-8")
        if study.get_trials(states=(TrialState.COMPLETE,)):
            (given.out / "best.yaml").write_text(best_options(study, options, given), encoding="utf-8")
        hours = [minutes_of(trial) / 60 for trial in study.get_trials(states=FINISHED)]
        if sum(hours) + max(hours, default=0.0) > given.hours or len(hours) >= (given.trials or math.inf):
            return
        # A seed for each trial: with one for each call, a call that goes on would draw the first trials again.
        study.sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=given.seed + len(study.trials))
        study.optimize(lambda trial: perplexity_of(trial, options, given.sizes), n_trials=1)


def perplexity_of(trial: optuna.Trial, options: PretrainOptions, sizes: list[str]) -> float:
    """Train with the options that are suggested; give the held-out perplexity at the end.

    Raises:
        optuna.TrialPruned: It was ended early: not promising, diverged, or too large for the memory.
    """
    preset = trial.suggest_categorical("preset", sizes)
    recipe = replace(
        options.recipe,
        learning_rate=float(f"{trial.suggest_float('learning_rate', 5e-4, 1e-2, log=True):.2g}"),
        dropout=round(trial.suggest_float("dropout", 0.0, 0.5), 2),
        batch_size=trial.suggest_categorical("batch_size", [32, 64, 128]),
    )
    options = replace(options, bilm=PRESETS[preset], recipe=recipe)
    chosen = {"preset": preset, "learning-rate": recipe.learning_rate, "dropout": recipe.dropout, "batch-size": recipe.batch_size}
    trial.set_user_attr("options", chosen)
    print(f"trial {trial.number}: {chosen}", file=sys.stderr)
    try:
        trainer = prepare(options)
        log = TrialLog(trial, trainer, options.budget)
        train(trainer, options.budget, log, checkpoint_minutes=options.checkpoint_minutes)
    except (ValueError, MemoryError, RuntimeError) as error:
        if "not finite" not in str(error) and not is_out_of_memory(error):
            raise
        raise optuna.TrialPruned(str(error)) from error
    return log.perplexity


class TrialLog:
    """Where a trial's numbers go (see `elmokit.training.log.Log`): its measurements to Optuna, which may end it."""

    def __init__(self, trial: optuna.Trial, trainer: Pretrainer, budget: Budget) -> None:
        self.trial, self.trainer, self.budget = trial, trainer, budget
        self.measured = 0
        self.perplexity = math.inf

    def write(self, **record: Any) -> None:
        """Take one record; a trial that is not promising ends here, with `optuna.TrialPruned`."""
        if "heldout_mean" not in record:
            return
        self.perplexity = record["heldout_mean"]
        self.measured += 1
        self.trial.set_user_attr("passes", self.trainer.progress.passes)
        if self.budget.used(self.trainer.progress) < 1:
            self.trial.report(self.perplexity, self.measured)
            if self.trial.should_prune():
                raise optuna.TrialPruned


def table(study: optuna.Study) -> str:
    """Give all trials as a Markdown table, the best one first."""
    names = "trial", "size", "learning rate", "dropout", "batch", "passes", "minutes", "held-out perplexity"
    lines = [f"| {' | '.join(names)} |", "|---:|---|" + "---:|" * 6]
    for trial in sorted(study.get_trials(states=FINISHED), key=lambda one: (FINISHED.index(one.state), one.value or math.inf)):
        told = trial.user_attrs
        value = "too large or diverged" if trial.value is None else f"{trial.value:.1f}"
        value += ", ended early" if trial.state == TrialState.PRUNED else ""
        passes, minutes = f"{told.get('passes', 0):.1f}", f"{minutes_of(trial):.1f}"
        cells = [trial.number, *told["options"].values(), passes, minutes, value]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def best_options(study: optuna.Study, options: PretrainOptions, given: argparse.Namespace) -> str:
    """Give the best trial's options as `elmo pretrain --config` takes them; text and time are for its command line."""
    best = study.best_trial
    chosen = best.user_attrs["options"] | {"recipe": "modern", "vocab-size": options.vocabulary_size}
    chosen |= {"tokenizer": given.tokenizer, "layout": given.layout, "precision": given.precision, "seed": given.seed}
    if given.language:
        chosen["language"] = given.language
    lines = [
        f"# elmo pretrain --config {given.out / 'best.yaml'} --corpus … --out my-elmo --hours …",
        f"# Trial {best.number}: held-out perplexity {best.value:.1f} after {given.trial_minutes:g} minutes.",
        *(f"{name}: {value}" for name, value in chosen.items()),
    ]
    return "\n".join(lines) + "\n"


def minutes_of(trial: optuna.trial.FrozenTrial) -> float:
    """Give how long a finished trial took, with its measurements and checkpoints."""
    return trial.duration.total_seconds() / 60 if trial.duration else 0.0


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("stopped; the same command goes on, but for the trial it was at", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError) as error:
        print(f"tune_hyperparameters: {error}", file=sys.stderr)
        sys.exit(2)
