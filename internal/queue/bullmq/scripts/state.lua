-- state tells where jobs are, all at one moment.
-- KEYS: 1 wait, 2 paused, 3 active, 4 delayed, 5 completed, 6 failed, 7 prioritized, 8 waiting-children
-- ARGV: 1 base, 2… ids
-- Returns one word per id: absent, waiting (prioritized ones, too), delayed (or waiting for its children), active,
-- completed, failed or stuck (a hash that nothing refers to, or one without data).
local base = ARGV[1]
local sorted = {
  {KEYS[4], 'delayed'}, {KEYS[8], 'delayed'}, {KEYS[7], 'waiting'}, {KEYS[5], 'completed'}, {KEYS[6], 'failed'},
}
local states, open, left = {}, {}, 0

for i = 2, #ARGV do
  local id = ARGV[i]
  local state = false
  if redis.call('TYPE', base .. id).ok ~= 'hash' then
    state = 'absent'
  elseif (redis.call('HGET', base .. id, 'data') or '') == '' then
    state = 'stuck'
  else
    for _, set in ipairs(sorted) do
      if not state and redis.call('ZSCORE', set[1], id) then state = set[2] end
    end
    if not state and not open[id] then
      open[id] = 'stuck'
      left = left + 1
    end
  end
  states[i - 1] = state
end

-- look walks a list once for all ids that are still to be found.
local function look(list, state)
  local from = 0
  while left > 0 do
    local ids = redis.call('LRANGE', list, from, from + 999)
    for _, id in ipairs(ids) do
      if open[id] == 'stuck' then
        open[id] = state
        left = left - 1
      end
    end
    if #ids < 1000 then return end
    from = from + 1000
  end
end
look(KEYS[3], 'active')
look(KEYS[1], 'waiting')
look(KEYS[2], 'waiting')

for i = 2, #ARGV do
  states[i - 1] = states[i - 1] or open[ARGV[i]]
end
return states
