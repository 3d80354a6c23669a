import * as cluster from '../test/cluster/index.js'

/** Runs `work` with a whole cluster; one that did not exist before is taken down again. */
export async function onCluster<T>(kind: cluster.Kind, options: cluster.UpOptions, work: () => Promise<T>): Promise<T> {
  const { started } = await claimed(kind, options, () => cluster.up([kind], options))
  try {
    return await work()
  } finally {
    await cluster.down(started)
  }
}

/** Runs `work` while nobody else breaks clusters of the kind. */
export async function claimed<T>(kind: cluster.Kind, options: cluster.VerbOptions, work: () => Promise<T>): Promise<T> {
  const release = await cluster.claim([kind], options)
  try {
    return await work()
  } finally {
    release()
  }
}
