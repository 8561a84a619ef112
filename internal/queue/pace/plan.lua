-- plan gives those who can't be sent soon a time for another try: a campaign's are one behind another, as far apart as its
-- share of the rate has them. It hands out no turns.
-- KEYS: 1 plan: when the campaign's next one is (µs), 2 campaigns: campaign → when it is forgotten (ms)
-- ARGV: 1 campaign, 2 time between two turns (µs, may have a fraction), 3 how many want one, 4 how far away one may be (µs),
--       5 how long a campaign that asks for nothing has a share (ms)
-- Returns {how many got one, µs until the first, µs from each to the next}.
keep(KEYS[2], ARGV[1], ARGV[5])

local every = math.ceil(tonumber(ARGV[2]) * redis.call('ZCARD', KEYS[2]))
local first = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local last = now + tonumber(ARGV[4])
local planned = 0
if first <= last then planned = math.min(tonumber(ARGV[3]), 1 + math.floor((last - first) / every)) end
if planned > 0 then
  local after = first + planned * every
  move(KEYS[1], after)
end
return {planned, integer(first - now), integer(every)}
