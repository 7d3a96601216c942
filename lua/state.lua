
if now > TIME_MAX_US then
	now = TIME_MAX_US
end

-- A state that does not begin as those of the policy do: true when it is malformed, false when it is another
-- algorithm's, or of another tick, and counts as none.
local function malformed(state)
	if #state < 12 then
		return true
	end
	local format, algorithm, tick = read('<BBI2', state)

	return format ~= 1 or algorithm < 1 or algorithm > 4 or (algorithm == 1) ~= (tick ~= 0)
end
