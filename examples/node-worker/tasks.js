// The tasks of this worker: what Node brings along and Python does not, the rules of languages for sorting and for numbers.
//
// A task is a function by its registered name. It takes one object: `args`, `kwargs`, `id`, `retries`, `signal` (aborted
// when the soft time limit is over) and `progress(state, meta)`; what it returns, or its promise gives, is the value.

/** Sorts [word, count] pairs as readers of a language expect, and writes the counts as they do. */
function arrange({ args: [counts], kwargs: { locale = "en" } }) {
  const order = new Intl.Collator(locale).compare;
  const number = new Intl.NumberFormat(locale);
  const rows = [...counts].sort(([one], [other]) => order(one, other));
  return { locale, rows: rows.map(([word, count]) => [word, number.format(count)]) };
}

/** Names a language in itself, for example "svenska". */
function language({ args: [locale] }) {
  return new Intl.DisplayNames([locale], { type: "language" }).of(locale);
}

export const tasks = { "intl.arrange": arrange, "intl.language": language };
