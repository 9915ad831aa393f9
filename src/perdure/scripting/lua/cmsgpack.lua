-- The library cmsgpack: MessagePack as Redis' scripts have it. Numbers without a fraction are packed as integers, the
-- shortest form first; strings as str; a table is an array when its keys are 1 to n. What nests deeper than 16 tables is
-- packed as nil.

local blame = ...
local byte, char, sub, floor, type, next, select, concat, huge, frexp, ldexp, unpack, tostring =
    string.byte, string.char, string.sub, math.floor, type, next, select, table.concat, math.huge, math.frexp,
    math.ldexp, unpack, tostring
local error, tonumber = error, tonumber

local DEPTH_MAX = 16

local function big_endian(number, bytes)
    local out = {}
    for at = bytes, 1, -1 do
        out[at] = char(number % 256)
        number = floor(number / 256)
    end
    return concat(out)
end

local function double(number)
    if number ~= number then
        return (byte(tostring(number)) == 45 and "\255" or "\127") .. "\248\0\0\0\0\0\0"
    elseif number == huge then
        return "\127\240\0\0\0\0\0\0"
    elseif number == -huge then
        return "\255\240\0\0\0\0\0\0"
    elseif number == 0 then
        return 1 / number < 0 and "\128\0\0\0\0\0\0\0" or "\0\0\0\0\0\0\0\0"
    end
    local sign = 0
    if number < 0 then
        sign, number = 128, -number
    end
    local mantissa, exponent = frexp(number)
    exponent = exponent + 1022
    if exponent <= 0 then
        mantissa, exponent = ldexp(number, 1022), 0
    else
        mantissa = mantissa * 2 - 1
    end
    mantissa = mantissa * 0x10000000000000
    local high = floor(mantissa / 0x1000000000000)
    return char(sign + floor(exponent / 16), exponent % 16 * 16 + high) .. big_endian(mantissa % 0x1000000000000, 6)
end

local function single(number)
    if number == 0 then
        return 1 / number < 0 and "\128\0\0\0" or "\0\0\0\0"
    elseif number == huge then
        return "\127\128\0\0"
    elseif number == -huge then
        return "\255\128\0\0"
    end
    local sign = 0
    if number < 0 then
        sign, number = 128, -number
    end
    local mantissa, exponent = frexp(number)
    if exponent > 128 then
        return nil
    elseif exponent < -125 then
        local tiny = ldexp(number, 149)
        return tiny >= 1 and tiny % 1 == 0 and char(sign) .. big_endian(tiny, 3) or nil
    end
    mantissa = (mantissa * 2 - 1) * 0x800000
    if mantissa % 1 ~= 0 then
        return nil
    end
    exponent = exponent + 126
    return char(sign + floor(exponent / 2), exponent % 2 * 128 + floor(mantissa / 0x10000)) .. big_endian(mantissa % 0x10000, 2)
end

local function integer(number)
    if number >= 0 then
        if number < 128 then
            return char(number)
        elseif number < 0x100 then
            return "\204" .. char(number)
        elseif number < 0x10000 then
            return "\205" .. big_endian(number, 2)
        elseif number < 0x100000000 then
            return "\206" .. big_endian(number, 4)
        end
        return "\207" .. big_endian(number, 8)
    end
    if number >= -32 then
        return char(number + 256)
    elseif number >= -128 then
        return "\208" .. char(number + 256)
    elseif number >= -32768 then
        return "\209" .. big_endian(number + 0x10000, 2)
    elseif number >= -2147483648 then
        return "\210" .. big_endian(number + 0x100000000, 4)
    end
    local low = number % 0x100000000
    return "\211" .. big_endian((number - low) / 0x100000000 + 0x100000000, 4) .. big_endian(low, 4)
end

local function header(size, short, short_max, form8, form16, form32)
    if size <= short_max then
        return char(short + size)
    elseif form8 and size < 0x100 then
        return form8 .. char(size)
    elseif size < 0x10000 then
        return form16 .. big_endian(size, 2)
    end
    return form32 .. big_endian(size, 4)
end

local pack_value

