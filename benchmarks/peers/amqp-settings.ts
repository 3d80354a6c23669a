/** The same for all peers: what the field notes were measured with. */
export const HEARTBEAT_SECONDS = 5
export const CONNECT_TIMEOUT_MS = 2000

/** `host:port` as URLs with the default account. */
export function amqpUrls(hosts: readonly string[], query = ''): readonly string[] {
  return hosts.map((host) => `amqp://guest:guest@${host}${query}`)
}
