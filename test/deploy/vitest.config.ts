import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    name: 'compose',
    root: import.meta.dirname,
    include: ['*.compose.test.ts'],
    globalSetup: ['global-setup.ts'],
    testTimeout: 180_000,
    hookTimeout: 420_000,
    fileParallelism: false,
  },
});
