-- string.find, match, gmatch and gsub for patterns that nobody has looked at.
--
-- Lua's matcher runs in C, where no hook ends it, and tries all ways: ('a-'):rep(20) takes longer than anybody lives, and
-- a pattern of 200,000 items runs out of C's stack. So a pattern's cost is bounded before: with n things that repeat, a
-- subject of l bytes takes at most l^n steps (l^(n+1) when the pattern may begin anywhere), each of them as long as the
-- pattern in the worst case. What is cheap goes to Lua's own matcher; what may be dear goes to the one here, which does the
-- same thing slowly, and can be ended. `spend` hears what is given to C.

local blame, spend, told, cheap = ...
local byte, find, sub, match, gmatch, gsub =
    string.byte, string.find, string.sub, string.match, string.gmatch, string.gsub
local type, tostring, unpack, pcall, concat, floor = type, tostring, unpack, pcall, table.concat, math.floor

local CHEAP = cheap or 5e6 -- steps: some tens of milliseconds
local WIDE = 20 * CHEAP -- bytes compared
local REPEATS_MAX, KNOWN_MAX = 150, 1000

-- How many things repeat in a pattern, and does it begin at the beginning only?
local known, known_count = {}, 0

local function repeats_of(pattern)
    local count = known[pattern]
    if count then
        return count
    end
    count = 0
    local at, size = 1, #pattern
    while at <= size do
        local c = byte(pattern, at)
        if c == 37 then -- %
            local following = byte(pattern, at + 1)
            if following == 98 or following and following >= 48 and following <= 57 then -- %b, %1
                count = count + 1
            end
            at = at + 2
        elseif c == 91 then -- [
            at = at + 1
            if byte(pattern, at) == 94 then
                at = at + 1
            end
            repeat
                if byte(pattern, at) == 37 then
                    at = at + 1
                end
                at = at + 1
            until at > size or byte(pattern, at) == 93
            at = at + 1
        else
            if c == 42 or c == 43 or c == 45 or c == 63 then -- * + - ?
                count = count + 1
            end
            at = at + 1
        end
    end
    if size < KNOWN_MAX then
        if known_count > 1000 then
            known, known_count = {}, 0
        end
        known[pattern], known_count = count, known_count + 1
    end
    return count
end

local function is_cheap(subject, pattern)
    local repeats = repeats_of(pattern)
    if repeats > REPEATS_MAX then
        blame("pattern too complex")
    end
    if byte(pattern, 1) ~= 94 then
        repeats = repeats + 1
    end
    local steps = #subject
    if repeats <= 1 then
        spend(steps)
        return steps * #pattern <= WIDE
    end
    steps = steps ^ repeats * (1 + #pattern / 100)
    if steps > CHEAP then
        return false
    end
    spend(steps)
    return true
end

-- the slow matcher --------------------------------------------------------------------------------------------------

local subject, pattern, size, stop, level, starts, lengths
local UNFINISHED, POSITION = -1, -2

local function class_end(p)
    local c = byte(pattern, p)
    p = p + 1
    if c == 37 then
        if p > stop then
            blame("malformed pattern (ends with '%')")
        end
        return p + 1
    end
    if c == 91 then
        if byte(pattern, p) == 94 then
            p = p + 1
        end
        repeat
            if p > stop then
                blame("malformed pattern (missing ']')")
            end
            local inside = byte(pattern, p)
            p = p + 1
            if inside == 37 and p <= stop then
                p = p + 1
            end
        until byte(pattern, p) == 93
        return p + 1
    end
    return p
end

-- Does the byte at `s` match the item from `p` up to `e`? One item is matched in C: it cannot be dear.
local function single(s, p, e)
    if s > size then
        return false
    end
    local c = byte(pattern, p)
    if c == 46 then
        return true
    elseif c == 37 or c == 91 then
        return find(sub(subject, s, s), "^" .. sub(pattern, p, e - 1)) ~= nil
    end
    return c == byte(subject, s)
end

local matches

local function capture_to_close()
    for n = level, 1, -1 do
        if lengths[n] == UNFINISHED then
            return n
        end
    end
    blame("invalid pattern capture")
end

local function at_item(s, p)
    local e = class_end(p)
    local suffix = e <= stop and byte(pattern, e) or 0
    if suffix == 63 then -- ?
        if single(s, p, e) then
            local found = matches(s + 1, e + 1)
            if found then
                return found
            end
        end
        return matches(s, e + 1)
    elseif suffix == 42 or suffix == 43 then -- * +
        local count = 0
        while single(s + count, p, e) do
            count = count + 1
        end
        for taken = count, suffix == 43 and 1 or 0, -1 do
            local found = matches(s + taken, e + 1)
            if found then
                return found
            end
        end
        return nil
    elseif suffix == 45 then -- -
        while true do
            local found = matches(s, e + 1)
            if found then
                return found
            end
            if not single(s, p, e) then
                return nil
            end
            s = s + 1
        end
    end
    return false, e
end

local function balanced(s, p)
    if p + 1 > stop then
        blame("unbalanced pattern")
    end
    local open, close = byte(pattern, p, p + 1)
    if byte(subject, s) ~= open then
        return nil
    end
    local depth = 1
    for at = s + 1, size do
        local c = byte(subject, at)
        if c == close then
            depth = depth - 1
            if depth == 0 then
                return at + 1
            end
        elseif c == open then
            depth = depth + 1
        end
    end
    return nil
end

-- Where a match of the pattern from `p` ends that begins at `s`, or nil.
function matches(s, p)
    while p <= stop do
        local c = byte(pattern, p)
        if c == 40 then -- (
            level = level + 1
            if level > 32 then
                blame("too many captures")
            end
            starts[level] = s
            local found
            if byte(pattern, p + 1) == 41 then
                lengths[level] = POSITION
                found = matches(s, p + 2)
            else
                lengths[level] = UNFINISHED
                found = matches(s, p + 1)
            end
            if not found then
                level = level - 1
            end
            return found
        elseif c == 41 then -- )
            local n = capture_to_close()
            lengths[n] = s - starts[n]
            local found = matches(s, p + 1)
            if not found then
                lengths[n] = UNFINISHED
            end
            return found
        elseif c == 36 and p == stop then -- $
            return s == size + 1 and s or nil
        elseif c == 37 and byte(pattern, p + 1) == 98 then -- %b
            s = balanced(s, p + 2)
            if not s then
                return nil
            end
            p = p + 4
        elseif c == 37 and byte(pattern, p + 1) == 102 then -- %f
            p = p + 2
            if byte(pattern, p) ~= 91 then
                blame("missing '[' after '%f' in pattern")
            end
            local e = class_end(p)
            local before = s == 1 and "\0" or sub(subject, s - 1, s - 1)
            local here = s > size and "\0" or sub(subject, s, s)
            local set = "^" .. sub(pattern, p, e - 1)
            if find(before, set) or not find(here, set) then
                return nil
            end
            p = e
        elseif c == 37 and (byte(pattern, p + 1) or 0) >= 48 and (byte(pattern, p + 1) or 0) <= 57 then -- %1
            local n = byte(pattern, p + 1) - 48
            if n < 1 or n > level or lengths[n] == UNFINISHED then
                blame("invalid capture index")
            end
            if lengths[n] == POSITION then
                return nil
            end
            local text = sub(subject, starts[n], starts[n] + lengths[n] - 1)
            if sub(subject, s, s + #text - 1) ~= text then
                return nil
            end
            s, p = s + #text, p + 2
        else
            local found, e = at_item(s, p)
            if found ~= false then
                return found
            end
            if not single(s, p, e) then
                return nil
            end
            s, p = s + 1, e
        end
    end
    return s
end

local function captured(n, s, e)
    if n > level then
        return sub(subject, s, e - 1)
    end
    if lengths[n] == POSITION then
        return starts[n]
    elseif lengths[n] == UNFINISHED then
        blame("unfinished capture")
    end
    return sub(subject, starts[n], starts[n] + lengths[n] - 1)
end

local function all_captured(s, e, whole_if_none)
    local count = level
    if count == 0 and whole_if_none then
        count = 1
    end
    local found = {}
    for n = 1, count do
        found[n] = captured(n, s, e)
    end
    return unpack(found, 1, count)
end

local function prepare(text, with)
    subject, pattern, size, stop = text, with, #text, #with
    starts, lengths = {}, {}
end

-- Start and end of the first match from `init` on.
local function search(text, with, init)
    prepare(text, with)
    local anchored = byte(with, 1) == 94
    local s = init
    repeat
        level = 0
        local e = matches(s, anchored and 2 or 1)
        if e then
            return s, e
        end
        s = s + 1
    until s > size + 1 or anchored
    return nil
end

local function first(init, length)
    init = init or 1
    if init < 0 then
        init = length + init + 1
    end
    return init < 1 and 1 or init > length + 1 and length + 1 or init
end

-- the functions -----------------------------------------------------------------------------------------------------

local function text_of(value)
    return type(value) == "number" and tostring(value) or value
end

-- Is Lua's own function to be asked: since it is cheap, or since it knows how to complain?
local function for_c(text, with)
    return type(text) ~= "string" or type(with) ~= "string" or is_cheap(text, with)
end

local new = {}

-- A long text in a longer one: piece by piece.
local function find_plain(text, with, init)
    local step = floor(WIDE / #with) + 1
    for from = first(init, #text), #text - #with + 1, step do
        spend(WIDE)
        local s, e = find(sub(text, from, from + step + #with - 2), with, 1, true)
        if s then
            return from + s - 1, from + e - 1
        end
    end
    return nil
end

function new.find(text, with, init, plain)
    text, with = text_of(text), text_of(with)
    if type(text) == "string" and type(with) == "string" and #text * #with > WIDE then
        if plain or not find(with, "[%^%$%*%+%?%.%(%[%%%-]") then
            return find_plain(text, with, init)
        end
    end
    if plain or for_c(text, with) then
        return told("find", pcall(find, text, with, init, plain))
    end
    local s, e = search(text, with, first(init, #text))
    if s then
        return s, e - 1, all_captured(s, e, false)
    end
    return nil
end

function new.match(text, with, init)
    text, with = text_of(text), text_of(with)
    if for_c(text, with) then
        return told("match", pcall(match, text, with, init))
    end
    local s, e = search(text, with, first(init, #text))
    if s then
        return all_captured(s, e, true)
    end
    return nil
end

function new.gmatch(text, with)
    text, with = text_of(text), text_of(with)
    if for_c(text, with) then
        return told("gmatch", pcall(gmatch, text, with))
    end
    local from = 1
    return function()
        prepare(text, with)
        for s = from, #text + 1 do
            level = 0
            local e = matches(s, 1)
            if e then
                from = e == s and e + 1 or e
                return all_captured(s, e, true)
            end
        end
        from = #text + 2
        return nil
    end
end

new.gfind = new.gmatch

-- What `with` (a string with %1, a table, a function) makes of the match at hand.
local function replacement(with, s, e)
    local value
    if type(with) == "string" then
        return (gsub(with, "%%(.?)", function(c)
            if c == "0" then
                return sub(subject, s, e - 1)
            elseif c >= "1" and c <= "9" then
                return tostring(captured(byte(c) - 48, s, e))
            end
            return c
        end))
    elseif type(with) == "table" then
        value = with[captured(1, s, e)]
    else
        local text, pat, n, last, depth, from, long = subject, pattern, size, stop, level, starts, lengths
        value = with(all_captured(s, e, true))
        subject, pattern, size, stop, level, starts, lengths = text, pat, n, last, depth, from, long
    end
    if not value then
        return sub(subject, s, e - 1)
    elseif type(value) ~= "string" and type(value) ~= "number" then
        blame("invalid replacement value (a " .. type(value) .. ")")
    end
    return value
end

function new.gsub(text, with, by, most)
    text, with = text_of(text), text_of(with)
    by = text_of(by)
    local is_long = type(text) == "string" and type(by) == "string" and #text * #by > WIDE and find(by, "%", 1, true)
    if not is_long and for_c(text, with) or type(by) ~= "string" and type(by) ~= "table" and type(by) ~= "function" then
        return told("gsub", pcall(gsub, text, with, by, most))
    end
    local anchored = byte(with, 1) == 94
    local out, count, s = {}, 0, 1
    most = most or #text + 1
    while count < most do
        prepare(text, with)
        level = 0
        local e = matches(s, anchored and 2 or 1)
        if e then
            count = count + 1
            out[#out + 1] = replacement(by, s, e)
        end
        if e and e > s then
            s = e
        elseif s <= #text then
            out[#out + 1] = sub(text, s, s)
            s = s + 1
        else
            break
        end
        if anchored then
            break
        end
    end
    out[#out + 1] = sub(text, s)
    return concat(out), count
end

return new
