-- The library cjson: JSON as Redis' scripts have it. A table is an array when its keys are positive integers and not too
-- sparse; the empty table is an object; null is `cjson.null`; "/" is escaped; numbers have 14 digits.

local null, blame = ...
local byte, char, find, format, gsub, sub, floor, huge, concat, type, next, tonumber, tostring, select =
    string.byte, string.char, string.find, string.format, string.gsub, string.sub, math.floor, math.huge, table.concat,
    type, next, tonumber, tostring, select

local INT_MAX = 2147483647

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\127"] = "\\u007f" }
for code = 0, 31 do
    ESCAPES[char(code)] = format("\\u%04x", code)
end
ESCAPES["\b"], ESCAPES["\t"], ESCAPES["\n"], ESCAPES["\f"], ESCAPES["\r"] = "\\b", "\\t", "\\n", "\\f", "\\r"

local PLAIN = { ["\""] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

-- encoding ----------------------------------------------------------------------------------------------------------

local encode_value

local function quoted(text)
    return '"' .. gsub(text, '[%c"\\/\127]', ESCAPES) .. '"'
end

local function encode_number(config, number)
    if number ~= number or number == huge or number == -huge then
        if config.encode_invalid == "null" then
            return "null"
        elseif not config.encode_invalid then
            blame("Cannot serialise number: must not be NaN or Inf")
        end
        return number ~= number and "nan" or number > 0 and "inf" or "-inf"
    end
    return format(config.number_format, number)
end

-- How long the array is that a table can be; nil when it is an object.
local function array_length(config, t)
    local largest, count = 0, 0
    for key in next, t do
        if type(key) ~= "number" or key < 1 or floor(key) ~= key then
            return nil
        end
        count = count + 1
        if key > largest then
            largest = key <= INT_MAX and key or -INT_MAX - 1 -- what does not fit C's int
        end
    end
    if config.sparse_ratio > 0 and largest > count * config.sparse_ratio and largest > config.sparse_safe then
        if not config.sparse_convert then
            blame("Cannot serialise table: excessively sparse array")
        end
        return nil
    end
    return largest > 0 and largest or nil
end

local function encode_table(config, out, t, depth)
    depth = depth + 1
    if depth > config.encode_depth then
        blame("Cannot serialise, excessive nesting (" .. depth .. ")")
    end
    local length = array_length(config, t)
    if length then
        out[#out + 1] = "["
        for at = 1, length do
            if at > 1 then
                out[#out + 1] = ","
            end
            encode_value(config, out, t[at], depth)
        end
        out[#out + 1] = "]"
        return
    end
    local separator = "{"
    for key, value in next, t do
        local kind = type(key)
        if kind == "string" then
            out[#out + 1] = separator .. quoted(key) .. ":"
        elseif kind == "number" then
            out[#out + 1] = separator .. '"' .. encode_number(config, key) .. '":'
        else
            blame("Cannot serialise " .. kind .. ": table key must be a number or string")
        end
        separator = ","
        encode_value(config, out, value, depth)
    end
    out[#out + 1] = separator == "{" and "{}" or "}"
end

function encode_value(config, out, value, depth)
    local kind = type(value)
    if kind == "string" then
        out[#out + 1] = quoted(value)
    elseif kind == "number" then
        out[#out + 1] = encode_number(config, value)
    elseif kind == "table" then
        encode_table(config, out, value, depth)
    elseif kind == "boolean" then
        out[#out + 1] = value and "true" or "false"
    elseif value == nil or value == null then
        out[#out + 1] = "null"
    else
        blame("Cannot serialise " .. kind .. ": type not supported")
    end
end

-- decoding ----------------------------------------------------------------------------------------------------------

local TOKENS = {
    ["\0"] = "T_END",
    ["{"] = "T_OBJ_BEGIN", ["}"] = "T_OBJ_END", ["["] = "T_ARR_BEGIN", ["]"] = "T_ARR_END", [":"] = "T_COLON",
    [","] = "T_COMMA", [""] = "T_END",
}

local decode_value, decode_string, decode_number

-- What stands at a position, for an error message.
local function found_at(what, config, text, at)
    local c = sub(text, at, at)
    if TOKENS[c] then
        return TOKENS[c]
    elseif c == '"' then
        decode_string(text, at, what)
        return "T_STRING"
    elseif sub(text, at, at + 3) == "null" then
        return "T_NULL"
    elseif sub(text, at, at + 3) == "true" or sub(text, at, at + 4) == "false" then
        return "T_BOOLEAN"
    elseif decode_number(config, text, at, what) then
        return "T_NUMBER"
    end
    return "invalid token"
end

local function bad_token(what, problem, at)
    blame("Expected " .. what .. " but found " .. problem .. " at character " .. at)
end

local function expected(what, config, text, at)
    bad_token(what, found_at(what, config, text, at), at)
end

local function utf8(code)
    if code < 0x80 then
        return char(code)
    elseif code < 0x800 then
        return char(0xC0 + floor(code / 64), 0x80 + code % 64)
    elseif code < 0x10000 then
        return char(0xE0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
    end
    return char(
        0xF0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64, 0x80 + floor(code / 64) % 64, 0x80 + code % 64
    )
end

local function hex_at(text, at)
    local digits = sub(text, at, at + 3)
    return find(digits, "^%x%x%x%x$") and tonumber(digits, 16) or nil
end

local function unicode_at(text, at, what)
    local code = hex_at(text, at + 2)
    if not code or code >= 0xDC00 and code < 0xE000 then
        bad_token(what, "invalid unicode escape code", at)
    end
    if code < 0xD800 or code >= 0xDC00 then
        return utf8(code), at + 6
    end
    local low = sub(text, at + 6, at + 7) == "\\u" and hex_at(text, at + 8)
    if not low or low < 0xDC00 or low >= 0xE000 then
        bad_token(what, "invalid unicode escape code", at)
    end
    return utf8(0x10000 + (code - 0xD800) * 0x400 + low - 0xDC00), at + 12
end

-- A string, and the position behind it; `what` was expected there.
function decode_string(text, start, what)
    local at = find(text, '["\\%z]', start + 1)
    if at and byte(text, at) == 34 then
        return sub(text, start + 1, at - 1), at + 1
    end
    local out, from = {}, start + 1
    while true do
        local c = at and byte(text, at)
        if not c or c == 0 then
            bad_token(what, "unexpected end of string", at or #text + 1)
        end
        out[#out + 1] = sub(text, from, at - 1)
        if c == 34 then
            return concat(out), at + 1
        end
        local escaped = sub(text, at + 1, at + 1)
        if escaped == "u" then
            out[#out + 1], from = unicode_at(text, at, what)
        else
            if not PLAIN[escaped] then
                bad_token(what, "invalid escape code", at)
            end
            out[#out + 1], from = PLAIN[escaped], at + 2
        end
        at = find(text, '["\\%z]', from)
    end
end

-- What strtod of C reads at a position, and the position behind it; nil when that is no number.
local function read_number(text, at)
    local sign = byte(text, at) == 45 and -1 or 1
    local from = find(text, "^[-+]", at) and at + 1 or at
    local _, stop = find(text, "^0[xX]%x+%.?%x*", from)
    if not stop then
        _, stop = find(text, "^0[xX]%.%x+", from)
    end
    if stop then
        local _, longer = find(text, "^[pP][-+]?%d+", stop + 1)
        stop = longer or stop
    else
        _, stop = find(text, "^%d+%.?%d*", from)
        if not stop then
            _, stop = find(text, "^%.%d+", from)
        end
        if stop then
            local _, longer = find(text, "^[eE][-+]?%d+", stop + 1)
            stop = longer or stop
        end
    end
    if stop then
        return sign * tonumber(sub(text, from, stop)), stop + 1
    end
    _, stop = find(text, "^[iI][nN][fF]", from)
    if stop then
        local _, longer = find(text, "^[iI][nN][iI][tT][yY]", stop + 1)
        return sign * huge, (longer or stop) + 1
    end
    _, stop = find(text, "^[nN][aA][nN]", from)
    if stop then
        local _, longer = find(text, "^%([%w_]*%)", stop + 1)
        return sign == 1 and -(0 / 0) or 0 / 0, (longer or stop) + 1
    end
    return nil
end

-- Is it a number that JSON does not know?
local function is_invalid_number(text, at)
    if byte(text, at) == 43 then
        return true
    end
    local from = byte(text, at) == 45 and at + 1 or at
    return find(text, "^0[xX%d]", from) or find(text, "^[iI][nN][fF]", from) or find(text, "^[nN][aA][nN]", from)
end

-- The number at a position and the position behind it; nil when there is none; `what` was expected there.
function decode_number(config, text, at, what)
    local strict = not config.decode_invalid
    if find(text, "^[-%d]", at) then
        if strict and is_invalid_number(text, at) then
            bad_token(what, "invalid number", at)
        end
    elseif strict or not find(text, "^[+iInN]", at) or not is_invalid_number(text, at) then
        return nil
    end
    local number, behind = read_number(text, at)
    if not number then
        bad_token(what, "invalid number", at)
    end
    return number, behind
end

local function skip(text, at)
    local _, stop = find(text, "^[ \t\n\r]*", at)
    return stop + 1
end

local function too_deep(config, depth, at)
    if depth > config.decode_depth then
        blame("Found too many nested data structures (" .. depth .. ") at character " .. at)
    end
end

local function decode_object(config, text, at, depth)
    too_deep(config, depth, at)
    local t = {}
    at = skip(text, at + 1)
    if byte(text, at) == 125 then
        return t, at + 1
    end
    while true do
        if byte(text, at) ~= 34 then
            expected("object key string", config, text, at)
        end
        local key
        key, at = decode_string(text, at, "object key string")
        at = skip(text, at)
        if byte(text, at) ~= 58 then
            expected("colon", config, text, at)
        end
        t[key], at = decode_value(config, text, skip(text, at + 1), depth)
        at = skip(text, at)
        local c = byte(text, at)
        if c == 125 then
            return t, at + 1
        elseif c ~= 44 then
            expected("comma or object end", config, text, at)
        end
        at = skip(text, at + 1)
    end
end

local function decode_array(config, text, at, depth)
    too_deep(config, depth, at)
    local t, count = {}, 0
    at = skip(text, at + 1)
    if byte(text, at) == 93 then
        return t, at + 1
    end
    while true do
        count = count + 1
        t[count], at = decode_value(config, text, at, depth)
        at = skip(text, at)
        local c = byte(text, at)
        if c == 93 then
            return t, at + 1
        elseif c ~= 44 then
            expected("comma or array end", config, text, at)
        end
        at = skip(text, at + 1)
    end
end

function decode_value(config, text, at, depth)
    local c = byte(text, at)
    if c == 34 then
        return decode_string(text, at, "value")
    elseif c == 123 then
        return decode_object(config, text, at, depth + 1)
    elseif c == 91 then
        return decode_array(config, text, at, depth + 1)
    elseif c == 116 and sub(text, at, at + 3) == "true" then
        return true, at + 4
    elseif c == 102 and sub(text, at, at + 4) == "false" then
        return false, at + 5
    elseif c == 110 and sub(text, at, at + 3) == "null" then
        return null, at + 4
    end
    local number, behind = decode_number(config, text, at, "value")
    if number then
        return number, behind
    end
    return expected("value", config, text, at)
end

-- the library -------------------------------------------------------------------------------------------------------

local function at_most(count, name, ...)
    if select("#", ...) > count then
        blame("bad argument #" .. count + 1 .. " to '" .. name .. "' (found too many arguments)")
    end
end

-- A number as C's int, or nil when there is none.
local function integer(value, name, position, low, high)
    if value == nil then
        return nil
    end
    local number = tonumber(value)
    if not number then
        blame("bad argument #" .. position .. " to '" .. name .. "' (number expected, got " .. type(value) .. ")")
    end
    if number ~= number or number >= 2 ^ 63 or number < -2 ^ 63 then
        number = 0
    end
    number = number < 0 and -floor(-number) or floor(number)
    number = (number + 0x80000000) % 0x100000000 - 0x80000000
    if number < low or number > high then
        blame("bad argument #1 to '" .. name .. "' (expected integer between " .. low .. " and " .. high .. ")")
    end
    return number
end

local function integer_setting(config, name, low, high)
    return function(...)
        at_most(1, name, ...)
        local value = integer((...), name, 1, low, high)
        if value then
            config[name] = value
            config.number_format = "%." .. config.encode_number_precision .. "g"
            config.encode_depth, config.decode_depth = config.encode_max_depth, config.decode_max_depth
        end
        return config[name]
    end
end

local function switch(value, allowed, name)
    if type(value) == "boolean" then
        return value
    elseif value == "on" or value == "off" then
        return value == "on"
    elseif allowed and value == allowed then
        return value
    elseif type(value) ~= "string" and type(value) ~= "number" then
        blame("bad argument #1 to '" .. name .. "' (string expected, got " .. type(value) .. ")")
    end
    return blame("bad argument #1 to '" .. name .. "' (invalid option '" .. gsub(value, "%z.*", "") .. "')")
end

local function switch_setting(config, name, field, allowed)
    return function(...)
        at_most(1, name, ...)
        if (...) ~= nil then
            config[field] = switch((...), allowed, name)
        end
        return config[field]
    end
end

local function new()
    local config = {
        encode_max_depth = 1000, decode_max_depth = 1000, encode_number_precision = 14,
        encode_depth = 1000, decode_depth = 1000, number_format = "%.14g",
        encode_invalid = false, decode_invalid = true, sparse_convert = false, sparse_ratio = 2, sparse_safe = 10,
        keep_buffer = true,
    }
    local library = { _NAME = "cjson", _VERSION = "2.1.0", null = null, new = new }

    function library.encode(...)
        if select("#", ...) ~= 1 then
            blame("bad argument #1 to 'encode' (expected 1 argument)")
        end
        local out = {}
        encode_value(config, out, (...), 0)
        return concat(out)
    end

    function library.decode(...)
        local text = ...
        if select("#", ...) ~= 1 then
            blame("bad argument #1 to 'decode' (expected 1 argument)")
        end
        if type(text) == "number" then
            text = tostring(text)
        elseif type(text) ~= "string" then
            blame("bad argument #1 to 'decode' (string expected, got " .. type(text) .. ")")
        end
        if #text > 1 and (byte(text, 1) == 0 or byte(text, 2) == 0) then
            blame("JSON parser does not support UTF-16 or UTF-32")
        end
        local value, at = decode_value(config, text, skip(text, 1), 0)
        at = skip(text, at)
        if at <= #text then
            expected("the end", config, text, at)
        end
        return value
    end

    for name, range in next, {
        encode_max_depth = { 1, 2147483647 },
        decode_max_depth = { 1, 2147483647 },
        encode_number_precision = { 1, 14 },
    } do
        library[name] = integer_setting(config, name, range[1], range[2])
    end

    library.encode_invalid_numbers = switch_setting(config, "encode_invalid_numbers", "encode_invalid", "null")
    library.decode_invalid_numbers = switch_setting(config, "decode_invalid_numbers", "decode_invalid")
    library.encode_keep_buffer = switch_setting(config, "encode_keep_buffer", "keep_buffer")

    function library.encode_sparse_array(...)
        at_most(3, "encode_sparse_array", ...)
        local convert, ratio, safe = ...
        if convert ~= nil then
            config.sparse_convert = switch(convert, nil, "encode_sparse_array")
        end
        config.sparse_ratio = integer(ratio, "encode_sparse_array", 2, 0, INT_MAX) or config.sparse_ratio
        config.sparse_safe = integer(safe, "encode_sparse_array", 3, 0, INT_MAX) or config.sparse_safe
        return config.sparse_convert, config.sparse_ratio, config.sparse_safe
    end

    return library
end

return new()
