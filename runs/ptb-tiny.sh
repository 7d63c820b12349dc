#!/usr/bin/env bash
# Penn Treebank, size tiny, the reference recipe: 1,800 steps of 128 × 20 = 4.6 M targets in each direction.
# The perplexity printed at the end is that of ptb.test.txt: one stream, full softmax, every target once.
set -eu
data=$1 out=$2
OMP_NUM_THREADS=1 elmo pretrain --corpus "$data/ptb.train.txt.xz" --heldout "$data/ptb.test.txt" --out "$out" \
    --tokenizer whitespace --preset tiny --vocab-size 10002 --recipe reference --negatives 2048 --steps 1800
