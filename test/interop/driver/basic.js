'use strict';

// What a job's data asks the handler to do.
const handlers = {
  complete: async job => ({ saw: job.data, attempts: job.attemptsMade }),
  failTwice: async job => {
    if (job.attemptsMade < 2) throw new Error('not yet');
    return 'third time';
  },
  fail: async () => {
    throw new Error('boom');
  }
};

module.exports = ({ out }) => ({
  add: async (q, { jobName, data, opts }) => {
    const job = jobName ? await q.add(jobName, data, opts) : await q.add(data, opts);
    return { id: String(job.id) };
  },
  finished: async (q, { id }) => {
    const job = await q.getJob(id);
    return job.finished().then(value => ({ value }), err => ({ failed: err.message }));
  },
  process: async (q, { concurrency }) => {
    q.process(concurrency || 1, job => {
      out({ event: 'run', id: String(job.id), name: job.name, data: job.data });
      return (handlers[job.data.do] || handlers.complete)(job);
    });
    await q.isReady();
    return {};
  },
  listen: async (q, { events }) => {
    await Promise.all(events.map(event => new Promise(resolve => {
      q.once('registered:global:' + event, resolve);
      q.on('global:' + event, (id, value) => out({ event, id: String(id), value }));
    })));
    return {};
  },
  state: async (q, { id }) => {
    const job = await q.getJob(id);
    return job
      ? { state: await job.getState(), attemptsMade: job.attemptsMade, failedReason: job.failedReason,
          returnvalue: job.returnvalue, stacktrace: job.stacktrace, data: job.data }
      : { state: 'absent' };
  },
  counts: q => q.getJobCounts(),
  workers: async q => (await q.getWorkers()).length,
  pause: q => q.pause(),
  resume: q => q.resume(),
  isPaused: q => q.isPaused(),
  moveStalled: async q => {
    await q.client.del(q.toKey('stalled-check'));
    await q.moveUnlockedJobsToWait();
    return {};
  }
});
