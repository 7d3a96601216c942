-- SPDX-License-Identifier: Apache-2.0

-- The server's clock, and by which a key that expires is told its time: the clock's own.
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local EXPIRE, expire_from = 'PEXPIREAT', now
