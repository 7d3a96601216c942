
-- sliding_log.lua: the ring. Up to WHOLE_MAX bytes it is read with one GET and written with one SET, as long as it must
-- be, with the oldest entry first and without the newest. A longer one is read and written where it is needed (sliding_log_long.lua).

-- The first of `count` entries (oldest first) whose age is below a bound, or `count`. The first is known not to be.
local function first_younger(age_of, count, bound)
	local low, high, step = 0, count - 1, 1

	if age_of(high) >= bound then
		return count
	end
	while step < high - low do
		if age_of(low + step) < bound then
			high = low + step
			break
		end
		low = low + step
		step = step * 2
	end
	while high - low > 1 do
		local middle = floor((low + high) / 2)

		if age_of(middle) < bound then
			high = middle
		else
			low = middle
		end
	end
	return high
end

-- The header of a ring whose bytes are `len`, or nothing when it is malformed.
local function ring_header(state, len)
	local _, low, high, head, count, capacity = read('<I4I4I4I4I4I4', state)
	local newest, slots, left_out = low + high * WORD, floor((len - 24) / 4), 0

	if count >= 2147483648 then
		count, left_out = count - 2147483648, 1
	end

	if newest > TIME_MAX_US or capacity == 0 or capacity > LIMIT_MAX or head >= capacity or count > capacity or
		count < left_out then
		return
	end
	if slots < capacity and (head + count - left_out > slots or len % 4 ~= 0) then
		return
	end
	return newest, head, count, capacity, left_out
end

-- A ring's entries that are stored, oldest first.
local function ring_entries(state, head, count, capacity)
	local first, past = 25 + 4 * head, head + count

	if past <= capacity then
		return sub(state, first, 24 + 4 * past)
	end
	return sub(state, first, 24 + 4 * capacity) .. sub(state, 25, 24 + 4 * (past - capacity))
end

-- For all algorithms:
--   state   the bytes, '' for none
--   alone   nobody asks what was before an allowed take
-- Returns nothing for a malformed state; else remaining, retry after, reset after and time, as a peek shows them; and when
-- `taking` and the cost may pass also reset after and the state as they are after the take.
local function sliding_log(state, taking, alone, prefix, limit, cost, window)
	local tick = floor(prefix / 65536)
	local newest, count, left_out, entries = 0, 0, 0, ''

	if state ~= '' then
		if #state >= 12 and read('<I4', state) == prefix then
			if #state < 24 then
				return
			end
			local head, capacity

			newest, head, count, capacity, left_out = ring_header(state, #state)
			if not newest then
				return
			end
			entries = ring_entries(state, head, count - left_out, capacity)
		elseif malformed(state) then
			return
		end
	end

	local newest_tick = ceil(newest / tick)
	local newest_low, ends = newest_tick % WORD, newest_tick * tick + window
	local at = now > newest and now or newest
	local live_age = ends > at and ceil((ends - at) / tick) or 0
	local expired = 0
	local function age_of(i)
		return i + left_out == count and 0 or (newest_low - read('<I4', entries, 1 + 4 * i)) % WORD
	end
	local function wait_for(i)
		local wait = ends - now - age_of(i) * tick

		return wait > 0 and wait or 1
	end

	if count > 0 and age_of(0) >= live_age then
		expired = first_younger(age_of, count, live_age)
	end
	local live = count - expired
	local remaining = live < limit and limit - live or 0
	local taken = taking and cost <= remaining
	local reset, retry = 0, 0

	if live > 0 and not (taken and alone) then
		reset = wait_for(count - 1)
	end
	if taken then
		local at_tick = ceil(at / tick)

		return remaining, 0, reset, at, at_tick * tick + window - now,
			write('<I4I4I4I4I4I4', prefix, at % WORD, floor(at / WORD), 0, 2147483648 + live + cost, limit) ..
			sub(entries, 1 + 4 * expired) .. (live > 0 and left_out == 1 and write('<I4', newest_low) or '') ..
			(cost > 1 and write('<I4', at_tick % WORD):rep(cost - 1) or '')
	end
	if cost > limit then
		retry = -1
	elseif cost > remaining then
		retry = wait_for(expired + live - (limit - cost) - 1)
	end
	return remaining, retry, reset, at
end
