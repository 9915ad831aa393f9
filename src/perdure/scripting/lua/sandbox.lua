-- The walls around scripts, and the way in and out. Runs once in each interpreter, before any script.
--
-- What is true behind them:
-- * Scripts hold no Python object: what they can call are closures of this file. A failure of Python comes back as
--   values (text, FAILED), or (false, text), and is raised here.
-- * Shared tables are seen through faces: empty tables whose metatable reads the real one and refuses to write. Lua 5.1
--   has no readonly tables, so everything that could reach around a metatable is replaced below.
-- * The environment of scripts, and of what they load, is a face; getfenv, setfenv, debug, io, os, package, print,
--   newproxy and bytecode are out of reach.
-- * A count hook looks at the clock (`host.tick`). To end a script it becomes a hook that raises at each instruction
--   outside of this file, so that no pcall helps. What may run in C for long, where no hook sees it, says what it costs
--   (`spend`).

local host, for_functions, version, version_num, period = ...

local assert, error, getmetatable, ipairs, loadstring, next, pairs, pcall, rawget, rawset, select, setmetatable, tostring,
    type, unpack, xpcall =
    assert, error, getmetatable, ipairs, loadstring, next, pairs, pcall, rawget, rawset, select, setmetatable, tostring,
    type, unpack, xpcall
local string, table, math, coroutine, collectgarbage, setfenv, newproxy =
    string, table, math, coroutine, collectgarbage, setfenv, newproxy
local getinfo, sethook, time = debug.getinfo, debug.sethook, os.time
local improve, dump = host.improve, string.dump
local byte, find, format, gsub, sub, concat, insert, remove, sort, floor =
    string.byte, string.find, string.format, string.gsub, string.sub, table.concat, table.insert, table.remove,
    table.sort, math.floor
local create, resume = coroutine.create, coroutine.resume

-- kinds of what Python returns besides a plain value, and of what `run` gives back
local STATUS, FAILED, ENCODED = 1, 2, 3
local NO_MEMORY, INTERNAL = "ERR not enough memory", "ERR internal error, see the server's log" -- kept: giving them
-- to a script that has no room left allocates nothing

local HERE = "=perdure:sandbox"

-- An error of whoever called one of the libraries, at its line.
local function blame(problem)
    local level = 2
    while true do
        local info = getinfo(level, "S")
        if not info then
            error(problem, 0)
        end
        if info.what ~= "tail" and sub(info.short_src, 1, 8) ~= "perdure:" then
            error(problem, level)
        end
        level = level + 1
    end
end

-- ending a script ---------------------------------------------------------------------------------------------------

local killed
local looks, second = 0, 0
local LOOKS, BUDGET = 100, 1e6

local function die()
    if getinfo(2, "S").source ~= HERE then
        error(killed, 0)
    end
end

local function ask()
    looks, second = 0, time()
    killed = host.tick()
    if killed then
        sethook(die, "", 1)
        error(killed, 0)
    end
end

-- The hook comes every `period` instructions. Few of them take a second when they work on long strings.
local function look()
    looks = looks + 1
    if looks >= LOOKS or time() ~= second then
        ask()
    end
end

-- Steps, or bytes, that something takes in C: a million are some milliseconds.
local spent = 0

local function spend(steps)
    spent = spent + steps
    if spent > BUDGET then
        spent = 0
        ask()
    end
end

local null = newproxy(true)
getmetatable(null).__tostring = function()
    return "userdata: (nil)"
end
local cjson, cmsgpack = host.cjson(null, blame), host.cmsgpack(blame)

local function watch_thread(thread)
    if killed then
        sethook(thread, die, "", 1)
    else
        sethook(thread, look, "", period)
    end
end

-- faces -------------------------------------------------------------------------------------------------------------

local behind = {}

local function refuse()
    error("Attempt to modify a readonly table", 2)
end

local function face(real, index)
    local front = {}
    behind[front] = real
    return setmetatable(front, { __index = index or real, __newindex = refuse })
end

local function missing(name, level)
    if type(name) ~= "string" and type(name) ~= "number" then
        error("Second argument to luaProtectedTableError must be a string or number", level + 1)
    end
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", level + 1)
end

local string_face = face(string)
local strings_metatable = face({ __index = string_face })
local globals_metatable = face({ __index = function() end })

