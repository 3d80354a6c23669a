import { claim, down, type Kind, KINDS, type Progress, up } from './index.js'

const progress: Progress = (line) => console.log(line)

/** Kinds to bring up; a run that needs fewer can say so, and then disturbs nobody who uses the others. */
const kinds: readonly Kind[] = KINDS.filter((kind) => {
  const wanted = process.env['OPENSTACK_HA_CLUSTER_KINDS']
  return wanted === undefined || wanted.split(',').includes(kind)
})

let release: () => void = () => undefined
let started: readonly Kind[] = []

/** vitest: before the first integration test. */
export async function setup(): Promise<void> {
  release = await claim(kinds, { progress })
  started = (await up(kinds, { progress })).started
}

/** vitest: after the last one. Clusters that were there before stay. */
export async function teardown(): Promise<void> {
  try {
    await down(started, { progress })
  } finally {
    release()
  }
}
