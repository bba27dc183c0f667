"""The small networks that lie beside a checkpoint's weights and help its mask decoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tubelet.model.tracking.sam2.judge import JUDGE_FILE, MaskJudge, read_judge
from tubelet.model.tracking.sam2.matching import MATCHER_FILE, ObjectMatcher, read_matcher
from tubelet.model.tracking.sam2.outlining import OUTLINER_FILE, MaskOutliner, read_outliner
from tubelet.model.tracking.sam2.proposing import PROPOSER_FILE, BoxProposer, read_proposer

ASSISTANT_FILES = (JUDGE_FILE, MATCHER_FILE, PROPOSER_FILE, OUTLINER_FILE)


@dataclass(frozen=True, slots=True)
class Assistants:
    """With a `judge` masks from anywhere can be compared, a `matcher` knows objects again, a `proposer` tells
    where objects lie, and an `outliner` draws masks anew by a closer look. Published checkpoints have none
    of them, and need none."""

    judge: MaskJudge | None = None
    matcher: ObjectMatcher | None = None
    proposer: BoxProposer | None = None
    outliner: MaskOutliner | None = None


NO_ASSISTANTS = Assistants()


def read_assistants(folder: Path) -> Assistants:
    """Those in a checkpoint's folder. Raises ModelError for a damaged file."""
    return Assistants(read_judge(folder), read_matcher(folder), read_proposer(folder), read_outliner(folder))
