import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** Metrics of the executor, registered on the service's registry. */
export function createExecutorMetrics(registry: Registry) {
  const registers = [registry];
  const transactions = new Counter({
    name: 'cairn_log_transactions_total',
    help: 'Transactions committed to the log.',
    labelNames: ['status'],
    registers,
  });
  const batchRows = new Histogram({
    name: 'cairn_commit_batch_rows',
    help: 'Rows per Postgres commit.',
    buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
    registers,
  });
  const fuel = new Histogram({
    name: 'cairn_execution_fuel',
    help: 'Fuel used by a call: an instruction of a guest costs about 1.',
    buckets: [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10],
    registers,
  });
  const lost = new Counter({
    name: 'cairn_executor_partitions_lost_total',
    help: 'Partitions that went to another executor: handed over, or taken when a lease had ended.',
    labelNames: ['how'],
    registers,
  });
  return {
    lost,
    /** By status: looking a label up costs more than counting. */
    transactions: {
      ok: transactions.labels('ok'),
      failed: transactions.labels('failed'),
    },
    batchRows,
    fuel,
    /** Registers gauges that are read when they are scraped. */
    observe: (
      read: Readonly<Record<'lanes' | 'partitions' | 'share' | 'queued', () => number>>,
    ) => {
      gauge('cairn_executor_lanes', 'Contexts held in memory.', read.lanes);
      gauge('cairn_executor_partitions', 'Partitions owned by this executor.', read.partitions);
      gauge('cairn_executor_partitions_share', 'Most that it would own.', read.share);
      gauge('cairn_commit_queue_rows', 'Transactions waiting for their commit.', read.queued);
    },
  };

  function gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  }
}
