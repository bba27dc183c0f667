"""Words as the index keeps and looks them up: one tokenizer for captions and for queries.

LanceDB's own tokenizer does the work: lower case, accents folded, English stems. Stop words are left out.
"""

from __future__ import annotations

from tubelet.records import Attributes, Motion


def tokenize(text: str) -> list[str]:
    """The stems of a text's words, in order, without stop words."""
    import lancedb  # two seconds to import, and much that imports this module keeps no words

    clean = text.encode("utf-8", "replace").decode("utf-8")  # halves of surrogate pairs become `?`
    return [token.text for token in lancedb.tokenize(clean)]


def list_words(caption: str, attributes: Attributes, motion: Motion) -> str:
    """The stems of the caption and of what was measured, each with a space on both sides."""
    words = [caption, *attributes.colours, attributes.size, attributes.category, *attributes.kinds]
    if motion.turn != "none":
        words.append(f"turn {motion.turn}")
    if motion.stopped:
        words.append("stopped")
    return f" {' '.join(tokenize(' '.join(words)))} "
