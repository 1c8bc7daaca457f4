-- First-use bindings. KEYS[1] is the prefix of all keys; ARGV[1] says what is wanted, ARGV[2] is what the
-- memory must be called: a store that has forgotten its name may have forgotten who is bound, too.
local P = KEYS[1]
local want, name = table.remove(ARGV, 1), table.remove(ARGV, 1)
local BY_SUBJECT, BY_USER, NAME = P .. ':bindings', P .. ':bindings:users', P .. ':bindings:name'

local actions = {}

function actions.open()
  redis.call('set', NAME, name, 'NX')
  return redis.call('get', NAME)
end

function actions.known() return redis.call('get', NAME) end

function actions.peek(subject, user, wanted)
  local held = redis.call('hget', BY_SUBJECT, subject)
  if held then return held end
  local other = redis.call('hget', BY_USER, user)
  if other then return redis.call('hget', BY_SUBJECT, other) end
  return wanted
end

function actions.bind(subject, user, wanted)
  local held = actions.peek(subject, user, '')
  if held ~= '' then return held end
  redis.call('hset', BY_SUBJECT, subject, wanted)
  redis.call('hset', BY_USER, user, subject)
  return wanted
end

function actions.all() return redis.call('hvals', BY_SUBJECT) end

function actions.remove(subject, user)
  if subject == '' then subject = redis.call('hget', BY_USER, user) or '' end
  local held = redis.call('hget', BY_SUBJECT, subject)
  if not held then return false end
  redis.call('hdel', BY_SUBJECT, subject)
  redis.call('hdel', BY_USER, cjson.decode(held)[3])
  return held
end

if want ~= 'open' and want ~= 'known' and redis.call('get', NAME) ~= name then
  return redis.error_reply('NO the bindings are not those that this gateway knew')
end
return actions[want](unpack(ARGV))
