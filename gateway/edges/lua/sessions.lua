-- Sessions and values that are used once. KEYS[1] is the prefix of all keys; ARGV[1] says what is wanted.
-- {prefix}:session:ID is a hash; sorted sets have the ids by last use (all, and of each subject) and by end.
local P = KEYS[1]
local want = table.remove(ARGV, 1)
local ALL, ENDING, USED = P .. ':sessions', P .. ':sessions:ending', P .. ':used'

local function key_of(id) return P .. ':session:' .. id end

local function drop(id)
  local told = redis.call('hmget', key_of(id), 'of_subject', 'of_sid')
  if not told[1] then return false end
  redis.call('del', key_of(id))
  redis.call('zrem', ALL, id)
  redis.call('zrem', ENDING, id)
  redis.call('zrem', told[1], id)
  if told[2] ~= '' then redis.call('srem', told[2], id) end
  return true
end

local function use(key, expires)
  return redis.call('zadd', USED, 'NX', expires, key)
end

local actions = {}

function actions.create(each, in_all, id, of_subject, of_sid, last_used, ends, ...)
  if redis.call('zcard', ALL) >= tonumber(in_all) then return redis.error_reply('NO room') end
  local surplus = redis.call('zcard', of_subject) - (tonumber(each) - 1)
  local ended = {}
  if surplus > 0 then ended = redis.call('zrange', of_subject, 0, surplus - 1) end
  for _, old in ipairs(ended) do drop(old) end
  redis.call('hset', key_of(id), 'of_subject', of_subject, 'of_sid', of_sid,
    'last_used', last_used, 'ends', ends, ...)
  redis.call('zadd', ALL, last_used, id)
  redis.call('zadd', ENDING, ends, id)
  redis.call('zadd', of_subject, last_used, id)
  if of_sid ~= '' then redis.call('sadd', of_sid, id) end
  return ended
end

function actions.find(id) return redis.call('hgetall', key_of(id)) end

function actions.touch(id, last_used)
  local told = redis.call('hmget', key_of(id), 'of_subject', 'last_used')
  if not told[1] or tonumber(told[2]) >= tonumber(last_used) then return 0 end
  redis.call('hset', key_of(id), 'last_used', last_used)
  redis.call('zadd', ALL, last_used, id)
  redis.call('zadd', told[1], last_used, id)
  return 1
end

function actions.replace(id, before, of_sid, ...)
  local told = redis.call('hmget', key_of(id), 'version', 'of_sid')
  if told[1] ~= before then return 0 end
  if told[2] ~= '' then redis.call('srem', told[2], id) end
  if of_sid ~= '' then redis.call('sadd', of_sid, id) end
  redis.call('hset', key_of(id), 'of_sid', of_sid, ...)
  return 1
end

actions['end'] = function(id) return drop(id) and 1 or 0 end

local function of_subject_and_sid(of_subject, of_sid)
  if of_subject == '' then return redis.call('smembers', of_sid) end
  local found = {}
  for _, id in ipairs(redis.call('zrange', of_subject, 0, -1)) do
    local own = redis.call('hget', key_of(id), 'of_sid')
    if of_sid == '' or own == of_sid or own == '' then found[#found + 1] = id end
  end
  return found
end

function actions.end_all_once(key, expires, of_subject, of_sid)
  if use(key, expires) == 0 then return false end
  if of_subject == '' and of_sid == '' then return {} end
  local meant = of_subject_and_sid(of_subject, of_sid)
  for _, id in ipairs(meant) do drop(id) end
  return meant
end

function actions.of_subject(of_subject)
  local found = {}
  for _, id in ipairs(redis.call('zrevrange', of_subject, 0, -1)) do
    found[#found + 1] = redis.call('hgetall', key_of(id))
  end
  return found
end

function actions.all() return actions.of_subject(ALL) end

function actions.use_once(key, expires) return use(key, expires) end

function actions.purge(now, idle_before)
  redis.call('zremrangebyscore', USED, '-inf', now)
  local count = 0
  for _, id in ipairs(redis.call('zrangebyscore', ENDING, '-inf', now)) do
    if drop(id) then count = count + 1 end
  end
  for _, id in ipairs(redis.call('zrangebyscore', ALL, '-inf', idle_before)) do
    if drop(id) then count = count + 1 end
  end
  return count
end

return actions[want](unpack(ARGV))
