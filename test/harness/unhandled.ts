/** Unhandled rejections and uncaught exceptions of this process while it was watched. */
export interface UnhandledWatch {
  readonly errors: readonly unknown[]
  stop(): void
}

/** Counts what would have ended the process, and keeps it from doing so. */
export function watchUnhandled(): UnhandledWatch {
  const errors: unknown[] = []
  const note = (error: unknown): void => {
    errors.push(error)
  }
  process.on('unhandledRejection', note)
  process.on('uncaughtException', note)
  return {
    errors,
    stop: () => {
      process.off('unhandledRejection', note)
      process.off('uncaughtException', note)
    },
  }
}
