'use strict';

// For the tests of our consumer: a Bull worker that does what a job's data tells it, and what Bull's getters read.

module.exports = ({ out }) => {
  const held = new Map(); // jobs whose handler waits to be released, by the key of their hash

  const acts = {
    complete: async job => ({ attempts: job.attemptsMade, saw: job.data }),
    nothing: async () => undefined,
    text: async () => 'a "text" of <some> kind & ü',
    fail: async () => {
      throw new Error('boom');
    },
    failTwice: async job => {
      if (job.attemptsMade < 2) throw new Error('not yet');
      return 'third time';
    },
    discard: async job => {
      job.discard();
      throw new Error('never again');
    },
    tell: async job => {
      await job.progress(42);
      await job.log('first');
      await job.progress({ a: 1 });
      await job.log('second <row>');
      return 'told';
    },
    update: async job => {
      await job.update({ ...job.data, seen: true });
      return 'updated';
    },
    // later puts the job into delayed by itself; Bull has no other way.
    later: async job => {
      await job.moveToDelayed(Date.now() + 60_000);
      return new Promise(() => {});
    },
    hold: job => new Promise((resolve, reject) => held.set(job.queue.toKey(job.id), { resolve, reject }))
  };

  const run = job => {
    out({ event: 'run', id: String(job.id), name: job.name, data: job.data });
    return acts[job.data.do || 'complete'](job);
  };

  return {
    // names: one handler each; none: a handler for jobs without a name.
    work: async (q, { concurrency, names }) => {
      q.on('stalled', job => out({ event: 'local stalled', id: String(job.id) }));
      q.on('failed', (job, err) => out({ event: 'local failed', id: String(job.id), value: err.message }));
      if (!names) q.process(concurrency || 1, run);
      for (const name of names || []) q.process(name, concurrency || 1, run);
      await q.isReady();
    },
    release: (q, { id, error }) => {
      const { resolve, reject } = held.get(q.toKey(id));
      held.delete(q.toKey(id));
      if (error) reject(new Error(error));
      else resolve('released');
    },
    // close is answered before it is done: that takes as long as Bull's blocking pop.
    close: q => {
      q.close(true);
    },
    // clock stops Node's clock at this time.
    clock: (q, { now }) => {
      Date.now = () => now;
    },
    promoteDue: async q => {
      await q.isReady();
      await q.updateDelayTimer();
    },
    // jobs are what Bull's getters find in a state.
    jobs: async (q, { state }) => (await q.getJobs([state])).map(job => job.toJSON()),
    job: async (q, { id }) => {
      const job = await q.getJob(id);
      const { logs, count } = await q.getJobLogs(id);
      return { ...job.toJSON(), progress: job.progress(), logs, count };
    },
    promote: async (q, { id }) => (await q.getJob(id)).promote(),
    metrics: (q, { state }) => q.getMetrics(state),
    repeatable: q => q.getRepeatableJobs()
  };
};
