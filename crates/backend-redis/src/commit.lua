-- Replaces one user's hot state, if nobody else did so first.
-- KEYS: the user's hash. ARGV: expected version, operation id, cell, life of the hash in ms, fields to set
-- (count, then field and value in turn), fields to delete (count, then fields), and the creation time in ms
-- up to which challenges have surely ended (0: nothing is known).
-- Returns {1, version made} or {0, version stored}. Running it again with the same operation id changes nothing.
local key = KEYS[1]
local stored = redis.call('HMGET', key, 'v', 'o')
local version = stored[1] or '0'
if stored[2] == ARGV[2] then
  return {1, version}
end
if version ~= ARGV[1] then
  return {0, version}
end

-- Microseconds, so that a version never comes back after the hash was lost. A double holds them exactly.
local time = redis.call('TIME')
local made = math.max(tonumber(version) + 1, tonumber(time[1]) * 1000000 + tonumber(time[2]))
version = string.format('%.0f', made)
redis.call('HSET', key, 'v', version, 'o', ARGV[2], 'c', ARGV[3])

local at = 5
for _ = 1, tonumber(ARGV[at]) do
  redis.call('HSET', key, ARGV[at + 1], ARGV[at + 2])
  at = at + 2
end
at = at + 1
for _ = 1, tonumber(ARGV[at]) do
  redis.call('HDEL', key, ARGV[at + 1])
  at = at + 1
end
local ended = tonumber(ARGV[at + 1])
if ended > 0 then
  -- a challenge's field is 'l' and its id, which starts with 48 bits of creation time in ms
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if #field == 25 then
      local created = 0
      for place = 2, 7 do
        created = created * 256 + string.byte(field, place)
      end
      if created < ended then
        redis.call('HDEL', key, field)
      end
    end
  end
end
redis.call('PEXPIRE', key, ARGV[4])
return {1, version}
