"""Descriptions of and answers about objects, in batches: the interface of PixelRefer for everyone else.

A request names its objects by frames and masks, or by tokens stored earlier, and asks one thing about them.
What it gets never depends on the requests beside it.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
import torch

from tubelet.errors import InputError, ModelError
from tubelet.model.frame import Image
from tubelet.model.masks import Mask
from tubelet.model.pixelrefer.cache import measure_row_bytes
from tubelet.model.pixelrefer.catalogue import find_checkpoint
from tubelet.model.pixelrefer.encoding import (
    EncodedView,
    ScenePool,
    encode_scene_tokens,
    encode_views,
    prepare_views,
)
from tubelet.model.pixelrefer.generate import Decoder, Step
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.object_tokens import ObjectTokens
from tubelet.model.pixelrefer.prompts import (
    DESCRIBE_IMAGE,
    DESCRIBE_VIDEO,
    REGION,
    Prompt,
    PromptTokenizer,
    RegionRows,
    build_prompt,
    check_prompt,
)
from tubelet.model.pixelrefer.regions import Region
from tubelet.model.pixelrefer.weights import digest_weights, load_checkpoint
from tubelet.model.weight_files import find_weight_files

MAX_NUM_ROWS = 128
NUM_QUEUED_A_ROW = 2
"""Requests encoded together, for each row that decodes: a free row finds a prompt waiting."""

MAX_THREADS = 8
MEMORY_SHARE = 0.5
"""Of the free memory; the rest is room for activations and for others."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class RegionRequest:
    """One prompt with a `<region>` for each of `regions`, in order."""

    regions: tuple[Region | ObjectTokens, ...]
    prompt: str = DESCRIBE_VIDEO

    def __post_init__(self) -> None:
        check_prompt(self.prompt, len(self.regions))

    @classmethod
    def of(
        cls,
        frames: Sequence[Image],
        masks: Sequence[Mask],
        times_s: Sequence[float] | None,
        prompt: str | None = None,
    ) -> RegionRequest:
        """One object by its frames, masks and times; without times it is an object of an image."""
        region = Region.of(frames, masks, times_s)
        return cls((region,), prompt or (DESCRIBE_VIDEO if region.is_video else DESCRIBE_IMAGE))


@dataclass(frozen=True, slots=True)
class RegionAnswer:
    """What the model said. `token_log_probs` are natural, one for each of `token_ids`, the last token too."""

    text: str
    token_ids: tuple[int, ...]
    token_log_probs: tuple[float, ...]
    objects: tuple[ObjectTokens, ...] = field(compare=False)

    @property
    def object_vectors(self) -> tuple[tuple[float, ...], ...]:
        """One vector of length 1 for each region."""
        return tuple(tokens.vector for tokens in self.objects)

    @property
    def confidence(self) -> float:
        """Geometric mean of the tokens' probabilities, 0..1."""
        return float(torch.tensor(self.token_log_probs).mean().exp()) if self.token_log_probs else 0.0


@dataclass(frozen=True, slots=True)
class ChoiceScore:
    """An answer that was offered: log-probability of saying exactly it, and its share among the offered."""

    choice: str
    log_prob: float
    probability: float


