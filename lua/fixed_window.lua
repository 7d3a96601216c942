-- SPDX-License-Identifier: Apache-2.0

		-- fixed_window.lua: one counter; a window starts with a take that finds none running.
		elseif algorithm == 3 then
			local count, start = word3, word4 + word5 * WORD

			if not own then
				count, start = 0, 0
			elseif start > newest or newest - start >= WINDOW_MAX_US or count > LIMIT_MAX then
				return string.char(i)
			end
			if newest - start >= window then -- written under a longer window
				start = newest
			end
			if at - start >= window then
				count = 0
			end
			if count == 0 then
				start = at
			end

			remaining = count < limit and limit - count or 0
			if taking and cost <= remaining then
				reset = start + window - now
				after = write('<I4I4I4I4I4I4', prefix, at % WORD, floor(at / WORD), count + cost, start % WORD, floor(start / WORD))
			else
				reset = count > 0 and start + window - now or 0
				retry = cost > limit and -1 or cost > remaining and start + window - now or 0
			end
