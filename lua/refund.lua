-- SPDX-License-Identifier: Apache-2.0

		-- refund.lua: the state after giving back, or nothing when there is nothing to give back. The state is known to be
		-- sound. The functions are made here, and not for takes.
		local refunded, given = false

		if verb == REFUND then
			given, place = read('<d', arguments, place)
		end
		if verb == REFUND and not repeated and own then
			-- From the back, as that is where refunds find their units; the entries of one tick are alike.
			local function refund_log(state, prefix, cost, window, given)
				local tick = (prefix - prefix % 65536) / 65536
				local _, low, high, head, count, capacity = read('<I4I4I4I4I4I4', state)
				local newest, left_out = low + high * WORD, 0

				if count >= LEFT_OUT then
					count, left_out = count - LEFT_OUT, 1
				end
				local past = head + count - left_out
				local entries = sub(state, 25 + 4 * head, 24 + 4 * (past < capacity and past or capacity))
				local newest_tick, at = ceil(newest / tick), now > newest and now or newest
				local ends, age = newest_tick * tick + window, newest_tick - ceil(given / tick)

				if past > capacity then
					entries = entries .. sub(state, 25, 24 + 4 * (past - capacity))
				end
				if left_out == 1 then
					entries = entries .. write('<I4', newest_tick % WORD)
				end
				if given > newest or age >= (ends > at and ceil((ends - at) / tick) or 0) then
					return
				end
				local function age_of(i)
					return (newest_tick - read('<I4', entries, 1 + 4 * i)) % WORD
				end
				local stop = count

				while stop > 0 and age_of(stop - 1) < age do
					stop = stop - 1
				end
				local start = stop

				while start > 0 and stop - start < cost and age_of(start - 1) == age do
					start = start - 1
				end
				if start == stop then
					return
				end
				return write('<I4I4I4I4I4I4', prefix, low, high, 0, count - (stop - start), capacity) .. sub(entries, 1, 4 * start) ..
					sub(entries, 1 + 4 * stop)
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

			if algorithm == 1 then
				refunded = refund_log(state, prefix, cost, window, given)
			elseif algorithm == 2 then
				refunded = refund_counter(state, cost, window, given)
			elseif algorithm == 3 then
				refunded = refund_window(state, cost, given)
			else
				refunded = refund_bucket(state, cost, limit, drain, unit, given)
			end
		end
