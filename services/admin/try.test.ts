import { readFile } from 'node:fs/promises';
import { runInNewContext } from 'node:vm';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';

/** The page to try the API with, in as much of a browser as its script needs. */
class FakeElement {
  readonly tag: string;
  readonly children: unknown[] = [];
  textContent = '';
  className = '';
  value = '';
  type = '';
  required = false;
  hidden = false;
  files = ['a file'];
  onclick: () => Promise<void> | void = () => undefined;

  constructor(tag: string) {
    this.tag = tag;
  }

  append(...children: unknown[]): void {
    this.children.push(...children);
  }

  reportValidity(): boolean {
    return !this.required || this.type === 'file' || this.value !== '';
  }

  /** With everything below it. */
  all(): FakeElement[] {
    const below = this.children.filter((child) => child instanceof FakeElement);
    return [this, ...below.flatMap((child) => child.all())];
  }
}

const bodyOf = (type: string, schema: object) => ({ content: { [type]: { schema } } });
const paths = {
  '/admin-api/contexts/{id}': {
    get: { summary: '', security: [{}], parameters: [{ name: 'id', in: 'path', schema: {} }] },
  },
  '/admin-api/did': { delete: { summary: '', security: [{}] } },
  '/admin-api/blobs': {
    put: { summary: '', security: [{}], requestBody: bodyOf('application/octet-stream', {}) },
  },
  '/admin-api/install-application': {
    post: {
      summary: '',
      security: [{}],
      requestBody: bodyOf('application/json', {
        type: 'object',
        required: ['url'],
        properties: { url: { type: 'string' }, hash: { type: 'string' } },
      }),
    },
  },
};

async function open(answer: boolean) {
  const main = new FakeElement('main');
  const sent: { url: string; init: { method: string; headers: object; body?: unknown } }[] = [];
  const asked: string[] = [];
  const html = await readFile(new URL('try.html', import.meta.url), 'utf8');
  runInNewContext(/<script>(.*)<\/script>/s.exec(html)?.[1] ?? '', {
    document: {
      querySelector: (name: string) => (name === '#operations' ? main : new FakeElement('input')),
      createElement: (tag: string) => new FakeElement(tag),
    },
    confirm: (text: string) => asked.push(text) > 0 && answer,
    URLSearchParams,
    fetch: async (url: string, init: (typeof sent)[0]['init']) => {
      if (url === 'openapi.json') return { json: async () => ({ paths }) };
      sent.push({ url, init });
      return new Response('{}', { headers: { 'content-type': 'application/json' } });
    },
  });
  for (let turns = 0; turns < 5; turns += 1) await turn();
  const parts = (path: string) =>
    main
      .all()
      .filter(({ tag }) => tag === 'details')
      .find((details) => details.all().some(({ textContent }) => textContent === path))
      ?.all() ?? [];
  const press = async (path: string, name: string) =>
    await parts(path)
      .find(({ tag, textContent }) => tag === 'button' && textContent === name)
      ?.onclick();
  return { sent, asked, parts, press };
}

test('sends nothing while a part of the path is empty', async () => {
  const { sent, parts, press } = await open(true);
  const path = '/admin-api/contexts/{id}';

  await press(path, 'Send');
  expect(sent).toEqual([]);

  for (const input of parts(path)) if (input.tag === 'input') input.value = 'a/b';
  await press(path, 'Send');
  expect(sent[0]?.url).toBe('/admin-api/contexts/a%2Fb');
});

test('asks before it revokes all keys, and takes no for an answer', async () => {
  const { sent, asked, press } = await open(false);
  await press('/admin-api/did', 'Send');
  expect([sent, asked]).toEqual([[], [expect.stringContaining('revokes EVERY root key')]]);
});

test('sends a file as bytes', async () => {
  const { sent, press } = await open(true);
  await press('/admin-api/blobs', 'Send');
  expect(sent[0]?.init).toMatchObject({
    method: 'PUT',
    body: 'a file',
    headers: { 'content-type': 'application/octet-stream' },
  });
});

test('begins with what a body must have, and adds what it may have', async () => {
  const { sent, press } = await open(true);
  await press('/admin-api/install-application', 'Send');
  await press('/admin-api/install-application', 'hash');
  await press('/admin-api/install-application', 'Send');
  expect(sent.map(({ init }) => JSON.parse(String(init.body)) as unknown)).toEqual([
    { url: '' },
    { url: '', hash: '' },
  ]);
});
