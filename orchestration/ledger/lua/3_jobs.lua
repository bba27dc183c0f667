-- Jobs, and the items that ask for them: an item asks for its job while it waits or runs.

local jobs = {}
local items = {}

local is_asking = { waiting = true, running = true }

function jobs.load(job_id)
    return load_hash(key("job", job_id))
end

-- whether any batch that asks for a job is running
function jobs.may_run(job_id)
    for _, batch_id in ipairs(redis.call("HKEYS", key("job.asking", job_id))) do
        if redis.call("HGET", key("batch", batch_id), "control") == "running" then
            return true
        end
    end
    return false
end

local function ask(job_id, batch_id, amount)
    local num = redis.call("HINCRBY", key("job.asking", job_id), batch_id, amount)
    if num == 1 and amount == 1 then
        for _, unit_id in ipairs(units.of_job(job_id)) do
            units.queue(units.load(unit_id))
        end
    elseif num == 0 then
        for _, unit_id in ipairs(units.of_job(job_id)) do
            redis.call("ZREM", key("ready", batch_id), unit_id)
        end
        redis.call("HDEL", key("job.asking", job_id), batch_id)
    end
end

-- note that an item of a batch names a job: its units count among the batch's from now on
function jobs.name(job_id, batch_id)
    if redis.call("HINCRBY", key("job.batches", job_id), batch_id, 1) == 1 then
        local flat = redis.call("HGETALL", key("job.stages", job_id))
        for i = 1, #flat, 2 do
            redis.call("HINCRBY", key("stages", batch_id), flat[i], flat[i + 1])
        end
    end
end

-- forget that an item names a job; a job without a name is gone
function jobs.unname(job_id, batch_id)
    if redis.call("HINCRBY", key("job.batches", job_id), batch_id, -1) > 0 then
        return
    end
    redis.call("HDEL", key("job.batches", job_id), batch_id)
    if redis.call("HLEN", key("job.batches", job_id)) == 0 then
        for _, unit_id in ipairs(units.of_job(job_id)) do
            units.remove(units.load(unit_id))
        end
        redis.call("DEL", key("job", job_id), key("job.stages", job_id))
    end
end

-- begin a job anew: what an earlier run of it left is forgotten, but for the items that it ended
function jobs.begin(job_id, item, batch, payload)
    for _, unit_id in ipairs(units.of_job(job_id)) do
        units.remove(units.load(unit_id))
    end
    local options_id = redis.sha1hex(batch.options)
    redis.call("HSETNX", key("options"), options_id, batch.options)
    redis.call("HSET", key("job", job_id), unpack(flatten({
        job_id = job_id, video_id = item.video_id, uri = item.uri, identity = item.identity,
        size_bytes = item.size_bytes, options_id = options_id, digest = batch.digest, state = "running",
        duration_s = "0", num_objects = "0", num_moments = "0", warnings = "[]", error = "", error_class = "",
    })))
    units.add(job_id, "plan:" .. job_id, "plan", payload, "0", "0", "")
end

-- end a running job, its units that wait, and the items that ask for it
function jobs.finish(job_id, state, error, error_class)
    local job = jobs.load(job_id)
    save_hash(key("job", job_id), job, { state = state, error = error, error_class = error_class })
    units.cancel_all(job_id, { waiting = true })
    for _, asking in ipairs({ "waiting", "running" }) do
        for _, ref in ipairs(redis.call("SMEMBERS", key("job." .. asking, job_id))) do
            items.save(items.load(ref), {
                state = state, reason = error, error_class = error_class, duration_s = job.duration_s,
                num_objects = job.num_objects, num_moments = job.num_moments, warnings = job.warnings,
            })
        end
    end
end

-- let a failed or cancelled job go on from the units that are done, with all attempts before it
function jobs.restart(job_id)
    redis.call("HSET", key("job", job_id), "state", "running", "error", "", "error_class", "")
    for _, unit_id in ipairs(units.of_job(job_id)) do
        local unit = units.load(unit_id)
        if not is_live(unit.state) then
            units.save(unit, {
                state = "waiting", attempts = "0", owner = "", taken_s = "", not_before_s = "0", error = "",
                error_class = "", settled_token = "0",
            })
        end
    end
end

function items.ref(batch_id, uri)
    return batch_id .. "\n" .. uri
end

function items.load(ref)
    return load_hash(key("item", ref))
end

-- change an item; lists of states and of who asks follow
function items.save(item, changes)
    local ref, old_state = items.ref(item.batch_id, item.uri), item.state
    save_hash(key("item", ref), item, changes)
    if item.state == old_state then
        return
    end
    if old_state then
        redis.call("ZREM", key("items." .. old_state, item.batch_id), item.uri)
    end
    redis.call("ZADD", key("items." .. item.state, item.batch_id), 0, item.uri)
    if item.job_id == "" then
        return
    end
    if is_asking[old_state] then
        redis.call("SREM", key("job." .. old_state, item.job_id), ref)
    end
    if is_asking[item.state] then
        redis.call("SADD", key("job." .. item.state, item.job_id), ref)
    end
    if is_asking[item.state] and not is_asking[old_state] then
        ask(item.job_id, item.batch_id, 1)
    elseif is_asking[old_state] and not is_asking[item.state] then
        ask(item.job_id, item.batch_id, -1)
    end
end
