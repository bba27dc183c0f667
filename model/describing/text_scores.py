"""How close sentences come to references: BLEU-4, ROUGE-L, CIDEr and METEOR, as papers report them.

BLEU, ROUGE-L and CIDEr are those of COCO's caption evaluation (the package pycocoevalcap). So is METEOR 1.5
(Denkowski and Lavie, 2014), which needs Java. Beside it stands METEOR as first published (Banerjee and Lavie,
2005), by nltk and without WordNet: words match when they or their stems are equal, synonyms do not. The two
numbers are not comparable.

COCO's own tokenizer needs Java too. Here a token is a run of letters, digits, inner hyphens and apostrophes,
in lower case: the same tokens for sentences without contractions, brackets or abbreviations.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tubelet.errors import DependencyError, InputError

BLEU_4, ROUGE_L, CIDER = "BLEU-4", "ROUGE-L", "CIDEr"
METEOR_STEMS, METEOR_JAVA = "METEOR (exact, stem)", "METEOR 1.5"

_TOKEN = re.compile(r"[a-z0-9]+(?:[-'][a-z0-9]+)*")
_EMPTY = "-"
"""Stands for a sentence without a token, which some scorers do not take."""

Texts = Mapping[int, list[str]]


@dataclass(frozen=True, slots=True)
class TextScore:
    """One measure over all sentences. `per_sentence` has the mean `value`; empty for BLEU, which has none."""

    value: float
    per_sentence: tuple[float, ...] = ()


def score_texts(
    sentences: Sequence[str], references: Sequence[Sequence[str]], *, java: bool = False
) -> dict[str, TextScore]:
    """Scores by name, 0..1 but for CIDEr (0..10). Each sentence has references of its own, one or more.

    CIDEr weighs words by how many references of this very set hold them, so it compares only over one set.
    `java` adds METEOR 1.5. Raises DependencyError where the extra `eval`, or Java, is missing.
    """
    if not sentences or len(sentences) != len(references) or not all(references):
        raise InputError(
            f"There are {len(sentences)} sentences and references for {sum(map(bool, references))}",
            expected="one sentence or more, each with a reference",
        )
    said = {place: [_join_tokens(text)] for place, text in enumerate(sentences)}
    wanted = {place: [_join_tokens(text) for text in texts] for place, texts in enumerate(references)}
    bleu, _ = _load("pycocoevalcap.bleu.bleu").Bleu(4).compute_score(wanted, said, verbose=0)
    scores = {
        BLEU_4: TextScore(float(bleu[3])),
        ROUGE_L: _run(_load("pycocoevalcap.rouge.rouge").Rouge(), wanted, said),
        CIDER: _run(_load("pycocoevalcap.cider.cider").Cider(), wanted, said),
        METEOR_STEMS: _measure_stem_meteor(wanted, said),
    }
    if java:
        scores[METEOR_JAVA] = _run_java_meteor(wanted, said)
    return scores


def tokenize_words(text: str) -> list[str]:
    """The tokens that are scored."""
    return _TOKEN.findall(text.lower())


def _join_tokens(text: str) -> str:
    return " ".join(tokenize_words(text)) or _EMPTY


def _load(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise DependencyError(
            f"{module} cannot be imported: {error}",
            expected="the packages that score sentences",
            do="pip install 'tubelet[eval]'",
        ) from error


def _run(scorer: Any, wanted: Texts, said: Texts) -> TextScore:
    value, each = scorer.compute_score(wanted, said)
    return TextScore(float(value), tuple(float(score) for score in each))


class _NoSynonyms:
    """Stands for WordNet, whose data no package brings."""

    def synsets(self, word: str, *_: Any) -> list[Any]:
        return []


def _measure_stem_meteor(wanted: Texts, said: Texts) -> TextScore:
    score = _load("nltk.translate.meteor_score").meteor_score
    stemmer = _load("nltk.stem.porter").PorterStemmer()
    each = tuple(
        float(
            score(
                [text.split() for text in wanted[place]],
                said[place][0].split(),
                stemmer=stemmer,
                wordnet=_NoSynonyms(),
            )
        )
        for place in said
    )
    return TextScore(sum(each) / len(each), each)


def _run_java_meteor(wanted: Texts, said: Texts) -> TextScore:
    if shutil.which("java") is None:
        raise DependencyError(
            "METEOR 1.5 needs Java, which is not on the path",
            expected="the program java",
            do="install a Java runtime (Debian: default-jre-headless), or leave --java out",
        )
    scorer = _load("pycocoevalcap.meteor.meteor").Meteor()
    process = scorer.meteor_p
    try:
        return _run(scorer, wanted, said)
    finally:
        process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
        process.wait()
