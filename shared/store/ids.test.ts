import { expect, test } from 'vitest';
import { applicationIdOf } from './application-store.ts';
import { blobIdOf } from './blob-store.ts';

test('blob ids reproduce the published vectors, of one chunk and of two', () => {
  expect(blobIdOf(Buffer.from('hello'))).toBe('B4vDoZ2b3EoHNyf727eRqm5cKwbniJL7NTwPqs3o4cwH');
  expect(blobIdOf(Buffer.alloc(1_048_581, 7))).toBe('8n7kdHioG6tHqfnHC44NSPYDWYcVZ36U2KRJWnUvnJY8');
});

test('an application id reproduces the published vector', () => {
  const id = applicationIdOf({
    blobId: blobIdOf(Buffer.from('hello')),
    size: 5,
    source: 'file:///tmp/app.wasm',
    metadata: new Uint8Array(),
  });

  expect(id).toBe('2EtZnofdSQ8Pks9svHqwYPhgM7xVgs3U5sr4CfzjzNRb');
});
