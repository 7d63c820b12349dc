"""English abbreviations, by what may follow their period: tokenizers and the sentence splitter both ask."""

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TITLES: Final = _words(
    "Mr Mrs Ms Messrs Dr Prof Rev Fr Hon St Ft Mt Gen Col Lt Capt Cpt Sgt Maj Adm Cmdr Gov Sen Sens Rep Reps Pres Supt "
    "Attn vs cf viz eg ie"
)
"""Whatever follows, the period belongs to them."""

ABBREVIATIONS: Final = _words("Inc Corp Co Ltd Bros Jr Sr Esq etc al approx dept est Dept Ave Blvd Rd ext Mass Calif Conn Pa Va")
"""Before a capital the period ends the sentence, else it is theirs."""

BEFORE_NUMBERS: Final = _words(
    "No Nos no nos Rs Fig fig Figs Vol vol Art Sec Ch Eq Op op p pp c ca Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec"
)
"""Before a number the period is theirs."""
