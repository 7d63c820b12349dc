"""How fast `Elmo.encode_tokens` is, beside the time of its bare matrix products.

    python benchmarks/embed_speed.py [--model en-small] [--threads 1 2] [--tokens 20000] [file …]

The floor is the time of the products alone, in the same shapes and batches: for each distinct word once the convolutions,
highways and projection; for each batch, direction and layer one product for the inputs, and for each step those of the
recurrence and of the projection. What is above it: the gates, copies, tokens, Python. Without files words are made up
whose frequencies fall as in text (Zipf).
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from elmokit import Elmo, ElmoConfig
from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.embedding.words import PLACES
from elmokit.model.char_cnn import CharCnn
from elmokit.model.highway import Highway
from elmokit.text.batch import token_budget_batches
from elmokit.text.files import read_lines

SMALL = ElmoConfig(
    bilm=BiLMConfig(
        char_cnn=CharCnnConfig(filters=((1, 32), (2, 32), (3, 64), (4, 128), (5, 256)), highways=1),
        cell_dim=1024,
        projection_dim=128,
    )
)
"""About the shape of the bundled model: of use where that is not there."""
Sentences = list[list[str]]


def invented_sentences(tokens: int) -> Sentences:
    """Sentences of 1 to 40 words out of 50,000."""
    draw = random.Random(1)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(1, 12))) for _ in range(50_000)]
    drawn = draw.choices(words, weights=[1 / (rank + 1) for rank in range(len(words))], k=tokens)
    sentences: Sentences = []
    while drawn:
        length = draw.randint(1, 40)
        sentences.append(drawn[:length])
        drawn = drawn[length:]
    return sentences


def sentences_of(files: list[Path], elmo: Elmo, tokens: int) -> Sentences:
    """The first so many tokens of files, a line a sentence."""
    sentences: Sentences = []
    for path in files:
        for line in read_lines(path, errors="skip"):
            sentences.append([token.text for token in elmo.tokenize(line)])
            tokens -= len(sentences[-1])
            if tokens <= 0:
                return sentences
    return sentences


def best(work: Callable[[], object], repeats: int) -> float:
    """The shortest of some runs, in seconds: of processor time with one thread, so that a busy machine measures the same."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times = []
    for _ in range(repeats):
        began = clock()
        work()
        times.append(clock() - began)
    return min(times)


@torch.no_grad()
def word_products(char_cnn: CharCnn, chars_UW: Tensor) -> None:
    """The products of the character CNN."""
    highways = [highway for highway in char_cnn.highways if isinstance(highway, Highway)]
    for part in torch.split(chars_UW, 2048):
        x_UEW = char_cnn.embedding(part.long()).transpose(1, 2)
        x_UF = torch.cat([convolution(x_UEW).amax(-1) for convolution in char_cnn.convolutions], -1)
        for highway in highways:
            torch.nn.functional.linear(x_UF, highway.transform.weight)
            torch.nn.functional.linear(x_UF, highway.carry.weight)
        char_cnn.projection(x_UF)


@torch.no_grad()
def batch_products(config: BiLMConfig, batches: Sequence[tuple[int, int]]) -> None:
    """The products of the LSTMs for batches of (rows, steps)."""
    width, cells = config.output_dim, config.cell_dim
    inputs, recurrent, projection = torch.randn(width, 4 * cells), torch.randn(width, 4 * cells), torch.randn(cells, width)
    for rows, steps in batches:
        x_TBP, h_BP, m_BH = torch.randn(steps, rows, width), torch.randn(rows, width), torch.randn(rows, cells)
        for _ in range(2 * config.layers):
            gates_TBG = x_TBP @ inputs
            for gates_BG in gates_TBG:
                torch.addmm(gates_BG, h_BP, recurrent)
                if config.projection_dim:
                    m_BH @ projection


def measure(elmo: Elmo, sentences: Sentences, threads: int, repeats: int) -> None:
    """Print one line."""
    torch.set_num_threads(threads)
    tokens = sum(map(len, sentences))
    lengths = [len(sentence) + 2 for sentence in sentences]
    batches = [(len(batch), lengths[batch[0]]) for batch in token_budget_batches(lengths, 8192)]
    chars_UW = torch.from_numpy(elmo.collate.batch([sorted({word for sentence in sentences for word in sentence})]).chars_UW)

    def embed() -> None:
        elmo.word_cache = PLACES  # no word is known at the beginning
        elmo.encode_tokens(sentences)

    ours = best(embed, repeats)
    char_cnn = elmo.bilm.words
    assert isinstance(char_cnn, CharCnn)
    words = best(lambda: word_products(char_cnn, chars_UW), repeats)
    recurrence = best(lambda: batch_products(elmo.config.bilm, batches), repeats)
    floor = words + recurrence
    print(
        f"{threads} threads: {tokens / ours:8,.0f} tokens/s ({ours:.2f} s for {tokens:,}, {len(chars_UW):,} distinct words); "
        f"products alone {floor:.2f} s (words {words:.2f}, LSTMs {recurrence:.2f}): {ours / floor:.2f} × the floor"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--model", help="a bundled name or a path; by default random weights in the size of en-small")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    elmo = Elmo.from_pretrained(options.model, device="cpu") if options.model else Elmo.from_config(SMALL)
    sentences = sentences_of(options.files, elmo, options.tokens) if options.files else invented_sentences(options.tokens)
    for threads in options.threads:
        measure(elmo, sentences, threads, options.repeats)


if __name__ == "__main__":
    main()
