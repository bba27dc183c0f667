"""Greedy decoding of many prompts at once, and scores for given answers.

Prompts are prefilled in groups, padded at the end to the longest; words that a group begins with are decoded
once and kept for later groups. Answers then grow together, one token a step. A finished answer leaves at
once and a waiting prompt takes its row, so a long answer holds up no short one. Nothing is sampled.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor

from tubelet.errors import InputError
from tubelet.model.pixelrefer.cache import RowCache, SharedPrefix
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.prompts import Prompt, embed_prompts

MAX_PREFILL_POSITIONS = 16_384
"""Positions of one prefill pass; it bounds the decoder's activations."""

MIN_SHARED_WORDS = 4
"""Common beginnings shorter than this are decoded with each prompt."""

MAX_KEPT_PREFIXES = 8


@dataclass(frozen=True, slots=True)
class Step:
    """One token of one answer. `index` is the prompt's place in the call; `log_prob` is natural."""

    index: int
    token_id: int
    log_prob: float
    is_last: bool


@dataclass(slots=True)
class _Growing:
    """An answer under way: how many positions its row holds, and how many tokens it may still get."""

    index: int
    num_positions: int
    num_left: int
    token_id: int


class Decoder:
    """Decodes prompts. Keeps nothing between calls but keys and values of words that prompts begin with."""

    def __init__(self, network: PixelRefer, *, stop_ids: Sequence[int] = ()) -> None:
        self._network = network
        self._stop_ids = frozenset(stop_ids)
        self._prefixes: OrderedDict[tuple[int, ...], SharedPrefix] = OrderedDict()

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], *, max_new_tokens: int, num_rows: int) -> Iterator[Step]:
        """Yield every token of every answer as it comes; a stop token is yielded too, as the last.

        At most `num_rows` answers grow at once; the other prompts wait for a row.

        Raises InputError for a prompt that leaves no room for `max_new_tokens` more.
        """
        assert max_new_tokens >= 1, "an answer has a token"
        assert num_rows >= 1, "a prompt needs a row"
        longest = self._check_lengths(prompts, max_new_tokens)
        waiting = deque(sorted(range(len(prompts)), key=lambda index: len(prompts[index].token_ids)))
        num_rows = min(num_rows, len(prompts))
        cache = RowCache(self._network, num_rows, longest + max_new_tokens)
        growing: list[_Growing] = []
        while waiting or growing:
            num_free = num_rows - len(growing)
            # Growing waits while others are prefilled, so rows are refilled a quarter at a time.
            if waiting and (not growing or 4 * num_free >= num_rows):
                group = _take_group(waiting, prompts, num_free)
                logits_BV = self._prefill(cache, len(growing), [prompts[index] for index in group])
                fresh = [
                    _Growing(index, len(prompts[index].token_ids), max_new_tokens, -1) for index in group
                ]
                growing += fresh
            else:
                logits_BV = self._grow(cache, growing)
                fresh = growing
            yield from self._choose(fresh, logits_BV)
            _retire(cache, growing)

    @torch.inference_mode()
    def score(self, prompt: Prompt, answers: Sequence[Sequence[int]], *, num_rows: int) -> list[list[float]]:
        """Natural log-probability of every token of every answer; the prompt is prefilled once."""
        network = self._network
        longest = max(len(answer) for answer in answers)
        self._check_lengths([prompt], longest)
        num_before = len(prompt.token_ids) - 1
        single = RowCache(network, 1, num_before + 1)
        self._prefill(single, 0, [prompt])
        prefix = single.take_prefix(0, num_before)
        scores: list[list[float]] = []
        for start in range(0, len(answers), num_rows):
            part = answers[start : start + num_rows]
            cache = RowCache(network, len(part), num_before + longest)
            cache.copy_prefix(slice(0, len(part)), prefix)
            fed = [(prompt.token_ids[-1], *answer[:-1]) for answer in part]
            no_rows = torch.empty(0, network.config.width, device=network.device)
            embedded_BTD = embed_prompts(network, [Prompt(ids, no_rows) for ids in fed])
            hidden_BTD = self._extend(cache, 0, embedded_BTD, num_before)
            for row_TD, answer in zip(hidden_BTD, part, strict=True):
                log_probs_TV = network.score_words(row_TD[: len(answer)]).float().log_softmax(dim=-1)
                ids_T1 = torch.tensor(answer, device=network.device)[:, None]
                scores.append(log_probs_TV.gather(1, ids_T1)[:, 0].tolist())
        return scores

    def _check_lengths(self, prompts: Sequence[Prompt], num_more: int) -> int:
        longest = max((len(prompt.token_ids) for prompt in prompts), default=0)
        if longest + num_more > self._network.config.max_positions:
            raise InputError(
                f"A prompt has {longest} tokens, and {num_more} more are asked for",
                expected=f"at most {self._network.config.max_positions} in all",
                do="pass fewer frames, evenly spread, or a shorter question",
            )
        return longest

    def _prefill(self, cache: RowCache, first_row: int, prompts: Sequence[Prompt]) -> Tensor:
        """Fill rows from `first_row` on with the prompts; logits after each one's last position, (B, V)."""
        prefix = self._find_prefix(prompts)
        num_shared = prefix.num_positions if prefix else 0
        if prefix:
            cache.copy_prefix(slice(first_row, first_row + len(prompts)), prefix)
        embedded_BTD = embed_prompts(self._network, prompts, num_shared)
        hidden_BTD = self._extend(cache, first_row, embedded_BTD, num_shared)
        last_B = torch.tensor(
            [len(prompt.token_ids) - num_shared - 1 for prompt in prompts], device=hidden_BTD.device
        )
        row_B = torch.arange(len(prompts), device=hidden_BTD.device)
        return self._network.score_words(hidden_BTD[row_B, last_B])

    def _extend(self, cache: RowCache, first_row: int, embedded_BTD: Tensor, num_before: int) -> Tensor:
        """Append T positions to B rows that hold `num_before` each.

        Padding stands at the end, where no real position sees it: plain causal order is mask enough.
        """
        num_rows, num_new, _ = embedded_BTD.shape
        position_T = torch.arange(num_before, num_before + num_new, device=embedded_BTD.device)
        position_BT = position_T.expand(num_rows, -1)
        span = num_before + num_new
        seen_BTS = None
        if num_before:
            seen_BTS = (torch.arange(span, device=position_T.device) <= position_T[:, None])[None]
        cache.open(slice(first_row, first_row + num_rows), position_BT, span)
        return self._network.decode(embedded_BTD, position_BT, cache=cache, seen_BTS=seen_BTS)

    def _grow(self, cache: RowCache, growing: Sequence[_Growing]) -> Tensor:
        """Feed every answer its newest token; logits for the next ones, (B, V)."""
        network = self._network
        position_B1 = torch.tensor([[row.num_positions] for row in growing], device=network.device)
        span = max(row.num_positions for row in growing) + 1
        seen_B1S = torch.arange(span, device=network.device) <= position_B1[..., None]
        cache.open(slice(0, len(growing)), position_B1, span)
        embedded_B1D = network.embed_words(
            torch.tensor([[row.token_id] for row in growing], device=network.device)
        )
        hidden_B1D = network.decode(embedded_B1D, position_B1, cache=cache, seen_BTS=seen_B1S)
        for row in growing:
            row.num_positions += 1
        return network.score_words(hidden_B1D[:, 0])

    def _choose(self, growing: Sequence[_Growing], logits_BV: Tensor) -> Iterator[Step]:
        """Take the likeliest token of each answer."""
        scores_BV = logits_BV.float()
        best_B, token_B = scores_BV.max(dim=-1)
        log_prob_B = best_B - scores_BV.logsumexp(dim=-1)
        for row, token_id, log_prob in zip(growing, token_B.tolist(), log_prob_B.tolist(), strict=True):
            row.token_id = token_id
            row.num_left = 0 if token_id in self._stop_ids else row.num_left - 1
            yield Step(row.index, token_id, log_prob, is_last=row.num_left == 0)

    def _find_prefix(self, prompts: Sequence[Prompt]) -> SharedPrefix | None:
        """Keys and values of the words that all prompts begin with, decoded once."""
        limit = min(min(prompt.num_leading_words, len(prompt.token_ids) - 1) for prompt in prompts)
        columns = zip(*(prompt.token_ids[:limit] for prompt in prompts), strict=True)
        words = tuple(column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))
        if len(words) < MIN_SHARED_WORDS:
            return None
        if words not in self._prefixes:
            cache = RowCache(self._network, 1, len(words))
            ids_1T = torch.tensor([words], device=self._network.device)
            self._extend(cache, 0, self._network.embed_words(ids_1T), 0)
            self._prefixes[words] = cache.take_prefix(0, len(words))
            if len(self._prefixes) > MAX_KEPT_PREFIXES:
                self._prefixes.popitem(last=False)
        self._prefixes.move_to_end(words)
        return self._prefixes[words]


def _take_group(waiting: deque[int], prompts: Sequence[Prompt], num_rows: int) -> list[int]:
    """The next prompts to prefill together: at most `num_rows`, and at most MAX_PREFILL_POSITIONS padded."""
    group = [waiting.popleft()]
    while waiting and len(group) < num_rows:
        # Prompts wait in order of length, so the next one is the longest of the group.
        if (len(group) + 1) * len(prompts[waiting[0]].token_ids) > MAX_PREFILL_POSITIONS:
            break
        group.append(waiting.popleft())
    return group


def _retire(cache: RowCache, growing: list[_Growing]) -> None:
    """Drop finished answers, and move the last rows into their places so that rows stay together."""
    for row in reversed(range(len(growing))):
        if growing[row].num_left == 0:
            last = growing.pop()
            if row < len(growing):
                cache.move_row(len(growing), row, last.num_positions)
                growing[row] = last
