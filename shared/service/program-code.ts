import { AppError } from '#shared/domain/app-error.ts';
import type { ApplicationId, BlobId } from '#shared/domain/ids.ts';
import type { ProgramCode } from '#shared/runtime/engines.ts';
import {
  INSTRUMENTATION,
  type InstrumentedModule,
  instrument,
} from '#shared/runtime/metering/instrument.ts';
import { findApplication } from '#shared/store/application-store.ts';
import { readBlob } from '#shared/store/blob-store.ts';
import type { Database } from '#shared/store/database.ts';
import {
  findInstrumentedModule,
  insertInstrumentedModule,
} from '#shared/store/instrumented-module-store.ts';

/** What a thread needs to run an installed application. Throws AppError `application_not_installed`. */
export async function loadProgramCode(
  database: Database,
  applicationId: ApplicationId,
): Promise<ProgramCode> {
  const application = await findApplication(database, applicationId);
  const source = application === null ? null : await readBlob(database, application.blobId);
  if (application === null || source === null) {
    throw new AppError('application_not_installed', 'Application is not installed on node.', {
      applicationId,
    });
  }
  const { engine, blobId } = application;
  const instrumented = engine === 'wasm' ? await instrumentOnce(database, blobId, source) : null;
  return { applicationId, engine, source, instrumented };
}

/** The module with metering, from where it is kept; made and kept when it is not there. */
async function instrumentOnce(
  database: Database,
  blobId: BlobId,
  source: Uint8Array,
): Promise<InstrumentedModule> {
  const stored = await findInstrumentedModule(database, blobId, INSTRUMENTATION);
  if (stored !== null) return fromFacts(stored.code, stored.facts as Facts);
  const made = instrument(source);
  await keepInstrumented(database, blobId, made);
  return made;
}

/** Keeps a module with metering beside the blob that it was made of. */
export async function keepInstrumented(
  database: Database,
  blobId: BlobId,
  { bytes, exports, ...others }: InstrumentedModule,
): Promise<void> {
  const facts: Facts = { ...others, exports: [...exports] };
  await insertInstrumentedModule(database, blobId, INSTRUMENTATION, { code: bytes, facts });
}

type Facts = Omit<InstrumentedModule, 'bytes' | 'exports'> & {
  readonly exports: readonly (readonly [name: string, signature: string])[];
};

function fromFacts(code: Uint8Array, facts: Facts): InstrumentedModule {
  return { ...facts, bytes: new Uint8Array(code), exports: new Map(facts.exports) };
}
