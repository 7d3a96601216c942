-- SPDX-License-Identifier: Apache-2.0

		-- sliding_log.lua: the ring. Up to RING_MAX entries it is read and written as a whole, as long as it must be, with
		-- the oldest entry first and without the newest. Of a longer one what is needed is fetched, and an
		-- allowed take writes the header and the new entries; so a take costs the same at every limit.
		if algorithm == 1 then
			local tick = (prefix - prefix % 65536) / 65536
			local key, head, count, capacity, left_out, long = KEYS[i], 0, 0, limit, 0, false
			local near, base = state, 25 -- entries at hand, and where the oldest begins

			if own then
				head, count, capacity = word3, word4, word5
				if count >= LEFT_OUT then
					count, left_out = count - LEFT_OUT, 1
				end
				if capacity == 0 or capacity > LIMIT_MAX or head >= capacity or count > capacity or count < left_out then
					return string.char(i)
				end
				if ranged and len == 28 then -- the beginning of a longer one
					if head > 0 or count - left_out > RING_MAX then
						len = call('STRLEN', key)
						long = len > 24 + 4 * RING_MAX
					end
					if not long then
						state = call('GET', key)
						near, len = state, #state
					end
				end
				local room = len - 24
				if room < 4 * capacity and (4 * (head + count - left_out) > room or len % 4 ~= 0) then
					return string.char(i)
				end
				if head > 0 and not long then
					local past = head + count - left_out

					if past <= capacity then
						near, base = sub(state, 25 + 4 * head, 24 + 4 * past), 1
					else
						near, base = sub(state, 25 + 4 * head, 24 + 4 * capacity) .. sub(state, 25, 24 + 4 * (past - capacity)), 1
					end
				end
			end

			local stored = count - left_out
			local newest_tick = tick == 1 and newest or ceil(newest / tick)
			local ends = newest_tick * tick + window
			local live_age = ends <= at and 0 or tick == 1 and ends - at or ceil((ends - at) / tick)
			local expired, probes, age_of = 0, stored < 4 and stored or 4

			if head == 0 and stored > 0 and (newest_tick - word6) % WORD < live_age then -- not even the oldest
				probes = 0
			elseif long then
				local past = head + 8 < capacity and head + 8 or capacity

				near, base = call('GETRANGE', key, format('%d', 24 + 4 * head), format('%d', 23 + 4 * past)), 1
				if probes > #near / 4 then
					probes = floor(#near / 4)
				end
			end
			while expired < probes and (newest_tick - read('<I4', near, base + 4 * expired)) % WORD >= live_age do
				expired = expired + 1
			end
			local search = expired == probes and expired > 0 and expired < stored
			if expired == stored and left_out == 1 and live_age == 0 then
				expired = count
			end

			if search or not taking or cost > limit - count + expired then
				age_of = function(k)
					if k >= stored then
						return 0
					elseif not long then
						return (newest_tick - read('<I4', near, base + 4 * k)) % WORD
					end
					local from = 24 + 4 * ((head + k) % capacity)

					return (newest_tick - read('<I4', call('GETRANGE', key, format('%d', from), format('%d', from + 3)))) % WORD
				end
			end
			if search then -- by steps that double, then by halves; the first is known to be too old
				local low, high, step = 0, count - 1, 1

				if age_of(high) >= live_age then
					low, high = count, count
				end
				while step < high - low do
					if age_of(low + step) < live_age then
						high = low + step
						break
					end
					low, step = low + step, step * 2
				end
				while high - low > 1 do
					local middle = floor((low + high) / 2)

					if age_of(middle) < live_age then
						high = middle
					else
						low = middle
					end
				end
				expired = high
			end

			local live = count - expired
			remaining = live < limit and limit - live or 0
			if taking and cost <= remaining then
				local at_tick = tick == 1 and at or ceil(at / tick)
				local low = at % WORD
				local high = (at - low) / WORD

				reset = at_tick * tick + window - now
				if long and live > 0 and live + cost <= capacity then
					local offset, past = 4 * ((head + stored) % capacity), 4 * capacity
					local entries = write('<I4', at_tick % WORD)

					if cost > 1 then
						entries = entries:rep(cost)
					end
					if left_out == 1 then
						entries = write('<I4', newest_tick % WORD) .. entries
					end
					after, ring = '', { format('%d', 24 + offset), sub(entries, 1, past - offset), '0',
						write('<I4I4I4I4I4I4', prefix, low, high, (head + expired) % capacity, live + cost,
							capacity) }
					if offset + #entries > past then
						ring[5], ring[6] = '24', sub(entries, 1 + past - offset)
					end
				else
					if long and live > 0 then -- under a raised limit: the ring is laid anew
						near = call('GET', key)
						near, base = (sub(near, 25 + 4 * head, 24 + 4 * capacity) .. sub(near, 25, 24 + 4 * head)), 1
					end
					local old = live > left_out and sub(near, base + 4 * expired, base + 4 * stored - 1) or ''

					count = LEFT_OUT + live + cost
					if left_out == 0 or live == 0 then
						after = write('<I4I4I4I4I4I4', prefix, low, high, 0, count, limit) .. old
					else
						after = write('<I4I4I4I4I4I4c0I4', prefix, low, high, 0, count, limit, old, newest_tick % WORD)
					end
					if cost > 1 then
						after = after .. write('<I4', at_tick % WORD):rep(cost - 1)
					end
				end
			else
				if cost > limit then
					retry = -1
				elseif cost > remaining then
					retry = ends - now - age_of(expired + live - (limit - cost) - 1) * tick
					retry = retry > 0 and retry or 1
				end
				if live > 0 then
					reset = ends - now - age_of(count - 1) * tick
					reset = reset > 0 and reset or 1
				end
			end
