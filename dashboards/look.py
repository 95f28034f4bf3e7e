"""How things look: the same words and colours for the same things on every panel.

Colours are those of Okabe and Ito (2008, "Color Universal Design"), which people of any colour vision tell
apart. Colour never stands alone: the word is always beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.models.dashboard import ValueMap, ValueMappingResult

GREEN, ORANGE, BLUE, SKY = "#009E73", "#E69F00", "#0072B2", "#56B4E9"
VERMILION, PURPLE, YELLOW, GREY = "#D55E00", "#CC79A7", "#F0E442", "#999999"


@dataclass(frozen=True, slots=True)
class Word:
    """One of a closed set of words, and its colour."""

    word: str
    colour: str


# Worst last: where several are reduced to one, the highest number shows.
CONDITIONS = (
    Word("ok", GREEN),
    Word("maintenance", SKY),
    Word("stale", GREY),
    Word("degraded", ORANGE),
    Word("suspect", PURPLE),
    Word("down", VERMILION),
)
PROTECTIONS = (Word("hybrid", GREEN), Word("qkd", BLUE), Word("pqc", ORANGE), Word("none", VERMILION))
DIAGNOSES = (
    Word("none", GREEN),
    Word("loss", YELLOW),
    Word("drift", YELLOW),
    Word("qber_rise", ORANGE),
    Word("dark_counts", ORANGE),
    Word("cooling", ORANGE),
    Word("synchronisation", ORANGE),
    Word("disagreement", PURPLE),
    Word("interception", PURPLE),
    Word("blinding", PURPLE),
    Word("qber", VERMILION),
    Word("device", VERMILION),
    Word("signal", VERMILION),
)
YES_NO = (Word("no", VERMILION), Word("yes", GREEN))
NO_YES = (Word("no", GREEN), Word("yes", VERMILION))


def mapping(words: Sequence[Word], first: int = 0) -> ValueMap:
    """Numbers from `first` on, shown as these words in their colours."""
    return ValueMap(
        options={
            str(first + index): ValueMappingResult(
                text=one.word.replace("_", " "), color=one.colour, index=index
            )
            for index, one in enumerate(words)
        }
    )
