"""The table of published models: a function for each publisher, whose docstring names the source of what it says.

How a name or an address finds one of them is in `registry.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

Format = Literal["hdf5", "hdf5 archive", "manylangs", "tensorflow checkpoint", "savedmodel"]

UNVERIFIED = "this format is unverified on the original files: none could be had when the reader was written"


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file of a published model."""

    name: str
    """What it is called in the folder on this machine."""
    urls: tuple[str, ...]
    """Where it is, the addresses tried in this order: they hold the same file."""
    size: int | None = None
    """Bytes, where known."""
    sha256: str | None = None
    """The SHA-256 that its publisher gives, in hexadecimal, if any."""
    md5: str | None = None
    """The MD5 that its publisher gives, if any."""


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """One entry of the list."""

    name: str
    """As `Elmo.from_pretrained` and `elmo download` take it."""
    format: Format
    """How its files are laid out."""
    languages: tuple[str, ...]
    """ISO 639 codes; empty if it is not about a language, as proteins are not."""
    license: str | None
    """As the publisher says; None if nothing is known."""
    files: tuple[RemoteFile, ...]
    """All that is fetched."""
    joined: RemoteFile | None = None
    """The file that `files`, parts of it, make one behind the other."""
    notes: tuple[str, ...] = ()
    """What to know before it is used."""


def all_models() -> Iterator[PublishedModel]:
    """Give every entry, a publisher's together."""
    return chain(
        _allennlp(), _contributed(), _cross_lingual(), _nlpl(), _embeddia(), _manylangs(), _tensorflow_hub(), _deeppavlov()
    )


def _allennlp() -> Iterator[PublishedModel]:
    """The AllenNLP project's page; sizes of "original" as its own downloader printed them."""
    license = "Apache-2.0"
    sizes: dict[str, tuple[int | None, int | None]] = {"original": (336, 374_434_792)}
    facts = {
        "small": ("2x1024_128_2048cnn_1xhighway", "13.6 M parameters"),
        "medium": ("2x2048_256_2048cnn_1xhighway", "28.0 M parameters"),
        "original": ("2x4096_512_2048cnn_2xhighway", "93.6 M parameters, the model of the paper"),
        "original-5.5b": ("2x4096_512_2048cnn_2xhighway_5.5B", "93.6 M parameters, trained on 5.5 billion words"),
    }
    for name, (stem, note) in facts.items():
        options, weights = sizes.get(name, (None, None))
        files = (
            _s3(f"{stem}/elmo_{stem}_options.json", size=options),
            _s3(f"{stem}/elmo_{stem}_weights.hdf5", size=weights),
        )
        yield _model(f"allennlp/{name}", "hdf5", "en", license, files, note)
    folder = "2x4096_512_2048cnn_2xhighway_tf_checkpoint"
    state = [f"model.ckpt-935588.{end}" for end in ("index", "data-00000-of-00001")]
    yield _model(
        "allennlp/original-lm",
        "tensorflow checkpoint",
        "en",
        license,
        (*(_s3(f"{folder}/{file}") for file in ("checkpoint", "options.json", *state)), _s3("vocab-2016-09-10.txt")),
        "the training checkpoint of allennlp/original, with its softmax over 793,471 words: the English model that scores text",
    )
    contributed = {
        "pt-wikipedia": ("pt", "pt/wikipedia/options.json", "pt/wikipedia/elmo_pt_weights.hdf5", "trained on Wikipedia"),
        "pt-brwac": ("pt", "pt/brwac/options.json", "pt/brwac/elmo_pt_weights_dgx1.hdf5", "trained on the brWaC web corpus"),
        "pubmed": (
            "en",
            "pubmed/elmo_2x4096_512_2048cnn_2xhighway_options.json",
            "pubmed/elmo_2x4096_512_2048cnn_2xhighway_weights_PubMed_only.hdf5",
            "trained on PubMed alone",
        ),
    }
    for name, (language, options_path, weights_path, note) in contributed.items():
        files = (_s3(f"contributed/{options_path}"), _s3(f"contributed/{weights_path}"))
        yield _model(f"allennlp/{name}", "hdf5", language, license, files, note)


