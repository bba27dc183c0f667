"""Prompts: the text around an object's tokens, its token ids, and the embeddings that the decoder reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer
from torch import Tensor

from tubelet.errors import InputError, ModelError
from tubelet.model.pixelrefer.network import PixelRefer

REGION = "<region>"
"""What a prompt's author writes where an object's tokens go."""

REGION_TOKEN = "<REGION>"
SCENE_TOKEN = "<image>"
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
PLACEHOLDER = -1
"""Stands in a prompt's ids for one row of object or scene tokens."""

DESCRIBE_IMAGE = (
    "There is one object in the image: <region>.\nPlease describe in detail the marked object in the image."
)
DESCRIBE_VIDEO = (
    "There is one object in the video: <region>.\nPlease describe in detail the marked object in the video."
)
DESCRIBE_BRIEFLY = (
    "There is one object in the video: <region>.\n"
    "Please give a description of the highlighted object in the video. Using only one sentense."
)
"""Spelt as in the reference's evaluation, which the published weights answer to."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids with PLACEHOLDER where `rows` (placeholders, D) go, in order."""

    token_ids: tuple[int, ...]
    rows: Tensor

    def __post_init__(self) -> None:
        assert self.token_ids.count(PLACEHOLDER) == len(self.rows), "every placeholder needs its row"

    @property
    def num_leading_words(self) -> int:
        """How many ids come before the first placeholder: what prompts of one form may share."""
        return self.token_ids.index(PLACEHOLDER) if len(self.rows) else len(self.token_ids)


class PromptTokenizer:
    """Qwen2.5's tokenizer with the tokens that PixelRefer adds."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Tokens that only mark places are added where the checkpoint's file lacks them: no row of the
        embedding table is ever looked up for them."""
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.add_special_tokens(
            [AddedToken(token, special=True, normalized=False) for token in (REGION_TOKEN, SCENE_TOKEN)]
        )
        self._tokenizer = tokenizer
        self._places = {tokenizer.token_to_id(REGION_TOKEN), tokenizer.token_to_id(SCENE_TOKEN)}
        self._reserved = sorted(
            token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special
        )
        turn_end_id = tokenizer.token_to_id(TURN_END)
        if turn_end_id is None or tokenizer.token_to_id(TURN_START) is None:
            raise ModelError(
                f"The tokenizer does not know {TURN_START} and {TURN_END}",
                expected="the tokenizer of a Qwen2.5-Instruct model",
                do="take the whole folder of the checkpoint",
            )
        self._turn_end_id = turn_end_id

    @classmethod
    def read(cls, folder: Path) -> PromptTokenizer:
        """From `tokenizer.json`, or from `vocab.json` and `merges.txt` with their added tokens."""
        try:
            if (folder / "tokenizer.json").is_file():
                return cls(Tokenizer.from_file(str(folder / "tokenizer.json")))
            from transformers import Qwen2Tokenizer

            return cls(Qwen2Tokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer)
        except ModelError:
            raise
        except Exception as error:  # tokenizers raises bare Exception for every kind of bad file
            raise ModelError(
                f"The tokenizer in {folder} cannot be read: {error}",
                expected="tokenizer.json, or vocab.json and merges.txt",
                do="take the whole folder of the checkpoint",
            ) from error

    def write(self, folder: Path) -> None:
        self._tokenizer.save(str(folder / "tokenizer.json"))

    @property
    def turn_end_id(self) -> int:
        """The token that ends an answer."""
        return self._turn_end_id

    def encode(self, text: str) -> list[int]:
        """Ids of a text, PLACEHOLDER for each place of an object or scene token."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return [PLACEHOLDER if token in self._places else token for token in ids]

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of an answer, special tokens left out."""
        text: str = self._tokenizer.decode(list(token_ids), skip_special_tokens=True)
        return text

    def check_words(self, text: str) -> None:
        """Refuse text that spells a special token: it would end the turn or shift the objects' places."""
        found = [token for token in self._reserved if token in text]
        if found:
            raise InputError(
                f"The prompt contains the reserved token {found[0]}",
                expected=f"plain words, and {REGION} for each object",
                do="remove it",
            )


