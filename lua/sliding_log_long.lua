
-- sliding_log_long.lua: a ring that is too long to be read and written as a whole. What is needed of it is fetched, and an
-- allowed take writes its header and the new entries; so a take costs the same at every limit.

-- As sliding_log(), for the first bytes of a state. The state after a take may also be a table: offsets and bytes to be
-- written there, in turns.
local function sliding_log_long(key, state, taking, prefix, limit, cost, window)
	if #state < WHOLE_MAX or read('<I4', state) ~= prefix then
		return sliding_log(state, taking, prefix, limit, cost, window)
	end
	local newest, head, count, capacity, left_out = ring_header(state, call('STRLEN', key))

	if not newest then
		return
	end
	local tick = (prefix - prefix % 65536) / 65536
	local newest_tick = ceil(newest / tick)
	local ends = newest_tick * tick + window
	local at = now > newest and now or newest
	local live_age = ends > at and ceil((ends - at) / tick) or 0
	local near, near_from = '', 0 -- entries fetched, and the number of the first

	local function age_of(i)
		if i + left_out == count then
			return 0
		end
		local offset = 4 * (i - near_from)

		if offset < 0 or offset + 4 > #near then
			local index = (head + i) % capacity
			local last = index + 7 < capacity and index + 7 or capacity - 1

			near, near_from = call('GETRANGE', key, 24 + 4 * index, 27 + 4 * last), i
			offset = 0
		end
		return (newest_tick - read('<I4', near, 1 + offset)) % WORD
	end

	local expired = 0
	if live_age == 0 then
		expired = count
	elseif count > 0 and age_of(0) >= live_age then
		expired = first_younger(age_of, count, live_age)
	end
	local live = count - expired
	local remaining = live < limit and limit - live or 0

	if taking and cost <= remaining then
		if live == 0 or live + cost > capacity then -- begins anew, or under a raised limit
			return sliding_log(call('GET', key), taking, prefix, limit, cost, window)
		end
		local at_tick = ceil(at / tick)
		local entries = (left_out == 1 and write('<I4', newest_tick % WORD) or '') .. write('<I4', at_tick % WORD):rep(cost)
		local offset, past = 4 * ((head + count - left_out) % capacity), 4 * capacity
		local writes = {
			24 + offset, sub(entries, 1, past - offset), 0,
			write('<I4I4I4I4I4I4', prefix, at % WORD, floor(at / WORD), (head + expired) % capacity, live + cost, capacity)
		}

		if offset + #entries > past then
			writes[5], writes[6] = 24, sub(entries, 1 + past - offset)
		end
		return remaining, 0, at_tick * tick + window - now, at, writes
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
