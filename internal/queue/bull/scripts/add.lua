-- add adds jobs, in order. Those that follow one another with the same name and options are a run: what they share is sent
-- once.
-- KEYS: 1 wait, 2 paused, 3 meta-paused, 4 id (the counter), 5 delayed, 6 priority
-- ARGV: 1 base, 2 token, 3 timestamp (ms), 4 number of jobs, and then the runs, each of them:
--       number of its jobs, name, opts, 1 if the id of a job that has one is yet to be put into opts, delay (ms), priority,
--       LPUSH or RPUSH, debounce id or '', how long (ms) that holds or '', and for each of its jobs: id or '', data
-- Returns {the counter before, and for each job that was not added: its position (from 1), the id of the one that is there}:
-- the queue knew the id, or another job has the debounce id. A job without an id has the counter's at its position.
--
-- After an error some jobs may have been added, but none by half.
local base, token, timestamp = ARGV[1], ARGV[2], ARGV[3]
local call, pcall = redis.call, redis.pcall
local ready = target(KEYS[1], KEYS[2], KEYS[3])

-- The counter goes up by one for each job, added or not.
local before = call('INCRBY', KEYS[4], ARGV[4]) - ARGV[4]
local counter, absent = before, {}

-- Plain jobs are pushed together. They are as soon as another kind of command comes: that one may fail.
local plain, push = {}, nil
local function push_plain()
  if #plain == 0 then return end
  call(push, ready, unpack(plain))
  for _, id in ipairs(plain) do
    call('PUBLISH', base .. 'waiting@' .. token, id)
  end
  plain = {}
end

local function refuse(event, id)
  push_plain()
  call('PUBLISH', base .. event .. '@' .. token, id)
  absent[#absent + 1] = counter - before
  absent[#absent + 1] = id
end

-- owner_of returns the id of the job that has the debounce id; if there is none, `id` has it from now on.
local function owner_of(name, ttl, id)
  push_plain()
  local debounce = base .. 'de:' .. name
  local owner = call('GET', debounce)
  -- One without a time of its own holds as long as its job; if that is gone, as after obliterate, it holds for ever.
  if owner and (call('PTTL', debounce) ~= -1 or call('EXISTS', base .. owner) == 1) then return owner end
  call('SET', debounce, id)
  if ttl ~= '' then call('PEXPIRE', debounce, ttl) end
  call('HSET', base .. id, 'deid', name)
end

local function add_run(at, last, name, opts, unnamed, delay, priority, debounce, ttl)
  local wait_for, rank = tonumber(delay), tonumber(priority)
  for i = at, last, 2 do
    local id, given, text, owner = ARGV[i], ARGV[i] ~= '', opts, nil
    counter = counter + 1
    if not given then
      id = integer(counter)
    elseif unnamed then
      text = '{"jobId":"' .. id .. '",' .. string.sub(opts, 2)
    end
    local job = base .. id
    local known = given and call('EXISTS', job) == 1
    if not known and debounce ~= '' then owner = owner_of(debounce, ttl, id) end
    if known then
      refuse('duplicated', id)
    elseif owner then
      refuse('debounced', owner)
    else
      local written = pcall('HSET', job, 'name', name, 'data', ARGV[i + 1], 'opts', text,
        'timestamp', timestamp, 'delay', delay, 'priority', priority)
      if type(written) == 'table' then
        push_plain()
        return written
      end
      if wait_for > 0 then
        -- The low 12 bits keep jobs that are due in the same millisecond in the order of their adding.
        local due = timestamp + wait_for
        call('ZADD', KEYS[5], integer(due * 4096 + counter % 4096), id)
        call('PUBLISH', KEYS[5], integer(due))
      elseif rank > 0 then
        insert(ready, KEYS[6], rank, id, push)
        call('PUBLISH', base .. 'waiting@' .. token, id)
      else
        plain[#plain + 1] = id
      end
    end
  end
  push_plain()
end

local at = 5
while ARGV[at] do
  push = ARGV[at + 6]
  local first, last = at + 9, at + 8 + 2 * ARGV[at]
  local failed = add_run(first, last, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3] == '1', ARGV[at + 4], ARGV[at + 5],
    ARGV[at + 7], ARGV[at + 8])
  if failed then return failed end
  at = last + 1
end
return {before, unpack(absent)}
