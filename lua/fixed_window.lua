
-- fixed_window.lua: one counter; a window starts with a take that finds none running.

local function fixed_window(state, taking, prefix, limit, cost, window)
	local newest, start, count = 0, 0, 0

	if state ~= '' then
		if #state >= 24 and read('<I4', state) == prefix then
			local _, low, high, start_low, start_high

			_, low, high, count, start_low, start_high = read('<I4I4I4I4I4I4', state)
			newest, start = low + high * WORD, start_low + start_high * WORD
			if newest > TIME_MAX_US or start > newest or newest - start >= WINDOW_MAX_US or count > LIMIT_MAX then
				return
			end
		elseif malformed(state, prefix) then
			return
		end
	end

	local at = now > newest and now or newest
	if newest - start >= window then -- written under a longer window
		start = newest
	end
	if at - start >= window then
		count = 0
	end
	if count == 0 then
		start = at
	end

	local ends_after = start + window - now
	local remaining = count < limit and limit - count or 0
	local reset, retry = count > 0 and ends_after or 0, 0

	if taking and cost <= remaining then
		return remaining, 0, ends_after, at,
			write('<I4I4I4I4I4I4', prefix, at % WORD, floor(at / WORD), count + cost, start % WORD, floor(start / WORD))
	end
	if cost > limit then
		retry = -1
	elseif cost > remaining then
		retry = ends_after
	end
	return remaining, retry, reset, at
end