local function pack_table(out, t, depth)
    local count, largest, is_array = 0, 0, true
    for key in next, t do
        count = count + 1
        if type(key) ~= "number" or key < 1 or key % 1 ~= 0 then
            is_array = false
        elseif key > largest then
            largest = key
        end
    end
    if is_array and largest == count then
        out[#out + 1] = header(count, 0x90, 15, nil, "\220", "\221")
        for at = 1, count do
            pack_value(out, t[at], depth)
        end
        return
    end
    out[#out + 1] = header(count, 0x80, 15, nil, "\222", "\223")
    for key, value in next, t do
        pack_value(out, key, depth)
        pack_value(out, value, depth)
    end
end

function pack_value(out, value, depth)
    local kind = type(value)
    if kind == "string" then
        out[#out + 1] = header(#value, 0xA0, 31, "\217", "\218", "\219")
        out[#out + 1] = value
    elseif kind == "number" then
        if value % 1 == 0 and value >= -0x8000000000000000 and value < 0x8000000000000000 then
            out[#out + 1] = integer(value)
        else
            local short = value == value and single(value)
            out[#out + 1] = short and "\202" .. short or "\203" .. double(value)
        end
    elseif kind == "boolean" then
        out[#out + 1] = value and "\195" or "\194"
    elseif kind == "table" and depth < DEPTH_MAX then
        pack_table(out, value, depth + 1)
    else
        out[#out + 1] = "\192"
    end
end

local library = { _NAME = "cmsgpack", _VERSION = "lua-cmsgpack 0.4.0", _DESCRIPTION = "MessagePack C implementation for Lua" }
library._COPYRIGHT = "Perdure's own"

function library.pack(...)
    local count = select("#", ...)
    if count == 0 then
        blame("bad argument #0 to 'pack' (MessagePack pack needs input.)")
    end
    local out = {}
    for at = 1, count do
        pack_value(out, (select(at, ...)), 0)
    end
    return concat(out)
end

-- unpacking: `unpack_at(text, at, depth)` gives the value at a position and the position behind it ------------------

local MISSING, BAD = "Missing bytes in input.", "Bad data format in input."

local TOO_DEEP = "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)"
local DEEPEST = 3000

local function number_at(text, at, bytes)
    if at + bytes - 1 > #text then
        blame(MISSING)
    end
    local number = 0
    for place = at, at + bytes - 1 do
        number = number * 256 + byte(text, place)
    end
    return number, at + bytes
end

local function signed_at(text, at, bytes)
    local number, behind = number_at(text, at, bytes)
    local half = 2 ^ (8 * bytes - 1)
    if bytes == 8 then
        local high, low = number_at(text, at, 4), number_at(text, at + 4, 4)
        if high >= 0x80000000 then
            return (high - 0x100000000) * 0x100000000 + low, behind
        end
        return high * 0x100000000 + low, behind
    end
    return number >= half and number - 2 * half or number, behind
end

local function float_at(text, at)
    local number, behind = number_at(text, at, 4)
    local sign = number >= 0x80000000 and -1 or 1
    number = number % 0x80000000
    local exponent, mantissa = floor(number / 0x800000), number % 0x800000
    if exponent == 255 then
        return mantissa == 0 and sign * huge or sign == 1 and -(0 / 0) or 0 / 0, behind
    elseif exponent == 0 then
        return sign * ldexp(mantissa, -149), behind
    end
    return sign * ldexp(mantissa + 0x800000, exponent - 150), behind
end

local function double_at(text, at)
    local high, low = number_at(text, at, 4), nil
    low = number_at(text, at + 4, 4)
    local sign = high >= 0x80000000 and -1 or 1
    high = high % 0x80000000
    local exponent, mantissa = floor(high / 0x100000), high % 0x100000 * 0x100000000 + low
    if exponent == 2047 then
        return mantissa == 0 and sign * huge or sign == 1 and -(0 / 0) or 0 / 0, at + 8
    elseif exponent == 0 then
        return sign * ldexp(mantissa, -1074), at + 8
    end
    return sign * ldexp(mantissa + 0x10000000000000, exponent - 1075), at + 8
end

local function string_at(text, at, size)
    if at + size - 1 > #text then
        blame(MISSING)
    end
    return sub(text, at, at + size - 1), at + size
end

local unpack_at

local function array_at(text, at, count, depth)
    local t = {}
    for n = 1, count do
        t[n], at = unpack_at(text, at, depth)
    end
    return t, at
end

local function map_at(text, at, count, depth)
    local t = {}
    for _ = 1, count do
        local key, value
        key, at = unpack_at(text, at, depth)
        value, at = unpack_at(text, at, depth)
        if key == nil or key ~= key then
            error("table index is " .. (key == nil and "nil" or "NaN"), 0)
        end
        t[key] = value
    end
    return t, at
end

local function sized(reader, bytes)
    return function(text, at, depth)
        local size
        size, at = number_at(text, at, bytes)
        return reader(text, at, size, depth)
    end
end

local function fixed(reader, bytes)
    return function(text, at)
        return reader(text, at, bytes)
    end
end

local readers = {
    [0xC0] = function(_, at) return nil, at end,
    [0xC2] = function(_, at) return false, at end,
    [0xC3] = function(_, at) return true, at end,
    [0xCA] = float_at, [0xCB] = double_at,
    [0xCC] = fixed(number_at, 1), [0xCD] = fixed(number_at, 2), [0xCE] = fixed(number_at, 4), [0xCF] = fixed(signed_at, 8),
    [0xD0] = fixed(signed_at, 1), [0xD1] = fixed(signed_at, 2), [0xD2] = fixed(signed_at, 4), [0xD3] = fixed(signed_at, 8),
    [0xD9] = sized(string_at, 1), [0xDA] = sized(string_at, 2), [0xDB] = sized(string_at, 4),
    [0xDC] = sized(array_at, 2), [0xDD] = sized(array_at, 4), [0xDE] = sized(map_at, 2), [0xDF] = sized(map_at, 4),
}

function unpack_at(text, at, depth)
    local head = byte(text, at)
    if not head then
        blame(MISSING)
    end
    if depth > DEEPEST then
        blame(TOO_DEEP)
    end
    at = at + 1
    if head < 0x80 then
        return head, at
    elseif head >= 0xE0 then
        return head - 256, at
    elseif head < 0x90 then
        return map_at(text, at, head - 0x80, depth + 1)
    elseif head < 0xA0 then
        return array_at(text, at, head - 0x90, depth + 1)
    elseif head < 0xC0 then
        return string_at(text, at, head - 0xA0)
    end
    local reader = readers[head]
    if not reader then
        blame(BAD)
    end
    return reader(text, at, depth + 1)
end

local function text_of(name, ...)
    local value = ...
    if type(value) == "number" then
        value = tostring(value)
    end
    if type(value) ~= "string" then
        blame("bad argument #1 to '" .. name .. "' (string expected, got " .. (select("#", ...) == 0 and "no value" or type(value)) .. ")")
    end
    return value
end

-- The argument at a position as an integer.
local function integer_of(name, position, default, ...)
    local value = select(position, ...)
    if value == nil and default then
        return default
    end
    local number = tonumber(value)
    if not number then
        local got = select("#", ...) < position and "no value" or type(value)
        blame("bad argument #" .. position .. " to '" .. name .. "' (number expected, got " .. got .. ")")
    end
    if number ~= number or number >= 0x8000000000000000 or number < -0x8000000000000000 then
        return -0x8000000000000000
    end
    return number < 0 and -floor(-number) or floor(number)
end

-- A number as C's int shows it.
local function as_int(number)
    return (number + 0x80000000) % 0x100000000 - 0x80000000
end

-- Up to `limit` values from behind `offset` on, after the offset where the next begins, or -1. All of them, and nothing
-- before, when neither is said.
local function unpack_some(text, limit, offset)
    if offset < 0 or limit < 0 then
        blame("Invalid request to unpack with offset of " .. as_int(offset) .. " and limit of " .. #text .. ".")
    elseif offset > #text then
        blame("Start offset " .. as_int(offset) .. " greater than input length " .. #text .. ".")
    end
    local all = limit == 0 and offset == 0
    local found, count, at = {}, all and 0 or 1, offset + 1
    local last = all and huge or limit + 1
    while at <= #text and count < last do
        count = count + 1
        found[count], at = unpack_at(text, at, 0)
    end
    if not all then
        found[1] = at > #text and -1 or at - 1
    end
    if count > 7000 then
        blame(TOO_DEEP)
    end
    return unpack(found, 1, count)
end

function library.unpack(...)
    return unpack_some(text_of("unpack", ...), 0, 0)
end

function library.unpack_one(...)
    local offset = integer_of("unpack_one", 2, 0, ...)
    return unpack_some(text_of("unpack_one", ...), 1, offset)
end

function library.unpack_limit(...)
    local limit, offset = integer_of("unpack_limit", 2, nil, ...), integer_of("unpack_limit", 3, 0, ...)
    return unpack_some(text_of("unpack_limit", ...), limit, offset)
end

return library
