"""A Python service on real oslo.messaging: one command, its arguments as JSON, one JSON value per line on stdout."""
from concurrent import futures
import json
import logging
import sys
import threading
import time

from oslo_config import cfg
import oslo_messaging as om
from oslo_messaging._drivers import impl_rabbit

logging.disable(logging.CRITICAL)
conf = cfg.CONF
out_lock = threading.Lock()


def say(**fields):
    with out_lock:
        sys.stdout.write(json.dumps(fields) + '\n')
        sys.stdout.flush()


class Refused(Exception):
    pass


class Endpoint(object):
    target = om.Target(version='1.5')

    def __init__(self, name):
        self.name = name

    def echo(self, ctxt, value=None):
        return value

    def who(self, ctxt):
        return self.name

    def context(self, ctxt):
        return ctxt

    def big(self, ctxt):
        return {'id': 2 ** 64 + 1, 'not': [float('nan'), float('inf')]}

    def boom(self, ctxt, text='kaboom'):
        raise ValueError(text)

    @om.expected_exceptions(Refused)
    def refuse(self, ctxt):
        raise Refused('no')

    def slow(self, ctxt, seconds):
        time.sleep(seconds)
        return 'slept'

    def note(self, ctxt, value=None):
        say(server=self.name, note=value, context=ctxt)

    def counted(self, ctxt, value=None):
        say(executed=value)
        return value

    def ignore(self, ctxt, value=None):
        pass


class Namespaced(object):
    target = om.Target(namespace='admin', version='2.1')

    def echo(self, ctxt, value=None):
        return ['admin', value]


def rpc_server(transport, args):
    server = om.get_rpc_server(
        transport, om.Target(topic=args['topic'], server=args['server']),
        [Endpoint(args['server']), Namespaced()], executor='threading')
    server.start()
    say(ready=True)
    sys.stdin.read()
    server.stop()
    server.wait()


def rpc_client(transport, args):
    target = om.Target(topic=args['topic'], version=args.get('version'), server=args.get('server'),
                       namespace=args.get('namespace'))
    options = {'timeout': args.get('timeout', 10)}
    if 'monitor' in args:
        options['call_monitor_timeout'] = args['monitor']
    client = om.get_rpc_client(transport, target, **options)
    pool = futures.ThreadPoolExecutor(args.get('threads', 1))
    say(ready=True)
    for line in sys.stdin:
        one = json.loads(line)
        if one['kind'] == 'round':
            call_round(client, pool, one)
        elif 'id' in one:
            pool.submit(answer, client, one)
        else:
            answer(client, one)


def answer(client, one):
    """One request; says what came of it, with its id when many are under way."""
    values = one.get('args', {})
    if 'mebibytes' in one:
        values = {'value': 'x' * (one['mebibytes'] << 20)}
    known = {'id': one['id']} if 'id' in one else {}
    started = time.time()
    try:
        if one['kind'] == 'call':
            result = client.call(one.get('context', {}), one['method'], **values)
            if 'mebibytes' in one:
                result = len(result)
            say(result=result, elapsed=time.time() - started, **known)
        else:
            ready = client.prepare(fanout=True) if one['kind'] == 'fanout' else client
            ready.cast(one.get('context', {}), one['method'], **values)
            say(result=None, **known)
    except Exception as error:
        say(error=type(error).__name__, text=str(error), type=getattr(error, 'exc_type', None),
            value=getattr(error, 'value', None), elapsed=time.time() - started, **known)


def call_round(client, pool, one):
    """So many calls, so many at a time; says how long all and each of them took, in seconds."""
    numbers = iter(range(one['count']))
    lock = threading.Lock()
    each = []

    def work():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            started = time.monotonic()
            client.call({}, 'echo', value=number)
            each.append(time.monotonic() - started)

    started = time.monotonic()
    for each_work in [pool.submit(work) for _ in range(one['inFlight'])]:
        each_work.result()
    say(elapsed=time.monotonic() - started, each=each)


def notifier(transport, args):
    sender = om.Notifier(transport, publisher_id='python.host1', driver=args['driver'], topics=args['topics'])
    say(ready=True)
    for line in sys.stdin:
        one = json.loads(line)
        getattr(sender, one['priority'])(one.get('context', {}), one['event'], one['payload'])
        say(sent=True)


class Listener(object):
    def __init__(self, requeues):
        self.requeues = requeues

    def _note(self, priority, ctxt, publisher_id, event_type, payload, metadata):
        say(priority=priority, context=ctxt, publisher=publisher_id, event=event_type, payload=payload,
            metadata=metadata)
        if self.requeues > 0:
            self.requeues -= 1
            return om.NotificationResult.REQUEUE


def _priority(name):
    return lambda self, *rest: self._note(name, *rest)


for _name in ('audit', 'debug', 'info', 'warn', 'error', 'critical', 'sample'):
    setattr(Listener, _name, _priority(_name))


def listener(transport, args):
    one = om.get_notification_listener(
        transport, [om.Target(topic=topic) for topic in args['topics']], [Listener(args.get('requeues', 0))],
        executor='threading', allow_requeue=True, pool=args.get('pool'))
    one.start()
    say(ready=True)
    sys.stdin.read()
    one.stop()
    one.wait()


class FirstHost(object):
    """Stands in for `random` in the driver: every connection begins with this host."""

    def __init__(self, name):
        self.name = name

    def shuffle(self, hosts):
        hosts.sort(key=lambda host: host.hostname != self.name)


COMMANDS = {'rpc-server': rpc_server, 'rpc-client': rpc_client, 'notifier': notifier, 'listener': listener}


def main():
    command, args = sys.argv[1], json.loads(sys.argv[2])
    conf([], project='interop')
    if 'control_exchange' in args:
        om.set_transport_defaults(args['control_exchange'])
    if 'first' in args:
        impl_rabbit.random = FirstHost(args['first'])
    get = om.get_notification_transport if command in ('notifier', 'listener') else om.get_rpc_transport
    # Options of the driver can be given in the query, before it registers them.
    COMMANDS[command](get(conf, args['url']), args)


main()
