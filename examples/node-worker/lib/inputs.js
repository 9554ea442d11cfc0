// Values that no message could hold, as a tree that is written out in parts: the rpcs Inputs and FetchValue.

/** Collects the inputs of an attempt; resolves with a list of Value. Rejects with the status of the call. */
export function fetchInputs(stub, session, token) {
  return tree(stub.Inputs({ session, token }));
}

/** Collects the values that a call gives in parts; resolves with a list of Value. */
export function tree(call) {
  return new Promise((resolve, reject) => {
    const levels = [[]];
    call.on("data", ({ parts }) => parts.forEach((part) => add(levels, part)));
    call.on("error", reject);
    call.on("end", () => resolve(levels[0]));
  });
}

// Adds one part; `levels` are the lists that are open, the outermost first.
function add(levels, part) {
  const open = levels[levels.length - 1];
  switch (part.kind) {
    case "PART_KIND_OPEN":
      open.push({ list: { values: [] } });
      levels.push(open[open.length - 1].list.values);
      break;
    case "PART_KIND_CLOSE":
      levels.pop();
      break;
    case "PART_KIND_FAILED":
      open.push({ failed: part.failed });
      break;
    default:
      open.push({ data: part.data, content_type: part.content_type });
  }
}
