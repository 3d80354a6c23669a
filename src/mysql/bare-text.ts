const SPECIAL = /['"`#]|\/\*|--(?=\s|$)/g

/**
 * The text of a statement without what is quoted or commented out; executable comments stay. A quoted name is a name
 * still. Takes time in proportion to the text, however large its values are. @internal
 */
export function bareText(sql: string): string {
  let bare = ''
  let from = 0
  SPECIAL.lastIndex = 0
  for (let found = SPECIAL.exec(sql); found !== null; found = SPECIAL.exec(sql)) {
    const { index } = found
    const [mark] = found
    if (mark === '/*' && /^M?!/.test(sql.slice(index + 2, index + 4))) continue
    bare += sql.slice(from, index) + standIn(mark)
    from = endOf(sql, mark, index + mark.length)
    SPECIAL.lastIndex = from
  }
  return bare + sql.slice(from)
}

function standIn(mark: string): string {
  if (mark === "'") return "''"
  return mark === '"' || mark === '`' ? ' quoted_name ' : ' '
}

/** Where the quotation or comment that begins at `start` is over. */
function endOf(sql: string, mark: string, start: number): number {
  if (mark === '/*') return after(sql, '*/', start)
  if (mark === '#' || mark === '--') return after(sql, '\n', start)
  let at = start
  for (;;) {
    const end = sql.indexOf(mark, at)
    if (end === -1) return sql.length
    const isEscaped = mark !== '`' && backslashes(sql, end, start) % 2 === 1
    const isDoubled = !isEscaped && sql[end + 1] === mark
    if (!isEscaped && !isDoubled) return end + 1
    at = end + (isDoubled ? 2 : 1)
  }
}

function after(sql: string, mark: string, start: number): number {
  const end = sql.indexOf(mark, start)
  return end === -1 ? sql.length : end + mark.length
}

function backslashes(sql: string, end: number, start: number): number {
  let count = 0
  while (end - count > start && sql[end - count - 1] === '\\') count += 1
  return count
}
