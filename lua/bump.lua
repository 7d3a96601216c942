-- SPDX-License-Identifier: Apache-2.0
--
-- States were forgotten or given back: denials that servers remember are void.
--
--   KEYS  the generation
--   ARGV  how long it is kept in ms

if not redis.REDIS_VERSION_NUM then
	redis.replicate_commands()
end

local time = redis.call('TIME')
local now, old = time[1] * 1000000 + time[2], tonumber(redis.call('GET', KEYS[1]) or '')

if not old or old < 1 or old >= 2 ^ 53 - 1 or old % 1 ~= 0 then
	old = 0
end
redis.call('SET', KEYS[1], string.format('%.0f', math.max(old + 1, now)), 'PX', ARGV[1])
return redis.status_reply('OK')
