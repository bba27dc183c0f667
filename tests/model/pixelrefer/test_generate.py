"""Batched decoding against decoding that recomputes everything."""

from __future__ import annotations

import pytest
import torch

from tubelet.errors import InputError
from tubelet.model.pixelrefer.debug import DEBUG_CONFIG, make_debug_network
from tubelet.model.pixelrefer.generate import Decoder, Step
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.prompts import PLACEHOLDER, Prompt, embed_prompts

NETWORK = make_debug_network()
HEADER = (7, 8, 9, 10, 11, 12)


def _make_prompt(seed: int, num_words: int) -> Prompt:
    """A common header, two placed rows, then random words."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(0, 250, (num_words,), generator=generator).tolist()
    rows = torch.randn(2, DEBUG_CONFIG.width, generator=generator)
    return Prompt((*HEADER, PLACEHOLDER, PLACEHOLDER, *words), rows)


PROMPTS = [_make_prompt(seed, 3 + 5 * (seed % 7)) for seed in range(20)]


@torch.inference_mode()
def _decode_plainly(network: PixelRefer, prompt: Prompt, num_tokens: int) -> tuple[list[int], list[float]]:
    """Without cache, batch or padding: the whole sequence again for every token."""
    embedded = embed_prompts(network, [prompt])
    token_ids, log_probs = [], []
    for _ in range(num_tokens):
        positions = torch.arange(embedded.shape[1])[None]
        scores = network.score_words(network.decode(embedded, positions)[0, -1]).log_softmax(dim=-1)
        token_ids.append(int(scores.argmax()))
        log_probs.append(float(scores.max()))
        embedded = torch.cat([embedded, network.embed_words(torch.tensor([[token_ids[-1]]]))], dim=1)
    return token_ids, log_probs


def _collect(steps: list[Step], index: int) -> list[int]:
    return [step.token_id for step in steps if step.index == index]


@pytest.mark.parametrize("num_rows", [1, 3, 64])
def test_every_answer_is_what_plain_decoding_gives(num_rows: int) -> None:
    """One row at a time, refilled rows, and all at once."""
    steps = list(Decoder(NETWORK).generate(PROMPTS, max_new_tokens=8, num_rows=num_rows))
    assert len(steps) == 8 * len(PROMPTS)
    for index, prompt in enumerate(PROMPTS):
        token_ids, log_probs = _decode_plainly(NETWORK, prompt, 8)
        assert _collect(steps, index) == token_ids
        told = [step.log_prob for step in steps if step.index == index]
        assert told == pytest.approx(log_probs, abs=1e-4)


def test_an_answer_ends_with_its_stop_token_and_leaves_the_others_running() -> None:
    unstopped = list(Decoder(NETWORK).generate(PROMPTS, max_new_tokens=12, num_rows=4))
    answers = [_collect(unstopped, index) for index in range(len(PROMPTS))]
    stops = {answer[4] for answer in answers[:6]}
    stopped = list(Decoder(NETWORK, stop_ids=sorted(stops)).generate(PROMPTS, max_new_tokens=12, num_rows=4))
    lengths = set()
    for index, answer in enumerate(answers):
        ends = [place for place, token in enumerate(answer) if token in stops]
        wanted = answer[: ends[0] + 1] if ends else answer
        assert _collect(stopped, index) == wanted
        lengths.add(len(wanted))
        assert [step.is_last for step in stopped if step.index == index] == [False] * (len(wanted) - 1) + [
            True
        ]
    assert len(lengths) > 1


def test_a_model_that_is_evaluated_under_autocast_answers() -> None:
    """As training in bfloat16 does: weights in float32, what layers compute in bfloat16."""
    prompts = [_make_prompt(0, 5)]
    with torch.autocast("cpu", torch.bfloat16):
        steps = list(Decoder(NETWORK).generate(prompts, max_new_tokens=4, num_rows=1))
    plain = list(Decoder(NETWORK).generate(prompts, max_new_tokens=4, num_rows=1))
    assert len(steps) == 4
    assert steps[0].log_prob == pytest.approx(plain[0].log_prob, abs=0.05)


def test_a_long_answer_holds_up_no_short_one() -> None:
    """With two rows, one serves all short answers while the other is still busy with the long one."""
    unstopped = list(Decoder(NETWORK).generate(PROMPTS[:6], max_new_tokens=30, num_rows=2))
    answers = [_collect(unstopped, index) for index in range(6)]
    long_one = next(
        i for i in range(6) if not set(answers[i]) & {other[1] for other in answers[:i] + answers[i + 1 :]}
    )
    stops = sorted({answer[1] for i, answer in enumerate(answers) if i != long_one})
    steps = list(Decoder(NETWORK, stop_ids=stops).generate(PROMPTS[:6], max_new_tokens=30, num_rows=2))
    ends = {step.index: place for place, step in enumerate(steps) if step.is_last}
    assert max(end for index, end in ends.items() if index != long_one) < ends[long_one]


def test_shared_words_are_decoded_once_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(NETWORK)
    lengths: list[int] = []
    decode = NETWORK.decode

    def watch(embedded: torch.Tensor, position: torch.Tensor, **options: object) -> torch.Tensor:
        lengths.append(embedded.shape[1])
        return decode(embedded, position, **options)

    monkeypatch.setattr(NETWORK, "decode", watch)
    prompts = PROMPTS[:4]
    list(decoder.generate(prompts, max_new_tokens=1, num_rows=8))
    longest = max(len(prompt.token_ids) for prompt in prompts)
    assert lengths == [len(HEADER), longest - len(HEADER)]
    list(decoder.generate(prompts, max_new_tokens=1, num_rows=8))
    assert lengths[2:] == [longest - len(HEADER)]


def test_scores_of_answers_are_those_of_the_whole_text() -> None:
    answers = [[5, 6, 7], [200], [31, 4, 4, 4, 90]]
    for num_rows in (1, 8):
        scores = Decoder(NETWORK).score(PROMPTS[3], answers, num_rows=num_rows)
        for answer, score in zip(answers, scores, strict=True):
            whole = Prompt((*PROMPTS[3].token_ids, *answer), PROMPTS[3].rows)
            with torch.inference_mode():
                embedded = embed_prompts(NETWORK, [whole])
                hidden = NETWORK.decode(embedded, torch.arange(embedded.shape[1])[None])[0]
                log_probs = NETWORK.score_words(hidden).log_softmax(dim=-1)
            before = len(PROMPTS[3].token_ids) - 1
            wanted = [float(log_probs[before + place, token]) for place, token in enumerate(answer)]
            assert score == pytest.approx(wanted, abs=1e-4)


def test_a_prompt_that_leaves_no_room_is_refused() -> None:
    long_prompt = Prompt(tuple([1] * (DEBUG_CONFIG.max_positions - 3)), torch.empty(0, DEBUG_CONFIG.width))
    with pytest.raises(InputError, match="at most 4096"):
        next(Decoder(NETWORK).generate([long_prompt], max_new_tokens=4, num_rows=1))


def test_nothing_to_decode_gives_nothing() -> None:
    assert list(Decoder(NETWORK).generate([], max_new_tokens=4, num_rows=4)) == []
