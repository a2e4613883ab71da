/** One Ctrl-C may arrive several times: from the terminal and from the process that started us. */
const REPEATED_MS = 1_000;

/** Aborts at the first of the signals; one more later ends the process at once, with code 130. */
export function stopSignal(
  names: readonly NodeJS.Signals[],
  onImpatience: () => void = () => undefined,
): AbortSignal {
  const stop = new AbortController();
  let firstMs = 0;
  for (const name of names) {
    process.on(name, () => {
      const nowMs = performance.now();
      if (!stop.signal.aborted) {
        firstMs = nowMs;
        stop.abort();
      } else if (nowMs - firstMs > REPEATED_MS) {
        onImpatience();
        process.exit(130);
      }
    });
  }
  return stop.signal;
}

export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
