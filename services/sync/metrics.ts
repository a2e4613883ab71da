import { Counter, Gauge, type Registry } from 'prom-client';
import type { AuditTotals } from '#shared/store/audit-store.ts';

/**
 * What the audit tells. Only contexts that diverge are named: there may be many contexts, and few
 * of those. The alert is on `cairn_audit_divergences_total` or `cairn_audit_divergent_sequence`.
 */
export function createSyncMetrics(registry: Registry) {
  const registers = [registry];
  const transactions = new Counter({
    name: 'cairn_audit_transactions_total',
    help: 'Transactions that the audit has run again.',
    registers,
  });
  const divergences = new Counter({
    name: 'cairn_audit_divergences_total',
    help: 'Logs that were found not to be what they should be. Anything but 0 is an alert.',
    registers,
  });
  const verified = new Gauge({
    name: 'cairn_audit_verified_sequence',
    help: 'Transactions up to which the logs are verified, over all contexts.',
    registers,
  });
  const unverified = new Gauge({
    name: 'cairn_audit_unverified_transactions',
    help: 'Transactions beyond that, over all contexts.',
    registers,
  });
  const divergent = new Gauge({
    name: 'cairn_audit_divergent_sequence',
    help: 'Where the log of a context stops being what it should be.',
    labelNames: ['context'],
    registers,
  });
  return {
    transactions,
    divergences,
    show: (totals: AuditTotals) => {
      verified.set(totals.verified);
      unverified.set(totals.unverified);
      divergent.reset();
      for (const { contextId, sequence } of totals.divergent) {
        divergent.set({ context: contextId }, Number(sequence));
      }
    },
  };
}
