-- A turn that one process has for a while. KEYS[1] is its key; ARGV: what is wanted, who wants it, milliseconds.
local holder = redis.call('get', KEYS[1])
if ARGV[1] == 'take' then
  if holder and holder ~= ARGV[2] then return 0 end
  redis.call('set', KEYS[1], ARGV[2], 'PX', ARGV[3])
  return 1
end
if holder ~= ARGV[2] then return 0 end
if ARGV[1] == 'keep' then return redis.call('pexpire', KEYS[1], ARGV[3]) end
return redis.call('del', KEYS[1])
