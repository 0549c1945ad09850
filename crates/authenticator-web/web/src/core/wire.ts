/** Protobuf messages by table: what a field is called, its number and its kind. */

import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type Bytes, copy } from "./bytes.ts";

interface Kinds {
  uint32: number;
  uint64: bigint;
  bool: boolean;
  string: string;
  bytes: Bytes;
  /** Enumerations are numbers: one that isn't known stays what it is. */
  enum: number;
}

type Kind = keyof Kinds | Message<Shape>;

interface Field<K extends Kind> {
  readonly no: number;
  readonly kind: K;
  readonly repeated?: true;
}

interface List<K extends Kind> extends Field<K> {
  readonly repeated: true;
}

interface Oneof<F extends Record<string, Field<Kind>>> {
  readonly oneof: F;
}

type Shape = { readonly [name: string]: Field<any> | Oneof<any> };

export interface Message<S extends Shape> {
  readonly shape: S;
}

type One<K> = K extends keyof Kinds ? Kinds[K] : K extends Message<infer S> ? Decoded<S> : never;

type Cases<F> = { [C in keyof F]: F[C] extends Field<infer K> ? { case: C; value: One<K> } : never };

/** A message as it is read: scalars have their default where they were left out. */
export type Decoded<S extends Shape> = {
  [N in keyof S]: S[N] extends Oneof<infer F>
    ? Cases<F>[keyof F] | { case: undefined; value?: undefined }
    : S[N] extends List<infer K>
      ? One<K>[]
      : S[N] extends Field<infer K>
        ? K extends keyof Kinds
          ? One<K>
          : One<K> | undefined
        : never;
};

export type Value<M> = M extends Message<infer S> ? Decoded<S> : never;

export function message<S extends Shape>(shape: S): Message<S> {
  return { shape };
}

export function field<const K extends Kind>(no: number, kind: K): Field<K> {
  return { no, kind };
}

export function list<const K extends Kind>(no: number, kind: K): List<K> {
  return { no, kind, repeated: true };
}

export function oneof<F extends Record<string, Field<Kind>>>(cases: F): Oneof<F> {
  return { oneof: cases };
}

type Loose = Record<string, unknown>;
interface Place {
  name: string;
  field: Field<Kind>;
  /** The oneof that it is a case of. */
  of: string | undefined;
}

function places(shape: Shape): Place[] {
  const found: Place[] = [];
  for (const [name, entry] of Object.entries(shape)) {
    if ("oneof" in entry) {
      const cases = Object.entries<Field<Kind>>(entry.oneof);
      found.push(...cases.map(([chosen, field]) => ({ name: chosen, field, of: name })));
    } else {
      found.push({ name, field: entry, of: undefined });
    }
  }
  return found;
}

const DEFAULTS = { uint32: 0, uint64: 0n, bool: false, string: "", enum: 0 } as const;

function empty(shape: Shape): Loose {
  const value: Loose = {};
  for (const [name, entry] of Object.entries(shape)) {
    if ("oneof" in entry) {
      value[name] = { case: undefined };
    } else if (entry.repeated) {
      value[name] = [];
    } else if (entry.kind === "bytes") {
      value[name] = new Uint8Array(0);
    } else {
      value[name] = typeof entry.kind === "string" ? DEFAULTS[entry.kind as keyof typeof DEFAULTS] : undefined;
    }
  }
  return value;
}

function wireType(kind: Kind): WireType {
  const varint = kind === "uint32" || kind === "uint64" || kind === "bool" || kind === "enum";
  return varint ? WireType.Varint : WireType.LengthDelimited;
}

function readOne(reader: BinaryReader, kind: Kind): unknown {
  switch (kind) {
    case "uint32":
      return reader.uint32();
    case "enum":
      return reader.int32();
    case "uint64":
      return BigInt(reader.uint64());
    case "bool":
      return reader.bool();
    case "string":
      return reader.string(true);
    case "bytes":
      return copy(reader.bytes());
    default:
      return decode(kind, reader.bytes());
  }
}

/** Reads a message; throws if the bytes aren't one. Fields of a later version are passed over. */
export function decode<S extends Shape>({ shape }: Message<S>, bytes: Uint8Array): Decoded<S> {
  const value = empty(shape);
  const known = new Map(places(shape).map((place) => [place.field.no, place]));
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [no, type] = reader.tag();
    const place = known.get(no);
    if (!place) {
      reader.skip(type, no);
      continue;
    }
    const { name, field, of } = place;
    if (type !== wireType(field.kind)) {
      throw new Error(`field ${no} is of another type`);
    }
    const one = readOne(reader, field.kind);
    if (of !== undefined) {
      value[of] = { case: name, value: one };
    } else if (field.repeated) {
      (value[name] as unknown[]).push(one);
    } else {
      value[name] = one;
    }
  }
  return value as Decoded<S>;
}

function writeOne(writer: BinaryWriter, { no, kind }: Field<Kind>, value: unknown): void {
  writer.tag(no, wireType(kind));
  switch (kind) {
    case "uint32":
      writer.uint32(value as number);
      break;
    case "enum":
      writer.int32(value as number);
      break;
    case "uint64":
      writer.uint64(value as bigint);
      break;
    case "bool":
      writer.bool(value as boolean);
      break;
    case "string":
      writer.string(value as string);
      break;
    case "bytes":
      writer.bytes(value as Bytes);
      break;
    default:
      writer.bytes(encode(kind, value as Decoded<Shape>));
  }
}

/** Whether a field outside of a oneof is left out. */
function isDefault(kind: Kind, value: unknown): boolean {
  if (kind === "bytes") {
    return (value as Bytes).length === 0;
  }
  return typeof kind === "string" ? value === DEFAULTS[kind] : value === undefined;
}

/** Writes a message, fields in the order of their numbers. */
export function encode<S extends Shape>({ shape }: Message<S>, value: Decoded<S>): Bytes {
  const writer = new BinaryWriter();
  const loose = value as Loose;
  for (const { name, field, of } of places(shape).sort((a, b) => a.field.no - b.field.no)) {
    if (of !== undefined) {
      const chosen = loose[of] as { case: string | undefined; value: unknown };
      if (chosen.case === name) {
        writeOne(writer, field, chosen.value);
      }
    } else if (field.repeated) {
      for (const one of loose[name] as unknown[]) {
        writeOne(writer, field, one);
      }
    } else if (!isDefault(field.kind, loose[name])) {
      writeOne(writer, field, loose[name]);
    }
  }
  return writer.finish();
}
