import { assert } from '#shared/util/assert.ts';
import { GuestFault } from './effects.ts';
import type { GuestCall, Range } from './guest-call.ts';

/** Numbers arrive as bigint for i64 and as number for i32. */
type Arg = bigint | number;
type HostFunction = (...args: Arg[]) => Arg | void;

/** A host function, with how many parameters it has and what it gives (`l` i64, `i` i32). */
interface HostImport {
  readonly parameters: number;
  readonly result: '' | 'i' | 'l';
  readonly run: HostFunction;
}

export type HostTable = ReadonlyMap<string, HostImport>;

/** Where host functions find the execution under way: one at a time per program. */
export interface CurrentCall {
  call: GuestCall | null;
}

const NO_BLOBS = 'blob operations not supported (NodeClient not available)';
const BUFFER_BYTES = 16;

/** Functions of later generations that have no meaning here: they link, and fail when called. */
const UNSUPPORTED =
  /^(xcall|xcall_origin|blob_announce_to_context|context_(create|delete|add_member|remove_member|is_member|members|resolve_alias)|private_storage_(read|write|remove)|persist_root_state|read_root_state|apply_storage_delta|flush_delta|account_id|device_id|emit_migration_witness|storage_index_\w+|js_(crdt|user_storage|frozen_storage)_\w+)$/;

export function isUnsupported(name: string): boolean {
  return UNSUPPORTED.test(name);
}

export function unsupported(name: string): HostFunction {
  return () => {
    throw new GuestFault(`host panicked: ${name} is not supported`);
  };
}

/** Guest ABI v1: pointer and length are passed one by one. */
export function hostFunctionsV1(current: CurrentCall): HostTable {
  const call = () => callOf(current);
  return new Map<string, HostImport>([
    ...common(call),
    entry('panic', 4, '', (at, length, line, column) => {
      throw call().panic('explicit panic', range(at, length), place(line, column));
    }),
    entry('panic_utf8', 6, '', (at, length, fileAt, fileLength, line, column) => {
      const message = call().text(range(at, length));
      throw call().panic(message, range(fileAt, fileLength), place(line, column));
    }),
    entry('read_register', 3, 'i', (register, at, length) =>
      call().readRegister(u64(register), range(at, length)),
    ),
    entry('value_return', 3, '', (tag, at, length) =>
      call().valueReturn(u64(tag), range(at, length)),
    ),
    entry('log_utf8', 2, '', (at, length) => call().log(range(at, length))),
    entry('emit', 4, '', (kindAt, kindLength, at, length) =>
      call().emit(range(kindAt, kindLength), range(at, length)),
    ),
    entry('commit', 4, '', (rootAt, rootLength, at, length) =>
      call().commit(range(rootAt, rootLength), range(at, length)),
    ),
    entry('storage_read', 3, 'i', (at, length, register) =>
      call().storageRead(range(at, length), u64(register)),
    ),
    entry('storage_write', 5, 'i', (keyAt, keyLength, at, length, register) =>
      call().storageWrite(range(keyAt, keyLength), range(at, length), u64(register)),
    ),
    entry('storage_remove', 3, 'i', (at, length, register) =>
      call().storageRemove(range(at, length), u64(register)),
    ),
    entry('fetch', 9, 'i', (...args) => call().fetch(u64(args[8]))),
    entry('random_bytes', 2, '', (at, length) => call().randomBytes(range(at, length))),
    entry('time_now', 2, '', (at, length) => call().timeNow(range(at, length))),
    entry('send_proposal', 4, '', (_at, _length, idAt, idLength) =>
      call().randomBytes(range(idAt, idLength)),
    ),
    entry('approve_proposal', 2, '', (at, length) => void call().view(range(at, length))),
    ...blobFunctions({ open: 2, transfer: 3 }),
  ]);
}

