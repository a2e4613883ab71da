import type { DifferingField, Job, Rehearsal, Verification } from '#shared/protocol/audit-api.ts';

/** One line that overwrites itself. */
export function progressOf({ state, progress, kind }: Job): string {
  if (state === 'queued') return '\rwaiting for its turn …\u001b[K';
  if (state !== 'running' || progress === null) return '\r\u001b[K';
  const percent = Math.floor((100 * progress.done) / Math.max(1, progress.of));
  return `\r${kind}: ${count(progress.done)} of ${count(progress.of)} (${percent} %)\u001b[K`;
}

/** What a job came to, for people. */
export function describeJob(job: Job): string {
  if (job.state === 'aborted') return 'Stopped.';
  if (job.verification !== null) return describeVerification(job, job.verification);
  if (job.rehearsal !== null) return describeRehearsal(job.rehearsal);
  return job.error ?? job.state;
}

function describeVerification({ contextId, elapsedMs }: Job, found: Verification): string {
  const { from, to, base, verified, divergence, hungAt } = found;
  const lines: string[] = [];
  if (divergence !== null) {
    lines.push(
      `DIVERGES at sequence ${divergence.sequence} (${divergence.kind}): ${divergence.message}.`,
      ...divergence.fields.flatMap(describeField),
      `${count(verified)} transactions before it, from ${from} on, were verified.`,
    );
  } else if (hungAt !== null) {
    lines.push(
      `Transaction ${hungAt} runs for longer than the node allows: nothing is said of it and of what follows.`,
      `${count(verified)} transactions before it, from ${from} on, were verified.`,
    );
  } else {
    const seconds = elapsedMs / 1_000;
    const rate = count(Math.round(verified / Math.max(seconds, 0.001)));
    lines.push(
      `Verified: transactions ${from} to ${to} of ${contextId} come out as they are in its log.`,
      `${count(verified)} in ${seconds.toFixed(1)} s, ${rate} per second.`,
    );
  }
  lines.push(...describeBase(from, base));
  return lines.join('\n');
}

function describeRehearsal(found: Rehearsal): string {
  const { from, to, base, compared, same, differing, first, migration } = found;
  const lines: string[] = [];
  if (migration !== null) {
    const { status, error, changes, events, fuelUsed } = migration;
    lines.push(
      status === 'ok'
        ? `The migration succeeds on the state behind ${to}: ${count(changes)} changes, ${count(events)} events, ${fuelUsed} fuel.`
        : `The migration FAILS on the state behind ${to}: ${error}`,
    );
    return lines.join('\n');
  }
  lines.push(
    `${count(same)} of ${count(compared)} transactions, from ${from} to ${to}, come out the same.`,
  );
  if (first !== null) {
    const { status, output, events, changes, failsNow, succeedsNow } = differing;
    lines.push(
      `Others differ in status (${status}), output (${output}), events (${events}), changes (${changes}); ${failsNow} fail now, ${succeedsNow} succeed now.`,
      `The FIRST that differs is ${first.sequence}:`,
      ...first.fields.flatMap(describeField),
    );
  }
  lines.push(...describeBase(from, base));
  return lines.join('\n');
}

function describeField({ field, logged, recomputed }: DifferingField): string[] {
  return [
    `  ${field}`,
    `    in the log   ${logged ?? 'none'}`,
    `    recomputed   ${recomputed ?? 'none'}`,
  ];
}

function describeBase(from: string, base: Verification['base']): string[] {
  if (base === 'nothing') return [];
  return [
    `The state before ${from} was taken from ${base}, unverified: without --from, everything is run.`,
  ];
}

function count(value: number): string {
  return value.toLocaleString('en-GB').replaceAll(',', ' ');
}
