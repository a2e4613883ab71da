import { runService } from '#shared/service/run-service.ts';
import { executorConfigSchema } from './config.ts';
import { createRpcExecutorService } from './service.ts';

await runService({
  name: 'rpc-executor',
  sections: { 'rpc-executor': executorConfigSchema },
  create: (deps, config) => createRpcExecutorService(deps, config['rpc-executor']),
});
