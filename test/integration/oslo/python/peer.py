"""A Python service on real oslo.messaging: one command, its arguments as JSON, one JSON value per line on stdout."""
import json
import logging
import sys
import threading
import time

from oslo_config import cfg
import oslo_messaging as om

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
    say(ready=True)
    for line in sys.stdin:
        one = json.loads(line)
        values = one.get('args', {})
        if 'mebibytes' in one:
            values = {'value': 'x' * (one['mebibytes'] << 20)}
        started = time.time()
        try:
            if one['kind'] == 'call':
                result = client.call(one.get('context', {}), one['method'], **values)
                if 'mebibytes' in one:
                    result = len(result)
                say(result=result, elapsed=time.time() - started)
            else:
                ready = client.prepare(fanout=True) if one['kind'] == 'fanout' else client
                ready.cast(one.get('context', {}), one['method'], **values)
                say(result=None)
        except Exception as error:
            say(error=type(error).__name__, text=str(error), type=getattr(error, 'exc_type', None),
                value=getattr(error, 'value', None), elapsed=time.time() - started)


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


COMMANDS = {'rpc-server': rpc_server, 'rpc-client': rpc_client, 'notifier': notifier, 'listener': listener}


def main():
    command, args = sys.argv[1], json.loads(sys.argv[2])
    conf([], project='interop')
    if 'control_exchange' in args:
        om.set_transport_defaults(args['control_exchange'])
    get = om.get_notification_transport if command in ('notifier', 'listener') else om.get_rpc_transport
    # Options of the driver can be given in the query, before it registers them.
    COMMANDS[command](get(conf, args['url']), args)


main()
