// What values are as bytes, beside what PROTOCOL.md says of them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { Tagged, decode, encode } from "../lib/values.js";

const read = (json) => decode(Buffer.from(json));
const written = (value) => encode(value).toString();
const nested = (levels) => "[".repeat(levels) + "]".repeat(levels);

test("what both languages know comes and goes as it is", () => {
  for (const json of ["null", "true", "0", "-1.5", '"a\\"1234567890123456789"', "[1,[2]]", '{"a":{"b":[]}}', '"😀"']) {
    assert.equal(written(read(json)), json);
  }
});

test("an integer beyond 53 bits keeps every digit", () => {
  assert.equal(read("[9007199254740993]")[0], 9007199254740993n);
  assert.equal(written(18446744073709551615n), "18446744073709551615");
  assert.equal(written(-(2n ** 64n)), '{"__grpcflow__":["int","-10000000000000000"]}');
  assert.equal(read('{"__grpcflow__":["int","-10000000000000000"]}'), -(2n ** 64n));
  assert.equal(read("1e300"), 1e300);
  assert.equal(read("0.12345678901234567"), 0.12345678901234567);
});

test("kinds that this language has become its own", () => {
  assert.deepEqual(read('{"__grpcflow__":["bytes","AAE="]}'), Buffer.from([0, 1]));
  assert.deepEqual(read('{"__grpcflow__":["set",[1,2]]}'), new Set([1, 2]));
  assert.deepEqual(read('{"__grpcflow__":["dict",[[1,"a"]]]}'), new Map([[1, "a"]]));
  assert.equal(read('{"__grpcflow__":["float","-inf"]}'), -Infinity);
  assert.equal(read('{"__grpcflow__":["text","7aCAYQ=="]}'), "\ud800a");
  for (const value of [Buffer.from("ab"), new Set(["x"]), new Map([[[1], 2]]), "\ud800a", "a\udfff😀", NaN, Infinity]) {
    assert.deepEqual(decode(encode(value)), value);
  }
});

test("kinds that only others have go back as they came", () => {
  const json = '{"__grpcflow__":["datetime","2026-07-01T12:00:00+02:00","Europe/Paris",0]}';
  assert.deepEqual(read(json), new Tagged("datetime", ["2026-07-01T12:00:00+02:00", "Europe/Paris", 0]));
  assert.equal(written(read(json)), json);
});

test("an unknown kind and an unknown type are not guessed at", () => {
  assert.throws(() => read('{"__grpcflow__":["point",1,2]}'), /unknown kind "point"/);
  assert.throws(() => decode(Buffer.from("x"), "application/x-python-pickle"), /is not read here/);
  assert.throws(() => decode(Buffer.from([0x22, 0xff, 0x22])), /not UTF-8/);
});

test("a mapping with the tag's own name is no tag", () => {
  const value = { __grpcflow__: 1 };
  assert.equal(written(value), '{"__grpcflow__":["dict",[["__grpcflow__",1]]]}');
  assert.equal(read('{"__proto__":1}').__proto__, 1);
});

test("compressed values are read, and bounded", () => {
  const bytes = Buffer.from("[1]");
  assert.deepEqual(decode(gzipSync(bytes), "application/json+gzip"), [1]);
  assert.deepEqual(decode(deflateSync(bytes), "application/json+zlib"), [1]);
  assert.deepEqual(decode(brotliCompressSync(bytes), "application/json+brotli"), [1]);
  const bomb = gzipSync(Buffer.alloc(65 * 1024 * 1024, " "));
  assert.throws(() => decode(bomb, "application/json+gzip"), RangeError);
});

test("nesting goes to 200 levels", () => {
  assert.equal(written(read(nested(200))), nested(200));
  assert.throws(() => read(nested(201)), RangeError);
});
