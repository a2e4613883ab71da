/**
 * What `npm start`, `npm test` and `npm run cairn` run, on whatever Node the machine has (20 or
 * newer): installs the dependencies when they are missing or out of date, then runs the command on
 * the project's own Node 24.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const bin = (name) => join(root, 'node_modules', '.bin', name);
const commands = {
  start: [join(root, 'services/standalone/main.ts')],
  cairn: [join(root, 'services/ctl/main.ts')],
  test: [join(root, 'node_modules/vitest/vitest.mjs'), 'run'],
};
const [name, ...args] = process.argv.slice(2);
const command = commands[name];
if (command === undefined) {
  console.error(`usage: node bootstrap.mjs ${Object.keys(commands).join('|')} [arguments]`);
  process.exit(2);
}

if (!isInstalled()) {
  console.error('Installing dependencies …');
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) {
    console.error('The dependencies could not be installed: see what npm says above.');
    process.exit(status ?? 1);
  }
}

// A terminal sends Ctrl-C to the whole group: the child decides when it is over.
const child = spawn(bin('node'), [...command, ...args], { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  });
}
child.on('exit', (code, signal) => {
  process.exit(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
});

/** npm writes `node_modules/.package-lock.json` last; an older one misses something. */
function isInstalled() {
  const marker = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(marker) || !existsSync(bin('node'))) return false;
  return statSync(marker).mtimeMs >= statSync(join(root, 'package-lock.json')).mtimeMs;
}
