import { EngineUnavailable, startEngine } from './engine.ts';

/** Brings a Docker engine up for all files of the run, or says why there is none. */
export default async function setup(): Promise<() => Promise<void>> {
  const stack = new AsyncDisposableStack();
  try {
    const { compose } = await startEngine(stack);
    process.env['CAIRN_TEST_COMPOSE'] = compose.join(' ');
    // Its image may be out of reach, and the tests remove what they make.
    process.env['TESTCONTAINERS_RYUK_DISABLED'] = 'true';
  } catch (error) {
    await stack.disposeAsync();
    if (!(error instanceof EngineUnavailable)) throw error;
    if (process.env['CAIRN_REQUIRE_ENGINE'] === '1') throw error;
    process.stderr.write(
      `\n*** docker compose is NOT tested here: ${error.message}.\n` +
        '*** CAIRN_REQUIRE_ENGINE=1 makes that a failure.\n\n',
    );
    process.env['CAIRN_TEST_NO_ENGINE'] = error.message;
  }
  return () => stack.disposeAsync();
}
