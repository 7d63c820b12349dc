"""How fast bilm-tf trains: its own `train`, in its own environment (Python 3.7, TensorFlow 1.15).

    PYTHON bilm_tf.py JOB.json ANSWER.json

`benchmarks/pretrain.py --python37` starts it. The job has the text (a line a sentence), the vocabulary, bilm-tf's options, steps
and threads. A step is timed from one `Session.run` to the next. The first one, in which the graph is optimized, is left out, and
the median of the others told.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from typing import Any

STEP_SECONDS_AT_LEAST = 0.02
"""Runs that are shorter are no steps of training: initial values, summaries."""


def main() -> None:
    """Train some steps and tell their median time."""
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import bilm.training
    import tensorflow as tf
    from bilm.data import BidirectionalLMDataset, UnicodeCharsVocabulary

    ends = []
    run, proto = tf.Session.run, tf.ConfigProto

    def timed(session: Any, *arguments: Any, **options: Any) -> Any:
        result = run(session, *arguments, **options)
        ends.append(time.perf_counter())
        return result

    tf.Session.run = timed
    threads = job["threads"]
    bilm.training.tf.ConfigProto = lambda **options: proto(
        intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads, **options
    )
    options = job["options"]
    vocabulary = UnicodeCharsVocabulary(job["vocabulary"], options["char_cnn"]["max_characters_per_token"])
    options["n_tokens_vocab"] = vocabulary.size
    batch = options["batch_size"] * options["unroll_steps"]
    options.update(n_epochs=1, n_train_tokens=(job["steps"] + 1) * batch)
    data = BidirectionalLMDataset(job["text"], vocabulary, test=False, shuffle_on_load=True)
    with tempfile.TemporaryDirectory() as folder:
        bilm.training.train(options, data, 1, folder, folder)
    between = [ends[i] - ends[i - 1] for i in range(1, len(ends))]
    seconds = [time for time in between if time > STEP_SECONDS_AT_LEAST][1:]
    answer = {"tokens_per_s": batch / statistics.median(seconds), "seconds": seconds}
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(answer, file)


if __name__ == "__main__":
    main()
