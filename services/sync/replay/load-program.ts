import { AppError } from '#shared/domain/app-error.ts';
import type { ApplicationId } from '#shared/domain/ids.ts';
import type { ProgramCode } from '#shared/runtime/engines.ts';
import { applicationIdOf, findApplication } from '#shared/store/application-store.ts';
import { blobIdOf, readBlob } from '#shared/store/blob-store.ts';
import type { Database } from '#shared/store/database.ts';

/**
 * What a replay runs: the application as it was installed, held against its own id. Modules that
 * were instrumented before are not taken: whoever can change the log could have changed them too.
 * Throws AppError `application_not_installed`, and `conflict` for one that was changed.
 */
export async function loadProgram(
  database: Database,
  applicationId: ApplicationId,
): Promise<ProgramCode> {
  const application = await findApplication(database, applicationId);
  const source = application === null ? null : await readBlob(database, application.blobId);
  if (application === null || source === null) {
    const text = `the application ${applicationId} of the log is not installed on this node`;
    throw new AppError('application_not_installed', text, { applicationId });
  }
  const isIntact =
    blobIdOf(source) === application.blobId && applicationIdOf(application) === applicationId;
  if (!isIntact) {
    const text = `the application ${applicationId} is not what was installed: its row or its blob was changed`;
    throw new AppError('conflict', text, { applicationId });
  }
  return { applicationId, engine: application.engine, source, instrumented: null };
}
