"""A call of every command of the table, as a client would make it, with success on the keys that `KEYS` makes.

`tests/model/test_keys_declared.py` watches which keys each of them touches. A new command needs a line here.
"""

from __future__ import annotations

from typing import Final

KEYS: Final = """
MSET string value number 17 bits foobar
HSET hash field value number 17 other x
RPUSH list x y z
RPUSH numbers 3 1 2
SADD set x y 1
SADD more y z 2
ZADD zset 1 x 2 y 3 z
ZADD zmore 5 y 6 w
GEOADD places 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
PFADD visitors a b c
PFADD guests c d
XADD stream 1-1 f v
XADD stream 2-1 f v
XGROUP CREATE stream group 0
XREADGROUP GROUP group reader COUNT 1 STREAMS stream >
SET lasting value EX 1000
HSET volatile field value other x
HEXPIRE volatile 1000 FIELDS 1 field
SET weight_1 5
SET weight_2 3
SET weight_3 4
SCRIPT LOAD "return redis.call('GET', KEYS[1])"
FUNCTION LOAD "#!lua name=library\\nredis.register_function{function_name='f', callback=function(keys) return \
redis.call('TYPE', keys[1]) end, flags={'no-writes'}}"
"""

EXAMPLES: Final = """
APPEND string more
DECR number
DECRBY number 5
DELEX string
DELIFEQ string value
DIGEST string
GET string
GETDEL string
GETEX string EX 100
GETRANGE string 0 2
GETSET string new
INCR number
INCRBY number 5
INCRBYFLOAT number 1.5
LCS string bits
LCS string bits IDX WITHMATCHLEN
MGET string number nothing
MSET string a new b
MSETEX 2 string a new b EX 100
MSETNX new1 a new2 b
PSETEX string 100000 value
SET string value
SET new value NX GET EX 100
SETEX string 100 value
SETNX new value
SETRANGE string 3 xyz
STRLEN string
SUBSTR string 0 1

BITCOUNT bits 0 -1 BIT
BITFIELD bits GET u8 0 SET u8 #1 7 INCRBY i5 20 1
BITFIELD_RO bits GET u8 0
BITOP AND new bits string
BITOP NOT new bits
BITPOS bits 1
GETBIT bits 7
SETBIT bits 7 1

BLMOVE list new LEFT RIGHT 0.1
BLMPOP 0.1 2 nothing list LEFT COUNT 2
BLPOP nothing list 0.1
BRPOP nothing list 0.1
BRPOPLPUSH list new 0.1
LINDEX list 1
LINSERT list BEFORE y new
LLEN list
LMOVE list numbers LEFT RIGHT
LMPOP 2 nothing list RIGHT
LPOP list
LPOP list 2
LPOS list y
LPUSH list new
LPUSHX list new
LRANGE list 0 -1
LREM list 0 y
LSET list 1 new
LTRIM list 1 1
RPOP list
RPOPLPUSH list list
RPUSH new a b
RPUSHX list new

BZMPOP 0.1 2 nothing zset MIN COUNT 2
BZPOPMAX nothing zset 0.1
BZPOPMIN nothing zset 0.1
ZADD zset GT CH 5 x 6 new
ZCARD zset
ZCOUNT zset 1 2
ZDIFF 2 zset zmore WITHSCORES
ZDIFFSTORE new 2 zset zmore
ZINCRBY zset 2 x
ZINTER 2 zset zmore WEIGHTS 1 2
ZINTERCARD 2 zset zmore LIMIT 1
ZINTERSTORE new 2 zset zmore AGGREGATE MAX
ZLEXCOUNT zset - +
ZMPOP 2 nothing zset MAX
ZMSCORE zset x nothing
ZPOPMAX zset 2
ZPOPMIN zset
ZRANDMEMBER zset 2 WITHSCORES
ZRANGE zset 0 -1 REV WITHSCORES
ZRANGEBYLEX zset - +
ZRANGEBYSCORE zset -inf (3 LIMIT 0 1
ZRANGESTORE new zset 0 1
ZRANK zset y WITHSCORE
ZREM zset x nothing
ZREMRANGEBYLEX zset - +
ZREMRANGEBYRANK zset 0 1
ZREMRANGEBYSCORE zset 0 1
ZREVRANGE zset 0 -1
ZREVRANGEBYLEX zset + -
ZREVRANGEBYSCORE zset 3 1
ZREVRANK zset y
ZSCAN zset 0
ZSCORE zset x
ZUNION 2 zset zmore
ZUNIONSTORE new 2 zset set WEIGHTS 2 3

COPY string new
COPY string string DB 1
COPY hash list REPLACE
DEL string hash nothing
DUMP hash
EXISTS string nothing
EXPIRE string 100
EXPIREAT string 4000000000
EXPIRETIME lasting
KEYS s*
MOVE string 1
OBJECT ENCODING hash
OBJECT REFCOUNT hash
OBJECT IDLETIME hash
OBJECT FREQ hash
OBJECT HELP
PERSIST lasting
PEXPIRE string 100000
PEXPIREAT string 4000000000000
PEXPIRETIME lasting
PTTL lasting
RANDOMKEY
RENAME string new
RENAME hash list
RENAMENX string new
SCAN 0 MATCH s* TYPE string
SORT numbers LIMIT 0 2 DESC
SORT numbers BY weight_* GET # GET weight_* STORE new
SORT_RO numbers
TOUCH string nothing
TTL lasting
TYPE hash
UNLINK string nothing
WAIT 0 10
WAITAOF 1 0 10

GEOADD places NX 2.35 48.85 Paris
GEODIST places Palermo Catania km
GEOHASH places Palermo
GEOPOS places Palermo nothing
GEORADIUS places 15 37 200 km
GEORADIUS places 15 37 200 km STORE new
GEORADIUSBYMEMBER places Palermo 200 km STOREDIST new
GEORADIUSBYMEMBER_RO places Palermo 200 km
GEORADIUS_RO places 15 37 200 km WITHDIST
GEOSEARCH places FROMMEMBER Palermo BYRADIUS 200 km
GEOSEARCHSTORE new places FROMLONLAT 15 37 BYBOX 400 400 km

HDEL hash field nothing
HEXISTS hash field
HEXPIRE hash 100 FIELDS 2 field nothing
HEXPIREAT hash 4000000000 FIELDS 1 field
HEXPIRETIME volatile FIELDS 1 field
HGET hash field
HGETALL hash
HGETDEL hash FIELDS 1 field
HGETEX hash EX 100 FIELDS 1 field
HINCRBY hash number 5
HINCRBYFLOAT hash number 1.5
HKEYS hash
HLEN hash
HMGET hash field nothing
HMSET hash a 1 b 2
HPERSIST volatile FIELDS 1 field
HPEXPIRE hash 100000 FIELDS 1 field
HPEXPIREAT hash 4000000000000 FIELDS 1 field
HPEXPIRETIME volatile FIELDS 1 field
HPTTL volatile FIELDS 1 field
HRANDFIELD hash 2 WITHVALUES
HSCAN hash 0 NOVALUES
HSET hash new value
HSETEX hash EX 100 FIELDS 1 field new
HSETNX hash new value
HSTRLEN hash field
HTTL volatile FIELDS 1 field
HVALS hash

PFADD visitors e f
PFCOUNT visitors guests
PFDEBUG GETREG visitors
PFMERGE new visitors guests
PFSELFTEST

SADD set new
SCARD set
SDIFF set more
SDIFFSTORE new set more
SINTER set more
SINTERCARD 2 set more LIMIT 1
SINTERSTORE new set more
SISMEMBER set x
SMEMBERS set
SMISMEMBER set x nothing
SMOVE set more x
SPOP set
SPOP set 2
SRANDMEMBER set 2
SREM set x nothing
SSCAN set 0
SUNION set more
SUNIONSTORE new set more

XACK stream group 1-1
XACKDEL stream group KEEPREF IDS 1 1-1
XADD stream * f v
XADD new MAXLEN ~ 10 5-* f v
XAUTOCLAIM stream group other 0 0 COUNT 1
XCLAIM stream group other 0 1-1 JUSTID
XDEL stream 1-1
XDELEX stream DELREF IDS 1 1-1
XGROUP CREATE stream new $
XGROUP CREATECONSUMER stream group other
XGROUP DELCONSUMER stream group reader
XGROUP DESTROY stream group
XGROUP HELP
XGROUP SETID stream group 2-1
XINFO CONSUMERS stream group
XINFO GROUPS stream
XINFO HELP
XINFO STREAM stream FULL
XLEN stream
XPENDING stream group - + 10
XRANGE stream - + COUNT 1
XREAD COUNT 1 BLOCK 10 STREAMS stream 1-1
XREADGROUP GROUP group reader STREAMS stream >
XREVRANGE stream + -
XSETID stream 9-9
XTRIM stream MAXLEN 1

MULTI
UNWATCH
WATCH string nothing

EVAL "return redis.call('SET', KEYS[1], ARGV[1])" 1 string new
EVALSHA d3c21d0c2b9ca22f82737626a27bcaf5d288f99f 1 string
EVALSHA_RO d3c21d0c2b9ca22f82737626a27bcaf5d288f99f 1 string
EVAL_RO "return redis.call('MGET', KEYS[1], KEYS[2])" 2 string number
FCALL f 1 string
FCALL_RO f 1 string
FUNCTION DELETE library
FUNCTION DUMP
FUNCTION FLUSH
FUNCTION HELP
FUNCTION KILL
FUNCTION LIST WITHCODE
FUNCTION LOAD REPLACE "#!lua name=library\\nredis.register_function('g', function() return 1 end)"
FUNCTION STATS
SCRIPT DEBUG NO
SCRIPT EXISTS d3c21d0c2b9ca22f82737626a27bcaf5d288f99f
SCRIPT FLUSH
SCRIPT HELP
SCRIPT KILL
SCRIPT LOAD "return 1"

PSUBSCRIBE news.*
PUBLISH news hello
PUBSUB CHANNELS
PUBSUB HELP
PUBSUB NUMPAT
PUBSUB NUMSUB news
PUBSUB SHARDCHANNELS
PUBSUB SHARDNUMSUB news
PUNSUBSCRIBE
SPUBLISH news hello
SSUBSCRIBE news
SUBSCRIBE news
SUNSUBSCRIBE news
UNSUBSCRIBE

DBSIZE
DEBUG SLEEP 0
FLUSHALL
FLUSHDB ASYNC
MEMORY HELP
MEMORY MALLOC-STATS
MEMORY USAGE hash
SWAPDB 0 1

ACL CAT
ACL DELUSER nobody
ACL DRYRUN default GET string
ACL GENPASS
ACL GETUSER default
ACL HELP
ACL LIST
ACL LOAD
ACL LOG
ACL SAVE
ACL SETUSER nobody on +get ~string
ACL USERS
ACL WHOAMI
AUTH default password
BGREWRITEAOF
BGSAVE
COMMAND COUNT
COMMAND DOCS get
COMMAND GETKEYS GET string
COMMAND GETKEYSANDFLAGS GET string
COMMAND HELP
COMMAND INFO get
COMMAND LIST
CONFIG GET maxmemory
CONFIG HELP
CONFIG RESETSTAT
CONFIG REWRITE
CONFIG SET maxmemory 0
LASTSAVE
LATENCY HISTORY command
LATENCY LATEST
LATENCY RESET
LOLWUT
MEMORY DOCTOR
MEMORY PURGE
MEMORY STATS
MODULE HELP
MODULE LIST
REPLICAOF NO ONE
ROLE
SAVE
SLAVEOF NO ONE
SLOWLOG GET
SLOWLOG HELP
SLOWLOG LEN
SLOWLOG RESET
TIME

CLIENT CACHING YES
CLIENT DURABILITY everysec
CLIENT GETNAME
CLIENT GETREDIR
CLIENT HELP
CLIENT ID
CLIENT INFO
CLIENT KILL TYPE pubsub
CLIENT LIST
CLIENT NO-EVICT on
CLIENT NO-TOUCH on
CLIENT REPLY ON
CLIENT SETINFO LIB-NAME test
CLIENT SETNAME me
CLIENT TRACKING OFF
CLIENT TRACKINGINFO
CLIENT UNBLOCK 99
ASKING
CLUSTER COUNTKEYSINSLOT 1
CLUSTER GETKEYSINSLOT 1 10
CLUSTER HELP
CLUSTER INFO
CLUSTER KEYSLOT k
CLUSTER LINKS
CLUSTER MYID
CLUSTER MYSHARDID
CLUSTER NODES
CLUSTER RESET
CLUSTER SHARDS
CLUSTER SLOTS
READONLY
READWRITE
LATENCY DOCTOR
LATENCY GRAPH command
LATENCY HELP
LATENCY HISTOGRAM
ECHO hello
HELLO 3
PING
RESET
SELECT 1
"""
