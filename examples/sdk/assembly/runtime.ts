/**
 * The memory manager of the SDK: it only ever allocates, because an instance serves one call. The
 * compiler's own stub runtime does the same but sets itself up in a start function, which a Cairn
 * application may not have; this one starts at its first allocation.
 *
 * An object has a header of 20 bytes in front of it, as the compiler expects: allocation size,
 * two words for a collector that does not exist, class id, object size.
 */
import { AL_MASK, BLOCK_MAXSIZE, BLOCK_OVERHEAD, OBJECT, OBJECT_OVERHEAD } from "rt/common";

const PAGE_BITS: i32 = 16;

/** End of what is allocated; 0 before the first allocation. */
let top: usize = 0;

// @ts-ignore: decorator
@unsafe @global
export function __alloc(size: usize): usize {
  if (size > BLOCK_MAXSIZE) unreachable();
  const from = top == 0 ? __heap_base : top;
  const ptr = (from + BLOCK_OVERHEAD + AL_MASK) & ~AL_MASK;
  const end = ptr + ((size + AL_MASK) & ~AL_MASK);
  const pages = memory.size();
  const wanted = <i32>((end + 0xffff) >> PAGE_BITS);
  if (wanted > pages && memory.grow(max(wanted - pages, pages)) < 0) {
    if (memory.grow(wanted - pages) < 0) unreachable();
  }
  top = end;
  return ptr;
}

// @ts-ignore: decorator
@unsafe @global
export function __new(size: usize, id: u32): usize {
  const ptr = __alloc(OBJECT_OVERHEAD + size);
  const object = changetype<OBJECT>(ptr - BLOCK_OVERHEAD);
  object.rtId = id;
  object.rtSize = <u32>size;
  return ptr + OBJECT_OVERHEAD;
}

// @ts-ignore: decorator
@unsafe @global
export function __renew(oldPtr: usize, size: usize): usize {
  const old = changetype<OBJECT>(oldPtr - OBJECT_OVERHEAD - BLOCK_OVERHEAD);
  const ptr = __new(size, old.rtId);
  memory.copy(ptr, oldPtr, min<usize>(size, old.rtSize));
  return ptr;
}

// @ts-ignore: decorator
@unsafe @global
export function __realloc(_ptr: usize, _size: usize): usize {
  return unreachable();
}

// @ts-ignore: decorator
@unsafe @global
export function __free(_ptr: usize): void {}

// @ts-ignore: decorator
@unsafe @global
export function __link(_parent: usize, _child: usize, _expectMultiple: bool): void {}

// @ts-ignore: decorator
@unsafe @global
export function __pin(ptr: usize): usize {
  return ptr;
}

// @ts-ignore: decorator
@unsafe @global
export function __unpin(_ptr: usize): void {}

// @ts-ignore: decorator
@unsafe @global
function __visit(_ptr: usize, _cookie: u32): void {}

// @ts-ignore: decorator
@unsafe @global
export function __collect(): void {}
