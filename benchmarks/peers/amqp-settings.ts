/** The same for all peers: better than what they have by default, where silence is found only after minutes. */
export const HEARTBEAT_SECONDS = 5
export const CONNECT_TIMEOUT_MS = 2000
/** The default of our own consumers. */
export const PREFETCH = 64

/** `host:port` as URLs with the default account. */
export function amqpUrls(hosts: readonly string[], query = ''): readonly string[] {
  return hosts.map((host) => `amqp://guest:guest@${host}${query}`)
}
