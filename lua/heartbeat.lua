-- SPDX-License-Identifier: Apache-2.0
--
-- A server says that it lives, and asks how many do.
--
--   KEYS  the servers (sorted set: name, time of the last heartbeat in us), the generation
--   ARGV  name of the server, interval of heartbeats in us, how long a generation is kept in ms
--
-- Servers not heard of for three intervals are gone. The generation is a number that changes when states were forgotten or
-- given back; a Redis that lost it gets the present time, which it never had before. The answer: number of servers (4
-- bytes), generation (double).

if not redis.REDIS_VERSION_NUM then
	redis.replicate_commands()
end

local call = redis.call
local time = call('TIME')
local now, interval = time[1] * 1000000 + time[2], tonumber(ARGV[2])
local servers, place = KEYS[1], KEYS[2]
local generation = tonumber(call('GET', place) or '')

-- When the clock was set back, all were heard of just now.
for _, name in ipairs(call('ZRANGEBYSCORE', servers, string.format('(%.0f', now), '+inf')) do
	call('ZADD', servers, now, name)
end
call('ZREMRANGEBYSCORE', servers, '-inf', string.format('(%.0f', now - 3 * interval))
call('ZADD', servers, now, ARGV[1])
call('PEXPIRE', servers, math.ceil(3 * interval / 1000) + 1000)

if not generation or generation < 1 or generation >= 2 ^ 53 or generation % 1 ~= 0 then
	generation = now
	call('SET', place, string.format('%.0f', generation), 'PX', ARGV[3])
else
	call('PEXPIRE', place, ARGV[3])
end
return struct.pack('<I4d', call('ZCARD', servers), generation)
