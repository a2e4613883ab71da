import { expect, test } from 'vitest';
import type { Job } from './lane-job.ts';
import { JobQueue } from './job-queue.ts';

function queueOf(count: number): { queue: JobQueue; jobs: Job[] } {
  const queue = new JobQueue();
  const jobs = Array.from(
    { length: count },
    (_, i) => ({ name: i, stage: 'waiting', ticket: 0, reply: null }) as unknown as Job,
  );
  for (const job of jobs) queue.push(job);
  return { queue, jobs };
}

function sendAll(queue: JobQueue): number {
  let sent = 0;
  while (queue.send() !== null) sent += 1;
  return sent;
}

test('one job is sent first, and twice as many may be under way after each cheap run', () => {
  const { queue } = queueOf(100);

  expect(sendAll(queue)).toBe(1);
  queue.ran(false);
  expect(sendAll(queue)).toBe(2);
  queue.ran(false);
  queue.ran(false);
  expect(sendAll(queue)).toBe(8);
});

test('after an expensive run one job at a time is sent', () => {
  const { queue } = queueOf(100);
  sendAll(queue);
  queue.ran(false);
  sendAll(queue);

  queue.ran(true);

  expect(sendAll(queue)).toBe(0);
  queue.ran(true);
  expect(sendAll(queue)).toBe(1);
});

test('jobs that are sent back wait in front of the others, in order, and make room', () => {
  const { queue, jobs } = queueOf(5);
  queue.send();
  queue.ran(false);
  (jobs[0] as Job).stage = 'committing';
  sendAll(queue);

  queue.sendBack(({ stage }) => stage === 'running');

  expect(queue.waiting).toEqual(jobs.slice(1));
  expect(queue.first('committing')).toBe(jobs[0]);
  expect(sendAll(queue)).toBe(2);
});

test('only the oldest job is taken for being held', () => {
  const { queue, jobs } = queueOf(2);
  sendAll(queue);
  queue.ran(false);
  (jobs[0] as Job).stage = 'committing';
  sendAll(queue);
  (jobs[1] as Job).stage = 'held';

  expect(queue.takeHeld()).toBeNull();
  queue.remove(jobs[0] as Job);
  expect(queue.takeHeld()).toBe(jobs[1]);
  expect(queue.size).toBe(0);
});
