"""The published models that are known by name, and how a name or an address finds one.

What stands here was read in the READMEs and sources of the projects (`published.py` is the table). Whether an address still
answers was not checked: servers of 2018 go away, and whoever shows this list to a user says so (`UNCHECKED`).
"""

import difflib
import re
from functools import cache

from elmokit.checkpoints.published import PublishedModel, all_models, allennlp_urls, nlpl_entry

UNCHECKED = "whether an address still answers was not checked"
"""Said wherever the list is shown."""

_ALLENNLP = re.compile(
    r"(?:https?://s3-us-west-2\.amazonaws\.com/allennlp"
    r"|https?://allennlp\.s3(?:[.-]us-west-2)?\.amazonaws\.com"
    r"|s3://allennlp)/(?P<path>models/elmo/[^?#]+)",
    re.IGNORECASE,
)
_NLPL = re.compile(r"nlpl/(?P<number>[0-9]{1,6})")


@cache
def published_models() -> dict[str, PublishedModel]:
    """Give all known models by name, in the order of the list."""
    return {model.name: model for model in all_models()}


def find_model(name_or_url: str) -> PublishedModel | None:
    """Find a published model.

    Args:
        name_or_url: A name of the list; `nlpl/N` for entry N of the NLPL repository, listed or not; or the address of one
            of a model's files, in either of the forms in which AllenNLP's addresses were written.
    """
    models = published_models()
    if name_or_url in models:
        return models[name_or_url]
    if number := _NLPL.fullmatch(name_or_url):
        return nlpl_entry(int(number["number"]))
    address = canonical_url(name_or_url)
    known = (model for model in models.values() for file in model.files if address in file.urls)
    return next(known, None)


def canonical_url(url: str) -> str:
    """Bring AllenNLP's addresses into one form; others stay as they are."""
    allennlp = _ALLENNLP.fullmatch(url)
    return allennlp_urls(allennlp["path"])[0] if allennlp else url


def similar_names(name: str) -> list[str]:
    """Give names of the list that someone who wrote `name` may have meant, the likeliest first."""
    return difflib.get_close_matches(name, published_models(), n=3, cutoff=0.75)
