// stories as GGUF: one file, as `lyn quantize` writes it, and the same in two parts.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./lyn-serve.js";

const NAME = "stories-Q8_0";

/** Writes the files into a folder, once: the name of the whole, and those of the parts. Needs the program (`buildServer`). */
export function ggufOfStories(folder: string): [whole: string, parts: [string, string]] {
  const whole = `${NAME}.gguf`;
  const parts: [string, string] = [`${NAME}-00001-of-00002.gguf`, `${NAME}-00002-of-00002.gguf`];
  if (!existsSync(join(folder, whole))) {
    run("quantize", "stories", join(folder, whole), "--type", "q8_0");
    const made = split(readFileSync(join(folder, whole)));
    made.forEach((bytes, part) => writeFileSync(join(folder, parts[part] ?? ""), bytes));
  }
  return [whole, parts];
}

/** Bytes of a value of each type, by its number in the file; strings (8) and lists (9) say how long they are. */
const WIDTHS: Record<number, number> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };
const ALIGNMENT = 32;

/** A metadata key with a whole number of 16 (type 2) or 32 bits (type 5). */
function key(name: string, type: 2 | 5, value: number): Buffer {
  const bytes = Buffer.alloc(8 + name.length + 4 + (type === 2 ? 2 : 4));
  bytes.writeBigUInt64LE(BigInt(name.length));
  bytes.write(name, 8);
  bytes.writeUInt32LE(type, 8 + name.length);
  bytes.writeUIntLE(value, 12 + name.length, type === 2 ? 2 : 4);
  return bytes;
}

/** All metadata and the first half of the tensors, and the other half. Each part keeps all data, so that places stay what they are. */
function split(file: Buffer): [Buffer, Buffer] {
  const tensors = Number(file.readBigUInt64LE(8));
  let at = 24;
  const number = () => file.readUInt32LE((at += 4) - 4);
  const long = () => Number(file.readBigUInt64LE((at += 8) - 8));
  const pass = (bytes: number) => void (at += bytes);
  const skip = (type: number): void => {
    const width = WIDTHS[type];
    if (width) pass(width);
    else if (type === 8) pass(long());
    else for (let inner = number(), left = long(); left > 0; left -= 1) skip(inner);
  };
  for (let keys = Number(file.readBigUInt64LE(16)); keys > 0; keys -= 1) {
    skip(8);
    skip(number());
  }
  const starts = [at];
  for (let tensor = 0; tensor < tensors; tensor += 1) {
    skip(8);
    pass(8 * number() + 4 + 8);
    starts.push(at);
  }
  const half = tensors >> 1;
  const [table, middle] = [starts[0] ?? 0, starts[half] ?? 0];
  const aligned = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
  const keys = file.readBigUInt64LE(16);
  const part = (place: number, count: number, metadata: Buffer, entries: Buffer) => {
    const start = Buffer.from(file.subarray(0, 24));
    const own = [key("split.no", 2, place), key("split.count", 2, 2), key("split.tensors.count", 5, tensors)];
    start.writeBigUInt64LE(BigInt(count), 8);
    start.writeBigUInt64LE((metadata.length === 0 ? 0n : keys) + BigInt(own.length), 16);
    const header = Buffer.concat([start, metadata, ...own, entries]);
    return Buffer.concat([header, Buffer.alloc(aligned(header.length) - header.length), file.subarray(aligned(at))]);
  };
  return [
    part(0, half, file.subarray(24, table), file.subarray(table, middle)),
    part(1, tensors - half, Buffer.alloc(0), file.subarray(middle, at)),
  ];
}
