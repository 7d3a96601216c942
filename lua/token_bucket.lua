-- SPDX-License-Identifier: Apache-2.0

		-- token_bucket.lua: the bucket as a meter of what is owed. `limit` is the burst.
		else
			drain, unit, place = read('<I4d', arguments, place)
			local old, debt = word3, word4 + word5 * WORD

			if not own then
				old, debt = drain, 0
			elseif word5 >= 2097152 or old < 1 or old > LIMIT_MAX then
				return string.char(i)
			end
			if old ~= drain then -- a debt that takes as long to pay back as before: ceil(debt * drain / old)
				local most = EXACT_MAX - 1
				local rest = math.fmod(debt, old)
				local whole = (debt - rest) / old

				if whole >= (most - math.fmod(most, drain)) / drain then
					debt = most
				else
					debt = whole * drain + ceil(rest * drain / old)
				end
			end
			local paid = (at - newest) * drain -- when not exact, it is above every debt
			debt = paid < debt and debt - paid or 0

			local full = limit * unit
			remaining = debt < full and floor((full - debt) / unit) or 0
			if taking and cost <= remaining then
				debt = debt + cost * unit
				reset = ceil(debt / drain) + (at - now)
				after = write('<I4I4I4I4I4I4', prefix, at % WORD, floor(at / WORD), drain, debt % WORD, floor(debt / WORD))
			else
				if debt > 0 then
					reset = ceil(debt / drain) + (at - now)
				end
				if cost > limit then
					retry = -1
				elseif cost > remaining then
					retry = ceil((debt - (limit - cost) * unit) / drain) + (at - now)
				end
			end
		end
