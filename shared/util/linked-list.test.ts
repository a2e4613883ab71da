import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LinkedList, type Place } from './linked-list.ts';

test('holds what was added and not removed, in order, as a Set does', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat(20), { nil: null })), (steps) => {
      const list = new LinkedList<number>();
      const places: Place<number>[] = [];
      const model = new Set<number>();

      steps.forEach((step, i) => {
        const [removed] = step === null ? [] : places.splice(step, 1);
        if (removed === undefined) {
          places.push(list.add(i));
          model.add(i);
        } else {
          list.remove(removed);
          model.delete(removed.value);
        }
      });

      expect([...list]).toEqual([...model]);
      expect(list.size).toBe(model.size);
      expect(list.first).toBe([...model][0]);
    }),
  );
});

test('may lose the value that it is at while it is walked', () => {
  const list = new LinkedList<string>();
  const places = new Map(['a', 'b', 'c'].map((value) => [value, list.add(value)]));
  const seen: string[] = [];

  for (const value of list) {
    seen.push(value);
    const place = places.get(value);
    if (place !== undefined) list.remove(place);
  }

  expect(seen).toEqual(['a', 'b', 'c']);
  expect(list.size).toBe(0);
});
