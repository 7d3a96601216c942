
-- sliding_log.lua: the ring. Up to WHOLE_MAX bytes it is read with one GET and written with one SET, as long as it must
-- be, with the oldest entry first and without the newest. A longer one is read and written where it is needed
-- (sliding_log_long.lua).

local LEFT_OUT = 2147483648 -- the bit of the count that says that the newest entry is not stored

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

-- The header of a ring whose bytes are `len`: newest, head, count, capacity, and 1 when the newest entry is left out. Nothing
-- when it is malformed.
local function ring_header(state, len)
	local _, low, high, head, count, capacity = read('<I4I4I4I4I4I4', state)
	local newest, slots, left_out = low + high * WORD, floor((len - 24) / 4), 0

	if count >= LEFT_OUT then
		count, left_out = count - LEFT_OUT, 1
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

-- A state with the same entries, of which `stored` are stored, from the head of the ring on.
local function ring_turned(state, head, stored, capacity)
	local past = head + stored

	if past <= capacity then
		return sub(state, 1, 24) .. sub(state, 25 + 4 * head, 24 + 4 * past)
	end
	return sub(state, 1, 24) .. sub(state, 25 + 4 * head, 24 + 4 * capacity) .. sub(state, 25, 24 + 4 * (past - capacity))
end

-- For all algorithms: what is decided on a state ('' for none).
-- Returns nothing when it is malformed; else remaining, retry after, reset after and time, as a peek shows them. When
-- `taking`, and the cost may pass: remaining before the take, 0, reset after and time after it, and the state then.
local function sliding_log(state, taking, prefix, limit, cost, window)
	local tick = (prefix - prefix % 65536) / 65536
	local newest, count, left_out = 0, 0, 0

	if state ~= '' then
		if #state >= 24 and read('<I4', state) == prefix then
			local head, capacity

			newest, head, count, capacity, left_out = ring_header(state, #state)
			if not newest then
				return
			end
			if head > 0 then
				state = ring_turned(state, head, count - left_out, capacity)
			end
		elseif malformed(state, prefix) then
			return
		end
	end

	local newest_tick = ceil(newest / tick)
	local ends = newest_tick * tick + window
	local at = now > newest and now or newest
	local live_age = ends > at and ceil((ends - at) / tick) or 0
	local expired = 0
	local function age_of(i)
		return i + left_out == count and 0 or (newest_tick - read('<I4', state, 25 + 4 * i)) % WORD
	end

	if count > 0 and age_of(0) >= live_age then
		expired = first_younger(age_of, count, live_age)
	end
	local live = count - expired
	local remaining = live < limit and limit - live or 0

	if taking and cost <= remaining then
		local at_tick = ceil(at / tick)
		local entries = ''

		if live > 0 then
			entries = sub(state, 25 + 4 * expired, 24 + 4 * (count - left_out))
			if left_out == 1 then
				entries = entries .. write('<I4', newest_tick % WORD)
			end
		end
		if cost > 1 then
			entries = entries .. write('<I4', at_tick % WORD):rep(cost - 1)
		end
		return remaining, 0, at_tick * tick + window - now, at,
			write('<I4I4I4I4I4I4', prefix, at % WORD, floor(at / WORD), 0, LEFT_OUT + live + cost, limit) .. entries
	end

	local function wait_for(i)
		local wait = ends - now - age_of(i) * tick

		return wait > 0 and wait or 1
	end
	local retry = 0
	if cost > limit then
		retry = -1
	elseif cost > remaining then
		retry = wait_for(expired + live - (limit - cost) - 1)
	end
	return remaining, retry, live > 0 and wait_for(count - 1) or 0, at
end
