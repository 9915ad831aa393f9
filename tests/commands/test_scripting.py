"""EVAL and SCRIPT, beside a real redis-server: what a script gets, what it gives back, what it must not do."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from importlib.resources import files
from random import Random

import lupa.lua51
import pytest
from tests.commands.dialogue import play
from tests.conftest import PerdureServer, RealRedis, StartPerdure
from tests.model.differential import LocalServer

CONVERSIONS = """
return 1
return 3.99
return -3.99
return 1e300
return -1e300
return 0/0
return 2^53
return 'text'
return ''
return 'a\\0b\\r\\n'
return true
return false
return nil
return
return {}
return {1,2,3}
return {1,2,nil,4}
return {1,{2,{3,'x'}},3.7,true,false}
return {ok='fine'}
return {ok='two\\nlines'}
return {ok=5}
return {err='My error'}
return {err='ERR two\\r\\nlines'}
return {err=5}
return {ok='x', err='ERR both'}
return {1, {ok='x'}, {err='ERR in'}}
return {double=3.0}
return {double=3.14}
return {double=1/0}
return {double='x'}
return {map={a=1}}
return {map={}}
return {set={a=true}}
return {big_number='12345678901234567890'}
return {verbatim_string={format='txt', string='hello'}}
return {verbatim_string={format='txt'}}
return function() end
return coroutine.create(function() end)
return cjson.null
return {cjson.null, 1}
return setmetatable({}, {__index=function() return 'x' end})
return #KEYS .. #ARGV
return {KEYS, ARGV}
return type(KEYS) .. type(ARGV[1])
return redis.call('set', 'k', 'v')
redis.call('set', 'k', 'v') return redis.call('get', 'k')
return redis.call('get', 'none')
return type(redis.call('get', 'none'))
return tostring(redis.call('get', 'none'))
return redis.call('set', 'k', 'v').ok
return redis.call('incr', 'n')
redis.call('set', 'k', 1.5) return redis.call('get', 'k')
redis.call('set', 'k', 1e17) return redis.call('get', 'k')
redis.call('set', 'k', 2^53) return redis.call('get', 'k')
redis.call('set', 'k', -0.1) return redis.call('get', 'k')
redis.call('set', 'k', 10) return redis.call('get', 'k')
redis.call('rpush', 'l', 'a', 1, 'c') return redis.call('lrange', 'l', 0, -1)
redis.call('hset', 'h', 'f', 'v') return redis.call('hgetall', 'h')
redis.call('hset', 'h', 'f', 'v') redis.setresp(3) return redis.call('hgetall', 'h')
redis.call('hset', 'h', 'f', 'v') redis.setresp(3) return redis.call('hgetall', 'h').map.f
redis.call('sadd', 's', 'm') redis.setresp(3) return redis.call('smembers', 's')
redis.call('sadd', 's', 'm') redis.setresp(3) return tostring(redis.call('smembers', 's').set.m)
redis.call('zadd', 'z', 1.5, 'm') return redis.call('zscore', 'z', 'm')
redis.call('zadd', 'z', 1.5, 'm') redis.setresp(3) return redis.call('zscore', 'z', 'm')
redis.call('zadd', 'z', 1.5, 'm') redis.setresp(3) return redis.call('zscore', 'z', 'm').double * 2
redis.call('zadd', 'z', 1.5, 'm') redis.setresp(3) return redis.call('zrange', 'z', 0, -1, 'withscores')
redis.setresp(3) return redis.call('get', 'none')
redis.setresp(3) return type(redis.call('get', 'none'))
redis.setresp(3) return true
redis.setresp(3) return false
redis.setresp(3) return {true, false}
return redis.call('eval', 'return 1', 0)
return redis.call('blpop', 'none', 1)
return redis.call('xread', 'block', 1, 'streams', 's', '$')
return redis.call('xread', 'streams', 's', '0')
return redis.call('select', 9)
return redis.call('select', 99)
return redis.pcall('select', 99)
return redis.pcall('nothing')
return redis.pcall()
return redis.pcall('get')
return redis.pcall({})
return redis.pcall('set', 'k', true)
return redis.call('publish', 'c', 'm')
return redis.call('ping')
return redis.call('echo', 'x')
return redis.call('multi')
return redis.call('watch', 'k')
return redis.call('subscribe', 'c')
return redis.call('script', 'flush')
return redis.call('config', 'get', 'x')
return redis.call('client', 'id')
return redis.call('object', 'help')[1] ~= nil
return redis.call('object', 'nothing')
return {err='E x\\nin lines\\r\\n'}
return {{err='\\nE x\\r\\n'}, {ok='a\\0b'}, {err='E\\0x'}}
return {ok='a\\0b'}
return {double=0/0}
return {double=-(0/0)}
redis.setresp(3) return {big_number='1\\n2'}
return redis.call('echo', 0/0)
return redis.call('echo', -(0/0))
redis.setresp(3) return type(redis.call('command', 'info', 'get')[1][9])
""".strip().splitlines()

ERRORS = """
error('x')
error('x', 0)
error('x', 2)
error({err='MY error'})
error({err='my error'})
error()
error(true)
error(cjson.null)
return {pcall(error, cjson.null)}
local x x()
return nothing
nothing = 1
local function f() nothing = 1 end f()
return redis.nothing
return redis.nothing()
redis.call = 1
redis.x = 1
string.x = 1
return ({}).x.y
return ('x'):nothing()
return 1 .. {}
return {} < {}
return 1 1
x x
return 'unfinished
for i = 1, 2 do
return redis.call('get')
return redis.call('nothing')
return redis.call()
return redis.call({})
return redis.call('get', {})
return redis.call('get', nil)
return redis.call('get', true)
return redis.call(print)
return redis.pcall('get', {})
return redis.call('echo', 1e100)
return redis.call('echo', 0/0)
return redis.call('echo', -1/0)
return redis.call('echo', 2^53)
return redis.call('echo', 1e17)
return redis.call('echo', 123456789012345678)
return redis.call('echo', 0.1)
return redis.call('echo', '')
return redis.call('echo', 'a\\0b')
return coroutine.wrap(function() return redis.call('echo', 'x') end)()
return coroutine.wrap(function() return redis.pcall('incr', 'not', 'so') end)()
return coroutine.wrap(function() return redis.call('config', 'get', 'maxmemory') end)()
local t = {3, 1, 2} table.sort(t, function(a, b) return redis.call('echo', a) < redis.call('echo', b) end) return t
local t = {'rpush', 'many'} for i = 1, 1500 do t[#t + 1] = i end return redis.call(unpack(t))
local t = {'rpush', 'many'} for i = 1, 1500 do t[#t + 1] = i end t[700] = false return redis.call(unpack(t))
local t = {'rpush', 'many'} for i = 1, 7 do t[#t + 1] = i end t[5] = nil return redis.call(unpack(t, 1, 9))
local t = {'rpush', 'many'} for i = 1, 1500 do t[#t + 1] = i end t[1200] = nil return redis.call(unpack(t, 1, 1502))
redis.call('set', 's', 'x') return redis.call('lpush', 's', 'y')
redis.call('set', 's', 'x') return redis.pcall('lpush', 's', 'y')
redis.call('set', 's', 'x') return redis.pcall('lpush', 's', 'y').err
redis.call('set', 's', 'x') local ok, e = pcall(redis.call, 'lpush', 's', 'y') return {tostring(ok), type(e), e}
local ok, e = pcall(error, {err='X y'}) return {type(e), e}
local ok, e = pcall(error, 'text') return {type(e), e}
local ok, e = pcall(error) return {type(e), tostring(e)}
return {pcall(function() return 1, 2, 3 end)}
return {xpcall(function() error('x') end, function(e) return e .. '!' end)}
return {tostring(xpcall(function() error('x') end, function(e) return e .. '!' end))}
return redis.error_reply('x')
return redis.error_reply('X y')
return redis.error_reply('-X y')
return redis.error_reply('')
return redis.error_reply()
return redis.error_reply('a', 'b')
return redis.error_reply({})
return redis.error_reply('x y').err
return redis.status_reply('x y')
return redis.status_reply({})
return redis.sha1hex('')
return redis.sha1hex(5)
return redis.sha1hex()
return redis.sha1hex('a', 'b')
return redis.log(1)
return redis.log('a', 'b')
return redis.log(10, 'b')
return redis.log(redis.LOG_DEBUG, 'a', 'b', 3)
return redis.set_repl(redis.REPL_ALL)
return redis.set_repl(10)
return redis.set_repl()
return redis.setresp()
return redis.setresp(4)
return redis.setresp('x')
return redis.replicate_commands()
return redis.breakpoint()
return redis.debug('x')
return redis.acl_check_cmd('get', 'x')
return redis.acl_check_cmd('nothing')
return redis.acl_check_cmd()
return redis.register_function
local function f() return f() + 1 end return f()
local function f(n) if n == 0 then return 'end' end return f(n - 1) end return f(50000)
return loadstring('return 1')()
return loadstring('x x')
return {loadstring('x x')}
return loadstring('x = 1')()
return {type(load(function() return nil end))}
return load('x')
local n = 0 return load(function() n = n + 1 return ({'return ', '7'})[n] end)()
return {tostring(loadstring(string.dump(function() return 1 end)))}
rawset(redis, 'x', 1)
rawset(_G, 'x', 1)
setmetatable(_G, {})
setmetatable(redis, {})
getmetatable(_G).x = 1
getmetatable('').__index = 1
getmetatable('').__index.x = 1
return getmetatable('').__index.upper('x')
return getmetatable(redis)
_G.x = 1
table.insert(redis, 1)
return rawget(redis, 'REPL_ALL')
return type(next(redis))
local n = 0 for k, v in pairs(redis) do n = n + 1 end return n
local n = 0 for k, v in pairs(string) do n = n + 1 end return n
local n = 0 for k, v in pairs(math) do n = n + 1 end return n
local n = 0 for k, v in pairs(table) do n = n + 1 end return n
local n = 0 for k, v in pairs(coroutine) do n = n + 1 end return n
local n = 0 for k, v in pairs(bit) do n = n + 1 end return n
local n = 0 for k, v in pairs(cjson) do n = n + 1 end return n
local n = 0 for k, v in pairs(cmsgpack) do n = n + 1 end return n
local n = 0 for k, v in pairs(struct) do n = n + 1 end return n
return os
return io
return debug
return package
return print
return require
return dofile
return loadfile
return getfenv
return setfenv
return newproxy
return module
return python
return type(collectgarbage('count'))
return coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b end)(1)
local c = coroutine.create(function() error('x') end) return {tostring(coroutine.resume(c))}
local c = coroutine.create(function() return redis.call('ping') end) return {select(2, coroutine.resume(c))}
return coroutine.wrap(function() error({err='X in a coroutine'}) end)()
return string.rep('x', -1)
return string.rep('ab', 3)
return #string.rep('', 1000000000)
return string.format('%5.2f %q %d %s %x', 3.14159, 'x', 3, 'y', 255)
return table.concat({1, 2, 3}, '-')
return table.concat({1, {}, 3})
return {unpack({1, 2, 3})}
return select('#', unpack({}, 1, 200))
return tostring(tonumber('0x10')) .. tostring(tonumber('1e2')) .. tostring(tonumber('z', 36))
return math.max(1, 5, 3)
math.randomseed(7) return {tostring(math.random()), math.random(10), math.random(5, 9), tostring(math.random())}
math.randomseed(-7) return tostring(math.random())
math.randomseed(123456789012) return tostring(math.random())
return math.random(0)
return {math.modf(3.7)}
return {('a,b'):match('(.),(.)')}
return {('key=value'):find('(%w+)=(%w+)')}
return {('hello world'):gsub('o', '0')}
return {('abc'):gsub('%w', '%0%0')}
return {('abc'):gsub('', '-')}
return {('abc'):gsub('b', {b='X'})}
return {('abc'):gsub('%w', function(c) if c == 'b' then return 'X' end end)}
local r = {} for w in ('one two'):gmatch('%a+') do r[#r + 1] = w end return r
return ('x'):find('[')
return ('x'):find('%')
return ('x'):rep(3)
return select('#', pcall(function() end))
local ok, e = pcall(error, {err=5}) return type(e)
return {pcall(function() error('x', 3) end)}
error('x', 3)
return {pcall(error, 'x', 2)}
local ok, e = pcall(error, 'x', 1) return e
local function f() error('x', 2) end f()
return {xpcall(function() error('x') end, function(e) return nothing end)}
return xpcall(function() end)
return _G[{}]
return _G[true]
return _G[5]
return tostring(getmetatable('').__index == string)
coroutine.wrap(function() error('x') end)()
coroutine.wrap(function() error('x', 0) end)()
coroutine.wrap(function() return nothing end)()
return coroutine.resume(1)
return coroutine.create(1)
return setmetatable(1, {})
return setmetatable({}, 1)
return rawset(1, 2, 3)
return rawget(1, 2)
return next(1)
return pairs(1)
return string.rep()
return string.rep('x', {})
return string.upper()
return string.format('%d', 'x')
return table.concat(1)
return table.concat({1, {}})
return table.insert(1, 2)
return table.insert({})
return table.remove(1)
return table.sort(1)
return table.sort({1, 'x'})
local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return t
local t = {} for i = 1, 20000 do t[i] = i * 7919 % 20011 end table.sort(t) return {t[1], t[2], t[20000]}
local t = {'b', ('x'):rep(2000), 'a', ('x'):rep(2001)} table.sort(t) return {t[1], t[2], #t[3], #t[4]}
local n = 0 for k in pairs(redis.error_reply()) do n = n + 1 end return n
return redis.log('2', 'x')
return redis.log('x', 'x')
return tostring(cjson.null) .. type(getmetatable(cjson.null))
return loadstring('error(1)', '=a name')()
return loadstring('error(1)', '@a name')()
return loadstring('error(1)')()
return ('a.b'):find('.', 1, true)
return #(('x'):rep(3000):gsub('x+', 'yy'))
""".strip().splitlines()

LIBRARIES = """
return cjson.encode({})
return cjson.encode({1, 2, 3})
return cjson.encode({a=1})
return cjson.encode({1, nil, 3})
return cjson.encode({[1]=1, [5]=5})
return cjson.encode({[1]=1, [100]=2})
return cjson.encode({[0]=1})
return cjson.encode({[1.5]=1})
return cjson.encode({[true]=1})
return cjson.encode('a"b\\\\c/d\\n\\t\\0\\127\\200')
return cjson.encode(1.5)
return cjson.encode(1e15)
return cjson.encode(123456789012345678)
return cjson.encode(0.1)
return cjson.encode(-0)
return cjson.encode(1/0)
return cjson.encode(0/0)
return cjson.encode(nil)
return cjson.encode(cjson.null)
return cjson.encode(true)
return cjson.encode(function() end)
return cjson.encode({print})
return cjson.encode()
return cjson.encode(1, 2)
local t = {} t[1] = t return cjson.encode(t)
return cjson.encode({{{1}}, {}, ''})
return cjson.decode('[1, 2.5, "x", true, false, null]')
return tostring(cjson.decode('null') == cjson.null)
return cjson.decode('{"a": {"b": [1]}}').a.b
return cjson.decode('"\\\\u0041\\\\u00e9\\\\u20ac\\\\ud83d\\\\ude00\\\\n\\\\/"')
return cjson.decode('"\\\\ud83d"')
return cjson.decode('"\\\\x"')
return cjson.decode('"open')
return cjson.decode('')
return cjson.decode(' ')
return cjson.decode('{')
return cjson.decode('[1')
return cjson.decode('[1 2]')
return cjson.decode('{"a" 1}')
return cjson.decode('{1: 1}')
return cjson.decode('{"a": 1,}')
return cjson.decode('1 2')
return cjson.decode('nul')
return cjson.decode('x')
return cjson.decode('0x10')
return tostring(cjson.decode('1e3'))
return tostring(cjson.decode('-1.5E-2'))
return tostring(cjson.decode('nan'))
return tostring(cjson.decode('Infinity'))
return cjson.decode(('['):rep(1001) .. (']'):rep(1001))
return #cjson.decode(('['):rep(1000) .. (']'):rep(1000))
return cjson.decode()
return cjson.decode({})
return cjson.encode(cjson.decode('{"a":[1,2,{"b":null}]}'))
return {cjson.encode_max_depth(), cjson.decode_max_depth(), cjson.encode_number_precision()}
return {tostring(cjson.encode_sparse_array()), tostring(cjson.encode_invalid_numbers())}
return cjson.encode_max_depth('x')
return {cjson._NAME, cjson._VERSION}
local c = cjson.new() c.encode_sparse_array(true) return c.encode({[1]=1, [100]=2})
local c = cjson.new() c.encode_max_depth(1) return c.encode({{}})
local c = cjson.new() c.encode_invalid_numbers('null') return c.encode({1/0})
return cmsgpack.pack(1, -1, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296)
return cmsgpack.pack(-32, -33, -128, -129, -32768, -32769, -2147483648, -2147483649)
return cmsgpack.pack(1.5, 0.1, -0.5, 1e300, 1/0, 2^53, -2^53, 2^63, -2^63)
return cmsgpack.pack('', 'abc', ('x'):rep(31), ('x'):rep(32), ('x'):rep(255), ('x'):rep(256))
return cmsgpack.pack(true, false, nil)
return cmsgpack.pack({})
return cmsgpack.pack({1, 2, 3})
return cmsgpack.pack({a=1})
return cmsgpack.pack({1, nil, 3})
return cmsgpack.pack({[1]='a', [3]='b'})
local t = {} for i = 1, 20 do t[i] = i end return cmsgpack.pack(t)
local t = {} t[1] = t return cmsgpack.pack(t)
return cmsgpack.pack()
return {cmsgpack.unpack(cmsgpack.pack(1, 'x', {1, 2}))}
return cmsgpack.unpack(cmsgpack.pack({a={b={1, 2, 'x'}}})).a.b
return tostring(cmsgpack.unpack(cmsgpack.pack(0.1)))
return tostring(cmsgpack.unpack(cmsgpack.pack(-2^40)))
return {cmsgpack.unpack_one(cmsgpack.pack(1, 2, 3))}
return {cmsgpack.unpack_one(cmsgpack.pack(1, 2, 3), 1)}
return {cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 2)}
return {cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 2, 1)}
return cmsgpack.unpack('\\193')
return cmsgpack.unpack('\\217')
return cmsgpack.unpack('\\147\\1')
return cmsgpack.unpack()
return cmsgpack.unpack({})
return {cmsgpack.unpack('')}
return cmsgpack.unpack_one('x', 5)
return cmsgpack.unpack_one('x', -1)
return bit.band(0xff, 0x0f)
return bit.bor(1, 2, 4, 8)
return bit.bxor(0xff, 0x0f)
return bit.bnot(0)
return bit.tobit(0xffffffff)
return bit.tobit(2^40 + 7)
return bit.tobit(1.5) .. bit.tobit(2.5) .. bit.tobit(-1.5)
return bit.tohex(255) .. bit.tohex(255, 4) .. bit.tohex(255, -4) .. bit.tohex(-1, 2)
return bit.lshift(1, 31) .. bit.lshift(1, 32) .. bit.rshift(-1, 28) .. bit.arshift(-256, 4)
return bit.rol(0x12345678, 8) .. bit.ror(0x12345678, 8)
return bit.bswap(0x12345678)
return bit.band()
return bit.band('x')
return bit.band('7', 3)
return bit.band({})
return struct.pack('>I2', 258)
return struct.pack('<I4bBhHlLT', 1, -1, 255, -2, 65535, -3, 3, 4)
return struct.pack('>i3', -2)
return struct.pack('s', 'abc')
return struct.pack('c2', 'abc')
return struct.pack('c0', 'abc')
return struct.pack('c5', 'abc')
return struct.pack('!4bi4', 1, 2)
return struct.pack('bxb', 1, 2)
return struct.pack('fd', 1.5, 2.5)
return struct.pack('>fd', 1.5, 2.5)
return struct.pack('i33', 1)
return struct.pack('!3b', 1)
return struct.pack('y', 1)
return struct.pack('i')
return struct.pack('i', 'x')
return struct.pack()
return {struct.unpack('>I2', '\\1\\2')}
return {struct.unpack('<i2', '\\255\\255')}
return {struct.unpack('BB', '\\1\\2')}
return {struct.unpack('s', 'abc\\0def')}
return {struct.unpack('s', 'abc')}
return {struct.unpack('c2', 'abc')}
return {struct.unpack('Bc0', '\\2abc')}
return {struct.unpack('c0', 'abc')}
return {struct.unpack('I4', 'abc')}
return {struct.unpack('B', 'abc', 2)}
return {struct.unpack('B', 'abc', 0)}
return struct.size('bi4') .. struct.size('!bi4') .. struct.size('!8bd')
local c = cjson.new() return {c.encode_max_depth('3'), c.decode_max_depth(1.5), c.encode_number_precision(2^33 + 3)}
return cjson.encode_max_depth(1, 2)
return cjson.encode_max_depth(0)
return cjson.encode_sparse_array(true, false)
return cjson.encode_sparse_array(true, 1, 2, 3)
return cjson.encode_sparse_array('x')
return cjson.encode_invalid_numbers({})
return cjson.encode_invalid_numbers(5)
return cjson.decode_invalid_numbers('null')
return cjson.encode_keep_buffer(true, 1)
return cjson.encode({[2^40]='a'})
return cjson.decode('{"\\x": 1}')
return cjson.decode('{"a')
return cjson.decode('[1,{"a":1,"\\u12"}]')
return cjson.decode('-')
return cjson.decode('[-x]')
return cjson.decode('.5')
return tostring(cjson.decode('1.')) .. tostring(cjson.decode('-.5')) .. tostring(cjson.decode('+1'))
return tostring(cjson.decode('0x1.8p1')) .. tostring(cjson.decode('-0x10')) .. tostring(cjson.decode('1e400'))
return tostring(cjson.decode('-nan')) .. tostring(cjson.decode('nan(1)')) .. tostring(cjson.decode('-infinity'))
local c = cjson.new() c.decode_invalid_numbers(false) return c.decode('[01]')
local c = cjson.new() c.decode_invalid_numbers(false) return c.decode('nan')
local c = cjson.new() c.decode_invalid_numbers(false) return c.decode('-inf')
return cjson.decode('1\0')
return cjson.decode('\0')
return cmsgpack.pack(0/0, -(0/0), 5e-324, 2^-149, 2^-126, 1e-45)
return {cmsgpack.unpack('\207\255\255\255\255\255\255\255\254')}
return cmsgpack.unpack('\196\1x')
return cmsgpack.unpack('\129\192\1')
return cmsgpack.unpack('\129\202\127\192\0\0\1')
return cmsgpack.unpack('\221\255\255\255\255\1')
return tostring(cmsgpack.unpack('\202\127\192\0\0')) .. tostring(cmsgpack.unpack('\203\255\248\0\0\0\0\0\0'))
return #cmsgpack.unpack(('\145'):rep(1000) .. '\1')
return {cmsgpack.unpack_limit('\1\2\3', 0)}
return {cmsgpack.unpack_limit('\1\2\3', 0, 1)}
return {cmsgpack.unpack_limit('\1\2\3', '1', 1.7)}
return cmsgpack.unpack_limit('\1', nil)
return cmsgpack.unpack_limit('\1')
return cmsgpack.unpack_one('\1', 2^40)
return bit.tobit(2^52 + 1) .. bit.tobit(1e300) .. bit.tobit(123456789012345678) .. bit.tobit(1/0)
return bit.band('0x10', ' 17 ') .. bit.bor('1e2', 'inf')
return bit.bor('1_0')
return bit.bor(1, redis.call)
return bit.bor(1, {}, 'x')
return bit.rshift(cjson.null)
return struct.pack('=i', 1)
return struct.pack('i2\0y', 1)
return struct.pack('i3', 1e300) .. struct.pack('l', 2^64) .. struct.pack('l', -2^65) .. struct.pack('L', 0/0)
return struct.pack('b', redis.call)
return struct.size('!4bi3') .. struct.size('e5') .. struct.size('!2i7b')
return {struct.unpack('i9', '\200\1\1\1\1\1\1\1\1'), struct.unpack('i16', ('\255'):rep(16))}
return struct.unpack('b', 'abc', -1)
return struct.unpack('y', 'abc', 9)
return {struct.unpack('', 'abc', -5)}
return {struct.unpack('sc0', '2\0abc')}
return struct.unpack('i33', 'abc', 9)
return struct.size('s')
return struct.size('c0')
""".strip().splitlines()


@pytest.fixture
def servers(perdure: RealRedis, real_redis: RealRedis) -> tuple[RealRedis, RealRedis]:
    for server in (perdure, real_redis):
        server.ask("SCRIPT", "FLUSH")
        server.ask("FUNCTION", "FLUSH")
    return perdure, real_redis


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("scripts", [CONVERSIONS, ERRORS, LIBRARIES], ids=["conversions", "errors", "libraries"])
def test_scripts_as_redis(servers: tuple[RealRedis, RealRedis], scripts: list[str], protocol: int) -> None:
    for server in servers:
        server.ask("HELLO", protocol)
    differ = {}
    for script in scripts:
        for server in servers:
            server.ask("FLUSHALL")
        ours, theirs = [server.ask("EVAL", script, 1, "key", "argument") for server in servers]
        if ours != theirs:
            differ[script] = (ours, theirs)
    assert not differ


DIALOGUES = {
    "arguments": """
        1 EVAL
        1 EVAL "return 1"
        1 EVAL "return 1" x
        1 EVAL "return 1" -1
        1 EVAL "return 1" 2 a
        1 EVAL "return {KEYS[1],KEYS[2],ARGV[1],ARGV[2]}" 2 a b c
        1 EVALSHA nothing 0
        1 EVALSHA ffffffffffffffffffffffffffffffffffffffff 0
        1 EVALSHA E0E1F9FABFC9D4800C877A703B823AC0578FF8DB 0
        1 SCRIPT LOAD "return 1"
        1 EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
        1 EVALSHA E0E1F9FABFC9D4800C877A703B823AC0578FF8DB 0
        1 EVALSHA_RO e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
        1 SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db x
        1 SCRIPT EXISTS
        1 SCRIPT LOAD "x x"
        1 SCRIPT LOAD
        1 SCRIPT FLUSH x
        1 SCRIPT FLUSH ASYNC
        1 SCRIPT FLUSH SYNC
        1 SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db
        1 SCRIPT KILL
        1 SCRIPT NOTHING
        1 SCRIPT
    """,
    "shebangs": r"""
        1 EVAL "#!lua\nreturn redis.call('set','k','v')" 1 k
        1 EVAL "#!lua flags=no-writes\nreturn redis.call('get','k')" 1 k
        1 EVAL "#!lua flags=no-writes\nreturn redis.call('set','k','w')" 1 k
        1 EVAL "#!lua flags=no-writes,allow-stale,allow-oom,no-cluster,allow-cross-slot-keys\nreturn 5" 0
        1 EVAL "#!lua flags=\nreturn 1" 0
        1 EVAL "#!lua flags=nothing\nreturn 1" 0
        1 EVAL "#!lua name=x\nreturn 1" 0
        1 EVAL "#!lua x\nreturn 1" 0
        1 EVAL "#!js\nreturn 1" 0
        1 EVAL "#!lua" 0
        1 EVAL_RO "#!lua\nreturn 1" 0
        1 EVAL_RO "#!lua flags=no-writes\nreturn 1" 0
        1 EVAL_RO "return redis.call('get','k')" 1 k
        1 EVAL_RO "return redis.call('set','k','w')" 1 k
        1 EVAL_RO "return redis.pcall('set','k','w')" 1 k
        1 GET k
    """,
    "in a transaction": """
        1 MULTI
        1 EVAL "redis.call('set','k',ARGV[1]) return redis.call('get','k')" 1 k a
        1 EVAL "return redis.call('incr','k')" 1 k
        1 EVAL "redis.call('set','l','x') error('after a write')" 0
        1 GET l
        1 EXEC
        2 WATCH k
        1 EVAL "return redis.call('set','k','b')" 1 k
        2 MULTI
        2 GET k
        2 EXEC
    """,
    "writes before an error stay": """
        1 EVAL "redis.call('set','k','v') redis.call('nothing')" 0
        1 GET k
        1 EVAL "redis.call('set','k','w') error('x')" 0
        1 GET k
    """,
    "another database is the script's alone": """
        1 SELECT 2
        1 EVAL "redis.call('select',3) redis.call('set','k','v') return 1" 0
        1 EXISTS k
        1 SELECT 3
        1 GET k
    """,
    "a script wakes who waits, when it has ended": """
        1 >BLPOP l 0
        2 EVAL "redis.call('rpush','l','a','b') return redis.call('lpop','l')" 1 l
        1 <
        2 LRANGE l 0 -1
    """,
    "time stands still": """
        1 SET k v PX 30
        1 EVAL "local i=0 local t=redis.call('time') while i<3e6 do i=i+1 end return redis.call('exists','k')" 1 k
    """,
    "SWAPDB moves the script as well": """
        1 SET k v
        1 EVAL "redis.call('swapdb', 0, 1) return {redis.call('get', 'k'), redis.call('set', 'l', 'w')}" 0
        1 KEYS *
        1 SELECT 1
        1 KEYS *
    """,
    "messages leave with the script": """
        1 SUBSCRIBE c
        2 EVAL "redis.call('publish','c','one') redis.call('publish','c','two') return 1" 0
        1 <
        1 <
    """,
}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", DIALOGUES)
def test_dialogues_as_redis(
    name: str, protocol: int, perdure_server: PerdureServer, real_redis_port: int, servers: tuple[RealRedis, RealRedis]
) -> None:
    ours = play(perdure_server.port, DIALOGUES[name], protocol)
    assert ours == play(real_redis_port, DIALOGUES[name], protocol)


# -- what only we can say ----------------------------------------------------------------------------------------------


def internals(client: RealRedis, name: bytes) -> int:
    flat = client.ask("DEBUG", "INTERNALS")
    return int(flat[flat.index(name) + 1])


def test_a_script_is_one_batch_of_the_log(perdure: RealRedis) -> None:
    before = internals(perdure, b"written")
    perdure.ask("EVAL", "for i = 1, 20 do redis.call('set', 'k' .. i, i) redis.call('rpush', 'l', i) end", 0)
    assert internals(perdure, b"written") == before + 1
    perdure.ask("EVAL", "return redis.call('get', 'k1')", 0)
    assert internals(perdure, b"written") == before + 1


def test_many_keys_and_arguments(perdure: RealRedis) -> None:
    keys = [b"k%d" % n for n in range(3000)]
    script = "return {#KEYS, #ARGV, KEYS[3000], ARGV[1], redis.call('mset', unpack(ARGV))}"
    assert perdure.ask("EVAL", script, len(keys), *keys, *keys) == [3000, 3000, b"k2999", b"k0", b"OK"]


def test_the_statistics_know_scripts(perdure: RealRedis) -> None:
    perdure.ask("SCRIPT", "FLUSH")
    perdure.ask("EVAL", "return redis.call('get', 'x')", 0)
    perdure.ask("SCRIPT", "LOAD", "return 2")
    told = perdure.ask("INFO", "memory")
    assert b"number_of_cached_scripts:2\r\n" in told
    assert int(told.partition(b"used_memory_lua:")[2].split()[0]) > 0


def test_monitor_shows_what_scripts_run(perdure: RealRedis, perdure_server: PerdureServer) -> None:
    watcher = perdure_server.connect()
    watcher.ask("MONITOR")
    perdure.ask("EVAL", "return redis.call('set', 'k', 'v')", 0)
    lines = [watcher.read(), watcher.read()]
    assert any(b' lua] "set" "k" "v"' in line for line in lines)
    watcher.close()


@pytest.fixture
def impatient(perdure_server: PerdureServer) -> Iterator[PerdureServer]:
    """A server that says BUSY soon."""
    client = perdure_server.connect()
    client.ask("CONFIG", "SET", "busy-reply-threshold", 50)
    yield perdure_server
    client.ask("CONFIG", "SET", "busy-reply-threshold", 5000)
    client.close()


ENDLESS = {
    "a loop": "while true do end",
    "a loop that catches errors": "while true do pcall(function() while true do end end) end",
    "a loop in a coroutine": "coroutine.wrap(function() while true do end end)()",
    "a loop in an error handler": "xpcall(function() error('x') end, function() while true do end end)",
    "a loop of calls": "while true do redis.call('ping') end",
    "a tail call": "local function f() return f() end return f()",
    "a pattern": "return (('a'):rep(40)):find(('a-'):rep(20) .. 'b')",
    "a pattern that replaces": "return (('a'):rep(3000)):gsub('.-.-.-b', '')",
    "a metamethod": """
        local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end})
        while true do pcall(function() return t[1] end) end
    """,
    "a sort that does not know": """
        local t = {} for i = 1, 1e5 do t[i] = i end
        while true do pcall(table.sort, t, function() return true end) end
    """,
    "code with a name of ours": """
        loadstring('while true do pcall(function() while true do end end) end', '=perdure:sandbox')()
    """,
    "coroutines that resume others": """
        local function spin(depth)
            for i = 1, depth == 0 and 20000 or 2500 do
                if depth > 0 then coroutine.wrap(spin)(depth - 1) end
            end
        end
        while true do pcall(spin, 4) end
    """,
    "texts that are compared": """
        local a = ('x'):rep(2e6) local b = a .. 'b' a = a .. 'a'
        while true do local c = a < b end
    """,
    "capital letters": "local a = ('x'):rep(2e7) while true do a:upper() end",
    "letters in quotes": "local a = ('x'):rep(1e7) while true do string.format('%q', a) end",
    "a long text again and again": "while true do ('x'):rep(5e7) end",
    "things moved": """
        local t = {} for i = 1, 1e6 do t[i] = '' end
        while true do table.insert(t, 1, '') table.remove(t, 1) end
    """,
    "nothing put together": "local t = {} for i = 1, 1e6 do t[i] = '' end while true do table.concat(t) end",
    "garbage collected": "local t = {} for i = 1, 1e6 do t[i] = {} end while true do collectgarbage() end",
    "code compiled": "local s = ('x = 1 '):rep(1e4) while true do loadstring(s) end",
    "digests": "local a = ('x'):rep(2e7) while true do redis.sha1hex(a) end",
    "replacements": "local a = ('x'):rep(2e6) while true do a:gsub('x', 'y') end",
    "a replacement longer than what it is for": "return (('x'):rep(1e6)):gsub('x(y-)', ('%1'):rep(1e6))",
    "a pattern as long as its subject": "return (('x'):rep(5e6)):find(('.'):rep(1e6) .. 'y')",
    "a text sought in a longer one": "return (('x'):rep(4e7)):find(('x'):rep(2e7) .. 'y', 1, true)",
    "long texts sorted": """
        local a = ('x'):rep(5e6) local all = {a .. 'a', a .. 'b', a .. 'c'}
        local t = {} for i = 1, 1e5 do t[i] = all[i % 3 + 1] end
        table.sort(t)
    """,
    "JSON again and again": """
        local t = {} for i = 1, 1000 do t[i] = {i} end
        while true do cjson.decode(cjson.encode(t)) end
    """,
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_script_without_end_is_killed(name: str, impatient: PerdureServer) -> None:
    script, killer = impatient.connect(), impatient.connect()
    assert killer.ask("PING") == b"PONG"  # it is known
    script.send("EVAL", ENDLESS[name], 0)
    deadline = time.monotonic() + 10
    while killer.ask("PING") == b"PONG" and time.monotonic() < deadline:
        time.sleep(0.01)
    late = impatient.connect()
    assert "BUSY" in str(late.ask("GET", "k"))
    assert "BUSY" in str(late.ask("FUNCTION", "KILL"))
    assert "BUSY" in str(late.ask("SHUTDOWN"))
    assert killer.ask("SCRIPT", "KILL") == b"OK"
    assert "killed by user" in str(script.read())
    assert [client.ask("PING") for client in (script, killer, late)] == [b"PONG"] * 3
    for client in (script, killer, late):
        client.close()


def test_a_script_that_wrote_is_not_killed(impatient: PerdureServer) -> None:
    script, killer = impatient.connect(), impatient.connect()
    killer.ask("SET", "k", "before")
    script.send("EVAL", "redis.call('set', 'k', 'v') local i = 0 while i < 3e7 do i = i + 1 end return i", 0)
    while killer.ask("PING") == b"PONG":
        time.sleep(0.01)
    assert "UNKILLABLE" in str(killer.ask("SCRIPT", "KILL"))
    assert script.read() == 30_000_000
    assert killer.ask("GET", "k") == b"v"
    script.close()
    killer.close()


def test_other_threads_have_turns_while_a_script_runs() -> None:
    """Else the log of what came before would not be synced until the script ends."""
    turns, ended = 0, threading.Event()

    def count() -> None:
        nonlocal turns
        while not ended.wait(0.001):
            turns += 1

    thread = threading.Thread(target=count)
    thread.start()
    before = turns
    LocalServer().ask(b"EVAL", b"for i = 1, 3e7 do end", b"0")
    during = turns - before
    ended.set()
    thread.join()
    assert during > 10


def test_shutdown_nosave_ends_a_script_and_nothing_of_it_is_kept(start_perdure: StartPerdure) -> None:
    server = start_perdure("--busy-reply-threshold", "50")
    script, killer = server.connect(), server.connect()
    killer.ask("SET", "k", "before")
    script.send("EVAL", "redis.call('set', 'k', 'after') redis.call('set', 'l', 'x') while true do end", 0)
    while killer.ask("PING") == b"PONG":
        time.sleep(0.01)
    killer.send("SHUTDOWN", "NOSAVE")
    assert server.process.wait(10) == 0
    client = start_perdure().connect()
    assert client.ask("MGET", "k", "l") == [b"before", None]


BOMBS = {
    "memory": "local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end",
    "memory, caught": "pcall(function() local s = 'x' while true do s = s .. s end end) return 'survived'",
    "a long string": "return ('x'):rep(1e10)",
    "recursion": "local function f() return 1 + f() end return f()",
    "recursion of pcall": "local function f() return pcall(f) end return tostring(f())",
    "recursion of metamethods": "return setmetatable({}, {__index = function(t, k) return t[k] end}).x",
    "recursion of gsub": "local function f() return (('x'):gsub('x', f)) end return f()",
    "recursion of coroutines": "local function f() return coroutine.wrap(f)() end return f()",
    "a deep text": "return loadstring('return ' .. ('('):rep(1e5) .. '1' .. (')'):rep(1e5))",
    "a pattern too complex": "return ('x'):find(('a?'):rep(200000))",
    "a reply that holds itself": "local t = {} t[1] = t return t",
    "a table of tables": "local t = {} for i = 1, 300 do t = {t} end return t",
    "many results of struct": "return select('#', struct.unpack(('b'):rep(10000), ('a'):rep(10000)))",
    "a long format": "return #struct.pack(('x'):rep(1e7))",
    "many results": "return {unpack({}, 1, 1e7)}",
    "many parameters before dots": f"""
        local function f({", ".join(f"p{n}" for n in range(100))}, ...) return 1 end
        return coroutine.wrap(function() return f() end)()
    """,
}


COSTLY = {
    "long arguments": "local a, t = ('x'):rep(1e6), {} for i = 1, 900 do t[i] = a end return redis.call('del', unpack(t))",
    "long arguments behind a nil": """
        local a, t = ('x'):rep(1e6), {} for i = 1, 900 do t[i] = a end
        return redis.pcall('del', 1, 2, 3, 4, 5, nil, nil, unpack(t))
    """,
    "long arguments of struct": """
        local a, t = ('x'):rep(1e6), {} for i = 1, 900 do t[i] = a end
        return #struct.pack(('s'):rep(900), unpack(t))
    """,
    "long arguments of sha1hex": """
        local a, t = ('x'):rep(1e6), {} for i = 1, 900 do t[i] = a end return redis.sha1hex(unpack(t))
    """,
}


@pytest.mark.parametrize("name", COSTLY)
def test_long_arguments_count_as_memory(name: str, perdure: RealRedis) -> None:
    assert "not enough memory" in str(perdure.ask("EVAL", COSTLY[name], 0))


def test_patterns_that_are_remembered_are_short(perdure: RealRedis) -> None:
    before = int(perdure.ask("INFO", "memory").partition(b"used_memory_lua:")[2].split()[0])
    for number in range(20):
        perdure.ask("EVAL", "return ('x'):find(ARGV[1])", 0, b"a" * 200_000 + b"%d" % number)
    assert int(perdure.ask("INFO", "memory").partition(b"used_memory_lua:")[2].split()[0]) < before + 1_000_000


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_does_no_harm(name: str, perdure: RealRedis, perdure_server: PerdureServer) -> None:
    perdure.ask("SET", "k", "v")
    perdure.socket.settimeout(30)
    reply = perdure.ask("EVAL", BOMBS[name], 0)
    assert "internal error" not in str(reply)
    assert perdure.ask("EVAL", "return redis.call('get', 'k') .. cjson.encode({1})", 0) == b"v[1]"
    assert perdure_server.process.poll() is None


def test_what_a_bomb_had_written_is_kept(perdure: RealRedis) -> None:
    reply = perdure.ask("EVAL", "redis.call('set', 'k', 'w') local s = 'x' while true do s = s .. s end", 0)
    assert "not enough memory" in str(reply)
    assert perdure.ask("GET", "k") == b"w"


ESCAPES = [
    "return tostring(redis.call):sub(1, 8)",
    "local ok, e = pcall(redis.call, setmetatable({}, {__tostring = function() return 'x' end})) return e",
    "local found = 'none' for k, v in pairs(_G) do if type(v) == 'userdata' then found = k end end return found",
    "for k, v in pairs(redis) do if type(v) == 'userdata' then return k end end return 'none'",
    "local s = getmetatable('') s.__index = {} return 'open'",
    "local m = getmetatable(string) if m then m.__newindex = nil end return tostring(m)",
    "local ok, e = pcall(bit.band, {}) return type(e)",
    "local ok, e = pcall(struct.unpack, 'i4') return type(e)",
    "return type(cjson.null) .. tostring(getmetatable(cjson.null))",
    "local e = getmetatable(_G) e.__metatable = 1 return 'open'",
    "return tostring(rawget(_G, 'python')) .. tostring(rawget(_G, 'debug'))",
    "return tostring(string.find) ~= nil and tostring(pcall(string.find, 'x', setmetatable({}, {})))",
]


@pytest.mark.parametrize("script", ESCAPES)
def test_no_way_out(script: str, perdure: RealRedis) -> None:
    reply = str(perdure.ask("EVAL", script, 0))
    for word in ("python", "method", "bound", "0x7f", "open", "Traceback", "perdure."):
        assert word not in reply


def resident(server: RealRedis) -> int:
    return int(server.ask("INFO", "memory").partition(b"used_memory_rss:")[2].split()[0])


def test_forgotten_interpreters_give_their_memory_back(perdure: RealRedis) -> None:
    """The server collects no cycles: none may hold an interpreter."""

    def use_and_forget(times: int) -> None:
        for _ in range(times):
            perdure.ask("EVAL", "return redis.call('TIME')", 0)
            perdure.ask("SCRIPT", "FLUSH")
            perdure.ask("FUNCTION", "LOAD", "#!lua name=mine\nredis.register_function('f', function() return 1 end)")
            perdure.ask("FCALL", "f", 0)
            perdure.ask("FUNCTION", "FLUSH")

    use_and_forget(10)
    before = resident(perdure)
    use_and_forget(60)  # 30 MB when they are kept
    assert resident(perdure) - before < 8 << 20


def test_globals_do_not_outlive_a_script(perdure: RealRedis) -> None:
    for script in ("x = 1", "_G.x = 1", "rawset(_G, 'x', 1)", "string.x = 1", "table.insert(_G, 1)", "KEYS[9] = 1"):
        perdure.ask("EVAL", script, 0)
    told = perdure.ask("EVAL", "return {tostring(rawget(_G, 'x')), #KEYS, tostring(rawget(_G, 1)), tostring(string.x)}", 0)
    assert told == [b"nil", 0, b"nil", b"nil"]


@pytest.mark.parametrize("seed", range(4))
def test_the_slow_matcher_does_what_luas_own_does(seed: int) -> None:
    """patterns.lua's matcher, made to do all, beside the one in C."""
    lua = lupa.lua51.LuaRuntime(encoding=None)
    source = files("perdure.scripting").joinpath("lua", "patterns.lua").read_bytes()
    both = lua.execute(
        b"""
        local slow = ...
        return function(name, ...)
            local function told(ok, ...)
                if not ok then return 'error' end
                local out = {}
                for n = 1, select('#', ...) do out[n] = tostring((select(n, ...))) end
                return table.concat(out, '|')
            end
            if name == 'gmatch' then
                local function all(f, text, pattern)
                    local out = {}
                    for a, b in f(text, pattern) do out[#out + 1] = tostring(a) .. tostring(b) end
                    return table.concat(out, '|')
                end
                return told(pcall(all, string.gmatch, ...)), told(pcall(all, slow.gmatch, ...))
            end
            return told(pcall(string[name], ...)), told(pcall(slow[name], ...))
        end""",
        lua.compile(source)(
            lua.globals()[b"error"],
            lua.eval(b"function(steps) end"),
            lua.eval(b"function(name, ok, ...) if ok then return ... end error((...), 0) end"),
            0,
        ),
    )
    random = Random(seed)
    items = [b"a", b"b", b".", b"%a", b"%d", b"[ab]", b"[^a]", b"%s", b"[%w_]", b"%%", b"x"]
    for _ in range(1500):
        pattern = b"^" * random.randrange(2)
        for _ in range(random.randrange(1, 5)):
            piece = random.choice(items) + random.choice([b"", b"", b"*", b"+", b"-", b"?"])
            pattern += random.choice([piece, piece, b"(" + piece + b")", b"()", b"%b()", b"%f[a]", b"(", b"%1"])
        pattern += b"$" * (random.random() < 0.2)
        text = bytes(random.choices(b"aab1 x_()", k=random.randrange(9)))
        for arguments in (
            (b"find", text, pattern), (b"match", text, pattern, random.randrange(-4, 9)),
            (b"gmatch", text, pattern.lstrip(b"^")),
            (b"gsub", text, pattern, b"<%0>"), (b"gsub", text, pattern, b"%1", random.randrange(3)),
        ):  # fmt: skip
            own, slow = both(*arguments)
            assert own == slow, arguments


def test_all_of_a_script_or_nothing_after_a_kill(start_perdure: StartPerdure) -> None:
    """kill -9 amid scripts of many keys: what one has written is there whole, and what was acknowledged is there."""
    script = """
        for i = 1, 50 do
            redis.call('set', KEYS[1] .. i, ARGV[1]) redis.call('hset', KEYS[1] .. 'h', i, ARGV[1])
        end
        return ARGV[1]"""
    acknowledged: dict[bytes, int] = {}

    def write(port: int, key: bytes, first: int) -> None:
        client = RealRedis(port)
        try:
            for number in range(first, first + 100_000):
                client.send("EVAL", script, 1, key, number)
                acknowledged[key] = int(client.read())
        except (OSError, EOFError, ValueError):
            pass

    for seed in range(3):
        server = start_perdure("--appendfsync", "always")
        writers = [
            threading.Thread(target=write, args=(server.port, key, acknowledged.get(key, 0) + 1)) for key in (b"a", b"b")
        ]
        for writer in writers:
            writer.start()
        time.sleep(Random(seed).uniform(0.3, 0.6))
        server.stop(signal.SIGKILL)
        for writer in writers:
            writer.join()
        checker = start_perdure()
        client = checker.connect()
        for key, number in acknowledged.items():
            told = client.ask("MGET", *(key + b"%d" % each for each in range(1, 51)))
            fields = client.ask("HVALS", key + b"h")
            assert len({*told, *fields}) == 1
            assert len(fields) == 50
            assert int(told[0]) in (number, number + 1)
            acknowledged[key] = int(told[0])
        client.close()
        checker.stop(signal.SIGKILL)