@dataclass(frozen=True, slots=True)
class RegionRows:
    """Tokens of one region or scene: (tokens, D) for each frame, and the frames' times, None for an image."""

    rows: tuple[Tensor, ...]
    times_s: tuple[float, ...] | None


def check_prompt(prompt: str, num_regions: int) -> None:
    """One `<region>` for each region, in order; anything else would mix the objects up."""
    num_places = prompt.count(REGION)
    if num_places != num_regions:
        raise InputError(
            f"The prompt has {num_places} times {REGION} and the request {num_regions} regions",
            expected=f"one {REGION} for each region",
            do=f'write, for example, "What does {REGION} do?" for one region',
        )


def build_prompt(
    tokenizer: PromptTokenizer,
    text: str,
    regions: Sequence[RegionRows],
    *,
    scene: RegionRows | None = None,
    timed: bool = True,
) -> Prompt:
    """Put tokens in their places: `[...]` for a region, with the time before each frame's where `timed`.

    `scene` (PixelRefer) goes before the text. Raises InputError for a prompt whose `<region>`s are not as
    many as the regions, or that spells a special token.
    """
    check_prompt(text, len(regions))
    tokenizer.check_words(text)
    words = text.strip().split(REGION)
    pieces = [f"{TURN_START}user\n", "" if scene is None else _write_scene(scene), words[0]]
    for region, after in zip(regions, words[1:], strict=True):
        pieces += [write_region(region, timed=timed), after]
    pieces.append(f"{TURN_END}\n{TURN_START}assistant\n")
    rows = [row for part in (scene, *regions) if part is not None for row in part.rows]
    return Prompt(tuple(tokenizer.encode("".join(pieces))), torch.cat(rows) if rows else torch.empty(0, 1))


def write_region(region: RegionRows, *, timed: bool = True) -> str:
    """What `<region>` becomes: `[...]`, and in a video the time before each frame's tokens."""
    places = [REGION_TOKEN * len(rows) for rows in region.rows]
    if region.times_s is None or not timed:
        return f"[{''.join(places)}]"
    timed_places = [f"Time {round(t, 1)}:{place}" for t, place in zip(region.times_s, places, strict=True)]
    return f"[{','.join(timed_places)}]"


def embed_prompts(network: PixelRefer, prompts: Sequence[Prompt], start: int = 0) -> Tensor:
    """Embeddings of the prompts from position `start`, padded at the end with zeros: (B, T, D)."""
    longest = max(len(prompt.token_ids) for prompt in prompts)
    fed = [prompt.token_ids[start:] for prompt in prompts]
    ids_BT = torch.tensor([[*ids, *[0] * (longest - start - len(ids))] for ids in fed], device=network.device)
    length_B1 = torch.tensor([[len(ids)] for ids in fed], device=network.device)
    inside_BT1 = (torch.arange(longest - start, device=network.device) < length_B1)[..., None]
    embedded_BTD = network.embed_words(ids_BT.clamp(min=0))
    embedded_BTD = torch.where(inside_BT1, embedded_BTD, torch.zeros_like(embedded_BTD))
    rows = [prompt.rows[prompt.token_ids[:start].count(PLACEHOLDER) :] for prompt in prompts]
    place_BT = ids_BT == PLACEHOLDER
    # In one step and not row by row: training goes through here, and each write costs a copy backwards.
    return embedded_BTD.index_put(place_BT.nonzero(as_tuple=True), torch.cat(rows).to(network.dtype))


def _write_scene(scene: RegionRows) -> str:
    places = [SCENE_TOKEN * len(rows) for rows in scene.rows]
    if scene.times_s is None:
        return f"{places[0]}\n"
    timed_places = [f"Time {round(t, 1)}s:{place}" for t, place in zip(scene.times_s, places, strict=True)]
    return f"{','.join(timed_places)}\n"
