-- Operations on batches and items.

local operations = {}

local function find_batch(batch_id)
    local batch = load_hash(key("batch", batch_id))
    if batch and batch.control ~= "deleted" then
        return batch
    end
    return nil
end

function operations.get_batch()
    return flatten(find_batch(argument()) or {})
end

function operations.list_batches()
    local before, limit = argument(), tonumber(argument())
    local first = 0
    if before ~= "" then
        local rank = redis.call("ZREVRANK", key("batches"), before)
        if not rank then
            return { "unknown" }
        end
        first = rank + 1
    end
    local listed = { "ok" }
    if limit > 0 then
        for _, batch_id in ipairs(redis.call("ZREVRANGE", key("batches"), first, first + limit - 1)) do
            listed[#listed + 1] = flatten(load_hash(key("batch", batch_id)))
        end
    end
    return listed
end

function operations.end_listing()
    local batch_id, error = argument(), argument()
    if not find_batch(batch_id) then
        return "unknown"
    end
    redis.call(
        "HSET", key("batch", batch_id), "listed", error == "" and "1" or "0", "listing_error", error
    )
    return "ok"
end

local function first_uris(kind, batch_id, limit)
    return redis.call("ZRANGE", key(kind, batch_id), 0, limit - 1)
end

-- end a page of the items of a cancelled batch; how many there were
local function cancel_page(batch_id, limit)
    local num = 0
    for state in pairs(is_asking) do
        for _, uri in ipairs(first_uris("items." .. state, batch_id, limit)) do
            local item = items.load(items.ref(batch_id, uri))
            items.save(item, { state = "cancelled" })
            local job_id = item.job_id
            if redis.call("HLEN", key("job.asking", job_id)) == 0 then
                redis.call("HSET", key("job", job_id), "state", "cancelled")
                units.cancel_all(job_id, is_asking)
            end
            num = num + 1
        end
    end
    return num
end

-- forget a page of the items of a deleted batch; how many there were
local function delete_page(batch_id, limit)
    local uris = first_uris("items", batch_id, limit)
    for _, uri in ipairs(uris) do
        local ref = items.ref(batch_id, uri)
        local item = items.load(ref)
        if item.job_id ~= "" then
            jobs.unname(item.job_id, batch_id)
        end
        redis.call("DEL", key("item", ref))
        redis.call("ZREM", key("items", batch_id), uri)
    end
    if #uris == 0 then
        for _, kind in ipairs({
            "batch", "items", "items.waiting", "items.running", "items.skipped", "items.done", "items.failed",
            "items.cancelled", "ready", "stages", "dead", "events",
        }) do
            redis.call("UNLINK", key(kind, batch_id))
        end
        redis.call("SREM", key("active"), batch_id)
    end
    return #uris
end

-- go on with ending the items of batches that were cancelled or deleted; 1 while there is more to do
local function sweep(batch_id, limit)
    if redis.call("SISMEMBER", key("closing"), batch_id) == 0 then
        return 0
    end
    local control = redis.call("HGET", key("batch", batch_id), "control")
    local num = control == "deleted" and delete_page(batch_id, limit) or cancel_page(batch_id, limit)
    if num > 0 then
        return 1
    end
    redis.call("SREM", key("closing"), batch_id)
    return 0
end

function operations.sweep()
    return sweep(argument(), tonumber(argument()))
end

function operations.create_batch()
    local batch_id, idempotency_key, created_s = argument(), argument(), argument()
    if redis.call("HGET", key("batch", batch_id), "control") == "deleted" then
        while sweep(batch_id, 1000) == 1 do end -- whoever deleted it died over it
    end
    local held = find_batch(batch_id)
    if not held and idempotency_key ~= "" then
        local holder = redis.call("HGET", key("keys"), idempotency_key)
        held = holder and find_batch(holder)
    end
    if held then
        return flatten(held)
    end
    local fields = {}
    for i = position + 1, #ARGV do
        fields[#fields + 1] = ARGV[i]
    end
    redis.call("HSET", key("batch", batch_id), unpack(fields))
    redis.call("ZADD", key("batches"), created_s, batch_id)
    if idempotency_key ~= "" then
        redis.call("HSET", key("keys"), idempotency_key, batch_id)
    end
    return {}
end

function operations.set_control()
    local batch_id, control = argument(), argument()
    local batch = find_batch(batch_id)
    if not batch then
        return "unknown"
    end
    if batch.control == "cancelled" or batch.control == control then
        return "ok"
    end
    redis.call("HSET", key("batch", batch_id), "control", control)
    if control == "running" then
        redis.call("SADD", key("active"), batch_id)
    elseif control == "cancelled" then
        redis.call("SADD", key("closing"), batch_id)
    end
    return "ok"
end

function operations.delete_batch()
    local batch_id = argument()
    local batch = find_batch(batch_id)
    if not batch then
        return "ok"
    end
    local num_open = redis.call("ZCARD", key("items.waiting", batch_id))
        + redis.call("ZCARD", key("items.running", batch_id))
    local is_listed = batch.listed == "1" or batch.listing_error ~= "" or batch.control == "cancelled"
    if num_open > 0 or not is_listed then
        return whole(num_open)
    end
    redis.call("HSET", key("batch", batch_id), "control", "deleted")
    redis.call("ZREM", key("batches"), batch_id)
    if batch.idempotency_key ~= "" then
        redis.call("HDEL", key("keys"), batch.idempotency_key)
    end
    redis.call("SADD", key("closing"), batch_id)
    return "ok"
end

function operations.add_items()
    local batch_id, num = argument(), tonumber(argument())
    local batch = find_batch(batch_id)
    if not batch then
        return "unknown"
    end
    for _ = 1, num do
        local item = {
            uri = argument(), identity = argument(), size_bytes = argument(), video_id = argument(),
            reason = argument(), batch_id = batch_id, job_id = "", error_class = "", duration_s = "0",
            num_objects = "0", num_moments = "0", warnings = "[]",
        }
        local state, payload = argument(), argument()
        local held = items.load(items.ref(batch_id, item.uri))
        -- a source that failed before it had a job may be listed again
        if not held or (held.state == "failed" and held.job_id == "") then
            if state == "waiting" and batch.control == "cancelled" then
                state = "cancelled"
            elseif state == "waiting" then
                item.job_id = item.video_id .. "." .. batch.digest
                local job = jobs.load(item.job_id)
                jobs.name(item.job_id, batch_id)
                if job and job.state == "running" then
                    item.duration_s = job.duration_s
                else
                    jobs.begin(item.job_id, item, batch, payload)
                end
            end
            redis.call("ZADD", key("items", batch_id), 0, item.uri)
            local new = { batch_id = batch_id, uri = item.uri, state = held and held.state }
            item.state = state
            items.save(new, item)
        end
    end
    return "ok"
end

-- up to `limit` items of each state that is asked for, or of all
function operations.list_items()
    local batch_id, after, limit = argument(), argument(), argument()
    local kinds = {}
    for i = position + 1, #ARGV do
        kinds[#kinds + 1] = "items." .. ARGV[i]
    end
    if #kinds == 0 then
        kinds[1] = "items"
    end
    local listed = {}
    for _, kind in ipairs(kinds) do
        local first = after == "" and "-" or "(" .. after
        for _, uri in ipairs(redis.call("ZRANGEBYLEX", key(kind, batch_id), first, "+", "LIMIT", 0, limit)) do
            listed[#listed + 1] = flatten(items.load(items.ref(batch_id, uri)))
        end
    end
    return listed
end

function operations.count_items()
    local batch_id = argument()
    local counts = {}
    for i = position + 1, #ARGV do
        counts[#counts + 1] = redis.call("ZCARD", key("items." .. ARGV[i], batch_id))
    end
    return counts
end

-- let a page of the failed or cancelled items after a URI run again
function operations.retry()
    local batch_id, state, after, limit = argument(), argument(), argument(), argument()
    local batch = find_batch(batch_id)
    if not batch then
        return { "unknown" }
    elseif batch.control == "cancelled" then
        return { "cancelled" }
    end
    local first = after == "" and "-" or "(" .. after
    local uris = redis.call("ZRANGEBYLEX", key("items." .. state, batch_id), first, "+", "LIMIT", 0, limit)
    local num = 0
    for _, uri in ipairs(uris) do
        local item = items.load(items.ref(batch_id, uri))
        if item.job_id ~= "" then
            local job = jobs.load(item.job_id)
            if not is_live(job.state) then
                jobs.restart(item.job_id)
            end
            items.save(item, {
                state = job.state == "done" and "done" or "waiting", reason = "", error_class = "",
                duration_s = job.duration_s, num_objects = job.num_objects, num_moments = job.num_moments,
                warnings = job.warnings,
            })
            num = num + 1
        end
    end
    return { "ok", num, uris[#uris] or "" }
end
