/**
 * Runs once in every machine, before the application: takes away what could differ between two
 * machines, makes what applications and scripts are given, and returns how the host enters them.
 * Its text is part of what an execution costs: see execution-version.ts.
 *
 * Texts of JSON come from the host either plain or behind a mark, when integers are in them that a
 * number cannot hold: see big-integers.ts.
 */
(host) => {
  'use strict';

  const { parse, rawJSON, stringify } = JSON;
  const MARK = '\u0001';
  const RANDOM_BYTES = 256;
  const MESSAGE_MAX = 65_536;

  let isRunning = false;
  let methods = {};

  delete globalThis.SharedArrayBuffer;

  const define = (target, values, writable = true) => {
    for (const [name, value] of Object.entries(values)) {
      Object.defineProperty(target, name, { value, writable, configurable: writable });
    }
  };

  // While the application loads, Math.random is QuickJS's own, with the same seed everywhere.
  const loadingRandom = Math.random;
  const randomBytes = (length) => {
    const bytes = new Uint8Array(length);
    host.fillRandom(bytes);
    return bytes;
  };
  let words = new Uint32Array();
  let wordsUsed = 0;
  const nextWord = () => {
    if (wordsUsed === words.length) {
      words = new Uint32Array(randomBytes(RANDOM_BYTES).buffer);
      wordsUsed = 0;
    }
    wordsUsed += 1;
    return words[wordsUsed - 1];
  };
  const random = () => {
    if (!isRunning) return loadingRandom();
    return ((nextWord() >>> 5) * 2 ** 26 + (nextWord() >>> 6)) / 2 ** 53;
  };

  const revive = (_key, value) => {
    if (typeof value !== 'string' || value[0] !== MARK) return value;
    return value[1] === MARK ? value.slice(1) : BigInt(value.slice(1));
  };
  const read = (text) => (text[0] === MARK ? parse(text.slice(1), revive) : parse(text));

  const bytesOf = (value, what) => {
    if (typeof value === 'string') return value.toWellFormed();
    if (value instanceof Uint8Array) return value;
    throw new TypeError(`${what} must be a string or a Uint8Array`);
  };
  const keyOf = (key) => bytesOf(key, 'a storage key');

  const storage = {
    get: (key) => host.get(keyOf(key)),
    getText: (key) => host.getText(keyOf(key)),
    getJson: (key) => {
      const text = host.getJson(keyOf(key));
      return text === null ? null : read(text);
    },
    set: (key, value) => host.set(keyOf(key), bytesOf(value, 'a stored value')),
    setJson: (key, value) => {
      const text = stringify(value);
      if (text === undefined) throw new TypeError('a stored value must be JSON');
      return host.set(keyOf(key), text);
    },
    remove: (key) => host.remove(keyOf(key)),
  };

  const once = (ask) => {
    let known;
    return () => (known ??= ask());
  };

  const show = (value) => {
    if (typeof value === 'string') return value.toWellFormed();
    return value instanceof Error ? String(value) : (stringify(value) ?? String(value));
  };
  const log = (...values) => {
    host.log(values.map(show).join(' '));
  };
  const emit = (kind, data) => {
    host.emit(
      String(kind).toWellFormed(),
      data instanceof Uint8Array ? data : (stringify(data) ?? ''),
    );
  };

  class Failure extends Error {
    constructor(value) {
      super(show(value));
      this.value = value;
    }
  }
  const fail = (value) => {
    throw new Failure(value);
  };

  class TextEncoder {
    get encoding() {
      return 'utf-8';
    }
    encode(text = '') {
      return host.encode(String(text).toWellFormed());
    }
  }
  class TextDecoder {
    constructor(label = 'utf-8') {
      if (!/^utf-?8$/i.test(label)) throw new RangeError('only UTF-8 can be decoded');
    }
    get encoding() {
      return 'utf-8';
    }
    decode(bytes = new Uint8Array()) {
      const { buffer = bytes, byteOffset = 0, byteLength } = bytes;
      return host.decode(new Uint8Array(buffer, byteOffset, byteLength));
    }
  }

  define(Math, { random });
  define(BigInt.prototype, {
    toJSON() {
      return rawJSON(this.toString());
    },
  });
  define(globalThis, {
    storage,
    log,
    emit,
    fail,
    contextId: once(host.contextId),
    executorId: once(host.executorId),
    timeNs: () => BigInt(host.timeNs()),
    randomBytes,
    console: { debug: log, log, info: log, warn: log, error: log },
    TextEncoder,
    TextDecoder,
  });

  const answer = (value) => {
    if (typeof value?.then === 'function')
      return Promise.resolve(value).then((it) => stringify(it));
    return stringify(value);
  };

  const messageOf = (error) => {
    if (!(error instanceof Error)) return show(error);
    return error.name === 'Error' ? `${error.message}` : `${error.name}: ${error.message}`;
  };
  const placeOf = (error) => {
    const [, file, line, column] =
      /\b((?:application|script)\.js):(\d+):(\d+)/.exec(error?.stack) ?? [];
    return file === undefined ? '' : ` at ${file}:${line}:${column}`;
  };

  class Unreadable extends Error {}

  return {
    /** Takes the namespace of the application; returns the names of its methods as JSON. */
    load: (namespace) => {
      methods = namespace;
      return stringify(
        Object.keys(namespace).filter((name) => typeof namespace[name] === 'function'),
      );
    },
    invoke: (name, argumentsText) => {
      isRunning = true;
      let input;
      try {
        input = argumentsText === '' ? undefined : read(argumentsText);
      } catch {
        throw new Unreadable();
      }
      const method = methods[name];
      return answer(method(input));
    },
    beginScript: (CALLER_ID, CONTEXT_ID) => {
      isRunning = true;
      define(globalThis, { CALLER_ID, CONTEXT_ID }, false);
    },
    endScript: (completion) => answer(completion.value),
    /** What ended a call: `=` and the JSON given to `fail`, or `!` and an error text. */
    describe: (error) => {
      if (error instanceof Failure) return `=${stringify(error.value) ?? 'null'}`;
      if (error instanceof Unreadable) return '!deserialization error';
      return `!guest panicked: ${messageOf(error).slice(0, MESSAGE_MAX)}${placeOf(error)}`;
    },
  };
};
