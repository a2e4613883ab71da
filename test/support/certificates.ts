import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Certificates {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** A certificate for 127.0.0.1, by an authority of its own, made by `openssl` in a folder. */
export async function makeCertificates(folder: string): Promise<Certificates> {
  const newKey = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';
  const openssl = (command: string) => run('openssl', command.split(' '), { cwd: folder });
  await openssl(`req -x509 ${newKey} -keyout ca.key -out ca.crt -days 2 -subj /CN=authority`);
  await openssl(`req ${newKey} -keyout server.key -out server.csr -subj /CN=127.0.0.1`);
  await writeFile(join(folder, 'extensions'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n');
  await openssl(
    'x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile extensions',
  );
  return {
    caFile: join(folder, 'ca.crt'),
    certFile: join(folder, 'server.crt'),
    keyFile: join(folder, 'server.key'),
  };
}