def _contributed() -> Iterator[PublishedModel]:
    """The READMEs of the projects named."""
    azure = "https://exawizardsallenlp.blob.core.windows.net/data/"
    files = (_file(azure + "options.json"), _file(azure + "weights.hdf5"))
    yield _model("exawizards/ja", "hdf5", "ja", None, files, "Japanese, by ExaWizards")

    release = "https://github.com/t-systems-on-site-services-gmbh/german-elmo-model/releases/download/files_1/"
    files = (_file(release + "options.json"), _file(release + "weights.hdf5"))
    yield _model("t-systems/de", "hdf5", "de", "BSD-2-Clause", files, "German Wikipedia with its talk pages")
    md5 = (
        "755379908885a6fa6fb5b68e4806eae0",
        "0a6544017c64cda91a2b209ecbdc5f2c",
        "f316774e8bd12d078bd5e869c64be14b",
        "ae44a2d3cf95795edacba690b77a4e7b",
    )
    archive = "bilm-output-result.tgz"
    yield PublishedModel(
        name="t-systems/de-lm",
        format="tensorflow checkpoint",
        languages=("de",),
        license="BSD-2-Clause",
        files=tuple(_file(f"{release}{archive}.part-{part:02}", md5=md5[part]) for part in range(4)),
        joined=RemoteFile(name=archive, urls=(), md5="2aa41bbc32d42eae052a7ddf37909443"),
        notes=("the training folder of t-systems/de, in four parts: it scores text (test perplexity 40.17)",),
    )
    french = _file("https://traces1.inria.fr/oscar/files/models/cc/fr.zip")
    yield _model("oscar/fr", "hdf5 archive", "fr", None, (french,), "French, trained on OSCAR")
    mimic = _file("https://github.com/noc-lab/clinical_concept_extraction/releases/download/latest/elmo.tar.gz")
    yield _model("noc-lab/mimic", "hdf5 archive", "en", None, (mimic,), "clinical English: MIMIC-III and Wikipedia")
    proteins = _file("https://rostlab.org/~deepppi/seqvec.zip")
    note = "SeqVec, proteins: one residue is one word; a residue's vector is the sum of the layers, a protein's the mean of those"
    yield _model("seqvec/uniref50", "hdf5 archive", None, None, (proteins,), note)


def _cross_lingual() -> Iterator[PublishedModel]:
    """README and get_models.sh of TalSchuster/CrossLingualContextualEmb."""
    folder = "https://www.dropbox.com/s/"
    keys = {
        "en": "1h62kc1qdcuyy2u",
        "es": "ygfjm7zmufl5gu2",
        "fr": "mm64goxb8wbawhj",
        "it": "owfou7coi04dyxf",
        "pt": "ul82jsal1khfw5b",
        "sv": "boptz21zrs4h3nw",
        "de": "2kbjnvb12htgqk8",
    }
    options = RemoteFile(name="options262.json", urls=(f"{folder}ypjuzlf7kj957g3/options262.json?dl=1",))
    for language, key in keys.items():
        name = f"{language}_weights.hdf5"
        weights = RemoteFile(name=name, urls=(f"{folder}{key}/{name}?dl=1",))
        note = "made to be aligned across languages; the aligning matrix (.pth) is not fetched"
        yield _model(f"crosslingual/{language}", "hdf5", language, None, (options, weights), note)


def _nlpl() -> Iterator[PublishedModel]:
    """The NLPL wiki's page of NorELMo, and projects that name an entry's number; there are more: `nlpl/N`."""
    known = {
        196: ("ru", "RusVectores, lemmas of Wikipedia and the Russian National Corpus"),
        201: ("de", "historical German, made for SemEval-2020 task 1"),
        202: ("sv", "historical Swedish, made for SemEval-2020 task 1"),
        203: ("la", "Latin, made for SemEval-2020 task 1"),
        209: ("en", "English Wikipedia"),
        210: ("no", "Norwegian Wikipedia of 2020, lemmas"),
        211: ("no", "Norwegian Wikipedia of 2020, words"),
        217: ("no", "NorELMo30: Wikipedia and newspapers, 30,000 target words"),
        218: ("no", "NorELMo100: Wikipedia and newspapers, 100,000 target words"),
    }
    for number, (language, note) in known.items():
        yield _model(f"nlpl/{number}", "hdf5 archive", language, None, (_nlpl_zip(20, number),), note)


def nlpl_entry(number: int) -> PublishedModel:
    """Make an entry for a model of the NLPL repository of which only the number is known."""
    note = "not in the list: taken from the NLPL repository by its number, which may stand for something else than an ELMo"
    return _model(f"nlpl/{number}", "hdf5 archive", None, None, (_nlpl_zip(20, number),), note)


