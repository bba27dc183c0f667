"""PixelRefer behind the captioner seam: the pipeline's views in, sentences out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import torch

from tubelet.errors import ModelError
from tubelet.model.describing.base import DescribeRequest, Description, ObjectView
from tubelet.model.describing.choosing import refuse_strange
from tubelet.model.describing.domain import DOMAIN_FILE, Domain, Judgement, read_domain
from tubelet.model.describing.facing_reader import FACING_FILE
from tubelet.model.describing.kinds import KINDS_FILE
from tubelet.model.pixelrefer.captioner import (
    ChoiceScore,
    PixelReferCaptioner,
    RegionRequest,
    phrase_question,
)
from tubelet.model.pixelrefer.catalogue import find_checkpoint
from tubelet.model.pixelrefer.object_tokens import ObjectTokens
from tubelet.model.pixelrefer.prompts import DESCRIBE_VIDEO
from tubelet.model.pixelrefer.regions import Region, RegionView
from tubelet.model.pixelrefer.weights import digest_weights, read_folder_config
from tubelet.model.weight_files import find_weight_files, read_shapes


class PixelReferDescriber:
    """Adapts a captioner to the seam: crops become views of a part of their frame.

    Where a view does not know its frame's size, its crop stands for the frame: the object's place is then
    told relative to the crop.
    """

    answers_questions = True

    def __init__(self, captioner: PixelReferCaptioner, domain: Domain | None = None) -> None:
        """`domain` is what the captioner was trained on, where the checkpoint tells it.

        Raises ModelError for another captioner's domain.
        """
        if domain is not None and domain.num_features != captioner.num_features:
            raise ModelError(
                f"{DOMAIN_FILE} of {captioner.name} was made for {domain.num_features} vision features",
                expected=f"{captioner.num_features}",
                do="copy the checkpoint again, or remove that file to do without",
            )
        self._captioner = captioner
        self._domain = domain

    @property
    def name(self) -> str:
        return self._captioner.name

    @property
    def object_dimensions(self) -> int:
        return self._captioner.num_dimensions

    def describe(self, requests: Sequence[DescribeRequest]) -> list[Description]:
        """One description for each request, in order. Raises InputError for a request without views."""
        answers = self._captioner.describe([_convert(request) for request in requests])
        judged = [
            self._judge(request, answer.objects[0]) for request, answer in zip(requests, answers, strict=True)
        ]
        return [
            Description(
                answer.text,
                min(answer.confidence, 1.0),
                answer.object_vectors[0],
                familiarity=None if known is None else known.familiarity,
                naming=None if known is None else known.category,
                colour=None if known is None else known.colour,
                way=None if known is None else known.way,
            )
            for answer, known in zip(answers, judged, strict=True)
        ]

    def choose(self, request: DescribeRequest, choices: Sequence[str]) -> list[ChoiceScore]:
        """How likely each of some answers to a request's question is, in order.

        Raises InputError for an object that looks like nothing the captioner was trained on: it would guess.
        """
        if self._domain is not None:
            [tokens] = self._captioner.encode([_as_region(request)])
            known = self._judge(request, tokens)
            refuse_strange(None if known is None else known.familiarity, self.name)
        return self._captioner.choose(_convert(request), choices)

    def _judge(self, request: DescribeRequest, tokens: ObjectTokens) -> Judgement | None:
        if self._domain is None or tokens.seen_C is None:
            return None
        seen_C = tokens.seen_C.float().cpu().numpy()
        return self._domain.judge(
            request.looks, np.asarray(seen_C, np.float32), request.attributes, request.shape, request.views
        )


class LazyDescriber:
    """A describer by checkpoint that reads the weights when the first object is described.

    What every row says of it, name and vector length, is read from the checkpoint's headers at once, so a
    checkpoint that is missing or of an unknown kind fails here. Threads may share an instance.
    """

    answers_questions = True

    def __init__(self, checkpoint: str | Path, *, device: str = "") -> None:
        """`checkpoint` is a folder or a model pulled before; `device` is torch's name, empty for a GPU if
        there is one. A GPU computes in bfloat16, the CPU in float32."""
        self._checkpoint = checkpoint
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._describer: PixelReferDescriber | None = None
        self._busy = Lock()
        folder = find_checkpoint(checkpoint)
        files = find_weight_files(folder)
        self.object_dimensions = read_folder_config(folder, read_shapes(files)).width
        beside = [
            file for name in (DOMAIN_FILE, FACING_FILE, KINDS_FILE) if (file := folder / name).is_file()
        ]
        self.name = f"{Path(checkpoint).name}@{digest_weights(files, beside)}"

    def describe(self, requests: Sequence[DescribeRequest]) -> list[Description]:
        """As `PixelReferDescriber.describe`, after loading the weights where that is still to be done."""
        with self._busy:
            return self._load().describe(requests)

    def choose(self, request: DescribeRequest, choices: Sequence[str]) -> list[ChoiceScore]:
        """As `PixelReferDescriber.choose`, after loading the weights where that is still to be done."""
        with self._busy:
            return self._load().choose(request, choices)

    def load(self) -> None:
        """Read the weights now. Raises ModelError."""
        with self._busy:
            self._load()

    def _load(self) -> PixelReferDescriber:
        if self._describer is None:
            dtype = torch.float32 if self._device.type == "cpu" else torch.bfloat16
            captioner = PixelReferCaptioner.load(self._checkpoint, device=self._device, dtype=dtype)
            self._describer = PixelReferDescriber(captioner, read_domain(find_checkpoint(self._checkpoint)))
        return self._describer


def load_describer(checkpoint: str | Path, *, device: str = "") -> LazyDescriber:
    """What the registry calls: a describer by checkpoint, see `LazyDescriber`."""
    return LazyDescriber(checkpoint, device=device)


def _convert(request: DescribeRequest) -> RegionRequest:
    region = _as_region(request)
    if request.question is None:
        return RegionRequest((region,), DESCRIBE_VIDEO)
    return RegionRequest((region,), phrase_question(region, request.question))


def _as_region(request: DescribeRequest) -> Region:
    return Region(tuple(as_region_view(view) for view in request.views))


def as_region_view(view: ObjectView) -> RegionView:
    """A view of the pipeline as the model takes it: its crop is a window of the frame."""
    return RegionView(
        image=view.image,
        mask=view.mask,
        time_s=view.time_s,
        window=None if view.frame_size is None else view.crop,
        frame_size=view.frame_size,
        scene=view.scene,
    )
