
if now > TIME_MAX_US then
	now = TIME_MAX_US
end

-- A state that is not of the policy's own kind or too short for it: true when it is malformed, false when it is another
-- algorithm's, or of another tick, and counts as none.
local function malformed(state, prefix)
	if #state < 12 or read('<I4', state) == prefix then
		return true
	end
	local format, algorithm, tick = read('<BBI2', state)

	return format ~= 1 or algorithm < 1 or algorithm > 4 or (algorithm == 1) ~= (tick ~= 0)
end
