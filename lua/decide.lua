-- SPDX-License-Identifier: Apache-2.0

		-- decide.lua: what becomes of it.
		if verb == REFUND and not repeated then
			befores[i] = remaining < cost
			nexts[i] = refunded
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
				if n > 1 then
					break
				end
			end
			answer = write('<BI4ddd', flags, remaining, retry, reset, at)
			if several then
				answers[i], resets[i], nexts[i] = answer, reset, after or nexts[i]
			else
				after_all, reset_all = after, reset
			end
		end
	end
	if denied and n > 1 then
		taking, denied, again, nexts = false, false, true, {}
	end
until not again

-- A key lives until its state is empty, and one to two seconds longer. Numbers are made strings here: Redis writes them
-- with 17 digits, which takes three times as long.
if not several then
	if type(after_all) ~= 'table' then
		if after_all then
			call('SET', keys[1], after_all, 'PX', format('%d000', floor(reset_all / 1000000) + 2))
		end
		return answer
	end
	answers, nexts, resets = { answer }, { after_all }, { reset_all }
end

if taking or verb == REFUND then
	local sets, m = { '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '' }, 0

	for i = 1, n do
		if type(nexts[i]) == 'string' then
			sets[m + 1], sets[m + 2] = keys[i], nexts[i]
			m = m + 2
		end
	end
	if m > 0 then
		call('MSET', unpack(sets, 1, m))
	end
	for i = 1, n do
		local state = nexts[i]

		if state then
			if type(state) == 'table' then
				for k = 1, #state, 2 do
					call('SETRANGE', keys[i], state[k], state[k + 1])
				end
			end
			call(EXPIRE, keys[i], format('%d000', floor((expire_from + resets[i]) / 1000000) + 2))
		end
	end
end
return table.concat(answers, '', 1, n)
