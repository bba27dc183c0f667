-- Units: `save` keeps every index and count in step with the unit's hash.

local units = {}

local function is_live(state)
    return state ~= "failed" and state ~= "cancelled"
end

local function micros(seconds)
    return math.floor(tonumber(seconds) * 1e6 + 0.5)
end

-- what a unit adds to the counts of stages
local function tally(unit)
    local counts = { [unit.kind .. ":" .. unit.state] = 1, [unit.kind .. ":seconds"] = micros(unit.seconds) }
    if is_live(unit.state) then
        counts[unit.kind .. ":span"] = micros(unit.span_s)
        counts[unit.kind .. ":span_done"] = micros(unit.progress_s)
    end
    return counts
end

local function book(job_id, before, after)
    local targets = { key("stages"), key("job.stages", job_id) }
    for _, batch_id in ipairs(redis.call("HKEYS", key("job.batches", job_id))) do
        targets[#targets + 1] = key("stages", batch_id)
    end
    local changes = {}
    for field, amount in pairs(before) do
        changes[field] = -amount
    end
    for field, amount in pairs(after) do
        changes[field] = (changes[field] or 0) + amount
    end
    for field, amount in pairs(changes) do
        if amount ~= 0 then
            for _, target in ipairs(targets) do
                redis.call("HINCRBY", target, field, whole(amount))
            end
        end
    end
end

-- add to what never becomes less
function units.count(kind, name, millionths)
    if tonumber(millionths) > 0 then
        redis.call("HINCRBY", key("totals"), kind .. ":" .. name, millionths)
    end
end

function units.load(unit_id)
    return load_hash(key("unit", unit_id))
end

function units.of_job(job_id)
    return redis.call("ZRANGE", key("job.units", job_id), 0, -1)
end

-- put a unit that may run where take_ready finds it
function units.queue(unit)
    if unit.state ~= "waiting" or tonumber(unit.num_blockers) > 0 then
        return
    end
    if tonumber(unit.not_before_s) > now then
        redis.call("ZADD", key("delayed"), unit.not_before_s, unit.unit_id)
    elseif unit.taken_s ~= "" then
        redis.call("ZADD", key("taken"), unit.taken_s, unit.unit_id)
    else
        for _, batch_id in ipairs(redis.call("HKEYS", key("job.asking", unit.job_id))) do
            redis.call("ZADD", key("ready", batch_id), unit.number, unit.unit_id)
            redis.call("SADD", key("active"), batch_id)
        end
    end
end

local function unqueue(unit)
    if unit.state ~= "waiting" then
        return
    end
    redis.call("ZREM", key("delayed"), unit.unit_id)
    redis.call("ZREM", key("taken"), unit.unit_id)
    for _, batch_id in ipairs(redis.call("HKEYS", key("job.asking", unit.job_id))) do
        redis.call("ZREM", key("ready", batch_id), unit.unit_id)
    end
end

local function list_as_dead(unit, command, ...)
    redis.call(command, key("dead"), ...)
    for _, batch_id in ipairs(redis.call("HKEYS", key("job.batches", unit.job_id))) do
        redis.call(command, key("dead", batch_id), ...)
    end
end

function units.save(unit, changes)
    local before, old_state = tally(unit), unit.state
    unqueue(unit)
    save_hash(key("unit", unit.unit_id), unit, changes)
    book(unit.job_id, before, tally(unit))
    if unit.state == "running" then
        redis.call("ZADD", key("leases"), unit.expires_s, unit.unit_id)
    elseif old_state == "running" then
        redis.call("ZREM", key("leases"), unit.unit_id)
    end
    if unit.state == "failed" then
        list_as_dead(unit, "ZADD", 0, unit.unit_id)
    elseif old_state == "failed" then
        list_as_dead(unit, "ZREM", unit.unit_id)
    end
    units.queue(unit)
end

-- numbers say in which order units are taken: what ends videos before what begins more of them
local first_number = { video = 0, chunk = 2 ^ 48, plan = 2 ^ 49 }

-- add a unit to a job; one that is there already stays as it is
function units.add(job_id, unit_id, kind, payload, span_s, num_blockers, unblocks)
    if redis.call("EXISTS", key("unit", unit_id)) == 1 then
        return
    end
    local unit = {
        unit_id = unit_id, kind = kind, job_id = job_id, state = "waiting", payload = payload, span_s = span_s,
        num_blockers = num_blockers, unblocks = unblocks,
        number = whole(first_number[kind] + redis.call("INCR", key("arrival"))),
        attempts = "0", not_before_s = "0", taken_s = "", owner = "", token = "0", settled_token = "0",
        expires_s = "0", progress_s = "0", seconds = "0", shrink = "0", error_class = "", error = "",
        models = "", call = "",
    }
    redis.call("HSET", key("unit", unit_id), unpack(flatten(unit)))
    redis.call("ZADD", key("job.units", job_id), 0, unit_id)
    book(job_id, {}, tally(unit))
    units.queue(unit)
end

function units.remove(unit)
    unqueue(unit)
    redis.call("ZREM", key("leases"), unit.unit_id)
    list_as_dead(unit, "ZREM", unit.unit_id)
    book(unit.job_id, tally(unit), {})
    redis.call("DEL", key("unit", unit.unit_id))
    redis.call("ZREM", key("job.units", unit.job_id), unit.unit_id)
end

function units.cancel_all(job_id, states)
    for _, unit_id in ipairs(units.of_job(job_id)) do
        local unit = units.load(unit_id)
        if states[unit.state] then
            units.save(unit, {
                state = "cancelled", owner = "", expires_s = "0", progress_s = "0", taken_s = "",
                not_before_s = "0",
            })
        end
    end
end

-- a unit that its holder may still write to, or nil
function units.hold(unit_id, token)
    local unit = units.load(unit_id)
    if unit and unit.state == "running" and unit.token == token then
        return unit
    end
    return nil
end
