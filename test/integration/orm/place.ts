import type { MysqlPoolOptions } from '../../../src/mysql/index.js'
import { nodes } from '../../cluster/index.js'
import { SQL_ACCOUNT } from '../../harness/index.js'

/** Where all of them work. */
export const PLACE: MysqlPoolOptions & { readonly hosts: string[] } = {
  env: {},
  hosts: nodes('galera').map(({ host }) => host),
  ...SQL_ACCOUNT,
  followTransactions: true,
}
