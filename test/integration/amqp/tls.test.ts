import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, expect, test } from 'vitest'
import type { AmqpTransport, TransportOptions } from '../../../src/amqp/index.js'
import { freeze, nodes, RABBIT_TLS_PORT } from '../../cluster/index.js'
import { selfSigned } from '../../helpers/certificate.js'
import { cleanUp, declareOn, mend, openTransport, uniqueName } from './broker.js'
import { Traffic } from './traffic.js'

const hosts = nodes('rabbit').map(({ host }) => `${host}:${String(RABBIT_TLS_PORT)}`)
const tls = { ca: selfSigned().cert, servername: 'localhost' }
const made: string[] = []
const transports: AmqpTransport[] = []

function open(options: TransportOptions): AmqpTransport {
  const transport = openTransport({ hosts, ...options })
  transports.push(transport)
  return transport
}

afterEach(async () => {
  for (const transport of transports.splice(0)) await transport.close()
})
afterAll(() => cleanUp(made))

test('publishes and consumes over TLS, large messages too', async () => {
  const queue = uniqueName('tls')
  made.push(queue)
  const transport = open({ tls })
  const sizes: number[] = []
  await transport.consume({ queue }, ({ content }) => void sizes.push(content.length))
  await transport.publish('', queue, Buffer.alloc(5_000_000, 'x'))
  await transport.publish('', queue, 'small')
  // Over two hosts, so in any order.
  await expect.poll(() => sizes.toSorted((a, b) => a - b), { timeout: 20_000 }).toEqual([5, 5_000_000])
})

test('takes the CA from a file that the environment names', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'openstack-ha-'))
  try {
    const file = join(dir, 'ca.pem')
    writeFileSync(file, selfSigned().cert)
    const env = { OS_OSLO_MESSAGING_RABBIT__SSL: 'true', OS_OSLO_MESSAGING_RABBIT__SSL_CA_FILE: file }
    // The name in the certificate is none of the addresses: found out only after the CA was accepted.
    await expect(open({ env }).ready({ timeoutMs: 2000 })).rejects.toThrow(/does not match certificate|altnames/)
  } finally {
    rmSync(dir, { recursive: true })
  }
})

test('refuses a server that it cannot verify', async () => {
  await expect(open({ tls: true }).ready({ timeoutMs: 2000 })).rejects.toThrow(/self-signed/)
})

test('a freeze of the node in use under traffic costs a pause, no error and no message', async () => {
  const queue = uniqueName('tls-failover')
  made.push(queue)
  const transport = open({ tls })
  await transport.ready()
  const inUse = hosts.indexOf(transport.status().connections.publisher.host ?? '') + 1
  await declareOn((inUse % hosts.length) + 1, queue)
  const traffic = await Traffic.start(transport, queue)
  try {
    await traffic.more(300)
    traffic.restartGaps()
    await freeze('rabbit', inUse)
    await traffic.more(500)
    const { gaps } = traffic
    console.log(
      `freeze under TLS: pause ${gaps.publish.toFixed(0)} ms publishing, ${gaps.deliver.toFixed(0)} ms consuming`,
    )
    expect(gaps.publish).toBeLessThan(6500)
  } finally {
    await mend()
  }
  await traffic.finish()
  expect(traffic.errors).toEqual([])
})
