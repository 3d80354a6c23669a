#!/usr/bin/python3
"""Records which server other clients choose for a key, as vectors for the tests of `compat`.

How mappings.json was made (Debian 12: libmemcached11 1.1.4, python3-pymemcache 3.5.2):

    apt-get install libmemcached11 python3-pymemcache
    /usr/bin/python3 test/data/memcached/record-mappings.py > test/data/memcached/mappings.json

No server is asked. libmemcached is called by ctypes: its weighted ketama is behaviour 16, and
`memcached_generate_hash` returns the number of the server. pymemcache's HashClient hashes `host:port`.
"""
import ctypes
import ctypes.util
import hashlib
import json

from pymemcache.client.rendezvous import RendezvousHash

KETAMA_WEIGHTED = 16
KEY_COUNT = 200

lib = ctypes.CDLL(ctypes.util.find_library('memcached'))
lib.memcached_create.restype = ctypes.c_void_p
lib.memcached_create.argtypes = [ctypes.c_void_p]
lib.memcached_free.argtypes = [ctypes.c_void_p]
lib.memcached_behavior_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64]
lib.memcached_server_add_with_weight.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint16, ctypes.c_uint32]
lib.memcached_generate_hash.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
lib.memcached_generate_hash.restype = ctypes.c_uint32


def keys():
    """Short ones, and such as oslo.cache makes of long ones."""
    for i in range(KEY_COUNT):
        yield 'key:%d' % i if i % 2 == 0 else hashlib.sha1(b'%d' % i).hexdigest()


def libmemcached(servers):
    memc = lib.memcached_create(None)
    assert lib.memcached_behavior_set(memc, KETAMA_WEIGHTED, 1) == 0
    for host, port, weight in servers:
        assert lib.memcached_server_add_with_weight(memc, host.encode(), port, weight) == 0
    owners = [lib.memcached_generate_hash(memc, key.encode(), len(key)) for key in keys()]
    lib.memcached_free(memc)
    return owners


def pymemcache(servers):
    names = ['%s:%s' % (host, port) for host, port, _ in servers]
    ring = RendezvousHash(nodes=list(names))
    return [names.index(ring.get_node(key)) for key in keys()]


def lists():
    for count in (1, 2, 3, 4, 5, 7, 10, 14, 25, 28, 49, 50, 56, 98, 100):
        yield [('10.0.%d.%d' % (count, i), 11211, 1) for i in range(count)]
    yield [('cache%d.example' % i, 11211 + i, 1) for i in range(7)]
    yield [('a.example', 11211, 1), ('b.example', 11211, 10), ('c.example', 11211, 1), ('d.example', 11212, 1)]
    yield [('w%d' % i, 11211, weight) for i, weight in enumerate((1, 5, 1, 1, 9, 3, 7))]
    yield [('10.0.1.%d' % i, 11211, weight) for i, weight in enumerate((600, 300, 200, 350, 1000, 800, 950, 100), 1)]


print(json.dumps({
    'keyCount': KEY_COUNT,
    'vectors': [
        {
            'servers': [{'host': host, 'port': port, 'weight': weight} for host, port, weight in servers],
            'libmemcached': libmemcached(servers),
            'pymemcache': pymemcache(servers),
        }
        for servers in lists()
    ],
}, separators=(',', ':')))
