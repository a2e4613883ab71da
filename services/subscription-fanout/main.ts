import { runService } from '#shared/service/run-service.ts';
import { fanoutConfigSchema } from './config.ts';
import { createFanoutService } from './service.ts';

await runService({
  name: 'subscription-fanout',
  sections: { 'subscription-fanout': fanoutConfigSchema },
  create: (deps, config) => createFanoutService(deps, config['subscription-fanout']),
});
