-- Operations that look, and the log.

function operations.get_jobs()
    local found = {}
    for i = position + 1, #ARGV do
        local job = jobs.load(ARGV[i])
        if job then
            found[#found + 1] = { flatten(job), redis.call("HGET", key("options"), job.options_id) }
        end
    end
    return found
end

function operations.get_unit()
    return flatten(units.load(argument()) or {})
end

-- a page of units, by id, of those that a sorted set names
function operations.list_units()
    local kind, name, after, limit = argument(), argument(), argument(), argument()
    local first = after == "" and "-" or "(" .. after
    local set = name == "" and key(kind) or key(kind, name)
    local listed = {}
    for _, unit_id in ipairs(redis.call("ZRANGEBYLEX", set, first, "+", "LIMIT", 0, limit)) do
        listed[#listed + 1] = flatten(units.load(unit_id))
    end
    return listed
end

function operations.measure_stages()
    local batch_id = argument()
    return redis.call("HGETALL", batch_id == "" and key("stages") or key("stages", batch_id))
end

function operations.measure_totals()
    return redis.call("HGETALL", key("totals"))
end

function operations.add_events()
    local call, remember_s, num = argument(), argument(), tonumber(argument())
    if not redis.call("SET", key("once", call), "1", "NX", "EX", remember_s) then
        return "ok" -- the answer to this call was lost
    end
    for _ = 1, num do
        local batch_id, job_id, event = argument(), argument(), argument()
        local number = whole(redis.call("INCR", key("number")))
        local batch_ids = redis.call("HKEYS", key("job.batches", job_id))
        if batch_id ~= "" and find_batch(batch_id)
            and redis.call("HEXISTS", key("job.batches", job_id), batch_id) == 0 then
            batch_ids[#batch_ids + 1] = batch_id
        end
        if #batch_ids == 0 then
            batch_ids[1] = ""
        end
        for _, belongs_to in ipairs(batch_ids) do
            redis.call("ZADD", key("events", belongs_to), number, number .. "\n" .. event)
        end
    end
    return "ok"
end

function operations.list_events()
    local batch_id, after, limit = argument(), argument(), argument()
    return redis.call("ZRANGEBYSCORE", key("events", batch_id), "(" .. after, "+inf", "LIMIT", 0, limit)
end

return operations[ARGV[1]]()
