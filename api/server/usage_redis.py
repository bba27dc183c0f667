"""Counts of quotas beside a ledger on a Redis server, for services on several machines.

A step is a call of one script. One whose answer was lost is sent again under the same id, and counts once.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tubelet.orchestration.ledger.redis_client import RedisClient

_SCRIPT = """
-- usage:KEY:DAY           hash    name -> amount
-- usage.batches:KEY:DAY   set     batches that were noted
-- usage.batch:B           hash    key_id, day, counted
-- usage.once:CALL         string  what a call answered
local prefix, operation, call = KEYS[1] .. "usage", ARGV[1], ARGV[2]
local keep_s, remember_s = 172800, 3600

local function text(number)
    return string.format("%.17g", number)
end

local function name_place(key_id, day)
    return prefix .. ":" .. key_id .. ":" .. day
end

local function read(key_id, day, name)
    return tonumber(redis.call("HGET", name_place(key_id, day), name) or "0")
end

local function add(key_id, day, name, amount)
    local place = name_place(key_id, day)
    redis.call("HSET", place, name, text(math.max(0, read(key_id, day, name) + amount)))
    redis.call("EXPIRE", place, keep_s)
end

local operations = {}

function operations.take(key_id, day, name, amount, at_least, limit)
    local used = read(key_id, day, name)
    if used + tonumber(at_least) > tonumber(limit) then
        return text(used)
    end
    local taken = math.min(tonumber(amount), tonumber(limit) - used)
    add(key_id, day, name, taken)
    return text(used) .. " " .. text(taken)
end

function operations.give_back(key_id, day, name, amount)
    add(key_id, day, name, -tonumber(amount))
    return ""
end

function operations.note_batch(batch_id, key_id, day, counted)
    local place, list = prefix .. ".batch:" .. batch_id, prefix .. ".batches:" .. key_id .. ":" .. day
    if redis.call("EXISTS", place) == 1 then
        return "known"
    end
    redis.call("HSET", place, "key_id", key_id, "day", day, "counted", counted)
    redis.call("EXPIRE", place, keep_s)
    redis.call("SADD", list, batch_id)
    redis.call("EXPIRE", list, keep_s)
    return ""
end

function operations.settle_batch(batch_id, day, found)
    local place = prefix .. ".batch:" .. batch_id
    local held = redis.call("HMGET", place, "key_id", "day", "counted")
    local more = held[1] and held[2] == day and tonumber(found) - tonumber(held[3]) or 0
    if more > 0 then
        redis.call("HSET", place, "counted", found)
        add(held[1], day, "videos", more)
    end
    return ""
end

if operation == "read" then
    return text(read(ARGV[3], ARGV[4], ARGV[5]))
elseif operation == "list_batches" then
    return redis.call("SMEMBERS", prefix .. ".batches:" .. ARGV[3] .. ":" .. ARGV[4])
end
local once = prefix .. ".once:" .. call
local answer = redis.call("GET", once)
if not answer then
    answer = operations[operation](unpack(ARGV, 3))
    redis.call("SET", once, answer, "EX", remember_s)
end
return answer
"""


class RedisCounts(RedisClient):
    """`Counts` under keys of the ledger's prefix. Raises StoreError when the server does not answer."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._counting = self._client.register_script(_SCRIPT)

    def read(self, key_id: str, day: int, name: str) -> float:
        """How much is counted."""
        return float(self._step("read", key_id, day, name))

    def take(
        self, key_id: str, day: int, name: str, amount: float, *, at_least: float, limit: float
    ) -> tuple[float, float | None]:
        """Count an amount, or what the limit leaves of it; how much was counted before, and is now."""
        used, _, taken = self._step("take", key_id, day, name, amount, at_least, limit).partition(" ")
        return float(used), float(taken) if taken else None

    def give_back(self, key_id: str, day: int, name: str, amount: float) -> None:
        """Uncount an amount; never below nothing."""
        self._step("give_back", key_id, day, name, amount)

    def note_batch(self, batch_id: str, key_id: str, day: int, counted: float) -> bool:
        """Remember a batch whose sources were counted as videos; False where it is known already."""
        return not self._step("note_batch", batch_id, key_id, day, counted)

    def list_batches(self, key_id: str, day: int) -> list[str]:
        """The batches that were noted."""
        return sorted(self._step("list_batches", key_id, day))

    def settle_batch(self, batch_id: str, day: int, found: float) -> None:
        """Count what was found in a batch of that day beyond what is counted of it."""
        self._step("settle_batch", batch_id, day, found)

    def _step(self, operation: str, *arguments: object) -> Any:
        sent = [operation, uuid4().hex, *map(str, arguments)]
        return self._ask(lambda: self._counting(keys=[self._prefix], args=sent))
