-- SPDX-License-Identifier: Apache-2.0
--
-- The decisions of src/core for a Redis or Valkey without our module. The files of this directory are joined into one
-- script when the program is built, in the order of src/store/meson.build.
--
--   KEYS     the states, all in one slot
--   ARGV[1]  the verb (a byte: 0 take, 1 peek, 2 refund, 3 reset; and 4 more when no ring has more than 256 entries, so that
--            all states are read at once), then for each key: algorithm (1), first four bytes of its states (4), limit or
--            burst (4), cost (4), window (double); of a bucket: drain (4), unit debt (double); of a refund: time that is
--            given back to (double). Little-endian, times in us
--
-- The answer is one string, 29 bytes for each key: flags (1: the take is allowed; 2: refund: was denying before),
-- remaining (4), retry after (double, -1: never), reset after (double), decided for (double). To a reset it is empty. One
-- byte alone is the number of a key whose state is malformed; nothing was changed then.
--
-- Numbers are doubles. All times, and all sums and products below, are integers under 2^53, for which doubles are exact.
-- floor(a / b) and a % b are exact when a + b stays below 2^53, ceil(a / b) when a does.
--
-- Layout of the states: include/sluice/limiter.h. What each step means is told in the file of src/core of the same name.
--
-- How it is put together. Most of the time of a short script goes into making its functions and capturing what they use,
-- anew at every call. So there are none on the usual ways: look.lua opens a loop over the keys, the algorithms are branches
-- in it, and decide.lua closes it. No global is set.

if not redis.REDIS_VERSION_NUM then -- before 7.0: replicate what was written, not the script, which asks for the time
	redis.replicate_commands()
end

local call, read, write, sub = redis.call, struct.unpack, struct.pack, string.sub
local floor, ceil, format = math.floor, math.ceil, string.format

local WORD = 4294967296 -- 2^32
local EXACT_MAX = 9007199254740992 -- 2^53
local LIMIT_MAX = 16777216
local WINDOW_MAX_US = 31622400000000
local TIME_MAX_US = EXACT_MAX - 2 * WINDOW_MAX_US
local RING_MAX = 256 -- entries; a longer ring is not read and written as a whole
local LEFT_OUT = 2147483648 -- the bit of the count that says that the newest entry of a ring is not stored
local TAKE, REFUND, WHOLES = 0, 2, 4 -- verbs; WHOLES is added to one
