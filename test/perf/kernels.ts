import asc from 'assemblyscript/asc';

/** Small programs of the shapes that guests have, each with the argument of one run. */
export const KERNELS: Readonly<Record<string, number>> = {
  fib: 27,
  sum: 10_000_000,
  collatz: 30_000,
  sieve: 2_000_000,
  matmul: 160,
  mandelbrot: 200,
  sha256: 20_000,
  sort: 200_000,
  dispatch: 3_000_000,
};

const SOURCE = `
export function fib(n: i32): i32 {
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

export function sum(n: i32): i32 {
  let total = 0;
  for (let i = 0; i < n; i++) total += i ^ (total << 1);
  return total;
}

export function collatz(n: i32): i32 {
  let most = 0;
  for (let i = 1; i < n; i++) {
    let steps = 0;
    for (let x: i64 = i; x != 1; steps++) {
      if (x & 1) x = 3 * x + 1;
      else x >>= 1;
    }
    if (steps > most) most = steps;
  }
  return most;
}

export function sieve(n: i32): i32 {
  memory.fill(0, 1, n);
  let count = 0;
  for (let i = 2; i < n; i++) {
    if (!load<u8>(i)) continue;
    count++;
    for (let j = i * 2; j < n; j += i) store<u8>(j, 0);
  }
  return count;
}

export function matmul(n: i32): f64 {
  const a = 0, b = n * n * 8, c = b * 2;
  for (let i = 0; i < n * n; i++) {
    store<f64>(a + i * 8, f64(i % 7) * 0.5);
    store<f64>(b + i * 8, f64(i % 5) * 0.25);
  }
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let total = 0.0;
      for (let k = 0; k < n; k++) {
        total += load<f64>(a + (i * n + k) * 8) * load<f64>(b + (k * n + j) * 8);
      }
      store<f64>(c + (i * n + j) * 8, total);
    }
  }
  return load<f64>(c + (n + 1) * 8);
}

export function mandelbrot(n: i32): i32 {
  let inside = 0;
  for (let py = 0; py < n; py++) {
    for (let px = 0; px < n; px++) {
      const cx = f64(px) / f64(n) * 3.0 - 2.0, cy = f64(py) / f64(n) * 2.0 - 1.0;
      let x = 0.0, y = 0.0, i = 0;
      while (i < 100 && x * x + y * y < 4.0) {
        const t = x * x - y * y + cx;
        y = 2.0 * x * y + cy;
        x = t;
        i++;
      }
      if (i == 100) inside++;
    }
  }
  return inside;
}

/** The shape of SHA-256: rounds of rotations and additions over words in memory. */
export function sha256(blocks: i32): i32 {
  let a: u32 = 0x6a09e667, b: u32 = 0xbb67ae85, c: u32 = 0x3c6ef372, d: u32 = 0xa54ff53a;
  let e: u32 = 0x510e527f, f: u32 = 0x9b05688c, g: u32 = 0x1f83d9ab, h: u32 = 0x5be0cd19;
  for (let block = 0; block < blocks; block++) {
    for (let t = 0; t < 16; t++) store<u32>(t << 2, a + t);
    for (let t = 16; t < 64; t++) {
      const w15 = load<u32>((t - 15) << 2), w2 = load<u32>((t - 2) << 2);
      const s0 = rotr(w15, 7) ^ rotr(w15, 18) ^ (w15 >> 3);
      const s1 = rotr(w2, 17) ^ rotr(w2, 19) ^ (w2 >> 10);
      store<u32>(t << 2, load<u32>((t - 16) << 2) + s0 + load<u32>((t - 7) << 2) + s1);
    }
    for (let t = 0; t < 64; t++) {
      const s1 = rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25);
      const t1 = h + s1 + ((e & f) ^ (~e & g)) + 0x428a2f98 + load<u32>(t << 2);
      const s0 = rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22);
      const t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
      h = g; g = f; f = e; e = d + t1; d = c; c = b; b = a; a = t1 + t2;
    }
  }
  return a ^ e;
}

/** Quicksort of pseudo-random numbers. */
export function sort(n: i32): i32 {
  let x: u32 = 12345;
  for (let i = 0; i < n; i++) {
    x ^= x << 13; x ^= x >> 17; x ^= x << 5;
    store<u32>(i << 2, x);
  }
  quicksort(0, n - 1);
  return load<u32>((n / 2) << 2);
}

function quicksort(from: i32, to: i32): void {
  if (from >= to) return;
  const pivot = load<u32>(((from + to) / 2) << 2);
  let i = from - 1, j = to + 1;
  while (true) {
    do i++; while (load<u32>(i << 2) < pivot);
    do j--; while (load<u32>(j << 2) > pivot);
    if (i >= j) break;
    const t = load<u32>(i << 2);
    store<u32>(i << 2, load<u32>(j << 2));
    store<u32>(j << 2, t);
  }
  quicksort(from, j);
  quicksort(j + 1, to);
}

/** An interpreter's loop: a jump table, small steps, a call now and then. */
export function dispatch(n: i32): i32 {
  let a = 1, pc: u32 = 0;
  for (let i = 0; i < n; i++) {
    switch (pc & 7) {
      case 0: a += i; break;
      case 1: a ^= pc; break;
      case 2: a = a << 1 | 1; break;
      case 3: a = step(a); break;
      case 4: if (a & 1) a += 3; break;
      case 5: a -= 7; break;
      case 6: a = ~a; break;
      default: a >>>= 1;
    }
    pc = pc * 1103515245 + 12345 + a;
  }
  return a;
}

// @ts-ignore: decorator
@inline
function step(a: i32): i32 { return a * 31 + 7; }
`;

/** Compiles all kernels to one module. */
export async function compileKernels(): Promise<Uint8Array> {
  let wasm: Uint8Array | undefined;
  const { error } = await asc.main(
    [
      'kernels.ts',
      '--outFile',
      'kernels.wasm',
      '-O3',
      '--runtime',
      'stub',
      '--noAssert',
      '--initialMemory',
      '128',
    ],
    {
      readFile: (name) => (name === 'kernels.ts' ? SOURCE : null),
      listFiles: () => [],
      writeFile: (_name, contents) => {
        if (typeof contents !== 'string') wasm = contents;
      },
    },
  );
  if (error !== null) throw error;
  if (wasm === undefined) throw new Error('the kernels compiled to nothing');
  return wasm;
}
