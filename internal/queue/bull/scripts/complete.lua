-- complete ends active jobs well, and takes as many of the next ones as it is asked for, all in one step: one call for a
-- busy worker's jobs costs a fraction of a call for each.
-- KEYS: 1 wait, 2 active, 3 priority, 4 stalled, 5 completed, 6 metrics:completed, 7 the channel active@
-- ARGV: 1 base, 2 now (ms), 3 how many minutes of metrics are kept, 4 lock time (ms), then for each job: id, token,
--       result (JSON), event (JSON), age (s) and count of what is kept, debounce id or '', token of the run that is to
--       follow or '' for none
-- Returns {{0 or a code for each job: -1 no job, -2 no lock, -6 somebody else's lock, -3 not active}, {for each run that
-- follows, in the order of the tokens of the jobs that were completed: fields as read by lib.lua, then the id}, {ids
-- without a job, dropped}, id of a repeatable job that is next, and left there, or nil}. Nothing is written for a job with
-- a code, but that -3 ends its lock.
local argv, unpack = ARGV, unpack
local base, now, points, ttl = argv[1], tonumber(argv[2]), tonumber(argv[3]), argv[4]
local width = 8
local jobs = (#argv - 4) / width

local locks, kept = {}, false
for i = 1, jobs do
  local at = 5 + (i - 1) * width
  locks[i] = base .. argv[at] .. ':lock'
  kept = kept or argv[at + 5] ~= '0'
end
-- A script that breaks off leaves what it has written. A key that somebody made something else stops it here.
if kept then call('ZCARD', KEYS[5]) end
local owners = call('MGET', unpack(locks))

local codes, unlocked, ids = {}, {}, {}
for i = 1, jobs do
  local at = 5 + (i - 1) * width
  local id, token, owner = argv[at], argv[at + 1], owners[i]
  -- A key of another type is as good as none.
  if try('HEXISTS', base .. id, 'data') ~= 1 then
    codes[i] = -1
  elseif owner ~= token then
    codes[i] = owner and -6 or -2
  else
    codes[i] = 0
    unlocked[#unlocked + 1] = locks[i]
    ids[#ids + 1] = id
  end
end
if #ids > 0 then
  call('DEL', unpack(unlocked))
  call('SREM', KEYS[4], unpack(ids))
end

local done, gone, filed, rules, tokens = 0, {}, {}, {}, {}
for i = 1, jobs do
  local at = 5 + (i - 1) * width
  local id = argv[at]
  if codes[i] == 0 and call('LREM', KEYS[2], -1, id) == 0 then codes[i] = -3 end
  if codes[i] == 0 then
    local job = base .. id
    if argv[at + 6] ~= '' then free_debounce(base, argv[at + 6]) end
    if argv[at + 5] == '0' then
      gone[#gone + 1] = job
      gone[#gone + 1] = job .. ':logs'
    else
      call('HSET', job, 'returnvalue', argv[at + 2], 'finishedOn', argv[2])
      filed[#filed + 1] = argv[2]
      filed[#filed + 1] = id
      rules[argv[at + 4] .. ' ' .. argv[at + 5]] = at
    end
    done = done + 1
    if argv[at + 7] ~= '' then tokens[#tokens + 1] = argv[at + 7] end
  end
end
if #gone > 0 then call('DEL', unpack(gone)) end
if #filed > 0 then call('ZADD', KEYS[5], unpack(filed)) end
for _, at in pairs(rules) do trim(base, KEYS[5], now, tonumber(argv[at + 4]), tonumber(argv[at + 5])) end
measure(KEYS[6], now, points, done)
for i = 1, jobs do
  if codes[i] == 0 then call('PUBLISH', KEYS[5], argv[8 + (i - 1) * width]) end
end

-- pop moves up to `wanted` ids from wait to active, none from a repeatable one on. Returns them, whether fewer waited, and
-- the id of the repeatable job.
local function pop(wait, active, wanted)
  if wanted == 1 then
    local id = call('RPOPLPUSH', wait, active)
    if not id then return {}, true, false end
    if not is_repeatable(id) then return {id}, false, false end
    call('LREM', active, 1, id)
    call('RPUSH', wait, id)
    return {}, false, id
  end
  local waiting, popped, met = call('LRANGE', wait, -wanted, -1), {}, false
  for i = #waiting, 1, -1 do
    if is_repeatable(waiting[i]) then
      met = waiting[i]
      break
    end
    popped[#popped + 1] = waiting[i]
  end
  if #popped > 0 then
    call('LTRIM', wait, 0, -#popped - 1)
    call('LPUSH', active, unpack(popped))
  end
  return popped, #waiting < wanted, met
end

local taken, dropped, repeatable = {}, {}, false
for _ = 1, 100 do
  local wanted = #tokens - #taken
  if wanted == 0 or repeatable then break end
  local popped, short, met = pop(KEYS[1], KEYS[2], wanted)
  repeatable = met
  if #popped > 0 then call('ZREM', KEYS[3], unpack(popped)) end
  for _, id in ipairs(popped) do
    local fields = read(base, KEYS[2], id)
    if fields then
      start(base, KEYS[7], id, tokens[#taken + 1], ttl, argv[2])
      fields[#fields + 1] = id
      taken[#taken + 1] = fields
    else
      dropped[#dropped + 1] = id
    end
  end
  if short and not repeatable then
    call('PUBLISH', base .. 'drained', '')
    break
  end
end
return {codes, taken, dropped, repeatable}