local G = {}
local ENV = face(G, nil)

if for_functions then
    -- while a library is loaded it sees nothing but this `redis`
    getmetatable(ENV).__index = function(_, name)
        local value
        if host.loading then
            value = name == "redis" and host.loading or nil
        else
            value = G[name]
        end
        if value == nil then
            missing(name, 2)
        end
        return value
    end
else
    setmetatable(G, {
        __index = function(_, name)
            missing(name, 2)
        end,
    })
end

local function no_faces(t)
    if behind[t] then
        error("Attempt to modify a readonly table", 0)
    end
end

-- What Lua's own function gives, called by pcall; its complaints become those of whoever called. Those of the interpreter
-- itself have no position there.
local function told(name, ok, ...)
    if ok then
        return ...
    end
    local problem = ...
    local as_it_is = type(problem) ~= "string" or killed or problem == "not enough memory"
    if as_it_is or find(problem, ":%d+: ") or find(problem, "^attempt to ") then
        error(problem, 0)
    end
    return blame((gsub(problem, "'%?'", "'" .. name .. "'", 1)))
end

-- base library ------------------------------------------------------------------------------------------------------

for _, name in ipairs({
    "_VERSION", "assert", "gcinfo", "ipairs", "rawequal", "select", "tonumber", "tostring", "type", "unpack",
}) do
    G[name] = _G[name]
end

G._G = ENV

-- Lua's, for which our own functions are no levels.
function G.error(...)
    local problem, level = ...
    level = tonumber(level == nil and 1 or level)
    if not level or type(problem) ~= "string" and type(problem) ~= "number" then
        return error(problem, level and 0 or 1)
    end
    local at = 1
    while level > 0 do
        at = at + 1
        local info = getinfo(at, "Sl")
        if not info then
            break
        elseif sub(info.short_src, 1, 8) ~= "perdure:" then
            level = level - 1
            if level < 1 and info.currentline > 0 then
                problem = info.short_src .. ":" .. info.currentline .. ": " .. problem
            end
        end
    end
    error(problem, 0)
end

function G.getmetatable(value)
    if type(value) == "string" then
        return strings_metatable
    end
    if behind[value] then
        return value == ENV and globals_metatable or nil
    end
    return value ~= null and getmetatable(value) or nil
end

function G.setmetatable(...)
    no_faces((...))
    return told("setmetatable", pcall(setmetatable, ...))
end

function G.rawset(...)
    no_faces((...))
    return told("rawset", pcall(rawset, ...))
end

function G.rawget(t, ...)
    if behind[t] then
        return rawget(behind[t], ...)
    end
    return told("rawget", pcall(rawget, t, ...))
end

function G.next(t, ...)
    if behind[t] then
        return next(behind[t], ...)
    end
    return told("next", pcall(next, t, ...))
end

function G.pairs(...)
    local t = ...
    if behind[t] then
        local real = behind[t]
        return function(_, key)
            return next(real, key)
        end, t, nil
    end
    if type(t) == "table" then
        return next, t, nil
    end
    return told("pairs", pcall(pairs, ...))
end

local function of_python(problem)
    return type(problem) == "userdata" and problem ~= null
end

-- An error of redis.call is a table; whoever catches it gets its text, as in Redis.
local function text_of(problem)
    if type(problem) == "table" and (type(problem.err) == "string" or type(problem.err) == "number") then
        return problem.err
    elseif of_python(problem) then
        return "internal error"
    end
    return problem
end

local function caught(ok, ...)
    if ok then
        return true, ...
    end
    return false, text_of((...))
end

function G.pcall(...)
    return caught(pcall(...))
end

-- Lua calls a handler where the error was, for a killed script that is inside of the hook, where no hook would end it.
local function handled(handler, ok, ...)
    if ok then
        return true, ...
    end
    local done, told_by_it = pcall(handler, (...))
    return false, done and told_by_it or not done and "error in error handling" or nil
end

function G.xpcall(...)
    if select("#", ...) < 2 then
        blame("bad argument #2 to 'xpcall' (value expected)")
    end
    local body, handler = ...
    return handled(handler, pcall(body))
end

function G.collectgarbage(option, ...)
    if option == nil or option == "collect" or option == "count" or option == "step" then
        spend(option == "count" and 0 or 10 * collectgarbage("count"))
        return collectgarbage(option, ...)
    end
    return 0
