import { EXECUTION_VERSION } from '#shared/runtime/execution-version.ts';
import { describe, expect, test } from 'vitest';
import { contextIdFromBytes, publicKeyFromBytes } from '#shared/protocol/ids.ts';
import { oddGuest } from '../../test/guests/odd-guest.ts';
import { assemble } from '../../test/support/wat.ts';
import { wasmProgram } from '../../test/support/program.ts';

const CONTEXT = new Uint8Array(32).fill(7);
const EXECUTOR = new Uint8Array(32).fill(9);
const TIME_NS = 1_234_567_890_123_456_789n;

const FAILURES: readonly (readonly [string, string])[] = [
  ['trap_unreachable', 'unreachable code reached'],
  ['trap_divide', 'illegal arithmetic operation'],
  ['trap_truncate', 'illegal arithmetic operation'],
  ['trap_memory', 'memory out of bounds'],
  ['trap_stack', 'stack overflow'],
  ['trap_signature', 'bad signature'],
  ['panic', 'guest panicked: explicit panic at a.rs:7:9'],
  ['panic_utf8', 'guest panicked: oops at a.rs:7:9'],
  ['fail', 'the method call returned an error: [34, 116, 101, 120, 116, 34]'],
  ['fail_after_write', 'the method call returned an error: [34, 116, 101, 120, 116, 34]'],
  ['bad_tag', 'invalid memory access'],
  ['long_key', 'key length overflow'],
  ['huge_value', 'value length overflow'],
  ['huge_output', 'value length overflow'],
  ['bad_utf8_log', 'invalid UTF-8 string'],
  ['logs_101', 'logs overflow'],
  ['events_101', 'events overflow'],
  ['long_kind', 'event kind size overflow'],
  ['big_event', 'event data size overflow'],
  ['outside_memory', 'invalid memory access'],
  ['far_outside_memory', 'logs overflow'],
  ['missing_register', 'invalid register id: 18446744073709551614'],
  ['registers_101', 'invalid memory access'],
  ['commit_short', 'invalid memory access'],
  ['commit_twice', 'invalid memory access'],
  ['time_of_7_bytes', 'invalid memory access'],
  ['blob_create', 'blob operations not supported (NodeClient not available)'],
  ['xcall', 'host panicked: xcall is not supported'],
  ['nope', 'method "nope" not found'],
  ['memory', 'method "memory" not found'],
  ['a_global', 'method "a_global" not found'],
  [
    'with_parameter',
    'method "with_parameter" has invalid signature: expected no arguments and no return value',
  ],
  [
    'with_result',
    'method "with_result" has invalid signature: expected no arguments and no return value',
  ],
];

