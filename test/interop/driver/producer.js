'use strict';

// For the tests of our producer and of the traps: what a Node program adds and does by hand.

module.exports = ({ out }) => ({
  addBulk: async (q, { jobs }) => (await q.addBulk(jobs)).map(job => String(job.id)),
  // tryAdd tells what Bull says of an add that may fail.
  tryAdd: async (q, { data, opts }) => q.add(data, opts).then(job => ({ id: String(job.id) }), err => ({ error: err.message })),
  // takeNext makes the next job active, as a worker would, and leaves it at that.
  takeNext: async q => {
    const job = await q.getNextJob();
    return { id: job ? String(job.id) : '' };
  },
  // finish ends an active job by hand, whoever has its lock.
  finish: async (q, { id, error }) => {
    const job = await q.getJob(id);
    if (error) await job.moveToFailed({ message: error, stack: error }, true);
    else await job.moveToCompleted('done', true, true);
  },
  // finishLocked ends a job that this process took, and tells what Bull says if the lock is not its own any more.
  finishLocked: async (q, { id, error }) => {
    const job = await q.getJob(id);
    const end = error ? job.moveToFailed({ message: error, stack: error }) : job.moveToCompleted('done', false, true);
    return end.then(() => ({}), err => ({ error: err.message }));
  },
  promoteJob: async (q, { id }) => (await q.getJob(id)).promote(),
  // settled tells, on its own, how job.finished() settles; it is answered when finished() waits for an event.
  settled: async (q, { id }) => {
    const job = await q.getJob(id);
    const before = q.listenerCount('global:completed');
    job.finished().then(
      value => out({ event: 'settled', id, value: { value, undefined: value === undefined } }),
      err => out({ event: 'settled', id, value: { failed: err.message } })
    );
    while (q.listenerCount('global:completed') === before) await new Promise(setImmediate);
  },
  // bullmq uses the queue as BullMQ does: pkg is bullmq-5 or bullmq-6.
  bullmq: async (q, { pkg, url, prefix, name }) => {
    const { Queue } = require(pkg);
    const { hostname, port } = new URL(url);
    const other = new Queue(name, { prefix, connection: { host: hostname, port: Number(port) } });
    await other.waitUntilReady();
    await other.add('other', {});
    await other.close();
  }
});