end

-- A function from a text, in the scripts' environment; or nil and what is wrong. See bytecode.py for `improve`. No
-- script takes a name of ours, by which it would be spared when it is to end.
local function compiled(text, name)
    if byte(text, 1) == 27 then
        return nil, "attempt to load chunk with wrong mode"
    end
    if find(name, "^[=@]perdure:") then
        name = "=?" .. sub(name, 2)
    end
    spend(200 * #text)
    local chunk, problem = loadstring(text, name)
    if not chunk then
        return nil, problem
    end
    local better, complaint = improve(dump(chunk))
    if better == false then
        return nil, complaint
    end
    return setfenv(better and loadstring(better) or chunk, ENV)
end

function G.loadstring(text, name)
    if type(text) ~= "string" and type(text) ~= "number" then
        error("bad argument #1 to 'loadstring' (string expected, got " .. type(text) .. ")", 2)
    end
    text = tostring(text)
    return compiled(text, name == nil and text or tostring(name))
end

function G.load(reader, name)
    if type(reader) ~= "function" then
        blame("bad argument #1 to 'load' (function expected, got " .. type(reader) .. ")")
    end
    local parts = {}
    while true do
        local part = reader()
        if part == nil or part == "" then
            break
        end
        if type(part) ~= "string" then
            return nil, "reader function must return a string"
        end
        parts[#parts + 1] = part
    end
    return compiled(concat(parts), name == nil and "=(load)" or tostring(name))
end

-- string, table, math, coroutine ------------------------------------------------------------------------------------

local rep = string.rep

function string.rep(...)
    local text, times = ...
    text = type(text) == "number" and tostring(text) or text
    if type(text) ~= "string" or type(times) ~= "number" and type(times) ~= "string" then
        return told("rep", pcall(rep, ...))
    end
    local room = host.room
    if text == "" then
        return ""
    end
    if #text * (tonumber(times) or 0) > room then
        error("not enough memory", 0)
    end
    spend(#text * math.max(tonumber(times) or 0, 0) / 10)
    return told("rep", pcall(rep, text, times))
end

for name, searcher in pairs(host.patterns(blame, spend, told)) do
    string[name] = searcher
end

-- Those that look at every byte.
for _, name in ipairs({ "lower", "reverse", "upper" }) do
    local own = string[name]
    string[name] = function(...)
        local text = ...
        if type(text) == "string" then
            spend(#text)
        end
        return told(name, pcall(own, ...))
    end
end

function string.format(...)
    local text = told("format", pcall(format, ...))
    spend(#text)
    return text
end

local function length(t)
    return type(t) == "table" and #t or 0
end

function table.concat(...)
    spend(10 * length((...)))
    return told("concat", pcall(concat, ...))
end

function table.insert(...)
    local t = ...
    no_faces(t)
    if select("#", ...) > 2 then
        spend(length(t))
    end
    return told("insert", pcall(insert, ...))
end

function table.remove(...)
    spend(length((...)))
    return told("remove", pcall(remove, ...))
end

-- Sorting in C may take the square of what it should take: it is left to C when that is not long. Else it compares here,
-- where the hook sees it.
local SORT_MAX, TEXT_MAX = 10000, 1000

local function is_long_to_sort(t)
    if #t > SORT_MAX then
        return true
    end
    for _, item in ipairs(t) do
        if type(item) ~= "number" and (type(item) ~= "string" or #item > TEXT_MAX) then
            return true
        end
    end
    return false
end

function table.sort(t, less)
    if less == nil and type(t) == "table" and is_long_to_sort(t) then
        less = function(a, b)
            return a < b
        end
    elseif type(less) == "function" and getinfo(less, "S").what == "C" then
        local own = less
        less = function(a, b)
            return own(a, b)
        end
    end
    return told("sort", pcall(sort, t, less))
end

local foreach = table.foreach
function table.foreach(t, visit)
    return foreach(behind[t] or t, visit)
end

function coroutine.create(...)
    local thread = told("create", pcall(create, ...))
    watch_thread(thread)
    return thread
end

-- Each coroutine counts its own instructions: without this, some that resume others could run for years, none of them
-- long enough to be seen.
local RESUME = BUDGET / 100

function coroutine.resume(thread, ...)
    spend(RESUME)
    if type(thread) ~= "thread" then
        blame("bad argument #1 to 'resume' (coroutine expected)")
    end
    return resume(thread, ...)
end

-- What has left a coroutine says also where it was resumed.
local function passed_on(ok, ...)
    if not ok then
        local problem = ...
        error(problem, (killed or problem == "not enough memory") and 0 or 3)
    end
    return ...
end

function coroutine.wrap(...)
    local thread = told("wrap", pcall(create, ...))
    watch_thread(thread)
    return function(...)
        spend(RESUME)
        return passed_on(resume(thread, ...))
    end
end

-- The generator of drand48, so that a seed gives the numbers it gives in Redis. Nobody seeds it for a script: what the
-- log gets are effects, so scripts need not repeat themselves.
local high, low = host.seed % 0x1000000, floor(host.seed / 0x1000000) -- 24 bits each of the state

local function start_at(n)
    n = n % 0x100000000
    high, low = floor(n / 256), (n % 256) * 65536 + 0x330E
end

local function draw()
    local product = low * 0xE66D + 0xB -- the factor is 0x5DEECE66D, split so that no product needs more than 53 bits
    local carry = floor(product / 0x1000000)
    local next_low = product % 0x1000000
    local middle = low * 0x5DEEC -- times 2^16
    local shifted = (middle % 0x100) * 65536 + next_low
    carry = carry + floor(middle / 0x100) + floor(shifted / 0x1000000)
    next_low = shifted % 0x1000000
    high = (high * 0xE66D + (high * 0x5DEEC % 0x100) * 65536 + carry) % 0x1000000
    low = next_low
    return high * 128 + floor(low / 131072) -- the upper 31 bits
end

function math.randomseed(n)
    n = tonumber(n)
    if not n then
        error("bad argument #1 to 'randomseed' (number expected)", 2)
    end
    start_at(n < 0 and -floor(-n) or floor(n))
end

function math.random(m, n)
    local r = (draw() % 0x7FFFFFFF) / 0x7FFFFFFF
    if m == nil then
        return r
    end
    local argument = 2
    if n == nil then
        m, n, argument = 1, m, 1
    end
    m, n = tonumber(m), tonumber(n)
    if not m or not n then
        error("bad argument to 'random' (number expected)", 2)
    end
    if m > n then
        error("bad argument #" .. argument .. " to 'random' (interval is empty)", 2)
    end
    return floor(r * (n - m + 1)) + m
end

for _, name in ipairs({ "string", "table", "math", "coroutine" }) do
    G[name] = name == "string" and string_face or face(_G[name])
end

-- redis -------------------------------------------------------------------------------------------------------------

local redis = {}

-- Python gets a copy of each argument, which nobody counts: a long string a thousand times would be all memory there is.
local function weigh(size)
    if size > host.room then
        error("not enough memory", 0)
    end
    spend(size)
end

local function weigh_all(given)
    local size = 0
    for _, value in next, given do
        if type(value) == "string" then
            size = size + #value
        end
    end
    weigh(size)
end

local function without_complaint(value, text)
    if value == false and text ~= nil then
        error({ err = text }, 0)
    end
    return value
end

-- What the host answers, as scripts get it. It says OK, which it has to say often, by `true`; a true one has a kind.
local function settle(value, kind)
    if kind == nil then
        if value == true then
            return { ok = "OK" }
        end
        return value
    end
    if kind == STATUS then
        return { ok = value }
    end
    if kind == FAILED then
        error({ err = value, ignore_error_stats_update = true }, 0)
    end
    return without_complaint(value, kind)
end

local function settle_protected(value, kind)
    if kind == FAILED then
        return { err = value, ignore_error_stats_update = true }
    end
    if value == false and kind ~= nil then
        return { err = kind }
    end
    return settle(value, kind)
end

local SOME, MANY = 8, 1000 -- more than some 4,000 arguments do not fit on the stack a second time

if host.quick then
    redis.call = host.quick(weigh, function()
        return settle(host.rest())
    end)
    redis.pcall = host.quick(weigh, function()
        return settle_protected(host.rest())
    end)
else
    local call, call_many = host.call, host.call_many

    local function called(...)
        local count = select("#", ...)
        if count < SOME then
            return call(...)
        end
        local given = { ... }
        weigh_all(given)
        if count < MANY then
            return call(...)
        end
        return call_many(given, count)
    end

    function redis.call(...)
        return settle(called(...))
    end

    function redis.pcall(...)
        return settle_protected(called(...))
    end
end

-- What Python counts: values, or false and a complaint, which becomes an error at the caller's line.
local function accept(value, ...)
    if value == false then
        error((...), 3)
    end
    return value, ...
end

local function expose(f)
    return function(...)
        if select("#", ...) >= SOME then
            weigh_all({ ... })
        end
        return accept(f(...))
    end
end

-- What goes wrong in these is told as redis.call tells it: without a position.
local function api(f)
    return function(...)
        weigh_all({ ... })
        return without_complaint(f(...))
    end
end

for _, name in ipairs({ "sha1hex", "log", "setresp", "set_repl", "acl_check_cmd" }) do
    redis[name] = api(host[name])
end

local function reply_maker(field, first)
    return function(...)
        local text = ...
        if select("#", ...) ~= 1 or type(text) ~= "string" then
            return { err = "ERR wrong number or type of arguments" }
        end
        if field == "err" then
            if byte(text, 1) == 45 then
                text = sub(text, 2)
            elseif not text:find(" ", 1, true) then
                text = "ERR " .. text
            end
        end
        return { [field] = text }
    end
end

redis.error_reply = reply_maker("err")
redis.status_reply = reply_maker("ok")

function redis.replicate_commands()
    return true
end

function redis.breakpoint()
    return false
end

function redis.debug() end

redis.LOG_DEBUG, redis.LOG_VERBOSE, redis.LOG_NOTICE, redis.LOG_WARNING = 0, 1, 2, 3
redis.REPL_NONE, redis.REPL_AOF, redis.REPL_SLAVE, redis.REPL_REPLICA, redis.REPL_ALL = 0, 1, 2, 2, 3
redis.REDIS_VERSION, redis.REDIS_VERSION_NUM = version, version_num
if for_functions then
    redis.replicate_commands, redis.breakpoint, redis.debug = nil, nil, nil
end
G.redis = face(redis)

-- libraries ---------------------------------------------------------------------------------------------------------

G.cjson = face(cjson)
G.cmsgpack = face(cmsgpack)

local bit = {}
for name, f in pairs(host.bit) do
    bit[name] = expose(f)
end
G.bit = face(bit)

G.struct = face({
    pack = expose(host.struct_pack),
    size = expose(host.struct_size),
    unpack = expose(host.struct_unpack),
})

-- replies -----------------------------------------------------------------------------------------------------------

local protocol = 2

local function one_line(text)
    return (gsub(text, "[\r\n]", " "))
end

-- Statuses and errors end where C's strings do.
local function c_string(text)
    return (gsub(text, "%z.*", ""))
end

local function error_line(text)
    return one_line((gsub(c_string(text), "[\r\n]+$", "")))
end

local encode
local uncounted -- the errors in a reply that no command has made

local function bulk(text)
    return "$" .. #text .. "\r\n" .. text .. "\r\n"
end

local function double(number)
    return format("%.17g", number)
end

-- A script that speaks RESP2 knows no false: it is null.
local function boolean(value)
    if host.script_protocol == 3 then
        return protocol == 3 and (value and "#t\r\n" or "#f\r\n") or value and ":1\r\n" or ":0\r\n"
    end
    return value and ":1\r\n" or protocol == 3 and "_\r\n" or "$-1\r\n"
end

local function encode_members(out, members, depth, as_map)
    local count, at = 0, #out + 1
    out[at] = ""
    for key, value in next, members do
        encode(out, key, depth)
        if as_map then
            encode(out, value, depth)
        end
        count = count + 1
    end
    if protocol == 3 then
        out[at] = (as_map and "%" or "~") .. count .. "\r\n"
    else
        out[at] = "*" .. (as_map and 2 * count or count) .. "\r\n"
    end
end

local function encode_table(out, value, depth)
    if depth > 100 then
        out[#out + 1] = "-ERR reached lua stack limit\r\n"
        return
    end
    local field = rawget(value, "err")
    if type(field) == "string" then
        local text = error_line(field)
        out[#out + 1] = "-" .. text .. "\r\n"
        if not rawget(value, "ignore_error_stats_update") then
            uncounted[#uncounted + 1] = text
        end
        return
    end
    field = rawget(value, "ok")
    if type(field) == "string" then
        out[#out + 1] = "+" .. one_line(c_string(field)) .. "\r\n"
        return
    end
    field = rawget(value, "double")
    if type(field) == "number" then
        out[#out + 1] = protocol == 3 and "," .. double(field) .. "\r\n" or bulk(double(field))
        return
    end
    field = rawget(value, "map")
    if type(field) == "table" then
        return encode_members(out, field, depth, true)
    end
    field = rawget(value, "set")
    if type(field) == "table" then
        return encode_members(out, field, depth, false)
    end
    field = rawget(value, "big_number")
    if type(field) == "string" then
        out[#out + 1] = protocol == 3 and "(" .. one_line(field) .. "\r\n" or bulk(one_line(field))
        return
    end
    field = rawget(value, "verbatim_string")
    if type(field) == "table" then
        local text, kind = rawget(field, "string"), rawget(field, "format")
        if type(text) == "string" and type(kind) == "string" then
            out[#out + 1] = protocol == 3
                and "=" .. #text + 4 .. "\r\n" .. sub(kind .. "   ", 1, 3) .. ":" .. text .. "\r\n"
                or bulk(text)
            return
        end
    end
    local at, count = #out + 1, 0
    out[at] = ""
    while true do
        local item = rawget(value, count + 1)
        if item == nil then
            break
        end
        count = count + 1
        encode(out, item, depth)
    end
    out[at] = "*" .. count .. "\r\n"
end

function encode(out, value, depth)
    local kind = type(value)
    if kind == "string" then
        out[#out + 1] = "$" .. #value .. "\r\n" .. value .. "\r\n"
    elseif kind == "number" then
        out[#out + 1] = format(":%d\r\n", value)
    elseif kind == "boolean" then
        out[#out + 1] = boolean(value)
    elseif kind == "table" then
        encode_table(out, behind[value] or value, depth + 1)
    else
        out[#out + 1] = protocol == 3 and "_\r\n" or "$-1\r\n"
    end
end

-- running -----------------------------------------------------------------------------------------------------------

-- Where in the script an error came from: the innermost function that is the user's.
local source, line

local function locate()
    local level = 3
    local info = getinfo(level, "Sl")
    while info do
        if info.currentline > 0 and sub(info.short_src, 1, 8) ~= "perdure:" then
            return info.source, info.currentline
        end
        level = level + 1
        info = getinfo(level, "Sl")
    end
    return nil
end

local function report(problem)
    source, line = locate()
    if type(problem) == "table" and type(rawget(problem, "err")) == "string" then
        return problem
    end
    if of_python(problem) then
        return { err = INTERNAL }
    end
    return { err = problem == "not enough memory" and NO_MEMORY or "ERR " .. tostring(problem) }
end

local function outcome(ok, value)
    if ok then
        local kind = type(value)
        if kind == "string" or kind == "number" then
            return value
        elseif kind == "table" then
            local text = rawget(value, "err")
            if type(text) == "string" then
                return error_line(text), FAILED, rawget(value, "ignore_error_stats_update") and true or false
            end
            text = rawget(value, "ok")
            if type(text) == "string" then
                return one_line(c_string(text)), STATUS
            end
            local out = {}
            uncounted = {}
            encode(out, value, 0)
            return concat(out), ENCODED, uncounted[1] and concat(uncounted, "\n")
        elseif kind == "boolean" then
            return boolean(value), ENCODED
        end
        return nil
    end
    if type(value) == "table" then
        local counted = rawget(value, "ignore_error_stats_update") and true or false
        return c_string(value.err), FAILED, counted, source, line
    end
    return "ERR " .. tostring(value), FAILED, false
end

local entry = {}

local function rearm()
    killed, host.loading = nil, nil
    sethook(look, "", period)
end

entry.rearm = rearm

function entry.set_protocol(version_of_client)
    protocol = version_of_client
end

function entry.set_script_protocol(version_of_script)
    host.script_protocol = version_of_script
end

function entry.set_room(bytes)
    host.room = bytes
end

-- compile_script(text): a function of KEYS and ARGV; or nil and what is wrong with the text. What the function returns:
-- see `outcome`.
function entry.compile_script(text)
    local body, problem = compiled(text, "@user_script")
    if not body then
        return nil, problem
    end
    return function(keys, args)
        G.KEYS, G.ARGV, source = keys, args, nil
        return outcome(xpcall(body, report))
    end
end

-- functions ---------------------------------------------------------------------------------------------------------

if for_functions then
    local registered
    local fields = { function_name = true, callback = true, flags = true, description = true }
    local known = host.flags

    local function name_of(value, complaint)
        if type(value) == "number" then
            value = tostring(value)
        end
        if type(value) ~= "string" then
            error({ err = complaint }, 0)
        end
        return value
    end

    local function named_arguments(given)
        if type(given) ~= "table" then
            error({
                err = "ERR calling redis.register_function with a single argument is only applicable to Lua table "
                    .. "(representing named arguments).",
            }, 0)
        end
        local name, callback, flags, description
        for key, value in next, given do
            if key == "function_name" then
                name = name_of(value, "ERR function_name argument given to redis.register_function must be a string")
            elseif key == "description" then
                description = name_of(value, "ERR description argument given to redis.register_function must be a string")
            elseif key == "callback" then
                if type(value) ~= "function" then
                    error({ err = "ERR callback argument given to redis.register_function must be a function" }, 0)
                end
                callback = value
            elseif key == "flags" then
                if type(value) ~= "table" then
                    error({
                        err = "ERR flags argument to redis.register_function must be a table representing function flags",
                    }, 0)
                end
                flags = {}
                for _, flag in ipairs(value) do
                    if type(flag) ~= "string" or not known[flag] then
                        error({ err = "ERR unknown flag given" }, 0)
                    end
                    flags[#flags + 1] = flag
                end
            else
                error({ err = "ERR unknown argument given to redis.register_function" }, 0)
            end
        end
        if not name then
            error({ err = "ERR redis.register_function must get a function name argument" }, 0)
        end
        if not callback then
            error({ err = "ERR redis.register_function must get a callback argument" }, 0)
        end
        return name, callback, flags or {}, description
    end

    local function register(...)
        if not registered then
            error({ err = "ERR redis.register_function can only be called on FUNCTION LOAD command" }, 0)
        end
        local count = select("#", ...)
        if count < 1 or count > 2 then
            error({ err = "ERR wrong number of arguments to redis.register_function" }, 0)
        end
        local name, callback, flags, description
        if count == 1 then
            name, callback, flags, description = named_arguments((...))
        else
            name, callback = ...
            name = name_of(name, "ERR first argument to redis.register_function must be a string")
            if type(callback) ~= "function" then
                error({ err = "ERR second argument to redis.register_function must be a function" }, 0)
            end
            flags = {}
        end
        if name == "" or name:find("[^%w_]") then
            error({
                err = "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one "
                    .. "character long",
            }, 0)
        end
        for _, other in ipairs(registered) do
            if other.name == name then
                error({ err = "ERR Function already exists in the library" }, 0)
            end
        end
        registered[#registered + 1] = {
            name = name,
            flags = flags,
            description = description,
            run = function(keys, args)
                source = nil
                return outcome(xpcall(function()
                    return callback(keys, args)
                end, report))
            end,
        }
    end

    local loading = {
        register_function = register,
        log = redis.log,
        REDIS_VERSION = version,
        REDIS_VERSION_NUM = version_num,
        LOG_DEBUG = 0,
        LOG_VERBOSE = 1,
        LOG_NOTICE = 2,
        LOG_WARNING = 3,
    }
    setmetatable(loading, {
        __index = function(_, name)
            if host.loading then
                missing(name, 2)
            end
        end,
    })
    local loading_face = face(loading)

    -- (list of registered functions) or (nil, problem, did it compile?)
    function entry.load_library(text)
        local body, problem = compiled(text, "@user_function")
        if not body then
            return nil, problem, false
        end
        registered, host.loading = {}, loading_face
        local ok, failure = xpcall(body, report)
        local found = registered
        registered, host.loading = nil, nil
        if ok then
            return found
        end
        return nil, type(failure) == "table" and failure.err or "ERR " .. tostring(failure), true
    end
end

rearm()
_G.debug = nil -- else lupa looks for debug.traceback in each call, which nobody reads
return entry
