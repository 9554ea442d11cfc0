// Numbers, times and sizes in few letters.

/** A count: 9,999; 12.3k; 4.5M. */
export function count(number) {
  if (number === null || number === undefined) return "–";
  for (const [size, letter, from] of [[1e9, "G", 1e9], [1e6, "M", 1e6], [1e3, "k", 1e4]]) {
    if (Math.abs(number) >= from) {
      const part = number / size;
      return `${part < 100 ? part.toFixed(1) : Math.round(part)}${letter}`;
    }
  }
  return Number.isInteger(number) ? number.toLocaleString("en") : String(number);
}

/** A rate: 0, 0.4, 12, 12.3k. */
export function rate(number) {
  if (number === null || number === undefined) return "–";
  return number > 0 && number < 9.95 ? number.toFixed(1) : count(Math.round(number));
}

/** A length of time: 4 ms, 1.2 s, 3m20s, 2h05m, 4d01h. */
export function length(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds <= 0) return "0 s";
  if (seconds < 0.0995) return `${+(seconds * 1000).toPrecision(2)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(seconds < 1 ? 2 : 1)} s`;
  if (seconds < 99.5) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  const two = (number) => String(number).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h${two(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86400)}d${two(Math.floor((whole % 86400) / 3600))}h`;
}

/** Bytes: 54 MB. */
export function bytes(number) {
  if (!number) return "–";
  for (const [size, name] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
    if (number >= size) return `${(number / size).toFixed(number < size * 10 ? 1 : 0)} ${name}`;
  }
  return `${number} B`;
}

/** A moment, in the browser's own time zone: the time today, else the day too. */
export function moment(unix, now = Date.now() / 1000) {
  const when = new Date(unix * 1000);
  const time = when.toLocaleTimeString([], { hour12: false });
  return Math.abs(now - unix) < 43200 ? time : `${when.toLocaleDateString()} ${time}`;
}
