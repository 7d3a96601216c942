
-- sliding_counter.lua: two counters for two windows that follow one another.

-- ceil(units * part / whole) for units up to 2^24 and part <= whole < 2^45: long division by digits of 7 bits where the
-- product would not fit.
local function weight(units, part, whole)
	if units * part < 2 * WORD * 1048576 then
		return ceil(units * part / whole)
	end
	local quotient, rest = 0, 0

	for _, scale in ipairs({ 2097152, 16384, 128, 1 }) do
		rest = rest * 128 + floor(units / scale) % 128 * part
		quotient = quotient * 128 + floor(rest / whole)
		rest = rest % whole
	end
	return rest > 0 and quotient + 1 or quotient
end

-- floor(whole * part / units), or `whole` for no units.
local function scale_down(whole, part, units)
	if units == 0 then
		return whole
	end
	return floor(whole / units) * part + floor(whole % units * part / units)
end

local function sliding_counter(state, taking, prefix, limit, cost, window)
	local newest, start, count, before = 0, 0, 0, 0

	if state ~= '' then
		if #state >= 28 and read('<I4', state) == prefix then
			local _, low, high, start_low, start_high

			_, low, high, count, before, start_low, start_high = read('<I4I4I4I4I4I4I4', state)
			newest, start = low + high * WORD, start_low + start_high * WORD
			if newest > TIME_MAX_US or start > newest or newest - start >= WINDOW_MAX_US or count > LIMIT_MAX or
				before > LIMIT_MAX then
				return
			end
		elseif malformed(state, prefix) then
			return
		end
	end

	local at = now > newest and now or newest
	if newest - start >= window then -- written under a longer window
		start, before = newest, 0
	end
	local elapsed = at - start
	if elapsed >= 2 * window then
		before, count = 0, 0
	elseif elapsed >= window then
		before, count, start = count, 0, start + window
	end
	if before == 0 and count == 0 then
		start = at
	end

	local used = count
	if before > 0 then
		used = used + weight(before, start + window - at, window)
	end
	local remaining = used < limit and limit - used or 0
	local reset = 0

	if used > 0 then
		reset = start + (count > 0 and 2 or 1) * window - now
	end
	if taking and cost <= remaining then
		return remaining, 0, start + 2 * window - now, at,
			write('<I4I4I4I4I4I4I4', prefix, at % WORD, floor(at / WORD), count + cost, before, start % WORD,
				floor(start / WORD))
	end

	local retry = 0
	if cost > limit then
		retry = -1
	elseif cost > remaining then
		local spare = limit - cost

		if count <= spare then
			retry = start + window - scale_down(window, spare - count, before) - now
		else
			retry = start + 2 * window - scale_down(window, spare, count) - now
		end
	end
	return remaining, retry, reset, at
end
