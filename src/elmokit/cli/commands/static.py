"""`elmo static`: word vectors in word2vec's format."""

from pathlib import Path
from typing import Literal

from elmokit.cli.parameters import FilePatterns, PathOrName, patterns


def static(
    model: PathOrName,
    output: PathOrName,
    *,
    words: PathOrName | None = None,
    corpus: FilePatterns | None = None,
    layout: Literal["lines", "running"] = "lines",
    tokenizer: str | None = None,
    layers: int | Literal["mean", "top"] | None = None,
    min_count: int = 1,
    max_words: int | None = None,
    format: Literal["text", "binary"] | None = None,
    batch_tokens: int = 8192,
    device: str = "auto",
) -> None:
    """Write one vector for each word, in word2vec's text or binary format, which gensim reads.

    Without --corpus they are context-free: layer 0, of the model's vocabulary or of the words of a list. With it they are
    the means of a word's vectors in context, over all its places in the text. OUTPUT is complete or not there.

    Args:
        model: A bundled or published name, or a folder, archive or file of any known format.
        output: A file; .bin is binary, any other name text.
        words: A file of words, one a line, instead of the model's vocabulary.
        corpus: Files, folders or globs of text: plain, .gz, .xz, .zst. They are read twice.
        layout: lines: one sentence a line. running: one paragraph a line, which is split into sentences.
        tokenizer: What cuts the text into words, "whitespace" for text that is split already; by default the model's.
        layers: With --corpus: their mean (the default), the top one, or one by number.
        min_count: With --corpus: rarer words are left out.
        max_words: Only so many words, the most frequent ones; it bounds the memory, or disk, that --corpus takes.
        format: text or binary, whatever the name of OUTPUT.
        batch_tokens: Tokens computed at once.
        device: "auto" (CUDA if there is one), "cpu", "cuda", …

    Raises:
        ValueError: An option, the list of words or the text is wrong.
    """
    if corpus is not None and words is not None:
        raise ValueError("--words and --corpus exclude each other: a text brings words of its own")
    if corpus is None and (min_count != 1 or layers not in (None, 0)):
        raise ValueError("--min-count and --layers above 0 are for words in context: name a text with --corpus")
    if corpus is not None and patterns(corpus) == ["-"]:
        raise ValueError("--corpus is read twice, which standard input cannot be; name files")
    from elmokit.embedding.elmo import Elmo
    from elmokit.embedding.static import StaticOptions, write_static
    from elmokit.embedding.targets import check_plain_target
    from elmokit.pretraining.reading import DEFAULT_LANGUAGE, TextSource, read_sentences
    from elmokit.text.files import read_lines
    from elmokit.text.tokenizers import get_tokenizer

    if tokenizer is not None:
        get_tokenizer(tokenizer)  # its error comes first
    options = StaticOptions(
        format=format or ("binary" if Path(output).suffix.lower() == ".bin" else "text"),
        layers="mean" if layers is None else layers,
        min_count=min_count,
        max_words=max_words,
        batch_tokens=batch_tokens,
    )
    source = None if corpus is None else TextSource(patterns(corpus), layout)
    listed = None if words is None else [line.strip() for line in read_lines(words) if line.strip()]
    check_plain_target(Path(output), [str(words)] if words else map(str, source.files()) if source else [])
    elmo = Elmo.from_pretrained(model, device=device)
    if source is not None:
        source.language = (*elmo.config.languages, DEFAULT_LANGUAGE)[0]
    sentences = None if source is None else (lambda: read_sentences(source, elmo.config.text, tokenizer))
    written = write_static(Path(output), elmo, listed, sentences, options)
    print(f"{output}: {written:,} words of {elmo.dim} numbers")