describe.each([1, 2] as const)('ABI v%i', (abi) => {
  const program = wasmProgram(assemble(oddGuest(abi)));

  test.each(FAILURES)('%s fails as "%s" and leaves nothing', (method, error) => {
    const outcome = open().call(method);

    expect(outcome).toMatchObject({
      status: 'failed',
      error,
      changes: [],
      events: [],
      output: null,
    });
  });

  test('an indirect call to nothing is a trap', () => {
    expect(open().call('trap_null_call').error).toMatch(/^(indirect call to null|bad signature)$/);
  });

  test.each([
    'logs_100',
    'events_100',
    'nothing_anywhere',
    'features',
    'wrong_register_length',
    'read_long_key',
  ])('%s is allowed', (method) => {
    expect(open().call(method)).toMatchObject({ status: 'ok', error: null });
  });

  test('input comes back as output, also under the highest register', () => {
    expect(text(open().call('echo', '{"a":18446744073709551615}').output)).toBe(
      '{"a":18446744073709551615}',
    );
  });

  test('the last returned value wins', () => {
    expect(text(open().call('return_twice').output)).toBe('"text"');
  });

  test('memory grows to 64 MiB and not further', () => {
    expect(text(open().call('bomb').output)).toBe('0');
  });

  test('state is read, replaced and removed, and a call sees its own writes', () => {
    const guest = open();
    guest.call('init');

    expect(text(guest.call('get').output)).toBe('value');
    expect(text(guest.call('swap', '1').output)).toBe('value');
    expect(text(guest.call('get').output)).toBe('1');
    expect(guest.call('remove').changes).toHaveLength(1);
    expect(guest.call('get').output).toBeNull();
    expect(guest.call('remove').changes).toEqual([]);
  });

  test('a shorter key is the same as the key padded with zeros', () => {
    const guest = open();
    guest.call('put', 'padded');

    expect(text(guest.call('get_padded').output)).toBe('padded');
  });

  test('a write of what is there is no change', () => {
    const guest = open();
    guest.call('put', 'same');

    expect(guest.call('put', 'same').changes).toEqual([]);
  });

  test('time and randomness are the transaction’s', () => {
    const [first] = open().call('draw').events;
    const [again] = open().call('draw').events;
    const drawn = Buffer.from(first?.data ?? []);

    expect(first).toEqual(again);
    expect(drawn.readBigUInt64LE(32)).toBe(TIME_NS);
    expect(drawn.subarray(0, 16)).not.toEqual(drawn.subarray(16, 32));
  });

  test('a guest knows its context and its executor', () => {
    const [event] = open().call('who').events;

    expect(Buffer.from(event?.data ?? [])).toEqual(Buffer.concat([CONTEXT, EXECUTOR]));
  });

  test('a committed root and artifact are part of the outcome', () => {
    const root = 'r'.repeat(32);
    const { rootHash, artifact } = open().call('commit', root);

    expect([text(rootHash), text(artifact)]).toEqual([root, 'a.rs']);
  });

  test('there is no network', () => {
    expect(text(open().call('fetch').output)).toBe('fetch is not available to applications');
  });

  test.each(['put', 'remove'])('%s in a query is refused', (method) => {
    const outcome = open().call(method, '{}', { readOnly: true });

    expect(outcome.error).toMatch(/^host panicked: not implemented: Can not write to read-only/);
  });

  function open() {
    const state = new Map<string, Uint8Array>();
    return {
      call: (method: string, input = '{}', { readOnly = false } = {}) => {
        const { outcome } = program.execute({
          contextId: contextIdFromBytes(CONTEXT),
          state,
          readOnly,
          request: {
            kind: 'mutate',
            method,
            payload: Buffer.from(input),
            executorPublicKey: publicKeyFromBytes(EXECUTOR),
            principal: 'test',
            requestId: null,
            timeNs: TIME_NS,
            randomSeed: new Uint8Array(32).fill(3),
            executionVersion: EXECUTION_VERSION,
            fuelLimit: 1_000_000_000n,
          },
        });
        for (const { key, value } of outcome.changes) {
          const name = Buffer.from(key).toString('latin1');
          if (value === null) state.delete(name);
          else state.set(name, value);
        }
        return outcome;
      },
    };
  }
});

describe('a module that cannot be installed says why', () => {
  const good = assemble(oddGuest(1));
  const memory = '(memory (export "memory") 1)';

  test.each<readonly [string, Uint8Array, RegExp]>([
    ['no bytes at all', new Uint8Array(), /not a WebAssembly module/],
    ['a page of text', Buffer.from('<html>404</html>'), /not a WebAssembly module/],
    ['a truncated module', good.subarray(0, good.length - 10), /truncated or malformed/],
    ['an unknown import', assemble(`(module (import "env" "nope" (func)) ${memory})`), /env\.nope/],
    [
      'an import from elsewhere',
      assemble(`(module (import "wasi" "fd_write" (func)) ${memory})`),
      /wasi\.fd_write/,
    ],
    [
      'an import with a wrong type',
      assemble(`(module (import "env" "input" (func)) ${memory})`),
      /another signature/,
    ],
    ['4 GiB of memory', assemble('(module (memory (export "memory") 65536))'), /65536 pages/],
    ['no memory', assemble('(module (func (export "init")))'), /does not export its memory/],
    [
      'memory under another name',
      assemble('(module (memory (export "mem") 1))'),
      /does not export its memory/,
    ],
    [
      'an imported memory',
      assemble('(module (import "env" "memory" (memory 1)))'),
      /not a function/,
    ],
    ['a start function', assemble(`(module ${memory} (func $s) (start $s))`), /start function/],
  ])('%s', (_name, bytes, reason) => {
    expect(() => wasmProgram(bytes)).toThrow(reason);
  });

  test('any cut of a module is refused or still a whole module, never a crash', () => {
    for (let length = 0; length < good.length; length += 7) {
      expect(() => wasmProgram(good.subarray(0, length))).toThrow(/cannot be installed/);
    }
  });
});

function text(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString();
}
