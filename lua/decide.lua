
-- decide.lua: the verbs over all keys. Everything is read and decided before anything is written; the first write of a
-- server that is out of memory, a replica, or unable to save fails, and later ones don't: so all is taken or nothing.

local TAKE, PEEK, REFUND = 0, 1, 2
local POLICY, ANSWER = '<BI4I4I4dI4dd', '<BI4ddd'

-- key: from where more of the state is read when it is long; nothing: it is whole.
local function look(key, state, taking, algorithm, prefix, most, cost, window, drain, unit)
	if algorithm == 1 then
		if key and most * 4 + 24 > WHOLE_MAX then
			return sliding_log_long(key, state, taking, prefix, most, cost, window)
		end
		return sliding_log(state, taking, prefix, most, cost, window)
	elseif algorithm == 2 then
		return sliding_counter(state, taking, prefix, most, cost, window)
	elseif algorithm == 3 then
		return fixed_window(state, taking, prefix, most, cost, window)
	end
	return token_bucket(state, taking, prefix, most, cost, window, drain, unit)
end

local function fetch(key, algorithm, _, most)
	if algorithm == 1 and most * 4 + 24 > WHOLE_MAX then
		return call('GETRANGE', key, 0, WHOLE_MAX - 1)
	end
	return call('GET', key) or ''
end

-- The key lives until its state is empty, and a little longer.
local function save(key, state, reset)
	local keep_ms = ceil(reset / 1000) + KEEP_MS

	if type(state) == 'string' then
		call('SET', key, state, 'PX', keep_ms)
		return
	end
	for i = 1, #state, 2 do
		call('SETRANGE', key, state[i], state[i + 1])
	end
	call('PEXPIRE', key, keep_ms)
end

-- The answers of a peek.
local function peek(arguments)
	local answers = {}

	for i = 1, #KEYS do
		local place = 41 * i - 39
		local _, _, _, cost = read(POLICY, arguments, place)
		local remaining, retry, reset, at =
			look(KEYS[i], fetch(KEYS[i], read(POLICY, arguments, place)), false, read(POLICY, arguments, place))

		if not remaining then
			return string.char(i)
		end
		answers[i] = write(ANSWER, cost <= remaining and 1 or 0, remaining, retry, reset, at)
	end
	return table.concat(answers)
end

local function take(arguments)
	local answers, states, resets, n = '', {}, {}, #KEYS
	local denied

	for i = 1, n do
		local algorithm, prefix, most, cost, window, drain, unit = read(POLICY, arguments, 41 * i - 39)
		local remaining, retry, reset, at, state = look(KEYS[i], fetch(KEYS[i], algorithm, prefix, most), true, algorithm,
			prefix, most, cost, window, drain, unit)

		if not remaining then
			return string.char(i)
		end
		if not state then
			if n == 1 then
				return write(ANSWER, 0, remaining, retry, reset, at)
			end
			denied = true
		elseif not denied then
			answers, states[i], resets[i] = answers .. write(ANSWER, 1, remaining - cost, 0, reset, at), state, reset
		end
	end
	if denied then
		return peek(arguments)
	end
	for i = 1, n do
		save(KEYS[i], states[i], resets[i])
	end
	return answers
end

local function give_back(arguments)
	local answers, states, resets, refund = {}, {}, {}, new_refund()

	for i = 1, #KEYS do
		local algorithm, prefix, most, cost, window, drain, unit, given = read(POLICY, arguments, 41 * i - 39)
		local state = call('GET', KEYS[i]) or ''
		local before = look(nil, state, false, algorithm, prefix, most, cost, window, drain, unit)

		if not before then
			return string.char(i)
		end
		states[i] = refund(algorithm, state, prefix, most, cost, window, drain, unit, given)
		local remaining, retry, reset, at =
			look(nil, states[i] or state, false, algorithm, prefix, most, 1, window, drain, unit)

		resets[i] = reset
		answers[i] = write(ANSWER, (remaining > 0 and 1 or 0) + (states[i] and before < cost and 2 or 0), remaining, retry,
			reset, at)
	end
	for i = 1, #KEYS do
		if states[i] then
			save(KEYS[i], states[i], resets[i])
		end
	end
	return table.concat(answers)
end

local arguments = ARGV[1]
local verb = arguments:byte()

if verb == TAKE then
	return take(arguments)
elseif verb == PEEK then
	return peek(arguments)
elseif verb == REFUND then
	return give_back(arguments)
end
call('DEL', unpack(KEYS))
return ''
