-- SPDX-License-Identifier: Apache-2.0

-- look.lua: what is decided for each key. Everything is read and decided before anything is written; the first write of a
-- server that is out of memory, a replica, or unable to save fails, and later ones don't: so all is taken or nothing.

if now > TIME_MAX_US then
	now = TIME_MAX_US
end

local arguments, n = ARGV[1], #KEYS
local verb = arguments:byte()

if verb > REFUND then
	call('DEL', unpack(KEYS))
	return ''
end

local taking, denied, answers = verb == TAKE, false, ''
local states, nexts, resets, befores -- of each key, when there are several or when giving back

if n > 1 or verb == REFUND then
	states, nexts, resets, befores = {}, {}, {}, {}
end

-- Takes: once; of several keys one of which denies, then as a peek. Refunds: before, and after.
local again = false
repeat
	local repeated = again

	again = false
	for i = 1, n do
		local algorithm, prefix, limit, cost, window, drain, unit, given = read('<BI4I4I4dI4dd', arguments, 41 * i - 39)
		local ranged = algorithm == 1 and limit > 256 and verb ~= REFUND
		local state

		if repeated then
			state = states[i]
		elseif ranged then
			state = call('GETRANGE', KEYS[i], 0, WHOLE_MAX - 1)
		else
			state = call('GET', KEYS[i]) or ''
		end
		if states then
			states[i] = state
		end
		if repeated and verb == REFUND then
			state, cost = nexts[i] or state, 1
		end

		-- The state's own words: all algorithms have six. It counts as none when it is another algorithm's, or of
		-- another tick.
		local own, newest, word3, word4, word5 = false, 0, 0, 0, 0

		if state ~= '' then
			local first, low, high

			if #state >= 24 then
				first, low, high, word3, word4, word5 = read('<I4I4I4I4I4I4', state)
			elseif #state >= 12 then
				first = read('<I4', state)
			end
			if first == prefix then
				if #state < 24 then
					return string.char(i)
				end
				own, newest = true, low + high * WORD
				if newest > TIME_MAX_US then
					return string.char(i)
				end
			else
				local kind = first and floor(first / 256) % 256

				if not first or first % 256 ~= 1 or kind < 1 or kind > 4 or (kind == 1) ~= (first >= 65536) then
					return string.char(i)
				end
			end
		end

		-- Each branch sets what a peek shows; when taking, and the cost may pass, `reset` as it is after the take, and
		-- `after`, the state then.
		local at = now > newest and now or newest
		local remaining, retry, reset, after = 0, 0, 0
