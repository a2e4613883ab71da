import { open } from 'node:fs/promises';
import { isAbsolute } from 'node:path';
import { pathToFileURL } from 'node:url';
import { decodeId } from '#shared/crypto/base58.ts';
import { sha256 } from '#shared/crypto/sha256.ts';
import { AppError } from '#shared/domain/app-error.ts';
import { detectEngine, type Engine } from '#shared/domain/engine.ts';
import type { ApplicationId } from '#shared/domain/ids.ts';
import { limits } from '#shared/runtime/limits.ts';
import { keepInstrumented } from '#shared/service/program-code.ts';
import { applicationIdOf, insertApplication } from '#shared/store/application-store.ts';
import { blobIdOf, putBlob } from '#shared/store/blob-store.ts';
import type { Database } from '#shared/store/database.ts';
import { checkProgram } from './check-program.ts';

interface FromUrl {
  readonly url: string;
  /** Base58 of the SHA-256 that the file must have, or null. */
  readonly hash: string | null;
  readonly metadata: Uint8Array;
  readonly engine: Engine | null;
}

interface FromFile {
  readonly path: string;
  readonly metadata: Uint8Array;
  readonly engine: Engine | null;
}

/**
 * Downloads and installs an application. Throws AppError `invalid_request` when the URL does not
 * deliver it in time, when its hash differs, or when it is no application.
 */
export async function installFromUrl(
  database: Database,
  { url, hash, metadata, engine }: FromUrl,
  downloadMs: number,
): Promise<ApplicationId> {
  const source = parseUrl(url);
  const wanted = hash === null ? null : parseHash(hash);
  const bytes = await download(source, downloadMs);
  if (wanted !== null && Buffer.compare(wanted, sha256(bytes)) !== 0) {
    throw refused('the SHA-256 of the downloaded file is not the given hash');
  }
  return await install(database, { source: source.href, bytes, metadata, engine });
}

/** Installs a file of this machine. Throws AppError `invalid_request`. */
export async function installFromFile(
  database: Database,
  { path, metadata, engine }: FromFile,
): Promise<ApplicationId> {
  if (!isAbsolute(path)) throw refused('the path is not absolute');
  const bytes = await readFile(path);
  return await install(database, { source: pathToFileURL(path).href, bytes, metadata, engine });
}

async function install(
  database: Database,
  file: {
    readonly source: string;
    readonly bytes: Uint8Array;
    readonly metadata: Uint8Array;
    readonly engine: Engine | null;
  },
): Promise<ApplicationId> {
  const { source, bytes, metadata } = file;
  const engine = engineOf(file);
  const blobId = blobIdOf(bytes);
  const application = { blobId, size: bytes.length, source, metadata, engine };
  const applicationId = applicationIdOf(application);
  const instrumented = await checkProgram({ applicationId, engine, source: bytes });
  await putBlob(database, bytes, { bytesMax: limits.moduleBytesMax });
  await insertApplication(database, { applicationId, ...application });
  if (instrumented !== null) await keepInstrumented(database, blobId, instrumented);
  return applicationId;
}

function engineOf(file: {
  readonly source: string;
  readonly bytes: Uint8Array;
  readonly engine: Engine | null;
}): Engine {
  const detected = detectEngine(new URL(file.source).pathname, file.bytes);
  const engine = file.engine ?? detected;
  if (engine === null) {
    throw refused(
      'the file is not a WebAssembly module; if it is a script, its name or "engine" must say so',
    );
  }
  return engine;
}

function parseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null) throw refused(`"${text}" is not a URL`);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw refused(
      `a URL of scheme "${url.protocol}" cannot be downloaded, only http and https (install-dev-application takes a path)`,
    );
  }
  return url;
}

function parseHash(text: string): Uint8Array {
  try {
    return decodeId(text);
  } catch (error) {
    throw refused(`the hash is ${error instanceof Error ? error.message : 'invalid'}`);
  }
}

async function download(url: URL, downloadMs: number): Promise<Uint8Array> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(downloadMs) });
    if (!response.ok) {
      await response.body?.cancel();
      throw refused(`the URL answered ${response.status}`);
    }
    const chunks: Uint8Array[] = [];
    let size = 0;
    const body = (response.body ?? []) as AsyncIterable<Uint8Array>;
    for await (const chunk of body) {
      size += chunk.length;
      if (size > limits.moduleBytesMax) {
        throw refused(`the URL delivers more than ${limits.moduleBytesMax} bytes`);
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    if (error instanceof AppError) throw error;
    if (error instanceof DOMException && error.name === 'TimeoutError') {
      throw refused(`the URL did not deliver the file within ${downloadMs} ms`);
    }
    throw refused(`the URL cannot be downloaded: ${causeOf(error)}`);
  }
}

async function readFile(path: string): Promise<Uint8Array> {
  try {
    await using file = await open(path, 'r');
    const status = await file.stat();
    if (!status.isFile()) throw refused('the path is not a file');
    if (status.size > limits.moduleBytesMax) {
      throw refused(`the file has more than ${limits.moduleBytesMax} bytes`);
    }
    return await file.readFile();
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw refused(`${path} cannot be read: ${causeOf(error)}`);
  }
}

/** `fetch` hides the reason in a cause; a system error says it best by its code. */
function causeOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return 'unknown failure';
  return (cause as NodeJS.ErrnoException).code ?? cause.message;
}

function refused(reason: string): AppError {
  return new AppError('invalid_request', `the application cannot be installed: ${reason}`);
}
