import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            'shared/**/*.test.ts',
            'services/**/*.test.ts',
            'test/architecture/*.test.ts',
            'test/deploy/files.test.ts',
          ],
          // Guests that recurse until metering ends them need more than a main thread has.
          execArgv: ['--stack-size=4000'],
        },
      },
      {
        test: {
          name: 'determinism',
          include: ['test/determinism/*.test.ts'],
          testTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'infra',
          include: ['test/{component,integration,e2e}/**/*.test.ts'],
          globalSetup: ['test/support/global-setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