class PixelReferCaptioner:
    """A loaded model that answers requests. Not for use by several threads at once."""

    def __init__(
        self,
        network: PixelRefer,
        tokenizer: PromptTokenizer,
        *,
        name: str,
        max_new_tokens: int = 128,
        batch_size: int | None = None,
    ) -> None:
        """`name` is `name@version`; stored object tokens are tied to it. `batch_size` limits the answers that
        grow at once; without it, free memory does."""
        for limit, value in (("max_new_tokens", max_new_tokens), ("batch_size", batch_size)):
            if value is not None and value < 1:
                raise InputError(f"{limit} is {value}", expected="at least 1", do="raise it")
        self._network = network
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        self._num_threads = min(len(os.sched_getaffinity(0)), MAX_THREADS)
        self._decoder = Decoder(network, stop_ids=(*network.config.stop_ids, tokenizer.turn_end_id))
        self.name = name
        self.max_new_tokens = max_new_tokens

    @classmethod
    def load(
        cls,
        name_or_folder: str | Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        attention: str = "sdpa",
        max_new_tokens: int = 128,
        batch_size: int | None = None,
    ) -> PixelReferCaptioner:
        """Load a checkpoint from a folder, or by hub name when it was pulled before. Fetches nothing."""
        folder = find_checkpoint(name_or_folder)
        network, tokenizer = load_checkpoint(folder, device=device, dtype=dtype, attention=attention)
        return cls(
            network,
            tokenizer,
            name=f"{Path(name_or_folder).name}@{digest_weights(find_weight_files(folder))}",
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
        )

    @property
    def num_dimensions(self) -> int:
        """Length of an object vector."""
        return self._network.config.width

    @property
    def num_features(self) -> int:
        """Length of a vision feature."""
        return self._network.config.vision_width

    def describe(self, requests: Sequence[RegionRequest]) -> list[RegionAnswer]:
        """Answer many requests, in order, in as few passes as memory allows.

        A pass that runs out of memory is repeated with half the requests. Raises InputError for a request
        that cannot be answered, and ModelError when a single request does not fit in memory.
        """
        if not requests:
            return []
        for request in requests:
            self._check(request)
        num_rows = self._batch_size or self._measure_num_rows(requests)
        return self._run_in_batches(self._answer, requests, num_rows)

    def ask(self, region: Region | ObjectTokens, question: str) -> RegionAnswer:
        """Answer a question about one object. Without `<region>` in it, the object is introduced first."""
        return self.describe([RegionRequest((region,), phrase_question(region, question))])[0]

    def stream(self, request: RegionRequest) -> Iterator[str]:
        """The answer's text, piece by piece, as it is decoded."""
        self._check(request)
        prompt, _ = self._build_prompts([request])[0]
        token_ids: list[int] = []
        told = ""
        for step in self._decoder.generate([prompt], max_new_tokens=self.max_new_tokens, num_rows=1):
            token_ids.append(step.token_id)
            text = self._tokenizer.decode(token_ids)
            # A character of several bytes may still be under way: wait for its last token.
            if text.endswith("\ufffd") and not step.is_last:
                continue
            if len(text) > len(told):
                yield text[len(told) :]
                told = text

    def choose(self, request: RegionRequest, choices: Sequence[str]) -> list[ChoiceScore]:
        """Score every offered answer, in order: how likely the model is to say it and then stop.

        Probabilities are shares among the choices. Long answers are less likely than short ones as they are
        in speech, so offer choices of similar length.
        """
        if not choices or not all(choice.strip() for choice in choices):
            raise InputError(
                f"The choices are {list(choices)}", expected="one or more texts", do="offer some answers"
            )
        for choice in choices:
            self._tokenizer.check_words(choice)
        self._check(request)
        prompt, _ = self._build_prompts([request])[0]
        answers = [[*self._tokenizer.encode(choice), self._tokenizer.turn_end_id] for choice in choices]
        scores = self._decoder.score(prompt, answers, num_rows=MAX_NUM_ROWS)
        totals = torch.tensor([sum(tokens) for tokens in scores], dtype=torch.float64)
        shares = totals.softmax(dim=0).tolist()
        return [
            ChoiceScore(choice, total, share)
            for choice, total, share in zip(choices, totals.tolist(), shares, strict=True)
        ]

    def encode(self, regions: Sequence[Region]) -> list[ObjectTokens]:
        """Object tokens of each region, to store or to ask about several times."""
        return self._run_in_batches(self._encode_each, regions, MAX_NUM_ROWS)

    def _answer(self, requests: Sequence[RegionRequest], num_rows: int) -> list[RegionAnswer]:
        prompts = self._build_prompts(requests)
        steps: list[list[Step]] = [[] for _ in requests]
        for step in self._decoder.generate(
            [prompt for prompt, _ in prompts], max_new_tokens=self.max_new_tokens, num_rows=num_rows
        ):
            steps[step.index].append(step)
        return [
            RegionAnswer(
                text=self._tokenizer.decode([step.token_id for step in said]).strip(),
                token_ids=tuple(step.token_id for step in said),
                token_log_probs=tuple(step.log_prob for step in said),
                objects=tuple(tokens.to_cpu() for tokens in objects),
            )
            for said, (_, objects) in zip(steps, prompts, strict=True)
        ]

    @torch.inference_mode()
    def _build_prompts(
        self, requests: Sequence[RegionRequest]
    ) -> list[tuple[Prompt, tuple[ObjectTokens, ...]]]:
        """Encode the objects of all requests together and write each request's prompt."""
        encoded = self._encode([request.regions for request in requests])
        is_lite = self._network.config.is_lite
        scenes: dict[tuple[int, ...], RegionRows] = {}
        built = []
        for request, objects in zip(requests, encoded, strict=True):
            prompt = build_prompt(
                self._tokenizer,
                request.prompt,
                [tokens.as_rows(self._network.device, self._network.dtype) for tokens in objects],
                scene=None if is_lite else self._encode_scene(request, scenes),
                timed=is_lite,
            )
            built.append((prompt, objects))
        return built

    def _encode_each(self, regions: Sequence[Region], _: int) -> list[ObjectTokens]:
        return [objects[0].to_cpu() for objects in self._encode([(region,) for region in regions])]

    @torch.inference_mode()
    def _encode(
        self, requests: Sequence[tuple[Region | ObjectTokens, ...]]
    ) -> list[tuple[ObjectTokens, ...]]:
        """Object tokens of every region of every request; those that are stored already stay as they are."""
        config, scenes = self._network.config, ScenePool(self._network.config)
        views = [
            [view for region in regions if isinstance(region, Region) for view in region.views]
            for regions in requests
        ]
        with ThreadPoolExecutor(self._num_threads) as pool:  # OpenCV, PIL and hashing leave Python alone
            ready = pool.map(lambda own: prepare_views(own, config, scenes), filter(None, views))
            prepared = [view for own in ready for view in own]
        encoded = iter(encode_views(self._network, prepared)) if prepared else iter(())
        return [
            tuple(
                region if isinstance(region, ObjectTokens) else self._collect(region, encoded)
                for region in regions
            )
            for regions in requests
        ]

    def _collect(self, region: Region, encoded: Iterator[EncodedView]) -> ObjectTokens:
        times_s = tuple(view.time_s for view in region.views) if region.is_video else None
        own = [next(encoded) for _ in region.views]
        seen_C = torch.stack([view.seen_C for view in own]).mean(dim=0)
        return ObjectTokens(tuple(view.tokens_KD for view in own), times_s, self.name, seen_C)

    def _encode_scene(self, request: RegionRequest, known: dict[tuple[int, ...], RegionRows]) -> RegionRows:
        """Scene tokens of every frame that a request's regions are in, in time order (PixelRefer).

        `known` remembers them by the frames' identities: objects of the same frames share them.
        """
        regions = [region for region in request.regions if isinstance(region, Region)]
        is_video = any(region.is_video for region in regions)
        views = sorted((view for region in regions for view in region.views), key=lambda view: view.time_s)
        frames = {view.time_s: view.whole_frame for view in views}
        identity = (is_video, *map(id, frames.values()))
        if identity not in known:
            rows = encode_scene_tokens(self._network, list(frames.values()), is_video=is_video)
            known[identity] = RegionRows(tuple(rows), tuple(frames) if is_video else None)
        return known[identity]

    def _check(self, request: RegionRequest) -> None:
        self._tokenizer.check_words(request.prompt)
        for region in request.regions:
            if isinstance(region, ObjectTokens):
                if region.model != self.name:
                    raise InputError(
                        f"The stored tokens come from {region.model} and the model is {self.name}",
                        expected="tokens of the same model",
                        do="load that model, or describe the object again",
                    )
                if not self._network.config.is_lite:
                    raise InputError(
                        "PixelRefer reads the scene beside the object's tokens, and only those are stored",
                        expected="PixelRefer-Lite, whose object tokens hold what it needs",
                        do="load a Lite model, or pass the frames",
                    )

    def _measure_num_rows(self, requests: Sequence[RegionRequest]) -> int:
        """How many of the largest of these requests fit in a share of the free memory."""
        network = self._network
        longest = max(self._estimate_positions(request) for request in requests) + self.max_new_tokens
        row_bytes = measure_row_bytes(network, longest)
        activation_bytes = longest * (3 * network.config.mlp_width + 4 * network.config.width) * 4
        if network.device.type == "cuda":
            free_bytes, _ = torch.cuda.mem_get_info(network.device)
        else:
            free_bytes = psutil.virtual_memory().available
        fitting = int(free_bytes * MEMORY_SHARE) // (row_bytes + activation_bytes)
        return max(1, min(fitting, MAX_NUM_ROWS))

    def _estimate_positions(self, request: RegionRequest) -> int:
        """About how many positions a prompt takes: tokens of every frame with their time, and the words."""
        num_frames = sum(
            len(region.views if isinstance(region, Region) else region.rows) for region in request.regions
        )
        return num_frames * (self._network.config.num_object_tokens + 12) + len(request.prompt)

    def _run_in_batches(
        self, run: Callable[[Sequence[Item], int], list[Result]], items: Sequence[Item], num_rows: int
    ) -> list[Result]:
        """Run all items, several times `num_rows` in a pass; where memory runs out, go on with half as many.

        `run` takes items and how many of them may be decoded at once; the rest wait for a row.
        """
        results: list[Result] = []
        limit = num_rows * NUM_QUEUED_A_ROW
        while len(results) < len(items):
            batch = items[len(results) : len(results) + limit]
            try:
                results += run(batch, num_rows)
                continue
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise ModelError(
                        f"One request does not fit in memory: {error}",
                        expected="room for the model and one request",
                        do="pass fewer frames, or use a smaller model or a larger device",
                    ) from error
            # Only here, with the failed pass's frames gone, can its memory be had back.
            gc.collect()
            if self._network.device.type == "cuda":
                torch.cuda.empty_cache()
            limit = len(batch) // 2
            num_rows = max(1, min(num_rows, len(batch)) // 2)
        return results


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out. On the CPU torch says so in a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def phrase_question(region: Region | ObjectTokens, question: str) -> str:
    """The reference's form of a question about one object; one with its own `<region>` stays as it is."""
    if REGION in question:
        return question
    is_video = region.is_video if isinstance(region, Region) else region.times_s is not None
    return f"There is one object in the {'video' if is_video else 'image'}: {REGION}.\n{question}"
