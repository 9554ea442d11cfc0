// Payloads and values as bytes: section 12 of PROTOCOL.md, in JSON, plain or compressed.
//
// Beside what JSON knows: Buffer, Set, Map, BigInt and the numbers that JSON lacks. What this language has no type for
// (a decimal, a date with its zone ...) is a Tagged: it can be looked at, and goes back as it came.

import { isUtf8 } from "node:buffer";
import { brotliDecompressSync, gunzipSync, inflateSync } from "node:zlib";

const TAG = "__grpcflow__";
const MOST_LEVELS = 200;
const MOST_BYTES = 64 * 1024 * 1024;
const KEPT = new Set(["datetime", "time", "date", "timedelta", "decimal", "uuid", "frozenset", "tuple"]);
const DECOMPRESSED = { gzip: gunzipSync, zlib: inflateSync, brotli: brotliDecompressSync };
const NUMBERS = { nan: NaN, inf: Infinity, "-inf": -Infinity };

/** A value of a kind that only others know. */
export class Tagged {
  constructor(kind, parts) {
    this.kind = kind;
    this.parts = parts;
  }
}

/** Says whether `decode` reads a content type; any other MUST NOT be read. */
export function accepts(contentType) {
  const [type, compression] = (contentType || "application/json").split("+");
  return type === "application/json" && (compression === undefined || Object.hasOwn(DECOMPRESSED, compression));
}

/** Decodes bytes of one content type; throws for a type or a kind that it does not know. */
export function decode(bytes, contentType = "") {
  if (!accepts(contentType)) {
    throw new TypeError(`a value of type ${contentType} is not read here; send it as JSON`);
  }
  const compression = contentType.split("+")[1];
  const plain = compression ? DECOMPRESSED[compression](bytes, { maxOutputLength: MOST_BYTES }) : Buffer.from(bytes);
  if (!isUtf8(plain)) {
    throw new TypeError("a value is not UTF-8");
  }
  return untagged(JSON.parse(exact(plain.toString("utf8"))), 0);
}

/** Encodes a value as JSON; throws for what cannot travel. */
export function encode(value) {
  return Buffer.from(text(value, 0), "utf8");
}

// A number of this language is a double: an integer beyond 53 bits would be changed in silence, so it is tagged before
// it is read. Strings are matched so that digits inside of them are left alone.
function exact(json) {
  return json.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) => {
    if (!/^-?\d{16,}$/.test(token) || Number.isSafeInteger(Number(token))) {
      return token;
    }
    return `{"${TAG}":["int","${hex(BigInt(token))}"]}`;
  });
}

function hex(number) {
  return number < 0n ? `-${(-number).toString(16)}` : number.toString(16);
}

function deeper(level) {
  if (level >= MOST_LEVELS) {
    throw new RangeError(`a value is nested deeper than ${MOST_LEVELS} levels`);
  }
  return level + 1;
}

function untagged(value, level) {
  if (value === null || typeof value !== "object") {
    return value;
  }
  const below = deeper(level);
  if (Array.isArray(value)) {
    return value.map((member) => untagged(member, below));
  }
  const names = Object.keys(value);
  if (names.length === 1 && names[0] === TAG) {
    return ofKind(value[TAG], below);
  }
  const read = {};
  for (const name of names) {
    // Not by assignment: "__proto__" is a key like any other.
    Object.defineProperty(read, name, { value: untagged(value[name], below), enumerable: true, writable: true, configurable: true });
  }
  return read;
}

function ofKind([kind, ...parts], level) {
  switch (kind) {
    case "bytes":
      return Buffer.from(parts[0], "base64");
    case "text":
      return loneSurrogates(Buffer.from(parts[0], "base64"));
    case "int":
      return parts[0].startsWith("-") ? -BigInt(`0x${parts[0].slice(1)}`) : BigInt(`0x${parts[0]}`);
    case "float":
      return NUMBERS[parts[0]];
    case "set":
      return new Set(untagged(parts[0], level));
    case "dict":
      return new Map(parts[0].map(([key, value]) => [untagged(key, level), untagged(value, level)]));
    default:
      if (!KEPT.has(kind)) {
        throw new TypeError(`a value is of the unknown kind ${JSON.stringify(kind)}`);
      }
      return new Tagged(kind, untagged(parts, level));
  }
}

// UTF-8 in which half of a surrogate pair stands for itself, as three bytes that begin with ED A0 to ED BF.
function loneSurrogates(bytes) {
  let read = "";
  let begin = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    if (bytes[at] === 0xed && bytes[at + 1] >= 0xa0) {
      const half = 0xd000 | ((bytes[at + 1] & 0x3f) << 6) | (bytes[at + 2] & 0x3f);
      read += bytes.toString("utf8", begin, at) + String.fromCharCode(half);
      begin = at + 3;
      at += 2;
    }
  }
  return read + bytes.toString("utf8", begin);
}

function text(value, level) {
  switch (typeof value) {
    case "undefined":
      return "null";
    case "boolean":
      return String(value);
    case "string":
      return string(value);
    case "number":
      return number(value);
    case "bigint":
      return -(2n ** 63n) <= value && value < 2n ** 64n ? String(value) : tagged("int", [`"${hex(value)}"`]);
    case "object":
      return value === null ? "null" : structure(value, deeper(level));
    default:
      throw new TypeError(`a ${typeof value} cannot travel`);
  }
}

function string(value) {
  // JSON.stringify writes a lone surrogate as an escape, which is no text.
  const lone = /[\ud800-\udfff]/u.test(value); // with the flag u a whole pair does not match
  return lone ? tagged("text", [`"${surrogateBytes(value).toString("base64")}"`]) : JSON.stringify(value);
}

function surrogateBytes(value) {
  const parts = Array.from(value, (character) => {
    const code = character.codePointAt(0);
    return code < 0xd800 || code > 0xdfff
      ? Buffer.from(character, "utf8")
      : Buffer.from([0xed, 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f)]);
  });
  return Buffer.concat(parts);
}

function number(value) {
  if (Number.isNaN(value)) {
    return tagged("float", ['"nan"']);
  }
  return Number.isFinite(value) ? String(JSON.stringify(value)) : tagged("float", [value > 0 ? '"inf"' : '"-inf"']);
}

function structure(value, level) {
  const list = (members) => `[${Array.from(members, (member) => text(member, level)).join(",")}]`;
  if (Array.isArray(value)) {
    return list(value);
  }
  if (value instanceof Uint8Array) {
    return tagged("bytes", [`"${Buffer.from(value).toString("base64")}"`]);
  }
  if (value instanceof Set) {
    return tagged("set", [list(value)]);
  }
  if (value instanceof Map) {
    return tagged("dict", [`[${Array.from(value, list).join(",")}]`]);
  }
  if (value instanceof Tagged) {
    return tagged(value.kind, value.parts.map((part) => text(part, level)));
  }
  if (value instanceof Date) {
    return tagged("datetime", [`"${value.toISOString().replace("Z", "+00:00")}"`, '"UTC"', "0"]);
  }
  if (Object.hasOwn(value, TAG)) {
    return tagged("dict", [`[${Object.entries(value).map(list).join(",")}]`]);
  }
  return `{${Object.entries(value).map(([name, member]) => `${string(name)}:${text(member, level)}`).join(",")}}`;
}

function tagged(kind, parts) {
  return `{"${TAG}":[${[`"${kind}"`, ...parts].join(",")}]}`;
}
