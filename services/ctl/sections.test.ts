import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fieldsOf } from '#shared/config/fields.ts';
import { SECTION_NAMES } from '#shared/config/sections.ts';
import { sectionsOf, SERVICE_NAMES } from './sections.ts';

const SERVICES = join(import.meta.dirname, '..');

test('every service that runs alone has a section, and every section is known to all', () => {
  const alone = readdirSync(SERVICES).filter(
    (name) => name !== 'standalone' && existsSync(join(SERVICES, name, 'config.ts')),
  );

  expect([...SERVICE_NAMES].toSorted()).toEqual(alone.toSorted());
  expect(Object.keys(sectionsOf(undefined)).toSorted()).toEqual([...SECTION_NAMES].toSorted());
});

test('every key says what it is for', () => {
  const silent = fieldsOf(sectionsOf(undefined)).filter(({ description }) => description === '');

  expect(silent.map(({ section, key }) => `${section}.${key}`)).toEqual([]);
});