def _embeddia() -> Iterator[PublishedModel]:
    """CLARIN.SI, handle 11356/1277; the address of the Slovenian file is written in several projects, the others follow it."""
    languages = {
        "hr": "croatian",
        "et": "estonian",
        "fi": "finnish",
        "lv": "latvian",
        "lt": "lithuanian",
        "sl": "slovenian",
        "sv": "swedish",
    }
    for code, language in languages.items():
        file = _file(f"https://www.clarin.si/repository/xmlui/bitstream/handle/11356/1277/{language}-elmo.tar.gz")
        guessed = (
            () if code == "sl" else ("the address is formed after the Slovenian one; see https://hdl.handle.net/11356/1277",)
        )
        yield _model(f"embeddia/{code}", "hdf5 archive", code, None, (file,), "EMBEDDIA", *guessed)


def _manylangs() -> Iterator[PublishedModel]:
    """README of HIT-SCIR/ELMoForManyLangs."""
    codes = [
        *("ar", "bg", "ca", "cs", "cu", "da", "de", "el", "en", "es", "et", "eu", "fa", "fi", "fr"),
        *("ga", "gl", "grc", "he", "hi", "hr", "hu", "id", "it", "ja", "ko", "la", "lv", "nl", "nb"),
        *("nn", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "tr", "ug", "uk", "ur", "vi", "zh"),
    ]
    chinese = "expects traditional characters: convert simplified text first (OpenCC does), or its words are unknown to it"
    for number, code in enumerate(codes, start=136):
        is_chinese = code == "zh"
        yield PublishedModel(
            name=f"manylangs/{code}",
            format="manylangs",
            languages=("zh-Hant",) if is_chinese else (code,),
            license="MIT",
            files=(_nlpl_zip(11, number),),
            notes=((chinese,) if is_chinese else ()) + ("ELMoForManyLangs, trained on 20 million words",),
        )
    simplified = _file("http://39.96.43.154/zhs.model.tar.bz2")
    notes = ("ELMoForManyLangs, simplified characters", "its address is reported dead")
    yield _model("manylangs/zhs", "manylangs", "zh-Hans", "MIT", (simplified,), *notes)


def _tensorflow_hub() -> Iterator[PublishedModel]:
    """TensorFlow Hub's own address form for a packed module."""
    for version in (1, 2, 3):
        url = f"https://tfhub.dev/google/elmo/{version}?tf-hub-format=compressed"
        file = RemoteFile(name=f"elmo-{version}.tar.gz", urls=(url,))
        yield _model(f"tfhub/elmo-{version}", "savedmodel", "en", None, (file,), "TensorFlow Hub", UNVERIFIED)


def _deeppavlov() -> Iterator[PublishedModel]:
    """DeepPavlov's documentation."""
    facts = {
        "ru-wiki": ("elmo_ru-wiki_600k_steps", "Russian Wikipedia, perplexity 43.7"),
        "ru-news": ("elmo_ru-news_wmt11-16_1.5M_steps", "Russian news, perplexity 49.9"),
        "ru-twitter": ("elmo_ru-twitter_2013-01_2018-04_600k_steps", "Russian tweets, perplexity 94.1"),
    }
    for name, (stem, note) in facts.items():
        file = _file(f"http://files.deeppavlov.ai/deeppavlov_data/{stem}.tar.gz")
        yield _model(f"deeppavlov/{name}", "savedmodel", "ru", None, (file,), note, UNVERIFIED)


def allennlp_urls(path: str) -> tuple[str, str]:
    """Give both forms of an address in AllenNLP's store; the second is the one that Amazon still issues."""
    return f"https://s3-us-west-2.amazonaws.com/allennlp/{path}", f"https://allennlp.s3.amazonaws.com/{path}"


def _model(
    name: str, format: Format, language: str | None, license: str | None, files: tuple[RemoteFile, ...], *notes: str
) -> PublishedModel:
    """An entry in one language, or in none."""
    languages = (language,) if language else ()
    return PublishedModel(name=name, format=format, languages=languages, license=license, files=files, notes=notes)


def _file(url: str, md5: str | None = None) -> RemoteFile:
    """A file named as at the end of its address."""
    return RemoteFile(name=url.rsplit("/", 1)[1], urls=(url,), md5=md5)


def _s3(path: str, size: int | None = None) -> RemoteFile:
    """A file of AllenNLP's store."""
    return RemoteFile(name=path.rsplit("/", 1)[-1], urls=allennlp_urls(f"models/elmo/{path}"), size=size)


def _nlpl_zip(release: int, number: int) -> RemoteFile:
    """An entry of the NLPL repository."""
    return _file(f"http://vectors.nlpl.eu/repository/{release}/{number}.zip")
