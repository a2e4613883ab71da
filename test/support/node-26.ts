import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const VERSION = '26.10.0';
const DIRECTORY = join(import.meta.dirname, '../../node_modules/.cache/node-26');
const BINARY = join(DIRECTORY, 'node_modules/node/bin/node');
const INSTALL_MS = 240_000;

/** The next Node, from the npm registry, kept beside the dependencies: only one test needs it. */
export async function installNode26(): Promise<string> {
  if (!existsSync(BINARY)) {
    await promisify(execFile)(
      'npm',
      ['install', '--no-save', '--no-audit', '--no-fund', '--prefix', DIRECTORY, `node@${VERSION}`],
      { timeout: INSTALL_MS },
    );
  }
  return BINARY;
}
