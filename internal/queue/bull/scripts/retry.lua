-- retry makes a failed job ready to run. As in Bull, its attempts stay counted and its priority does not matter.
-- KEYS: 1 failed, 2 wait, 3 paused, 4 meta-paused
-- ARGV: 1 base, 2 id, 3 token, 4 now (ms)
-- Returns 0, -1 (no hash), -5 (locked) or -7 (not failed). Nothing has changed unless it returns 0.
local job = ARGV[1] .. ARGV[2]
if redis.call('EXISTS', job) == 0 then return -1 end
if redis.call('EXISTS', job .. ':lock') == 1 then return -5 end
if redis.call('ZREM', KEYS[1], ARGV[2]) == 0 then return -7 end

redis.call('HDEL', job, 'finishedOn', 'processedOn', 'failedReason')
redis.call('HSET', job, 'retriedOn', ARGV[4])
local ok, opts = pcall(cjson.decode, redis.call('HGET', job, 'opts') or '{}')
local lifo = ok and type(opts) == 'table' and opts.lifo
-- what JavaScript takes for true
lifo = lifo and lifo ~= cjson.null and lifo ~= 0 and lifo ~= ''
redis.call(lifo and 'RPUSH' or 'LPUSH', target(KEYS[2], KEYS[3], KEYS[4]), ARGV[2])
redis.call('PUBLISH', ARGV[1] .. 'waiting@' .. ARGV[3], ARGV[2])
return 0
