// Tokens per second from the times at which tokens came.

export interface Rate {
  /** Seconds since the first token. */
  at: number;
  /** Tokens per second about then. */
  rate: number;
}

/** Speeds along an answer, at most `points` of them: each is the mean over the tokens since the one before it, and no
 * shorter than `least` milliseconds, because single tokens come in bursts. `times` are milliseconds, ascending. */
export function rates(times: readonly number[], points = 120, least = 400): Rate[] {
  const [first, last] = [times[0], times.at(-1)];
  if (first === undefined || last === undefined || times.length < 2) return [];
  const step = Math.max(least, (last - first) / points);
  const rates: Rate[] = [];
  let [start, count] = [first, 0];
  for (const time of times.slice(1)) {
    count += 1;
    if (time - start < step && !(time === last && rates.length === 0)) continue;
    if (time > start) rates.push({ at: (time - first) / 1000, rate: (count * 1000) / (time - start) });
    [start, count] = [time, 0];
  }
  return rates;
}

/** The speed of the last two seconds; null while there are not two tokens in them. */
export function present(times: readonly number[], window = 2000): number | null {
  const last = times.at(-1);
  if (last === undefined) return null;
  let count = 0;
  while (count < times.length && last - (times[times.length - 1 - count] ?? -Infinity) <= window) count += 1;
  const from = times[times.length - count];
  return count < 2 || from === undefined || last === from ? null : ((count - 1) * 1000) / (last - from);
}
