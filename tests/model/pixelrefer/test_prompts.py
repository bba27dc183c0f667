"""Prompts: where tokens go, and what is refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tubelet.errors import InputError
from tubelet.model.pixelrefer.debug import DEBUG_CONFIG, make_debug_network, make_debug_tokenizer
from tubelet.model.pixelrefer.prompts import (
    DESCRIBE_VIDEO,
    PLACEHOLDER,
    RegionRows,
    build_prompt,
    embed_prompts,
    write_region,
)

TOKENIZER = make_debug_tokenizer()
START, END = 256, 257


def _rows(*counts: int, times_s: tuple[float, ...] | None = None) -> RegionRows:
    """Rows that count on: the first row of the first frame holds zeros, the next ones, and so on."""
    numbers = iter(range(sum(counts)))
    return RegionRows(
        tuple(
            torch.stack([torch.full((DEBUG_CONFIG.width,), float(next(numbers))) for _ in range(count)])
            for count in counts
        ),
        times_s,
    )


def test_regions_of_images_and_videos_are_written_as_the_reference_does() -> None:
    assert write_region(_rows(3)) == "[<REGION><REGION><REGION>]"
    video = _rows(1, 2, times_s=(0.04, 1.5499))
    assert write_region(video) == "[Time 0.0:<REGION>,Time 1.5:<REGION><REGION>]"
    assert write_region(video, timed=False) == "[<REGION><REGION><REGION>]"


def test_a_prompt_is_one_turn_without_a_system_message() -> None:
    prompt = build_prompt(TOKENIZER, "  What is <region>? ", [_rows(2)])
    ids = list(prompt.token_ids)
    assert ids[0] == ids[-11] == START or ids.count(START) == 2
    text = TOKENIZER.decode([token for token in ids if token != PLACEHOLDER])
    assert text == "user\nWhat is []?\nassistant\n"
    assert ids.count(PLACEHOLDER) == len(prompt.rows) == 2
    assert ids.count(START) == 2
    assert ids.count(END) == 1


def test_a_scene_stands_before_the_text() -> None:
    image = build_prompt(TOKENIZER, "<region>", [_rows(1)], scene=_rows(2), timed=False)
    video = build_prompt(
        TOKENIZER, "<region>", [_rows(1)], scene=_rows(1, 2, times_s=(0.0, 2.25)), timed=False
    )
    words = [
        "".join("*" if token == PLACEHOLDER else TOKENIZER.decode([token]) for token in prompt.token_ids)
        for prompt in (image, video)
    ]
    assert words[0] == "user\n**\n[*]\nassistant\n"
    assert words[1] == "user\nTime 0.0s:*,Time 2.2s:**\n[*]\nassistant\n"


@pytest.mark.parametrize(
    ("text", "num_regions"), [("no place", 1), ("<region> and <region>", 1), ("<region>", 2)]
)
def test_every_region_needs_its_place(text: str, num_regions: int) -> None:
    with pytest.raises(InputError, match=f"the request {num_regions} regions"):
        build_prompt(TOKENIZER, text, [_rows(1)] * num_regions)


@pytest.mark.parametrize("token", ["<REGION>", "<image>", "<|im_end|>", "<|im_start|>"])
def test_special_tokens_cannot_be_smuggled_in(token: str) -> None:
    with pytest.raises(InputError, match="reserved token"):
        build_prompt(TOKENIZER, f"<region> {token}", [_rows(1)])


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.text(alphabet="ab <>?\n", max_size=12))
@settings(max_examples=60, deadline=None)
def test_rows_keep_their_order(counts: list[int], words: str) -> None:
    """Each placeholder of a prompt becomes its own row, whatever the words around."""
    network = make_debug_network()
    rows = _rows(*counts, times_s=tuple(float(i) for i in range(len(counts))))
    prompt = build_prompt(TOKENIZER, f"{words}<region>{words}", [rows])
    embedded = embed_prompts(network, [prompt])[0]
    places = torch.tensor(prompt.token_ids) == PLACEHOLDER
    assert torch.equal(embedded[places], torch.cat(rows.rows))


def test_embeddings_of_a_rest_are_the_rest_of_the_embeddings() -> None:
    network = make_debug_network()
    prompts = [
        build_prompt(TOKENIZER, DESCRIBE_VIDEO, [_rows(2, 2, times_s=(0.0, 1.0))]),
        build_prompt(TOKENIZER, DESCRIBE_VIDEO, [_rows(1, times_s=(0.0,))]),
    ]
    whole = embed_prompts(network, prompts)
    start = prompts[1].token_ids.index(PLACEHOLDER) + 1
    assert torch.equal(embed_prompts(network, prompts, start), whole[:, start:])
