import type { TestProject } from 'vitest/node'
import { claim, down, type Kind, KINDS, type Progress, up } from './index.js'

const progress: Progress = (line) => console.log(line)

let release: () => void = () => undefined
let started: readonly Kind[] = []

/** vitest: before the first test of a project, which is named after the kind that it needs. */
export async function setup({ name }: TestProject): Promise<void> {
  const kinds = KINDS.filter((kind) => kind === name)
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
