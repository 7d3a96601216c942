
-- token_bucket.lua: the bucket as a meter of what is owed.

-- ceil(debt * new / old), at most what a state may hold: a debt that takes as long to pay back as before.
local function debt_adopted(debt, old, new)
	local most = 2 * WORD * 1048576 - 1
	local rest = math.fmod(debt, old)
	local whole = (debt - rest) / old

	if whole >= (most - math.fmod(most, new)) / new then
		return most
	end
	return whole * new + ceil(rest * new / old)
end

local function token_bucket(state, taking, prefix, burst, cost, window, drain, unit)
	local newest, debt = 0, 0

	if state ~= '' then
		if #state >= 24 and read('<I4', state) == prefix then
			local _, low, high, old, debt_low, debt_high = read('<I4I4I4I4I4I4', state)

			newest, debt = low + high * WORD, debt_low + debt_high * WORD
			if newest > TIME_MAX_US or debt_high >= 2097152 or old < 1 or old > LIMIT_MAX then
				return
			end
			if old ~= drain then
				debt = debt_adopted(debt, old, drain)
			end
		elseif malformed(state, prefix) then
			return
		end
	end

	local at = now > newest and now or newest
	local paid = (at - newest) * drain -- when not exact, it is above every debt
	debt = paid < debt and debt - paid or 0

	local full = burst * unit
	local remaining = debt < full and floor((full - debt) / unit) or 0
	local reset, retry = 0, 0

	if debt > 0 then
		reset = ceil(debt / drain) + (at - now)
	end
	if taking and cost <= remaining then
		debt = debt + cost * unit
		return remaining, 0, ceil(debt / drain) + (at - now), at,
			write('<I4I4I4I4I4I4', prefix, at % WORD, floor(at / WORD), drain, debt % WORD, floor(debt / WORD))
	end
	if cost > burst then
		retry = -1
	elseif cost > remaining then
		retry = ceil((debt - (burst - cost) * unit) / drain) + (at - now)
	end
	return remaining, retry, reset, at
end
