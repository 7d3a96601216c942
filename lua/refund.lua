
-- refund.lua: the state after giving back, or nothing when there is nothing to give back. The state is known to be sound,
-- and to be the policy's own.

local function new_refund()
	local function refund_log(state, prefix, cost, window, given)
		local tick = floor(prefix / 65536)
		local newest, head, count, capacity, left_out = ring_header(state, #state)
		local newest_tick = ceil(newest / tick)
		local at = now > newest and now or newest
		local ends = newest_tick * tick + window
		local live_age = ends > at and ceil((ends - at) / tick) or 0
		local age = newest_tick - ceil(given / tick)

		if given > newest or age >= live_age or count == 0 then
			return
		end
		state = ring_turned(state, head, count - left_out, capacity)
		if left_out == 1 then
			state = state .. write('<I4', newest_tick % WORD)
		end
		local function age_of(i)
			return (newest_tick - read('<I4', state, 25 + 4 * i)) % WORD
		end
		local past = age_of(0) >= age and first_younger(age_of, count, age) or 0 -- one past the entries of that tick
		local start = past

		while start > 0 and past - start < cost and age_of(start - 1) == age do
			start = start - 1
		end
		if start == past then
			return
		end
		return write('<I4I4I4I4I4I4', prefix, newest % WORD, floor(newest / WORD), 0, count - (past - start), capacity) ..
			sub(state, 25, 24 + 4 * start) .. sub(state, 25 + 4 * past)
	end

	-- Units are found by the window that their time lies in.
	local function refund_counter(state, cost, window, given)
		local _, low, high, count, before, start_low, start_high = read('<I4I4I4I4I4I4I4', state)
		local start = start_low + start_high * WORD

		if given > low + high * WORD then
			return
		elseif given >= start then
			count = count > cost and count - cost or 0
		elseif start - given <= window then
			before = before > cost and before - cost or 0
		else
			return
		end
		return sub(state, 1, 12) .. write('<I4I4', count, before) .. sub(state, 21, 28)
	end

	local function refund_window(state, cost, given)
		local _, low, high, count, start_low, start_high = read('<I4I4I4I4I4I4', state)

		if given < start_low + start_high * WORD or given > low + high * WORD then
			return
		end
		return sub(state, 1, 12) .. write('<I4', count > cost and count - cost or 0) .. sub(state, 17, 24)
	end

	-- Only when nothing was taken since.
	local function refund_bucket(state, cost, burst, drain, unit, given)
		local _, low, high, old, debt_low, debt_high = read('<I4I4I4I4I4I4', state)
		local debt, owed = debt_low + debt_high * WORD, (cost < burst and cost or burst) * unit

		if given ~= low + high * WORD or old ~= drain then
			return
		end
		debt = debt > owed and debt - owed or 0
		return sub(state, 1, 16) .. write('<I4I4', debt % WORD, floor(debt / WORD))
	end

	return function(algorithm, state, prefix, most, cost, window, drain, unit, given)
		if state == '' or read('<I4', state) ~= prefix then
			return
		elseif algorithm == 1 then
			return refund_log(state, prefix, cost, window, given)
		elseif algorithm == 2 then
			return refund_counter(state, cost, window, given)
		elseif algorithm == 3 then
			return refund_window(state, cost, given)
		end
		return refund_bucket(state, cost, most, drain, unit, given)
	end
end
