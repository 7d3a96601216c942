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
				local state = after or nexts[i]

				answers[i], resets[i] = answer, reset
				if ring then
					rings = rings or {}
					rings[i] = ring
				elseif state then
					sets[m + 1], sets[m + 2] = keys[i], state
					m = m + 2
				end
			else
				after_all, ring_all, reset_all = after, ring, reset
			end
		end
	end
	if denied and n > 1 then
		taking, denied, again, rings, m = false, false, true, nil, 0
	end
until not again

-- A key lives until its state is empty, and one to two seconds longer. Numbers are made strings here: Redis writes them
-- with 17 digits, which takes three times as long.
if not several then
	if not after_all then
		return answer
	elseif not ring_all then
		call('SET', keys[1], after_all, 'PX', format('%d000', floor(reset_all / 1000000) + 2))
		return answer
	end
	answers, resets, rings, m = { answer }, { reset_all }, { ring_all }, 0
end

if m > 0 then
	call('MSET', unpack(sets, 1, m))
end
if taking or verb == REFUND then
	local second, text

	for i = 1, n do
		local ring = rings and rings[i]

		if ring then
			for k = 1, #ring, 2 do
				call('SETRANGE', keys[i], ring[k], ring[k + 1])
			end
		end
		if taking or nexts[i] then
			local ends = floor((expire_from + resets[i]) / 1000000) + 2

			if ends ~= second then
				second, text = ends, format('%d000', ends)
			end
			call(EXPIRE, keys[i], text)
		end
	end
end
return table.concat(answers, '', 1, n)
