"""Sentences of prose: what counts as one, and which are the same."""

import hashlib
import re

_BOUNDARY = re.compile(r"(?<=[.!?])[\"')\]]?\s+(?=[A-Z\"'(\[])")
# A sentence of English has at least two of these words; tables of symbols, code and other languages have none.
_FUNCTION_WORDS = frozenset(
    "the a an of to is are was be been and or not in on for with this that it its if by from as at can will may must should when "
    "which you your we has have had do does use used using all any no but than then there these those into also only other".split()
)
_MINIMUM_WORDS, _MAXIMUM_WORDS = 5, 60


def sentences(paragraph):
    """Yields the sentences of 5 to 60 words that end like one and read like English."""
    for sentence in _BOUNDARY.split(paragraph):
        sentence = sentence.strip()
        if not sentence or sentence[-1] not in ".!?:" or not (sentence[0].isalnum() or sentence[0] in "\"'("):
            continue
        words = sentence.split()
        if not _MINIMUM_WORDS <= len(words) <= _MAXIMUM_WORDS or len(sentence) > 600:
            continue
        letters = sum(map(str.isalpha, sentence))
        if letters < 0.7 * len(sentence) or not sentence.isprintable():
            continue
        if len(_FUNCTION_WORDS.intersection(map(str.lower, words))) >= 2:
            yield sentence


def is_query_heading(heading):
    """Whether a heading is a phrase of 3 to 12 words, so that it asks for something."""
    return 3 <= len(heading.split()) <= 12 and sum(map(str.isalpha, heading)) >= 0.75 * len(heading) and heading.isprintable()


def identity(text):
    """8 bytes that are equal for texts with the same letters: case, numbers, spaces and punctuation make no new sentence."""
    return hashlib.blake2b("".join(filter(str.isalpha, text.casefold())).encode(), digest_size=8).digest()
