-- SPDX-License-Identifier: Apache-2.0

-- look.lua: what is decided for each key. Everything is read and decided before anything is written; the first write of a
-- server that is out of memory, a replica, or unable to save fails, and later ones don't: so all is taken or nothing.

if now > TIME_MAX_US then
	now = TIME_MAX_US
end

local keys, arguments = KEYS, ARGV[1]
local n, verb, wholes = #keys, arguments:byte(), false

if verb >= WHOLES then
	verb, wholes = verb - WHOLES, true
end
if verb > REFUND then
	call('DEL', unpack(keys))
	return ''
end

local taking, denied = verb == TAKE, false
local answer, after_all, ring_all, reset_all -- of the only key
local several = n > 1 or verb == REFUND
local states, answers, resets, nexts, befores, rings -- of each key, when there are several or when giving back
local sets, m -- keys and their states afterwards, how many both

if several then -- with room for ten: a table that grows costs more than one that is too large
	states = n > 1 and wholes and call('MGET', unpack(keys))
	answers = { '', '', '', '', '', '', '', '', '', '' }
	resets = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
	if not states then
		states = { false, false, false, false, false, false, false, false, false, false }
	end
	nexts, befores = {}, {}
	sets, m = { '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '' }, 0
end

-- Takes: once; of several keys one of which denies, then as a peek. Refunds: before, and after.
local again = false
repeat
	local repeated, place = again, 2

	again = false
	for i = 1, n do
		local algorithm, prefix, limit, cost, window

		algorithm, prefix, limit, cost, window, place = read('<BI4I4I4d', arguments, place)
		local ranged = not wholes and algorithm == 1 and limit > RING_MAX and verb ~= REFUND
		local state = states and states[i]

		if not state then
			if ranged then
				state = call('GETRANGE', keys[i], '0', '27')
			else -- what MGET did not find may be there, and no string: an error then
				state = call('GET', keys[i]) or ''
			end
			if states then
				states[i] = state
			end
		end
		if repeated and verb == REFUND then
			state, cost = nexts[i] or state, 1
		end

		-- The state's own words: all algorithms have six. It counts as none when it is another algorithm's, or of
		-- another tick.
		local own, newest, word3, word4, word5, word6 = false, 0, 0, 0, 0, 0
		local len = #state

		if len > 0 then
			local first, low, high

			if len >= 28 then
				first, low, high, word3, word4, word5, word6 = read('<I4I4I4I4I4I4I4', state)
			elseif len >= 24 then
				first, low, high, word3, word4, word5 = read('<I4I4I4I4I4I4', state)
			elseif len >= 12 then
				first = read('<I4', state)
			end
			if first == prefix then
				if len < 24 then
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
		-- `after`, the state then, or `ring`, what is written of it: places and bytes.
		local at = now > newest and now or newest
		local remaining, retry, reset, after, ring = 0, 0, 0
		local drain, unit -- of a bucket
