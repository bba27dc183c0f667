"""Scores of sentences: what is perfect, what is worse, against hand-made values, and what is missing."""

from __future__ import annotations

import math
import shutil
import sys

import pytest

from tubelet.errors import DependencyError, InputError
from tubelet.model.describing.text_scores import (
    BLEU_4,
    CIDER,
    METEOR_JAVA,
    METEOR_STEMS,
    ROUGE_L,
    score_texts,
    tokenize_words,
)

REFERENCES = [
    ["A red car turns left at the junction.", "A crimson auto takes a left at the junction."],
    ["A brown dog runs straight ahead over the grass."],
    ["A blue van is parked beside the road."],
]
RIGHT = [references[0] for references in REFERENCES]
HALF_RIGHT = ["A red car turns right at the crossing.", "A brown dog stands still.", "A green van is parked."]
WRONG = ["Two people walk.", "Two people walk.", "Two people walk."]


def test_the_reference_itself_is_perfect() -> None:
    scores = score_texts(RIGHT, REFERENCES)
    assert scores[BLEU_4].value == pytest.approx(1, abs=1e-6)
    assert scores[ROUGE_L].value == pytest.approx(1)
    assert scores[METEOR_STEMS].value > 0.99
    assert scores[CIDER].value > 7


def test_a_better_sentence_scores_higher_on_every_measure() -> None:
    best, half, worst = (score_texts(said, REFERENCES) for said in (RIGHT, HALF_RIGHT, WRONG))
    for name in best:
        assert best[name].value > half[name].value > worst[name].value >= 0


def test_meteor_counts_stems_and_order() -> None:
    """Seven of seven words match, one by its stem; "turning left" breaks them into chunks by nothing."""
    score = score_texts(["the red cars turning left at noon"], [["the red car turns left at noon"]])
    assert score[METEOR_STEMS].value == pytest.approx(1 - 0.5 * (1 / 7) ** 3)


def test_rouge_by_hand() -> None:
    """The longest common part is "a car left": precision 3/4, recall 3/5, with COCO's beta of 1.2."""
    score = score_texts(["a blue car left"], [["a red car turns left"]])[ROUGE_L].value
    precision, recall, beta = 3 / 4, 3 / 5, 1.2
    assert score == pytest.approx((1 + beta**2) * precision * recall / (recall + beta**2 * precision))


def test_scores_of_sentences_have_the_mean_that_is_reported() -> None:
    scores = score_texts(HALF_RIGHT, REFERENCES)
    assert not scores[BLEU_4].per_sentence
    for name in (ROUGE_L, CIDER, METEOR_STEMS):
        each = scores[name].per_sentence
        assert len(each) == len(REFERENCES)
        assert math.fsum(each) / len(each) == pytest.approx(scores[name].value)


def test_tokens() -> None:
    assert tokenize_words("A U-turn: it's DONE, at 3.5 s!") == [
        "a",
        "u-turn",
        "it's",
        "done",
        "at",
        "3",
        "5",
        "s",
    ]


def test_an_empty_sentence_scores_nothing() -> None:
    scores = score_texts(["", *RIGHT[1:]], REFERENCES)
    assert scores[ROUGE_L].per_sentence[0] == scores[CIDER].per_sentence[0] == 0


@pytest.mark.parametrize(("said", "wanted"), [([], []), (["a"], [[]]), (["a", "b"], [["a"]])])
def test_sentences_and_references_must_pair_up(said: list[str], wanted: list[list[str]]) -> None:
    with pytest.raises(InputError, match="each with a reference"):
        score_texts(said, wanted)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocoevalcap.cider.cider", None)
    with pytest.raises(DependencyError, match=r"pip install 'tubelet\[eval\]'"):
        score_texts(RIGHT, REFERENCES)


def test_without_java_meteor_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DependencyError, match="default-jre-headless"):
        score_texts(RIGHT, REFERENCES, java=True)


@pytest.mark.skipif(shutil.which("java") is None, reason="needs Java")
def test_meteor_by_java() -> None:
    scores = score_texts([RIGHT[0], *HALF_RIGHT[1:]], REFERENCES, java=True)
    first, *others = scores[METEOR_JAVA].per_sentence
    assert first == pytest.approx(1)
    assert all(0 < score < 0.9 for score in others)
