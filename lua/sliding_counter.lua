-- SPDX-License-Identifier: Apache-2.0

		-- sliding_counter.lua: two counters for two windows that follow one another.
		elseif algorithm == 2 then
			local count, before, start = word3, word4, 0

			if own then
				if #state < 28 then
					return string.char(i)
				end
				start = word5 + word6 * WORD
				if start > newest or newest - start >= WINDOW_MAX_US or count > LIMIT_MAX or before > LIMIT_MAX then
					return string.char(i)
				end
			else
				count, before = 0, 0
			end
			if newest - start >= window then -- written under a longer window
				start, before = newest, 0
			end
			if at - start >= 2 * window then
				before, count = 0, 0
			elseif at - start >= window then
				before, count, start = count, 0, start + window
			end
			if before == 0 and count == 0 then
				start = at
			end

			-- ceil(before * left / window): long division by digits of 7 bits where the product would not fit.
			local left, used = start + window - at, count
			if before * left < EXACT_MAX then
				used = used + ceil(before * left / window)
			else
				local quotient, rest, scale = 0, 0, 2097152

				while scale >= 1 do
					rest = rest * 128 + floor(before / scale) % 128 * left
					quotient, rest, scale = quotient * 128 + floor(rest / window), rest % window, scale / 128
				end
				used = used + quotient + (rest > 0 and 1 or 0)
			end

			remaining = used < limit and limit - used or 0
			if taking and cost <= remaining then
				reset = start + 2 * window - now
				after = write('<I4I4I4I4I4I4I4', prefix, at % WORD, floor(at / WORD), count + cost, before, start % WORD,
					floor(start / WORD))
			else
				if used > 0 then
					reset = start + (count > 0 and 2 or 1) * window - now
				end
				if cost > limit then
					retry = -1
				elseif cost > remaining then
					-- As the older units fade, or in the next window, where those of now are the older ones. Units may
					-- weigh `spare` while no more than floor(spare * window / units) of the window is left.
					local spare, units, ends = limit - cost - count, before, start + window

					if spare < 0 then
						spare, units, ends = limit - cost, count, ends + window
					end
					retry = ends - now
					if units > 0 then
						retry = retry - floor(window / units) * spare - floor(window % units * spare / units)
					else
						retry = retry - window
					end
				end
			end
