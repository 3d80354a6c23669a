import type { SqlSubject } from './subject.js'
import { sleep } from './timing.js'
import type { SideLoad } from './scene.js'

const WORKERS = 4
const READS = 5
const PAUSE_MS = 10

/** Columns of the table that {@link ReadBack} works on. */
export const READ_BACK_COLUMNS =
  '(n BIGINT AUTO_INCREMENT PRIMARY KEY, op VARCHAR(40) NOT NULL, node VARCHAR(64) NOT NULL, KEY (op)) ENGINE=InnoDB'

/**
 * Writes and then reads back, through the same client: what was acknowledged must be there at once, also when another
 * node has become the writer in between.
 *
 * Most of the time goes into reading, so that a change of the writer mostly meets a write that is acknowledged already.
 */
export class ReadBack {
  readonly load: SideLoad
  /** Reads that did not find what was acknowledged before them. */
  stale = 0
  /** Reads on another node than that of the write. */
  elsewhere = 0
  readonly examples: string[] = []

  constructor(subject: SqlSubject, readBack: NonNullable<SqlSubject['readBack']>, table: string) {
    const insert = `INSERT INTO ${table} (op, node) VALUES (?, @@wsrep_node_address)`
    // Not `@@wsrep_node_address`: a statement with variables is not provably a read, and not repeated on the next writer.
    const select =
      `SELECT node AS written, VARIABLE_VALUE AS here FROM ${table} JOIN information_schema.GLOBAL_VARIABLES ` +
      `WHERE op = ? AND VARIABLE_NAME = 'WSREP_NODE_ADDRESS'`
    const operate: SideLoad['operate'] = async ({ id }) => {
      await subject.insert(insert, id)
      for (let read = 0; read < READS; read += 1) {
        this.#judge(id, await readBack(select, id))
        await sleep(PAUSE_MS)
      }
    }
    this.load = { name: 'read back', workers: WORKERS, operate }
  }

  #judge(id: string, { written, here }: Readonly<Record<string, unknown>>): void {
    if (written === undefined) {
      this.stale += 1
      if (this.examples.length < 3) this.examples.push(`acknowledged, and not read back ${id}`)
    } else if (written !== here) this.elsewhere += 1
  }
}
