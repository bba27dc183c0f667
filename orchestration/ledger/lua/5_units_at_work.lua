-- Operations on units and leases.

-- put units back among the ready ones whose time came: `field` is cleared, that held them off
local function release_due(kind, field, cleared, until_s)
    for _, unit_id in ipairs(redis.call("ZRANGEBYSCORE", key(kind), "-inf", text(until_s))) do
        redis.call("ZREM", key(kind), unit_id)
        local unit = units.load(unit_id)
        save_hash(key("unit", unit_id), unit, { [field] = cleared or unit[field] })
        units.queue(unit)
    end
end

-- ids of the first `limit` ready units of batches of one priority, as they came
local function first_ready(batch_ids, limit)
    local found, seen = {}, {}
    for _, batch_id in ipairs(batch_ids) do
        local flat = redis.call("ZRANGE", key("ready", batch_id), 0, limit - 1, "WITHSCORES")
        for i = 1, #flat, 2 do
            if not seen[flat[i]] then
                seen[flat[i]] = true
                found[#found + 1] = { unit_id = flat[i], number = tonumber(flat[i + 1]) }
            end
        end
    end
    table.sort(found, function(a, b) return a.number < b.number end)
    return found
end

-- running batches by priority, the highest first; those that have nothing to take are forgotten
local function active_batches()
    local by_priority, priorities = {}, {}
    for _, batch_id in ipairs(redis.call("SMEMBERS", key("active"))) do
        local batch = redis.call("HMGET", key("batch", batch_id), "control", "priority")
        if batch[1] ~= "running" or redis.call("ZCARD", key("ready", batch_id)) == 0 then
            redis.call("SREM", key("active"), batch_id)
        else
            local priority = tonumber(batch[2])
            if not by_priority[priority] then
                by_priority[priority] = {}
                priorities[#priorities + 1] = priority
            end
            table.insert(by_priority[priority], batch_id)
        end
    end
    table.sort(priorities, function(a, b) return a > b end)
    local groups = {}
    for _, priority in ipairs(priorities) do
        groups[#groups + 1] = by_priority[priority]
    end
    return groups
end

function operations.take_ready()
    local batch_id, limit, redispatch_s = argument(), tonumber(argument()), tonumber(argument())
    local closing = redis.call("SRANDMEMBER", key("closing"))
    if closing then
        sweep(closing, 100) -- in case whoever cancelled or deleted it died over it
    end
    release_due("delayed", "not_before_s", nil, now)
    release_due("taken", "taken_s", "", now - redispatch_s)
    local groups
    if batch_id == "" then
        groups = active_batches()
    elseif redis.call("HGET", key("batch", batch_id), "control") == "running" then
        groups = { { batch_id } }
    else
        groups = {}
    end
    local taken = {}
    for _, batch_ids in ipairs(groups) do
        if #taken < limit then
            local priority = redis.call("HGET", key("batch", batch_ids[1]), "priority")
            for _, found in ipairs(first_ready(batch_ids, limit - #taken)) do
                if #taken < limit then
                    local unit = units.load(found.unit_id)
                    units.save(unit, { taken_s = text(now) })
                    taken[#taken + 1] = { unit.unit_id, unit.kind, unit.job_id, unit.span_s, priority }
                end
            end
        end
    end
    return taken
end

local function give_lease(unit, job)
    local options = redis.call("HGET", key("options"), job.options_id)
    local batch_ids = redis.call("HKEYS", key("job.asking", unit.job_id))
    table.sort(batch_ids)
    return { flatten(unit), flatten(job), options, batch_ids }
end

function operations.acquire()
    local unit_id, owner, lease_s, call = argument(), argument(), tonumber(argument()), argument()
    local unit = units.load(unit_id)
    if not unit then
        return {}
    end
    local job = jobs.load(unit.job_id)
    if unit.state == "running" and unit.call == call then
        return give_lease(unit, job) -- the answer to this call was lost
    end
    if not jobs.may_run(unit.job_id) then
        units.save(unit, { taken_s = "" }) -- whoever sent it on its way must send it again
        return {}
    end
    local waits = unit.state == "waiting" and tonumber(unit.num_blockers) == 0
        and tonumber(unit.not_before_s) <= now
    local ran_out = unit.state == "running" and tonumber(unit.expires_s) <= now
    if not waits and not ran_out then
        return {}
    end
    local last = tonumber(redis.call("GET", key("token")) or "0")
    local token = whole(math.max(last + 1, math.floor(now * 1e6)))
    redis.call("SET", key("token"), token)
    units.save(unit, {
        state = "running", owner = owner, token = token, settled_token = "0", expires_s = text(now + lease_s),
        attempts = whole(unit.attempts + 1), progress_s = "0", taken_s = "", call = call,
    })
    for _, ref in ipairs(redis.call("SMEMBERS", key("job.waiting", unit.job_id))) do
        items.save(items.load(ref), { state = "running" })
    end
    return give_lease(unit, job)
end

function operations.renew()
    local unit_id, token, lease_s, progress_s = argument(), argument(), tonumber(argument()), argument()
    local unit = units.hold(unit_id, token)
    if not unit then
        return "lost"
    end
    local progress = math.max(tonumber(unit.progress_s), tonumber(progress_s))
    units.save(unit, {
        expires_s = text(now + lease_s), progress_s = text(math.min(progress, tonumber(unit.span_s))),
    })
    return unit.expires_s
end

function operations.holds()
    return units.hold(argument(), argument()) and 1 or 0
end

-- whether the holder of `token` said before how its attempt ended
local function is_settled(unit, token)
    return unit and unit.state ~= "running" and unit.settled_token == token
end

function operations.complete()
    local unit_id, token, seconds, models, duration_s = argument(), argument(), argument(), argument(), argument()
    local num_objects, num_moments, warnings = argument(), argument(), argument()
    local unit = units.load(unit_id)
    if is_settled(unit, token) and unit.state == "done" then
        return "ok"
    end
    unit = units.hold(unit_id, token)
    if not unit then
        return "lost"
    end
    local job_id = unit.job_id
    units.save(unit, {
        state = "done", settled_token = token, expires_s = "0", progress_s = unit.span_s, models = models,
        seconds = text(unit.seconds + seconds), error = "", error_class = "",
    })
    for _ = 1, tonumber(argument()) do
        units.add(job_id, argument(), argument(), argument(), argument(), argument(), argument())
    end
    while position < #ARGV do
        units.count(unit.kind, argument(), argument())
    end
    local waiting = units.load(unit.unblocks)
    if waiting and waiting.job_id == job_id and tonumber(waiting.num_blockers) > 0 then
        units.save(waiting, { num_blockers = whole(waiting.num_blockers - 1) })
    end
    if unit.kind == "plan" then
        redis.call("HSET", key("job", job_id), "duration_s", duration_s)
        for _, state in ipairs({ "waiting", "running" }) do
            for _, ref in ipairs(redis.call("SMEMBERS", key("job." .. state, job_id))) do
                redis.call("HSET", key("item", ref), "duration_s", duration_s)
            end
        end
    elseif unit.kind == "video" then
        redis.call(
            "HSET", key("job", job_id),
            "num_objects", num_objects, "num_moments", num_moments, "warnings", warnings
        )
        jobs.finish(job_id, "done", "", "")
    end
    return "ok"
end

-- where a unit goes that may run again: nowhere when its job has ended meanwhile
local function state_after(unit)
    return jobs.load(unit.job_id).state == "running" and "waiting" or "cancelled"
end

-- end an attempt as if it had not begun
local function stop(unit)
    units.save(unit, {
        state = state_after(unit), attempts = whole(unit.attempts - 1), owner = "", expires_s = "0",
        progress_s = "0",
    })
end

-- end an attempt as failed: the unit waits again, or the job fails with it; `retry_after_s` nil: for good
local function end_attempt(unit, failure, retry_after_s, settled_token)
    for name, millionths in pairs(failure.counts) do
        units.count(unit.kind, name, millionths)
    end
    local state = retry_after_s and state_after(unit) or "failed"
    units.save(unit, {
        state = state, owner = state == "failed" and unit.owner or "", expires_s = "0", progress_s = "0",
        not_before_s = state == "waiting" and text(now + retry_after_s) or "0", settled_token = settled_token,
        seconds = text(unit.seconds + failure.seconds), error_class = failure.error_class,
        shrink = whole(unit.shrink + (failure.error_class == "out of memory" and 1 or 0)),
        error = failure.error,
    })
    if state == "failed" and jobs.load(unit.job_id).state == "running" then
        jobs.finish(unit.job_id, "failed", failure.error, failure.error_class)
    end
    return state
end

local function read_failure()
    local failure = { error_class = argument(), error = argument(), seconds = argument(), counts = {} }
    local retry_after_s = tonumber(argument())
    while position < #ARGV do
        local name = argument()
        failure.counts[name] = argument()
    end
    return failure, retry_after_s
end

function operations.fail()
    local unit_id, token = argument(), argument()
    local unit = units.load(unit_id)
    if is_settled(unit, token) then
        return unit.state
    end
    unit = units.hold(unit_id, token)
    if not unit then
        return "lost"
    end
    local failure, retry_after_s = read_failure()
    return end_attempt(unit, failure, retry_after_s, token)
end

function operations.give_back()
    local unit_id, owner = argument(), argument()
    local unit = units.load(unit_id)
    if not unit or unit.state ~= "running" or unit.owner ~= owner then
        return 0
    end
    if position < #ARGV then
        local failure, retry_after_s = read_failure()
        end_attempt(unit, failure, retry_after_s, "0")
    else
        stop(unit)
    end
    return 1
end

function operations.give_back_all()
    local owner_prefix = argument()
    local ended = {}
    for _, unit_id in ipairs(redis.call("ZRANGE", key("leases"), 0, -1)) do
        local owner = redis.call("HGET", key("unit", unit_id), "owner")
        if string.sub(owner, 1, #owner_prefix) == owner_prefix then
            stop(units.load(unit_id))
            ended[#ended + 1] = unit_id
        end
    end
    return ended
end

-- a page of the leases that ran out
function operations.give_back_expired()
    local limit, max_attempts = argument(), tonumber(argument())
    local failure, retry_after_s = read_failure()
    local ended = redis.call("ZRANGEBYSCORE", key("leases"), "-inf", text(now), "LIMIT", 0, limit)
    for _, unit_id in ipairs(ended) do
        local unit = units.load(unit_id)
        local again_s = retry_after_s or 0
        if tonumber(unit.attempts) >= max_attempts then
            again_s = nil
        end
        end_attempt(unit, failure, again_s, "0")
    end
    return ended
end

function operations.send_back()
    local unit_id, token = argument(), argument()
    local unit = units.load(unit_id)
    if is_settled(unit, token) and unit.state == "waiting" then
        return "ok"
    end
    unit = units.hold(unit_id, token)
    if not unit then
        return "lost"
    end
    local num_missing = 0
    for i = position + 1, #ARGV do
        local missing = units.load(ARGV[i])
        if missing and missing.job_id == unit.job_id and missing.state == "done" then
            units.save(missing, {
                state = "waiting", owner = "", progress_s = "0", taken_s = "", attempts = "0",
                settled_token = "0", unblocks = unit_id,
            })
            num_missing = num_missing + 1
        end
    end
    units.save(unit, {
        state = "waiting", settled_token = token, owner = "", expires_s = "0", progress_s = "0", taken_s = "",
        num_blockers = whole(unit.num_blockers + num_missing),
    })
    return "ok"
end
