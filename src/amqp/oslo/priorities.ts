/** How urgent a notification is. */
export type NotificationPriority = 'audit' | 'debug' | 'info' | 'warn' | 'error' | 'critical' | 'sample'

/** All priorities, as oslo.messaging has them. @internal */
export const PRIORITIES: readonly NotificationPriority[] = Object.freeze([
  'audit',
  'debug',
  'info',
  'warn',
  'error',
  'critical',
  'sample',
])
