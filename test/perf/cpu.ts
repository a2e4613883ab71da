import { readdir, readFile } from 'node:fs/promises';

/** Microseconds of CPU time, all threads. */
export interface CpuTimes {
  readonly node: number;
  readonly postgres: number;
}

/** `USER_HZ`: the ticks of /proc/<pid>/stat, see proc_pid_stat(5). */
const TICK_MICROSECONDS = 10_000;

/**
 * What the node and the Postgres servers that this process started have used so far; not a number
 * where there is no /proc, or where Postgres runs elsewhere.
 */
export async function readCpu(nodePid: number): Promise<CpuTimes> {
  const processes = await listProcesses();
  const isOurs = (pid: number): boolean => {
    const parent = processes.get(pid)?.parent;
    return parent !== undefined && (parent === process.pid || isOurs(parent));
  };
  const backends = [...processes].filter(([pid, { name }]) => name === 'postgres' && isOurs(pid));
  return {
    node: processes.get(nodePid)?.microseconds ?? Number.NaN,
    postgres:
      backends.length === 0
        ? Number.NaN
        : backends.reduce((sum, [, { microseconds }]) => sum + microseconds, 0),
  };
}

interface ProcessTimes {
  readonly parent: number;
  readonly name: string;
  /** Of it and of the children that it has waited for. */
  readonly microseconds: number;
}

async function listProcesses(): Promise<Map<number, ProcessTimes>> {
  const names = await readdir('/proc').catch(() => []);
  const entries = await Promise.all(
    names
      .filter((name) => /^\d+$/.test(name))
      .map(async (name) => {
        const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => null);
        return stat === null ? [] : ([[Number(name), parseStat(stat)]] as const);
      }),
  );
  return new Map(entries.flat());
}

/** The name is in parentheses and may hold anything; utime, stime, cutime, cstime are 14 to 17. */
function parseStat(stat: string): ProcessTimes {
  const end = stat.lastIndexOf(')');
  const fields = stat.slice(end + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return {
    parent: Number(fields[1]),
    name: stat.slice(stat.indexOf('(') + 1, end),
    microseconds: ticks * TICK_MICROSECONDS,
  };
}
