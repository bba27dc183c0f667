"""Words for motion, from paths alone: short sequences, so that a hundred thousand paths can be told.

Each view has one token, and of the prompt little is read at first: a decoder whose last layer looks at all
words alike hardly notices the one view that tells the turn. Every token keeps the position that it has in a
whole prompt, so what is learnt here serves there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.prompts import PLACEHOLDER, Prompt, PromptTokenizer, RegionRows
from tubelet.model.training.describe.answering import SHARED, Layout, lay_out, score_layouts
from tubelet.model.training.describe.motion_stage import MotionHeads
from tubelet.model.training.describe.path_batches import Form, PathBatch, PathSample, join_views
from tubelet.model.training.describe.rendered import introduce
from tubelet.model.training.grammar.questions import TURN_ANSWERS, Question
from tubelet.records import Turn

MOTION_WEIGHT = 0.3
NUM_LAST_WORDS = 2

JUDGED_QUESTION = "Which way does it turn?"


class WordModel(nn.Module):
    """A network with its tokenizer, on paths: `forward(batch)` gives the losses of answers and of motion.

    Without the second what was learnt of motion is lost before the words need it.
    """

    def __init__(self, network: PixelRefer, tokenizer: PromptTokenizer) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer
        self.heads = MotionHeads(network)

    def forward(self, batch: PathBatch) -> dict[str, Tensor]:
        """The mean cross-entropy of the answers' tokens, the motion's, and their weighted sum."""
        rows = self._make_rows(batch.samples)
        layouts = [
            thin_layout(lay_out(self.tokenizer, [told], sample.conversations), batch.form)
            for told, sample in zip(rows, batch.samples, strict=True)
        ]
        words = score_layouts(self.network, layouts).mean()
        motion = self.heads(*self._find_views(layouts), batch.samples)["motion"]
        return {"loss": words + MOTION_WEIGHT * motion, "words": words.detach(), "motion": motion.detach()}

    @torch.no_grad()
    def judge(self, samples: Sequence[PathSample], form: Form = "timed") -> list[Turn]:
        """The answer to JUDGED_QUESTION that the network finds likeliest, for each sample."""
        answers = TURN_ANSWERS
        told = tuple((introduce(Question("turn", JUDGED_QUESTION, text)),) for text in answers.values())
        layouts = [
            thin_layout(lay_out(self.tokenizer, [rows], told), form) for rows in self._make_rows(samples)
        ]
        scores = iter(score_layouts(self.network, layouts).tolist())
        judged: list[Turn] = []
        for layout in layouts:
            losses = [0.0] * len(answers)
            for part, is_learnt in zip(layout.part, layout.learnt, strict=True):
                if is_learnt:
                    losses[part - 1] += next(scores)
            judged.append(list(answers)[int(np.argmin(losses))])
        return judged

    def _find_views(self, layouts: Sequence[Layout]) -> tuple[Tensor, Tensor]:
        """The guided states at the views of thinned layouts, (B, V, D), and which of them are views."""
        states_BTD = self.heads.take_states()
        states = [
            states_TD[[at for at, token in enumerate(layout.prompt.token_ids) if token == PLACEHOLDER]]
            for states_TD, layout in zip(states_BTD, layouts, strict=True)
        ]
        padded_BVD = nn.utils.rnn.pad_sequence(states, batch_first=True)
        lengths_B1 = torch.tensor([[len(own)] for own in states], device=padded_BVD.device)
        return padded_BVD, torch.arange(padded_BVD.shape[1], device=padded_BVD.device) < lengths_B1

    def _make_rows(self, samples: Sequence[PathSample]) -> list[RegionRows]:
        parts = torch.split(join_views(self.network, samples), [len(sample.times_s) for sample in samples])
        count = self.network.config.num_object_tokens
        return [
            RegionRows(tuple(row_D.expand(count, -1) for row_D in part_ND), sample.times_s)
            for part_ND, sample in zip(parts, samples, strict=True)
        ]


def thin_layout(layout: Layout, form: Form) -> Layout:
    """One token of each view, and of the words what the form reads. Positions stay as they were.

    Bare prompts keep the answers and the NUM_LAST_WORDS before them.
    """
    ids = layout.prompt.token_ids
    places = [at for at, token in enumerate(ids) if token == PLACEHOLDER]
    first = [at for at in places if ids[at - 1] != PLACEHOLDER]
    kept = set(range(len(ids))) - set(places)
    if form == "untimed":
        kept -= set(range(first[0], first[-1]))
    if form == "bare":
        kept = {at for at in kept if any(layout.learnt[at : at + NUM_LAST_WORDS + 1])}
        kept.add(layout.part.count(SHARED) - 1)
    order = sorted(kept | set(first))
    rows = layout.prompt.rows[torch.tensor([places.index(at) for at in first])]
    return Layout(
        Prompt(tuple(ids[at] for at in order), rows),
        part=tuple(layout.part[at] for at in order),
        position=tuple(layout.position[at] for at in order),
        learnt=tuple(layout.learnt[at] for at in order),
    )
