-- Idempotency-Keys. KEYS[1] is the prefix of all keys; ARGV[1] says what is wanted.
-- {prefix}:key:HASH is a hash; sorted sets have the hashes by their expiry, all and of each identity.
local P = KEYS[1]
local want = table.remove(ARGV, 1)
local ALL = P .. ':keys'

local function key_of(hash) return P .. ':key:' .. hash end
local function of_identity(identity) return P .. ':keys:' .. identity end

local function drop(hash)
  local identity = redis.call('hget', key_of(hash), 'identity_hash')
  if not identity then return 0 end
  redis.call('del', key_of(hash))
  redis.call('zrem', ALL, hash)
  redis.call('zrem', of_identity(identity), hash)
  return 1
end

local function keep(hash, identity, expires, ...)
  redis.call('hset', key_of(hash), 'identity_hash', identity, 'expires', expires, ...)
  redis.call('zadd', ALL, expires, hash)
  redis.call('zadd', of_identity(identity), expires, hash)
end

local actions = {}

function actions.begin(now, each, in_all, hash, identity, expires, ...)
  local until_when = redis.call('hget', key_of(hash), 'expires')
  if until_when and tonumber(until_when) > tonumber(now) then
    return redis.call('hgetall', key_of(hash))
  end
  drop(hash)
  if redis.call('zcard', of_identity(identity)) >= tonumber(each) then
    return redis.error_reply('NO room: of this identity')
  end
  if redis.call('zcard', ALL) >= tonumber(in_all) then return redis.error_reply('NO room: of all') end
  keep(hash, identity, expires, ...)
  return {}
end

function actions.begin_again(hash, identity, expires, ...)
  drop(hash)
  keep(hash, identity, expires, ...)
  return 1
end

function actions.finish(hash, ...)
  if redis.call('exists', key_of(hash)) == 0 then return 0 end
  redis.call('hset', key_of(hash), ...)
  return 1
end

function actions.forget(hash) return drop(hash) end

function actions.purge(now, most)
  local count = 0
  for _, hash in ipairs(redis.call('zrangebyscore', ALL, '-inf', now, 'LIMIT', 0, most)) do
    count = count + drop(hash)
  end
  return count
end

return actions[want](unpack(ARGV))
