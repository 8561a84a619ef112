-- Before each script of this folder. Times are Redis's, in microseconds unless said otherwise.
local function integer(n)
  return string.format('%.0f', n)
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

-- keep has a member stay on a list for so many ms, and drops whoever's time is over.
local function keep(list, member, ms)
  local now_ms = math.floor(now / 1000)
  redis.call('ZREMRANGEBYSCORE', list, '-inf', '(' .. integer(now_ms))
  redis.call('ZADD', list, integer(now_ms + tonumber(ms)), member)
  redis.call('PEXPIRE', list, ms)
end

-- move has the next turn begin at a moment, and forgets it a second after that has passed.
local function move(key, moment)
  redis.call('SET', key, integer(moment), 'PX', integer(math.ceil((moment - now) / 1000) + 1000))
end