/** Guest ABI v2: a buffer is passed as the address of its descriptor (u64 address, u64 length). */
export function hostFunctionsV2(current: CurrentCall): HostTable {
  const call = () => callOf(current);
  const buffer = (at: Arg | undefined): Range => {
    const view = call().view({ at: size(at), length: BUFFER_BYTES });
    return range(view.readBigUInt64LE(0), view.readBigUInt64LE(8));
  };
  const after = (at: Arg | undefined, bytes: number): number => size(at) + bytes;
  const location = (at: Arg | undefined) => {
    const numbers = call().view({ at: after(at, BUFFER_BYTES), length: 8 });
    return place(numbers.readUInt32LE(0), numbers.readUInt32LE(4));
  };
  return new Map<string, HostImport>([
    ...common(call),
    entry('panic', 1, '', (at) => {
      throw call().panic('explicit panic', buffer(at), location(at));
    }),
    entry('panic_utf8', 2, '', (message, at) => {
      throw call().panic(call().text(buffer(message)), buffer(at), location(at));
    }),
    entry('read_register', 2, 'i', (register, at) =>
      call().readRegister(u64(register), buffer(at)),
    ),
    entry('value_return', 1, '', (at) => {
      const tag = call()
        .view({ at: size(at), length: 8 })
        .readBigUInt64LE();
      call().valueReturn(tag, buffer(after(at, 8)));
    }),
    entry('log_utf8', 1, '', (at) => call().log(buffer(at))),
    entry('emit', 1, '', (at) => call().emit(buffer(at), buffer(after(at, BUFFER_BYTES)))),
    entry('emit_with_handler', 2, '', (at) =>
      call().emit(buffer(at), buffer(after(at, BUFFER_BYTES))),
    ),
    entry('commit', 2, '', (root, artifact) => call().commit(buffer(root), buffer(artifact))),
    entry('storage_read', 2, 'i', (key, register) =>
      call().storageRead(buffer(key), u64(register)),
    ),
    entry('storage_write', 3, 'i', (key, value, register) =>
      call().storageWrite(buffer(key), buffer(value), u64(register)),
    ),
    entry('storage_remove', 2, 'i', (key, register) =>
      call().storageRemove(buffer(key), u64(register)),
    ),
    entry('fetch', 5, 'i', (...args) => call().fetch(u64(args[4]))),
    entry('random_bytes', 1, '', (at) => call().randomBytes(buffer(at))),
    entry('time_now', 1, '', (at) => call().timeNow(buffer(at))),
    entry('send_proposal', 2, '', (_actions, id) => call().randomBytes(buffer(id))),
    entry('approve_proposal', 1, '', (at) => void call().view(buffer(at))),
    entry('ed25519_verify', 3, 'i', (signature, key, message) =>
      call().ed25519Verify(buffer(signature), buffer(key), buffer(message)),
    ),
    ...blobFunctions({ open: 1, transfer: 2 }),
  ]);
}

/** The functions that are the same in both. */
function common(call: () => GuestCall): [string, HostImport][] {
  return [
    entry('register_len', 1, 'l', (register) => call().registerLen(u64(register))),
    entry('context_id', 1, '', (register) => call().contextId(u64(register))),
    entry('executor_id', 1, '', (register) => call().executorId(u64(register))),
    entry('input', 1, '', (register) => call().input(u64(register))),
  ];
}

function blobFunctions(parameters: { readonly open: number; readonly transfer: number }) {
  const refuse = (): never => {
    throw new GuestFault(NO_BLOBS);
  };
  return [
    entry('blob_create', 0, 'l', refuse),
    entry('blob_open', parameters.open, 'l', refuse),
    entry('blob_write', parameters.transfer, 'l', refuse),
    entry('blob_read', parameters.transfer, 'l', refuse),
    entry('blob_close', parameters.transfer, 'i', refuse),
  ];
}

function entry(
  name: string,
  parameters: number,
  result: HostImport['result'],
  run: HostFunction,
): [string, HostImport] {
  return [name, { parameters, result, run }];
}

function callOf(current: CurrentCall): GuestCall {
  assert(current.call !== null, 'a host function runs inside an execution');
  return current.call;
}

/** An i64 of the guest is unsigned: it arrives as a signed bigint. */
function u64(value: Arg | undefined): bigint {
  return BigInt.asUintN(64, BigInt(value ?? 0));
}

function size(value: Arg | undefined): number {
  return Number(u64(value));
}

/** An empty range may have any address. */
function range(at: Arg | undefined, length: Arg | undefined): Range {
  const bytes = size(length);
  return { at: bytes === 0 ? 0 : size(at), length: bytes };
}

function place(line: Arg | undefined, column: Arg | undefined) {
  return { line: Number(line ?? 0) >>> 0, column: Number(column ?? 0) >>> 0 };
}
