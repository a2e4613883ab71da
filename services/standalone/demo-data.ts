import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export interface DemoContext {
  readonly name: string;
  readonly contextId: string;
}

interface Node {
  readonly url: string;
  readonly token: string;
}

const EXAMPLES = [
  { name: 'kv-store', file: '../../examples/kv-store/kv-store.wasm' },
  { name: 'only-peers', file: '../../examples/only-peers/only-peers.wasm' },
] as const;
const TICK_MS = 5_000;

/**
 * The demo contexts of this data directory, made now when they are wanted and not there yet.
 * Unless told, they are wanted on the first start, and later what that start decided holds.
 */
export async function demoContexts(
  directory: string,
  wanted: boolean | undefined,
  node: Node,
): Promise<readonly DemoContext[]> {
  const file = join(directory, 'demo.json');
  const text = await readFile(file, 'utf8').catch(() => null);
  const known = text === null ? null : (JSON.parse(text) as readonly DemoContext[]);
  if (wanted === false) {
    if (known === null) await writeFile(file, '[]');
    return [];
  }
  // An empty list says that the first start wanted none.
  if (known !== null && (known.length > 0 || wanted === undefined)) return known;
  const contexts = await createDemo(node);
  await writeFile(file, JSON.stringify(contexts));
  return contexts;
}

/** Installs both example applications over the node's own doors and opens a context of each. */
async function createDemo(node: Node): Promise<readonly DemoContext[]> {
  const contexts: DemoContext[] = [];
  for (const { name, file } of EXAMPLES) {
    const path = fileURLToPath(new URL(file, import.meta.url));
    const metadata = [...Buffer.from(JSON.stringify({ name }))];
    const { applicationId } = await post(node, '/admin-api/install-dev-application', {
      path,
      metadata,
    });
    const { contextId } = await post(node, '/admin-api/contexts', {
      applicationId,
      initializationParams: [...Buffer.from('{}')],
    });
    contexts.push({ name, contextId: String(contextId) });
  }
  return contexts;
}

/** Keeps the key-value store gently moving until the signal aborts. */
export async function moveDemo(
  node: Node,
  contexts: readonly DemoContext[],
  signal: AbortSignal,
): Promise<void> {
  const contextId = contexts.find(({ name }) => name === 'kv-store')?.contextId;
  if (contextId === undefined) return;
  for (let beat = 0; !signal.aborted; beat += 1) {
    await post(node, '/jsonrpc', {
      jsonrpc: '2.0',
      id: beat,
      method: 'mutate',
      params: { contextId, method: 'set', argsJson: { key: 'heartbeat', value: String(beat) } },
    }).catch(() => undefined);
    await setTimeout(TICK_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function post(
  node: Node,
  path: string,
  body: Readonly<Record<string, unknown>>,
): Promise<Readonly<Record<string, unknown>>> {
  const response = await fetch(new URL(path, node.url), {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${node.token}` },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${text}`);
  return (JSON.parse(text) as { data?: Record<string, unknown> }).data ?? {};
}
