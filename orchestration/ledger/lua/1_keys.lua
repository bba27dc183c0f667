-- Keys, the clock and arguments. Every call is this script with KEYS[1] = the prefix of all keys,
-- ARGV[1] = the operation, ARGV[2] = the time or "" for the server's clock, and the operation's arguments.
--
--   batch:B            hash   fields of Batch              batches       zset   created_s -> B
--   keys               hash   idempotency key -> B         closing       set    B whose items are being ended
--   items:B            zset   URIs, in order               active        set    B that may have ready units
--   items.STATE:B      zset   URIs of a state              options       hash   SHA-1 -> options of jobs
--   item:B\nURI        hash   fields of Item, and job_id   token, number, arrival     counters
--   job:J              hash   fields of Job                job.units:J   zset   unit ids, in order
--   job.batches:J      hash   B -> items that name the job
--   job.asking:J       hash   B -> items that wait or run
--   job.waiting:J      set    B\nURI of items that wait; job.running:J likewise
--   unit:U             hash   fields of UnitEntry, and number, unblocks, taken_s, settled_token, call
--   ready:B            zset   number -> units that may be taken
--   delayed            zset   not_before_s -> units        taken         zset   taken_s -> units
--   leases             zset   expires_s -> units           dead, dead:B  zset   units that failed, in order
--   stages, stages:B, job.stages:J   hash   KIND:STATE -> units; KIND:span, :span_done, :seconds in microseconds
--   totals             hash   KIND:NAME -> millionths; never less
--   events:B           zset   number -> number\nJSON       once:CALL     string, for calls that add

local prefix = KEYS[1]

local function key(kind, name)
    if name then
        return prefix .. kind .. ":" .. name
    end
    return prefix .. kind
end

local now = tonumber(ARGV[2])
if not now then
    local time = redis.call("TIME")
    now = tonumber(time[1]) + tonumber(time[2]) / 1e6
end

local position = 2
local function argument()
    position = position + 1
    return ARGV[position]
end

-- seconds as text that reads back as the same number
local function text(number)
    return string.format("%.17g", number)
end

local function whole(number)
    return string.format("%.0f", number)
end

local function load_hash(name)
    local flat = redis.call("HGETALL", name)
    if #flat == 0 then
        return nil
    end
    local hash = {}
    for i = 1, #flat, 2 do
        hash[flat[i]] = flat[i + 1]
    end
    return hash
end

local function save_hash(name, hash, changes)
    local flat = {}
    for field, value in pairs(changes) do
        hash[field] = value
        flat[#flat + 1] = field
        flat[#flat + 1] = value
    end
    redis.call("HSET", name, unpack(flat))
end

local function flatten(hash)
    local flat = {}
    for field, value in pairs(hash) do
        flat[#flat + 1] = field
        flat[#flat + 1] = value
    end
    return flat
end
