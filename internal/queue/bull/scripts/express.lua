-- express moves the next job that has a priority from wait to active, as a blocking pop moves whichever is next; its hash
-- still has the priority, should it go back.
-- KEYS: 1 wait, 2 active, 3 priority
-- ARGV: 1 and 2 the smallest and the largest priority that is taken; smaller ones go first
-- Returns the id, or nil. What waits before it, as a job that was given back does, is looked past, up to 20.
if redis.call('ZCARD', KEYS[3]) == 0 then return false end
local ids = redis.call('LRANGE', KEYS[1], -20, -1)
for i = #ids, 1, -1 do
  local priority = redis.call('ZSCORE', KEYS[3], ids[i])
  if priority and tonumber(priority) >= tonumber(ARGV[1]) and tonumber(priority) <= tonumber(ARGV[2]) then
    redis.call('ZREM', KEYS[3], ids[i])
    redis.call('LREM', KEYS[1], -1, ids[i])
    redis.call('LPUSH', KEYS[2], ids[i])
    return ids[i]
  end
end
return false
