-- SPDX-License-Identifier: Apache-2.0

		-- decide.lua: what becomes of it.
		if verb == REFUND and not repeated then
			befores[i] = remaining < cost
			nexts[i] = own and new_refund()(algorithm, state, prefix, limit, cost, window, drain, unit, given)
			again = true
		else
			local flags = cost <= remaining and 1 or 0

			if verb == REFUND and nexts[i] and befores[i] then
				flags = flags + 2
			end
			if after then
				remaining = remaining - cost
			elseif taking then
				denied = true
			end
			answers = answers .. write('<BI4ddd', flags, remaining, retry, reset, at)
			if states then
				nexts[i], resets[i] = after or nexts[i], reset
			elseif after then
				nexts, resets = { after }, { reset }
			end
		end
	end
	if denied and n > 1 then
		taking, denied, again, answers, nexts = false, false, true, '', {}
	end
until not again

-- A key lives until its state is empty, and a little longer.
if nexts then
	for i = 1, n do
		local state, keep_ms = nexts[i], ceil((resets[i] or 0) / 1000) + KEEP_MS

		if type(state) == 'string' then
			call('SET', KEYS[i], state, 'PX', keep_ms)
		elseif state then
			for k = 1, #state, 2 do
				call('SETRANGE', KEYS[i], state[k], state[k + 1])
			end
			call('PEXPIRE', KEYS[i], keep_ms)
		end
	end
end
return answers
